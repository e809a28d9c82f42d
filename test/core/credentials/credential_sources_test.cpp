// Tests the providers of credentials against files and servers of their own on loopback.
#include "core/credentials/credential_sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>

#include "core/config/temporary_directory.h"
#include "core/credentials/credential_request.h"
#include "core/s3/loopback_server.h"

namespace veza {
namespace {

using namespace std::chrono_literals;
using Fault = LoopbackReply::Fault;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kIdentityToken = "eyJhbGciOi.token of a service account/+=";

std::string In(std::chrono::seconds life) {
  return FormatUtc(
      std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now() + life));
}

std::string JsonOf(const std::string& id) {
  return fmt::format(R"({{"Code": "Success", "AccessKeyId": "{}", "SecretAccessKey": "secret7",
 "Token": "token7", "Expiration": "{}"}})",
                     id, In(3600s));
}

Error ErrorOf(CredentialSource& source) {
  const auto fetched = source.Fetch(Environment{});
  EXPECT_FALSE(fetched);
  return fetched ? Error{} : fetched.error();
}

// --- instance ------------------------------------------------------------------------------------

LoopbackReply Metadata(const LoopbackRequest& request) {
  const auto header = [&](const char* name) {
    const auto found = request.headers.find(name);
    return found == request.headers.end() ? std::string() : found->second;
  };
  if (request.target == "/latest/api/token") {
    return request.method == "PUT" && !header("x-aws-ec2-metadata-token-ttl-seconds").empty()
               ? LoopbackReply{.body = "session=="}
               : LoopbackReply{.status = 405};
  }
  if (header("x-aws-ec2-metadata-token") != "session==") {
    return {.status = 401};
  }
  if (request.target == "/latest/meta-data/iam/security-credentials/") {
    return {.body = "backup-role\n"};
  }
  return request.target == "/latest/meta-data/iam/security-credentials/backup-role"
             ? LoopbackReply{.body = JsonOf("ASIAINSTANCE")}
             : LoopbackReply{.status = 404};
}

TEST(InstanceSource, AsksWithASessionToken) {
  LoopbackServer server(Metadata);
  const auto got = MakeInstanceSource(server.endpoint())->Fetch(Environment{});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->keys.access_key, "ASIAINSTANCE");
  EXPECT_EQ(got->keys.secret_key, "secret7");
  EXPECT_EQ(got->session_token, "token7");
  EXPECT_TRUE(got->expires);
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST(InstanceSource, AnInstanceWithoutARole) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return request.target.ends_with("/security-credentials/") ? LoopbackReply{.status = 404}
                                                              : Metadata(request);
  });
  const Error error = ErrorOf(*MakeInstanceSource(server.endpoint()));
  EXPECT_EQ(error.code, ErrorCode::kCredentials);
  EXPECT_THAT(error.message, HasSubstr("the instance has no role"));
}

// Version 1 of the service, without session tokens, is what attacks through a proxy use.
TEST(InstanceSource, DoesNotFallBackToTheFirstVersion) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return request.method == "PUT" ? LoopbackReply{.status = 404} : LoopbackReply{.body = "role"};
  });
  const Error error = ErrorOf(*MakeInstanceSource(server.endpoint()));
  EXPECT_EQ(error.code, ErrorCode::kCredentials);
  EXPECT_THAT(error.message, HasSubstr("server answered 404"));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(InstanceSource, FollowsNoRedirect) {
  LoopbackServer other(Metadata);
  LoopbackServer server([&](const LoopbackRequest& request) {
    return LoopbackReply{.status = 302,
                         .headers = {{"location", other.endpoint() + request.target}}};
  });
  EXPECT_THAT(ErrorOf(*MakeInstanceSource(server.endpoint())).message,
              HasSubstr("server answered 302"));
  EXPECT_TRUE(other.requests().empty());
}

TEST(InstanceSource, TakesNoMoreThanTwoSeconds) {
  for (const Fault fault : {Fault::kSayNothing, Fault::kTrickleHeader}) {
    LoopbackServer server(
        [&](const LoopbackRequest&) { return LoopbackReply{.body = "x", .fault = fault}; });
    const auto begin = std::chrono::steady_clock::now();
    const Error error = ErrorOf(*MakeInstanceSource(server.endpoint()));
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took, 2500ms);
    EXPECT_EQ(error.code, ErrorCode::kCredentials);
    EXPECT_THAT(error.message, AllOf(HasSubstr("instance metadata service"), HasSubstr(" ms")));
    EXPECT_THAT(error.hint, AllOf(HasSubstr("s3_credentials"), HasSubstr("HopLimit")));
  }
}

// The same with the tries that the first request of a process makes.
TEST(InstanceSource, AServiceThatIsBusyAndThenSilentTakesNoMoreThanTwoSeconds) {
  std::atomic<int> requests = 0;
  LoopbackServer server([&](const LoopbackRequest&) {
    return ++requests < 4 ? LoopbackReply{.status = 503}
                          : LoopbackReply{.body = "x", .fault = Fault::kSayNothing};
  });
  const auto provider = MakeCredentialCache("a test", MakeInstanceSource(server.endpoint()));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(provider->Get(Environment{}).error().code, ErrorCode::kCredentials);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2500ms);
  // The fourth comes after 1.75 s at the earliest. On a busy machine there is no time left for it.
  EXPECT_GE(requests, 2) << "a busy service is asked again";
  EXPECT_LE(requests, 4);
}

// The deadline is of all requests together.
TEST(InstanceSource, ThreeSlowAnswersDoNotTakeThreeTimesAsLong) {
  LoopbackServer server([](const LoopbackRequest& request) {
    std::this_thread::sleep_for(900ms);
    return Metadata(request);
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ErrorOf(*MakeInstanceSource(server.endpoint())).code, ErrorCode::kCredentials);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2500ms);
}

TEST(InstanceSource, HostileAnswers) {
  for (const std::string& body :
       {std::string(100'000, 'x'), std::string("a\r\nx: y"), std::string()}) {
    LoopbackServer server([&](const LoopbackRequest&) { return LoopbackReply{.body = body}; });
    EXPECT_EQ(ErrorOf(*MakeInstanceSource(server.endpoint())).code, ErrorCode::kCredentials);
    EXPECT_EQ(server.requests().size(), 1U);
  }
  LoopbackServer server([](const LoopbackRequest& request) {
    return request.target.ends_with("/security-credentials/")
               ? LoopbackReply{.body = "../../../latest/user-data?x"}
               : Metadata(request);
  });
  EXPECT_EQ(ErrorOf(*MakeInstanceSource(server.endpoint())).code, ErrorCode::kCredentials);
  EXPECT_EQ(server.requests().size(), 2U) << "such a name of a role leads nowhere";
}

TEST(InstanceSource, IsCancelled) {
  LoopbackServer server(
      [](const LoopbackRequest&) { return LoopbackReply{.fault = Fault::kSayNothing}; });
  const Environment environment;
  environment.cancellation->Cancel();
  EXPECT_EQ(MakeInstanceSource(server.endpoint())->Fetch(environment).error().code,
            ErrorCode::kCancelled);
}

// --- container -----------------------------------------------------------------------------------

TEST(ContainerSource, SendsTheTokenThatItReadsEachTime) {
  const TemporaryDirectory directory;
  const std::string file = directory.Write("token", "first\n", 0644);
  LoopbackServer server([](const LoopbackRequest& request) {
    return LoopbackReply{.body = JsonOf("ASIA" + request.headers.at("authorization"))};
  });
  const auto source =
      MakeContainerSource({.url = server.endpoint() + "/v1/credentials", .token_file = file});
  EXPECT_EQ(source->Fetch(Environment{}).value().keys.access_key, "ASIAfirst");
  directory.Write("token", "second", 0644);
  EXPECT_EQ(source->Fetch(Environment{}).value().keys.access_key, "ASIAsecond");
  EXPECT_EQ(server.requests().at(1).target, "/v1/credentials");

  const auto with_value =
      MakeContainerSource({.url = server.endpoint() + "/", .token = SecretString("value")});
  EXPECT_EQ(with_value->Fetch(Environment{}).value().keys.access_key, "ASIAvalue");
}

TEST(ContainerSource, SaysWhatTheServiceSaid) {
  LoopbackServer server([](const LoopbackRequest&) {
    return LoopbackReply{.status = 400, .body = R"({"code": "AccessDeniedException",
 "message": "token eyJ is bad"})"};
  });
  const Error error = ErrorOf(*MakeContainerSource({.url = server.endpoint() + "/c"}));
  EXPECT_THAT(error.message, HasSubstr("server answered 400 AccessDeniedException"));
  EXPECT_THAT(error.message, Not(HasSubstr("eyJ")));
  EXPECT_FALSE(error.retryable);
}

TEST(ContainerSource, ATokenThatIsAwayIsNoMissingObject) {
  LoopbackServer server([](const LoopbackRequest&) { return LoopbackReply{.body = JsonOf("A")}; });
  const Error error =
      ErrorOf(*MakeContainerSource({.url = server.endpoint(), .token_file = "/nonexistent/token"}));
  EXPECT_EQ(error.code, ErrorCode::kCredentials);
  EXPECT_THAT(error.message, HasSubstr("/nonexistent/token"));
  EXPECT_TRUE(server.requests().empty());
}

TEST(CredentialRequest, WhoMayBeAsked) {
  for (const char* good :
       {"https://credentials.example.com/x", "http://127.0.0.1:1338/a", "http://127.1.2.3",
        "http://[::1]:80/", "http://169.254.170.2/v2/credentials/1", "http://169.254.170.23/v1",
        "http://[fd00:ec2::23]/v1", "http://169.254.169.254"}) {
    EXPECT_TRUE(MayBeAskedForCredentials(good)) << good;
  }
  for (const char* bad :
       {"http://example.com/", "http://localhost/", "http://127.0.0.1.example.com/",
        "http://10.0.0.1/", "http://169.254.1.1/", "http://127.0.0.1@example.com/",
        "http://example.com#@127.0.0.1/", "http://0.0.0.0/", "ftp://127.0.0.1/",
        "file:///etc/passwd", "127.0.0.1", "", "http://", "http://[::2]/",
        "http://user:secret@127.0.0.1/"}) {
    EXPECT_FALSE(MayBeAskedForCredentials(bad)) << bad;
  }
}

// --- web identity --------------------------------------------------------------------------------

LoopbackReply Sts(const std::string& id) {
  return {.body = fmt::format(
              "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
              "<AccessKeyId>{}</AccessKeyId><SecretAccessKey>secret7</SecretAccessKey>"
              "<SessionToken>token7</SessionToken><Expiration>{}</Expiration></Credentials>"
              "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
              id, In(3600s))};
}

class WebIdentitySource : public testing::Test {
 protected:
  std::unique_ptr<CredentialSource> SourceOf(const LoopbackServer& server) {
    return MakeWebIdentitySource({.endpoint = server.endpoint(),
                                  .role_arn = "arn:aws:iam::1:role/backup",
                                  .session_name = "veza_backup",
                                  .token_file = directory_.path() + "/token",
                                  .http = {}});
  }
  const TemporaryDirectory directory_;
};

TEST_F(WebIdentitySource, SendsTheTokenInTheBody) {
  // Kubernetes rotates a token by a link, and lets others read it.
  directory_.Write("1/token", kIdentityToken, 0644);
  std::filesystem::create_symlink("1/token", directory_.path() + "/token");
  std::string body;
  LoopbackServer server([&](const LoopbackRequest& request) {
    body = request.body;
    return Sts("ASIAWEB");
  });
  const auto got = SourceOf(server)->Fetch(Environment{});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->keys.access_key, "ASIAWEB");
  EXPECT_EQ(got->session_token, "token7");
  const LoopbackRequest request = server.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/");
  EXPECT_EQ(body,
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=veza_backup"
            "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbackup"
            "&WebIdentityToken=eyJhbGciOi.token%20of%20a%20service%20account%2F%2B%3D");
}

TEST_F(WebIdentitySource, ARefusedTokenIsNotQuoted) {
  directory_.Write("token", kIdentityToken);
  LoopbackServer server([](const LoopbackRequest& request) {
    return LoopbackReply{
        .status = 400,
        .body = "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>" + request.body +
                "</Message></Error></ErrorResponse>"};
  });
  const Error error = ErrorOf(*SourceOf(server));
  EXPECT_EQ(error.code, ErrorCode::kCredentials);
  EXPECT_THAT(error.message, HasSubstr("server answered 400 ExpiredTokenException"));
  EXPECT_THAT(error.message, Not(HasSubstr("eyJ")));
  EXPECT_THAT(error.hint, HasSubstr("s3_role_arn"));
  EXPECT_FALSE(error.retryable);
}

TEST_F(WebIdentitySource, WhatMayStandInPlaceOfTheToken) {
  LoopbackServer server([](const LoopbackRequest&) { return Sts("ASIAWEB"); });
  const auto source = SourceOf(server);
  const auto error = [&] { return ErrorOf(*source); };
  EXPECT_EQ(error().code, ErrorCode::kCredentials) << "no file";
  const std::string path = directory_.path() + "/token";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(error().message, HasSubstr("is not a regular file"));
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/dev/zero", path);
  EXPECT_THAT(error().message, HasSubstr("is not a regular file"));
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_THAT(error().message, HasSubstr("is not a regular file"));
  std::filesystem::remove(path);
  directory_.Write("token", std::string(20'000, 'x'));
  EXPECT_THAT(error().message, HasSubstr("larger than 16384 bytes"));
  directory_.Write("token", "secret7\nsecret8\n");
  EXPECT_THAT(error().message, AllOf(HasSubstr("more than one line"), Not(HasSubstr("secret7"))));
  EXPECT_TRUE(server.requests().empty());
}

// --- files ---------------------------------------------------------------------------------------

TEST(ProfileSource, IsReadAgain) {
  const TemporaryDirectory directory;
  const std::string file = directory.Write(
      "credentials", "[backup]\naws_access_key_id=AKIA1\naws_secret_access_key=secret7\n");
  const auto source = MakeProfileSource(file, "backup");
  const std::string stamp = source->Stamp();
  EXPECT_EQ(source->Fetch(Environment{}).value().keys.access_key, "AKIA1");
  directory.Write("new", "[backup]\naws_access_key_id=AKIA2\naws_secret_access_key=secret7\n");
  std::filesystem::rename(directory.path() + "/new", file);
  EXPECT_NE(source->Stamp(), stamp);
  EXPECT_EQ(source->Fetch(Environment{}).value().keys.access_key, "AKIA2");
}

TEST(ProfileSource, OthersMayNotReadTheFile) {
  const TemporaryDirectory directory;
  const std::string file = directory.Write(
      "credentials", "[backup]\naws_access_key_id=AKIA1\naws_secret_access_key=secret7\n", 0644);
  const Error error = ErrorOf(*MakeProfileSource(file, "backup"));
  EXPECT_EQ(error.code, ErrorCode::kCredentials);
  EXPECT_THAT(error.message, HasSubstr("group or world access"));
  directory.Write("credentials", "[backup]\naws_secret_access_key=secret7\n");
  const Error half = ErrorOf(*MakeProfileSource(file, "backup"));
  EXPECT_THAT(half.message, AllOf(HasSubstr("could not use credentials file"),
                                  HasSubstr("no access key id"), Not(HasSubstr("secret7"))));
}

TEST(StaticSource, ReadsEachFile) {
  const TemporaryDirectory directory;
  const KeyFiles files{directory.Write("id", "AKIA1\n"), directory.Write("secret", "secret7"),
                       directory.Write("token", std::string(8'000, 't'))};
  const auto source = MakeStaticSource(files);
  const auto got = source->Fetch(Environment{});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->keys.access_key, "AKIA1");
  EXPECT_EQ(got->keys.secret_key, "secret7");
  EXPECT_EQ(got->session_token.text().size(), 8'000U);
  EXPECT_TRUE(MakeStaticSource({files.access_key, files.secret_key})
                  ->Fetch(Environment{})
                  ->session_token.empty());
  const std::string stamp = source->Stamp();
  std::filesystem::remove(files.session_token);
  EXPECT_NE(source->Stamp(), stamp);
  EXPECT_EQ(ErrorOf(*source).code, ErrorCode::kCredentials);
}

}  // namespace
}  // namespace veza
