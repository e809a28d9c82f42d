// Tests the requests of the S3 store and how it understands responses, against a loopback server. A
// real server is tested in s3_conformance_test.cpp, network faults in http_transfer_test.cpp.
#include "core/s3/s3_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "core/repository/test_repository.h"
#include "core/s3/loopback_server.h"
#include "core/storage/store_conformance.h"

namespace veza {
namespace {

using Fault = LoopbackReply::Fault;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kSecretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
constexpr const char* kSessionToken = "AQoDYXdzEPT-session-token";

S3Options OptionsFor(const LoopbackServer& server) {
  S3Options options;
  options.bucket = "bucket";
  options.prefix = "some/prefix";
  options.endpoint = server.endpoint();
  options.access_key = "AKIAIOSFODNN7EXAMPLE";
  options.secret_key = kSecretKey;
  return options;
}

std::unique_ptr<Store> StoreFor(const S3Options& options) {
  return MakeS3Store(options, Environment{}).value();
}

LoopbackReply ErrorReply(int status, const std::string& code, const std::string& more = {},
                         std::vector<std::pair<std::string, std::string>> headers = {}) {
  return {status, std::move(headers),
          fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code>"
                      "<Message>The message of {}.</Message>{}<RequestId>1</RequestId></Error>",
                      code, code, more)};
}

// Returns the error of a Put (or a Get) for this response.
Error PutError(const LoopbackReply& reply) {
  LoopbackServer server([&](const LoopbackRequest&) { return reply; });
  const Status put = PutSmall(*StoreFor(OptionsFor(server)), "a/b", AsBytes("x"), PutMode::kCreate);
  EXPECT_FALSE(put);
  return put ? Error{} : put.error();
}
Error GetError(const LoopbackReply& reply, ByteRange range = {}) {
  LoopbackServer server([&](const LoopbackRequest&) { return reply; });
  const Status got = StoreFor(OptionsFor(server))->Get("a/b", range, [](ByteView) { return Ok(); });
  EXPECT_FALSE(got);
  return got ? Error{} : got.error();
}

TEST(S3Store, PutSaysAllThatS3Needs) {
  std::string body;
  LoopbackServer server([&](const LoopbackRequest& request) {
    body = request.body;
    return LoopbackReply{};
  });
  const auto store = StoreFor(OptionsFor(server));
  ASSERT_TRUE(PutSmall(*store, "a/b", AsBytes("Welcome to Amazon S3."), PutMode::kCreate));
  EXPECT_EQ(body, "Welcome to Amazon S3.");
  LoopbackRequest request = server.requests().at(0);
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/bucket/some/prefix/a/b");
  EXPECT_EQ(request.headers["host"], fmt::format("127.0.0.1:{}", server.port()));
  EXPECT_EQ(request.headers["content-length"], "21");
  EXPECT_EQ(request.headers["if-none-match"], "*");
  EXPECT_EQ(request.headers["x-amz-content-sha256"],
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  EXPECT_EQ(request.headers["x-amz-checksum-sha256"],
            "RM591nyVng01JP+sF3Hfu6h9K2tLTpnkIDSouAP4sHI=");
  EXPECT_THAT(request.headers["authorization"],
              AllOf(HasSubstr("AKIAIOSFODNN7EXAMPLE/"), HasSubstr("/us-east-1/s3/aws4_request"),
                    HasSubstr("SignedHeaders=host;if-none-match;x-amz-checksum-sha256;"
                              "x-amz-content-sha256;x-amz-date,")));
  for (const char* absent : {"expect", "x-amz-security-token", "transfer-encoding"}) {
    EXPECT_FALSE(request.headers.contains(absent)) << absent;
  }

  ASSERT_TRUE(PutSmall(*store, "a/b", AsBytes("x"), PutMode::kReplace));
  EXPECT_FALSE(server.requests().at(1).headers.contains("if-none-match"));
  EXPECT_EQ(server.connections(), 1);
}

// What a bucket answers that is asked how it locks objects.
LoopbackReply Locking(const std::string& rule) {
  return {200, {}, fmt::format("<ObjectLockConfiguration>{}</ObjectLockConfiguration>", rule)};
}
constexpr const char* kTwoDays =
    "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>2</Days></DefaultRetention></Rule>";

bool IsLockQuestion(const LoopbackRequest& request) {
  return request.Query("object-lock") != "(none)";
}

// Puts this object, which the options call short-lived if its name begins with "lock/".
Status PutIn(Store& store, const std::string& name) {
  return PutSmall(store, name, AsBytes("x"), PutMode::kReplace);
}

TEST(S3Store, WhatIsSoonReplacedIsLockedForAnHour) {
  LoopbackServer server([&](const LoopbackRequest& request) {
    return IsLockQuestion(request) ? Locking(kTwoDays) : LoopbackReply{};
  });
  S3Options options = OptionsFor(server);
  options.objects.short_lived_prefixes = {"lock/"};
  const auto store = StoreFor(options);
  ASSERT_OK(PutIn(*store, "wal/1"));
  EXPECT_FALSE(server.requests().back().headers.contains("x-amz-object-lock-mode"));
  EXPECT_EQ(server.requests().size(), 1U) << "nothing is asked for what stays";
  ASSERT_OK(PutIn(*store, "lock/1"));
  ASSERT_OK(PutIn(*store, "lock/1"));
  EXPECT_EQ(server.requests().size(), 4U) << "asked once";
  LoopbackRequest put = server.requests().back();
  EXPECT_EQ(put.headers["x-amz-object-lock-mode"], "COMPLIANCE");
  const TimePoint now = Environment{}.clock->Now();
  const TimePoint until = ParseUtc(put.headers["x-amz-object-lock-retain-until-date"]).value();
  EXPECT_GT(until, now + std::chrono::minutes(59));
  EXPECT_LE(until, now + std::chrono::minutes(60));
  EXPECT_THAT(put.headers["authorization"], HasSubstr("x-amz-object-lock-retain-until-date"));
}

// Whoever may not set a retention leaves it to the bucket.
TEST(S3Store, WithoutThatRightTheBucketsLockStays) {
  std::string body;
  LoopbackServer server([&](const LoopbackRequest& request) {
    body = request.body;
    return IsLockQuestion(request)                              ? Locking(kTwoDays)
           : request.headers.contains("x-amz-object-lock-mode") ? ErrorReply(403, "AccessDenied")
                                                                : LoopbackReply{};
  });
  S3Options options = OptionsFor(server);
  options.objects.short_lived_prefixes = {"lock/"};
  const auto store = StoreFor(options);
  ASSERT_OK(PutIn(*store, "lock/1"));
  EXPECT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(body, "x") << "sent once more";
  ASSERT_OK(PutIn(*store, "lock/1"));
  EXPECT_EQ(server.requests().size(), 4U) << "it is not tried again";
}

TEST(S3Store, ABucketWithoutLockIsAskedOnce) {
  for (const LoopbackReply& reply :
       {Locking(""), ErrorReply(404, "ObjectLockConfigurationNotFoundError"),
        ErrorReply(501, "NotImplemented"), ErrorReply(403, "AccessDenied"),
        LoopbackReply{200, {}, "<html/>"}}) {
    LoopbackServer server([&](const LoopbackRequest& request) {
      return IsLockQuestion(request) ? reply : LoopbackReply{};
    });
    S3Options options = OptionsFor(server);
    options.objects.short_lived_prefixes = {"lock/"};
    const auto store = StoreFor(options);
    ASSERT_OK(PutIn(*store, "lock/1"));
    ASSERT_OK(PutIn(*store, "lock/1"));
    EXPECT_EQ(server.requests().size(), 3U) << reply.status << reply.body;
    EXPECT_FALSE(server.requests().back().headers.contains("x-amz-object-lock-mode"));
  }
}

// Not before each renewal: the question may take as long as the store is slow.
TEST(S3Store, ABucketThatDoesNotAnswerIsAskedAgainAfterAPause) {
  std::atomic<int> questions = 0;
  LoopbackServer server([&](const LoopbackRequest& request) {
    return !IsLockQuestion(request) ? LoopbackReply{}
           : questions++ == 0       ? ErrorReply(503, "SlowDown")
                                    : Locking(kTwoDays);
  });
  S3Options options = OptionsFor(server);
  options.objects.short_lived_prefixes = {"lock/"};
  const TestClock clock;
  Environment environment;
  environment.clock = &clock;
  const auto store = MakeS3Store(options, environment).value();
  ASSERT_OK(PutIn(*store, "lock/1"));
  ASSERT_OK(PutIn(*store, "lock/1"));
  EXPECT_FALSE(server.requests().back().headers.contains("x-amz-object-lock-mode"));
  EXPECT_EQ(questions, 1);
  clock.Sleep(std::chrono::minutes(1), nullptr);
  ASSERT_OK(PutIn(*store, "lock/1"));
  EXPECT_EQ(questions, 2);
  EXPECT_TRUE(server.requests().back().headers.contains("x-amz-object-lock-mode"));
}

// For stores that do not know the newer header.
TEST(S3Store, TheChecksumMayBeMd5) {
  LoopbackServer server([](const LoopbackRequest&) { return LoopbackReply{}; });
  S3Options options = OptionsFor(server);
  options.objects.checksum = S3Checksum::kMd5;
  ASSERT_TRUE(
      PutSmall(*StoreFor(options), "a", AsBytes("Welcome to Amazon S3."), PutMode::kCreate));
  LoopbackRequest with_md5 = server.requests().at(0);
  EXPECT_EQ(with_md5.headers["content-md5"], "1EfQ6PKJ8WoS/2AnznfCWA==");
  EXPECT_FALSE(with_md5.headers.contains("x-amz-checksum-sha256"));
  EXPECT_THAT(with_md5.headers["authorization"], HasSubstr("SignedHeaders=content-md5;host;"));

  options.objects.checksum = S3Checksum::kNone;
  ASSERT_TRUE(PutSmall(*StoreFor(options), "a", AsBytes("x"), PutMode::kCreate));
  LoopbackRequest without = server.requests().at(1);
  EXPECT_FALSE(without.headers.contains("content-md5"));
  EXPECT_FALSE(without.headers.contains("x-amz-checksum-sha256"));
}

TEST(S3Store, SaysHowAnObjectIsToBeKept) {
  LoopbackServer server([](const LoopbackRequest&) { return LoopbackReply{}; });
  S3Options options = OptionsFor(server);
  options.objects.storage_class = "STANDARD_IA";
  options.objects.storage_class_prefixes = {"a"};
  options.objects.encryption = S3Encryption::kKms;
  options.objects.kms_key_id = "alias/backups";
  options.objects.tags = {{"project", "shop & co"}, {"a/b", "c=d"}};
  const auto store = StoreFor(options);
  ASSERT_TRUE(PutSmall(*store, "a", AsBytes("x"), PutMode::kCreate));
  LoopbackRequest put = server.requests().at(0);
  EXPECT_EQ(put.headers["x-amz-storage-class"], "STANDARD_IA");
  EXPECT_EQ(put.headers["x-amz-server-side-encryption"], "aws:kms");
  EXPECT_EQ(put.headers["x-amz-server-side-encryption-aws-kms-key-id"], "alias/backups");
  EXPECT_EQ(put.headers["x-amz-tagging"], "project=shop%20%26%20co&a%2Fb=c%3Dd");
  EXPECT_THAT(put.headers["authorization"],
              HasSubstr(";x-amz-server-side-encryption;"
                        "x-amz-server-side-encryption-aws-kms-key-id;x-amz-storage-class;"
                        "x-amz-tagging,"));

  // S3 refuses a GET with such headers.
  EXPECT_TRUE(store->Get("a", {}, [](ByteView) { return Ok(); }));
  const LoopbackRequest second = server.requests().at(1);
  for (const auto& [name, value] : second.headers) {
    EXPECT_THAT(name, Not(testing::AnyOf(HasSubstr("encryption"), HasSubstr("storage-class"),
                                         HasSubstr("tagging"), HasSubstr("checksum"))));
  }

  options.objects.encryption = S3Encryption::kAes256;
  ASSERT_TRUE(PutSmall(*StoreFor(options), "b", AsBytes("x"), PutMode::kReplace));
  LoopbackRequest replace = server.requests().at(2);
  EXPECT_EQ(replace.headers["x-amz-server-side-encryption"], "AES256");
  EXPECT_FALSE(replace.headers.contains("x-amz-server-side-encryption-aws-kms-key-id"));
  EXPECT_FALSE(replace.headers.contains("x-amz-storage-class"));
}

// The server does not keep the key, so every request for the object brings it along.
TEST(S3Store, ACustomersKeyGoesWithEveryObject) {
  constexpr const char* kKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
  LoopbackServer server([&](const LoopbackRequest&) {
    return ErrorReply(403, "AccessDenied", fmt::format("<Key>{}</Key>", kKey));
  });
  S3Options options = OptionsFor(server);
  options.objects.encryption = S3Encryption::kCustomerKey;
  options.objects.customer_key = ParseS3CustomerKey(kKey).value();
  const auto store = StoreFor(options);
  EXPECT_FALSE(PutSmall(*store, "a", AsBytes("x"), PutMode::kReplace));
  EXPECT_FALSE(store->Get("a", {}, [](ByteView) { return Ok(); }));
  EXPECT_FALSE(store->Head("a"));  // and the GET that explains it
  EXPECT_FALSE(store->Delete("a"));
  EXPECT_FALSE(store->Now());
  const std::vector<LoopbackRequest> requests = server.requests();
  ASSERT_EQ(requests.size(), 6U);
  constexpr std::string_view kHeader = "x-amz-server-side-encryption-customer-";
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto headers = requests[i].headers;
    const bool needs_key = i < 4;
    EXPECT_EQ(headers.contains(fmt::format("{}key", kHeader)), needs_key) << requests[i].method;
    EXPECT_EQ(headers.contains("x-amz-server-side-encryption"), false);
    if (needs_key) {
      EXPECT_EQ(headers[fmt::format("{}algorithm", kHeader)], "AES256");
      EXPECT_EQ(headers[fmt::format("{}key", kHeader)], kKey);
      EXPECT_EQ(headers[fmt::format("{}key-md5", kHeader)], "tP/LI3N87DFaSk0aoqYgzg==");
      EXPECT_THAT(headers["authorization"], HasSubstr(fmt::format("{}key;", kHeader)));
    }
  }
}

std::vector<std::string> NamesOf(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    names.push_back(fmt::format("n/{:04}", i));
  }
  return names;
}

// The answer that all keys of the request were deleted, except for those in `errors`.
LoopbackReply DeleteReply(const LoopbackRequest& request, const std::string& errors = {}) {
  std::string parts = errors;
  for (std::size_t at = 0; (at = request.body.find("<Key>", at)) != std::string::npos; ++at) {
    const std::string key = request.body.substr(at, request.body.find("</Key>", at) + 6 - at);
    parts += errors.find(key) == std::string::npos ? "<Deleted>" + key + "</Deleted>" : "";
  }
  return {200,
          {},
          fmt::format("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}"
                      "</DeleteResult>",
                      parts)};
}

TEST(S3Store, DeletesAThousandWithOneRequest) {
  std::vector<std::string> bodies;
  LoopbackServer server([&](const LoopbackRequest& request) {
    bodies.push_back(request.body);
    return DeleteReply(request);
  });
  S3Options options = OptionsFor(server);
  options.prefix = "R&D <1>";
  const auto store = StoreFor(options);
  EXPECT_EQ(store->NamesPerDelete(), 1000U);
  ASSERT_TRUE(store->DeleteAll(NamesOf(1001)));
  std::vector<LoopbackRequest> requests = server.requests();
  ASSERT_EQ(requests.size(), 2U);
  LoopbackRequest& first = requests.front();
  EXPECT_EQ(first.method, "POST");
  EXPECT_EQ(first.target, "/bucket?delete=");
  EXPECT_THAT(first.headers["authorization"], HasSubstr("SignedHeaders=content-md5;host;"));
  std::uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_Digest(bodies[0].data(), bodies[0].size(), digest, &length, EVP_md5(), nullptr);
  EXPECT_EQ(first.headers["content-md5"], ToBase64({digest, length}));
  EXPECT_THAT(bodies[0], AllOf(HasSubstr("<Quiet>false</Quiet>"),
                               HasSubstr("<Object><Key>R&amp;D &lt;1&gt;/n/0000</Key></Object>"),
                               HasSubstr("/n/0999<"), Not(HasSubstr("/n/1000<"))));
  EXPECT_THAT(bodies[1], AllOf(HasSubstr("/n/1000<"), Not(HasSubstr("/n/0999<"))));
}

TEST(S3Store, NamesWhatCouldNotBeDeleted) {
  const auto failure = [](const std::string& errors) {
    LoopbackServer server(
        [&](const LoopbackRequest& request) { return DeleteReply(request, errors); });
    return StoreFor(OptionsFor(server))->DeleteAll(NamesOf(5));
  };
  const auto part = [](const char* key, const char* code) {
    return fmt::format(
        "<Error><Key>some/prefix/{}</Key><Code>{}</Code><Message>Text.</Message></Error>", key,
        code);
  };
  EXPECT_TRUE(failure(part("n/0001", "NoSuchKey")));
  const Status busy = failure(part("n/0001", "InternalError") + part("n/0002", "SlowDown"));
  ASSERT_FALSE(busy);
  EXPECT_TRUE(busy.error().retryable);
  EXPECT_THAT(busy.error().message, HasSubstr("\"s3://bucket/some/prefix/n/0001\": server answered "
                                              "InternalError: Text"));
  // An error that stays is told at once, although others might pass.
  const Status denied = failure(part("n/0001", "InternalError") + part("n/0003", "AccessDenied"));
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code, ErrorCode::kPermissionDenied);
  EXPECT_FALSE(denied.error().retryable);
  EXPECT_THAT(denied.error().message, HasSubstr("n/0003\": server answered AccessDenied"));
  EXPECT_THAT(denied.error().hint, HasSubstr("veza_backup.s3_access_key"));
  for (const char* code : {"SomethingNew", ""}) {
    const Status other = failure(part("n/0001", code));
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code, ErrorCode::kFailedPrecondition);
  }
}

// Without a result, or in one that is silent about a name, nothing says that it was deleted.
TEST(S3Store, DeletesOneByOneWhatTheAnswerIsSilentAbout) {
  for (const std::string& body :
       {std::string(), std::string("<html/>"), std::string("deleted"),
        std::string("<DeleteResult/>"),
        std::string(
            "<DeleteResult><Deleted><Key>some/prefix/n/0000</Key></Deleted></DeleteResult>"),
        std::string("<DeleteResult><Deleted><Key>n/0000</Key></Deleted>"
                    "<Deleted><Key>n/0001</Key></Deleted></DeleteResult>")}) {
    std::vector<std::string> deleted;
    LoopbackServer server([&](const LoopbackRequest& request) {
      if (request.method == "DELETE") {
        deleted.push_back(request.target);
        return LoopbackReply{204};
      }
      return LoopbackReply{200, {}, body};
    });
    EXPECT_TRUE(StoreFor(OptionsFor(server))->DeleteAll(NamesOf(2))) << body;
    EXPECT_THAT(deleted,
                testing::ElementsAre("/bucket/some/prefix/n/0000", "/bucket/some/prefix/n/0001"))
        << body;
  }
}

TEST(S3Store, ReadsAnAnswerWithPrefixesOfANamespace) {
  LoopbackServer server([](const LoopbackRequest&) {
    return LoopbackReply{200,
                         {},
                         "<s:DeleteResult xmlns:s=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                         "<s:Deleted><s:Key>some/prefix/n/0000</s:Key></s:Deleted>"
                         "<s:Error><s:Key>some/prefix/n/0001</s:Key><s:Code>AccessDenied</s:Code>"
                         "</s:Error></s:DeleteResult>"};
  });
  const Status deleted = StoreFor(OptionsFor(server))->DeleteAll(NamesOf(2));
  ASSERT_FALSE(deleted);
  EXPECT_THAT(deleted.error().message, HasSubstr("n/0001\": server answered AccessDenied"));
  EXPECT_EQ(server.requests().size(), 1U);
}

// Servers that do not know DeleteObjects say so in different ways.
TEST(S3Store, DeletesOneByOneWhereTheServerTakesNothingElse) {
  const std::pair<int, const char*> refusals[] = {{501, "NotImplemented"},
                                                  {405, "MethodNotAllowed"},
                                                  {400, "InvalidArgument"},
                                                  {403, "AccessDenied"}};
  for (const std::pair<int, const char*>& refusal : refusals) {
    LoopbackServer server([&](const LoopbackRequest& request) {
      return request.method == "POST" ? ErrorReply(refusal.first, refusal.second)
                                      : LoopbackReply{204};
    });
    const auto store = StoreFor(OptionsFor(server));
    EXPECT_TRUE(store->DeleteAll(NamesOf(3))) << refusal.second;
    EXPECT_EQ(server.requests().size(), 4U);
    EXPECT_EQ(store->NamesPerDelete(), 1U);
    EXPECT_TRUE(store->DeleteAll(NamesOf(2)));
    EXPECT_EQ(server.requests().size(), 6U);
  }
}

TEST(S3Store, DoesNotDeleteOneByOneWhatTheServerIsTooBusyFor) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return request.method == "POST" ? ErrorReply(503, "SlowDown") : LoopbackReply{204};
  });
  const Status busy = StoreFor(OptionsFor(server))->DeleteAll(NamesOf(3));
  ASSERT_FALSE(busy);
  EXPECT_TRUE(busy.error().retryable);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(S3Store, SendsTheSessionToken) {
  LoopbackServer server([](const LoopbackRequest&) { return LoopbackReply{}; });
  S3Options options = OptionsFor(server);
  options.session_token = kSessionToken;
  ASSERT_TRUE(PutSmall(*StoreFor(options), "a", AsBytes("x"), PutMode::kCreate));
  LoopbackRequest request = server.requests().at(0);
  EXPECT_EQ(request.headers["x-amz-security-token"], kSessionToken);
  EXPECT_THAT(request.headers["authorization"], HasSubstr(";x-amz-security-token,"));
}

TEST(S3Store, PutsTheBucketIntoTheHostName) {
  LoopbackServer server([](const LoopbackRequest&) { return LoopbackReply{}; });
  S3Options options = OptionsFor(server);
  options.uri_style = S3UriStyle::kVirtualHost;
  options.endpoint = fmt::format("http://localhost:{}", server.port());
  ASSERT_TRUE(PutSmall(*StoreFor(options), "a", AsBytes("x"), PutMode::kCreate));
  LoopbackRequest request = server.requests().at(0);
  EXPECT_EQ(request.target, "/some/prefix/a");
  EXPECT_EQ(request.headers["host"], fmt::format("bucket.localhost:{}", server.port()));
}

TEST(S3Store, RangesAreAskedForAndChecked) {
  LoopbackServer server([](const LoopbackRequest& request) {
    const bool wrong = request.headers.at("range") == "bytes=7-8";
    return LoopbackReply{206,
                         {{"Content-Range", wrong ? "bytes 6-7/100" : "bytes 5-9/100"}},
                         wrong ? "67" : "56789"};
  });
  const auto store = StoreFor(OptionsFor(server));
  std::string taken;
  const Sink sink = [&](ByteView piece) {
    taken += AsText(piece);
    return Ok();
  };
  EXPECT_TRUE(store->Get("a", {5, 5}, sink));
  EXPECT_EQ(taken, "56789");
  EXPECT_EQ(server.requests().at(0).headers["range"], "bytes=5-9");
  EXPECT_TRUE(store->Get("a", {5}, sink));
  EXPECT_EQ(server.requests().at(1).headers["range"], "bytes=5-");
  EXPECT_FALSE(store->Get("a", {7, 2}, sink));
}

// A server that does not support ranges sends the whole object. None of it may be delivered.
TEST(S3Store, AWholeObjectIsNotARange) {
  LoopbackServer server([](const LoopbackRequest&) {
    return LoopbackReply{200, {}, std::string(500'000, 'x')};
  });
  std::size_t taken = 0;
  const Status got = StoreFor(OptionsFor(server))->Get("a", {5, 5}, [&](ByteView piece) {
    taken += piece.size();
    return Ok();
  });
  EXPECT_FALSE(got);
  EXPECT_EQ(taken, 0U);
}

TEST(S3Store, ADownloadWithoutALengthMayBeCutOff) {
  const Error error = GetError({200, {}, "half of it", Fault::kNoLength});
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_TRUE(error.retryable);
}

TEST(S3Store, ATruncatedDownloadIsRetryable) {
  const Error error = GetError({200, {}, std::string(100'000, 'x'), Fault::kTruncate});
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_TRUE(error.retryable);
  EXPECT_THAT(error.message, HasSubstr("could not read object \"s3://bucket/some/prefix/a/b\": "));
}

struct Answer {
  int status;
  const char* s3_code;  // empty: without an error document
  ErrorCode code;
  bool retryable;
  const char* hint;  // a part of it
};

TEST(S3Store, UnderstandsErrors) {
  using Code = ErrorCode;
  const Answer answers[] = {
      {412, "PreconditionFailed", Code::kAlreadyExists, false, ""},
      {412, "", Code::kAlreadyExists, false, ""},
      {409, "ConditionalRequestConflict", Code::kUnavailable, true, ""},
      {403, "InvalidAccessKeyId", Code::kCredentials, false, "veza_backup.s3_access_key"},
      {403, "SignatureDoesNotMatch", Code::kCredentials, false, "veza_backup.s3_secret_key"},
      {403, "AccessDenied", Code::kPermissionDenied, false, "veza_backup.s3_access_key"},
      {403, "", Code::kPermissionDenied, false, "not an error document of S3"},
      {401, "", Code::kPermissionDenied, false, "not an error document of S3"},
      {407, "", Code::kPermissionDenied, false, "veza_backup.s3_proxy_login_file"},
      {403, "RequestTimeTooSkewed", Code::kFailedPrecondition, false, "clock"},
      {400, "ExpiredToken", Code::kCredentials, false, "veza_backup.s3_session_token"},
      {403, "QuotaExceeded", Code::kNoSpace, false, "quota"},
      {404, "NoSuchBucket", Code::kFailedPrecondition, false, "veza_backup.repository"},
      {404, "NoSuchKey", Code::kNotFound, false, ""},
      {403, "NoSuchKey", Code::kPermissionDenied, false, "the S3 server's own"},
      {500, "NoSuchKey", Code::kUnavailable, true, ""},
      {403, "PreconditionFailed", Code::kPermissionDenied, false, "the S3 server's own"},
      {404, "", Code::kUnavailable, true, "not an error document of S3"},
      {301, "PermanentRedirect", Code::kFailedPrecondition, false, "veza_backup.s3_region"},
      {307, "TemporaryRedirect", Code::kFailedPrecondition, false, "veza_backup.s3_region"},
      {301, "", Code::kFailedPrecondition, false, "not an error document of S3"},
      {400, "AuthorizationHeaderMalformed", Code::kFailedPrecondition, false,
       "veza_backup.s3_region"},
      {400, "RequestTimeout", Code::kUnavailable, true, ""},
      {400, "XAmzContentSHA256Mismatch", Code::kDataCorrupted, true, ""},
      {400, "InvalidRequest", Code::kFailedPrecondition, false, "checksums"},
      {403, "InvalidObjectState", Code::kFailedPrecondition, false, "Glacier"},
      {400, "InvalidStorageClass", Code::kFailedPrecondition, false,
       "veza_backup.s3_storage_class"},
      {400, "InvalidTag", Code::kFailedPrecondition, false, "veza_backup.s3_tags"},
      {400, "InvalidEncryptionAlgorithmError", Code::kFailedPrecondition, false,
       "veza_backup.s3_sse"},
      {400, "InvalidDigest", Code::kDataCorrupted, true, ""},
      {400, "KMS.DisabledException", Code::kPermissionDenied, false, "key"},
      {400, "KMS.ThrottlingException", Code::kUnavailable, true, ""},
      {400, "Throttling", Code::kUnavailable, true, ""},
      {403, "RequestLimitExceeded", Code::kUnavailable, true, ""},
      {400, "SomethingNew", Code::kFailedPrecondition, false, "the S3 server's own"},
      {403, "SomethingNew", Code::kPermissionDenied, false, "the S3 server's own"},
      {404, "SomethingNew", Code::kUnavailable, true, ""},
      {405, "MethodNotAllowed", Code::kUnsupported, false, "the S3 server's own"},
      {400, "", Code::kFailedPrecondition, false, "not an error document of S3"},
      {429, "", Code::kUnavailable, true, ""},
      {500, "InternalError", Code::kUnavailable, true, ""},
      {500, "", Code::kUnavailable, true, ""},
      {501, "NotImplemented", Code::kUnsupported, false, "veza_backup.s3_checksum"},
      {502, "", Code::kUnavailable, true, ""},
      {503, "SlowDown", Code::kUnavailable, true, ""},
      {503, "ServiceUnavailable", Code::kUnavailable, true, ""},
      {504, "", Code::kUnavailable, true, ""},
      {507, "", Code::kNoSpace, false, "some space"},
      {507, "XMinioStorageFull", Code::kNoSpace, false, "veza_backup_expire()"},
      {507, "InsufficientStorage", Code::kNoSpace, false, "veza_backup_expire()"},
      {400, "XMinioAdminBucketQuotaExceeded", Code::kNoSpace, false, "veza_backup_expire()"},
  };
  for (const Answer& answer : answers) {
    const std::string name = fmt::format("{} {}", answer.status, answer.s3_code);
    const LoopbackReply reply = *answer.s3_code != '\0'
                                    ? ErrorReply(answer.status, answer.s3_code)
                                    : LoopbackReply{answer.status, {}, "<html>hello</html>"};
    const Error error = PutError(reply);
    EXPECT_EQ(error.code, answer.code) << name << ": " << error.message;
    EXPECT_EQ(error.retryable, answer.retryable) << name;
    EXPECT_THAT(error.hint, HasSubstr(answer.hint)) << name;
    EXPECT_THAT(error.message, HasSubstr("object \"s3://bucket/some/prefix/a/b\"")) << name;
    EXPECT_THAT(error.message, Not(testing::EndsWith("."))) << name;
    if (*answer.s3_code != '\0' && error.code != Code::kAlreadyExists &&
        error.code != Code::kNotFound) {
      EXPECT_THAT(error.message,
                  HasSubstr(fmt::format("server answered {} {}: The message of {}", answer.status,
                                        answer.s3_code, answer.s3_code)));
    }
  }
}

TEST(S3Store, DoesNotGuessACause) {
  for (const int status : {301, 302, 307, 400, 401, 403, 404, 405, 407, 422, 501}) {
    for (const LoopbackReply& reply :
         {ErrorReply(status, "SomethingNew"), LoopbackReply{status, {}, "{\"error\": \"no\"}"},
          LoopbackReply{status}}) {
      EXPECT_THAT(PutError(reply).hint,
                  Not(testing::AnyOf(HasSubstr("s3_endpoint"), HasSubstr("s3_access_key"),
                                     HasSubstr("s3_region"))))
          << status;
    }
  }
}

TEST(S3Store, SaysWhichSettingTheServerRefuses) {
  const auto refusal = [](const std::string& message) {
    return LoopbackReply{
        400,
        {},
        fmt::format("<Error><Code>InvalidArgument</Code><Message>{}</Message></Error>", message)};
  };
  EXPECT_THAT(
      PutError(refusal("Unsupported header 'x-amz-checksum-sha256' received for this API call."))
          .hint,
      HasSubstr("s3_checksum to \"md5\""));
  EXPECT_THAT(PutError(refusal("Invalid argument.")).hint, Not(HasSubstr("veza_backup")));

  LoopbackServer server([&](const LoopbackRequest&) { return refusal("Invalid argument."); });
  S3Options options = OptionsFor(server);
  options.objects.storage_class = "NO_SUCH_CLASS";
  options.objects.storage_class_prefixes = {"a"};
  EXPECT_THAT(PutSmall(*StoreFor(options), "a", AsBytes("x"), PutMode::kCreate).error().hint,
              HasSubstr("veza_backup.s3_storage_class"));
}

TEST(S3Store, QuotesABodyThatIsNotAnErrorDocument) {
  const auto said = [](int status, const std::string& body) {
    return PutError({status, {}, body}).message;
  };
  EXPECT_THAT(
      said(403,
           "\r\n<html><head><title>403</title><style>b { color: red }</style></head>\r\n"
           "<body><h1>WAF  blocked you</h1><script>if (1 < 2) evil()</script></body></html>"),
      testing::EndsWith(": server answered 403: 403 WAF blocked you"));
  EXPECT_THAT(said(403, R"({"error": "tenant suspended"})"),
              testing::EndsWith(R"(: server answered 403: {"error": "tenant suspended"})"));
  EXPECT_THAT(said(400, "<html>The plain HTTP request was sent to HTTPS port</html>"),
              HasSubstr("server answered 400: The plain HTTP request was sent to HTTPS port"));
  EXPECT_THAT(said(407, "who\x1b[2Jare\tyou\xC3\xA4?"),
              testing::EndsWith(": server answered 407: who [2Jare you ?"));
  EXPECT_THAT(said(502, "Bad Gateway."), testing::EndsWith(": server answered 502: Bad Gateway"));
  EXPECT_THAT(said(403, ""), testing::EndsWith(": server answered 403"));
  EXPECT_THAT(said(403, "<never ends"), testing::EndsWith(": server answered 403"));
  EXPECT_THAT(said(403, "<style>never ends"), testing::EndsWith(": server answered 403"));
  EXPECT_LT(said(403, std::string(60'000, 'x')).size(), 350U);
  EXPECT_LT(said(403, "<p>" + std::string(60'000, 'x')).size(), 350U);
}

// The body may be the content of the object.
TEST(S3Store, NeverQuotesTheContentOfAnObject) {
  EXPECT_THAT(GetError({200, {}, "customers of ours"}, {5, 5}).message,
              Not(HasSubstr("customers")));
}

TEST(S3Store, SecretsInAForeignTextAreNotQuoted) {
  const std::string key = kSecretKey;
  for (const std::string& body :
       {key, "<p>" + key, "<p>" + key.substr(0, 9) + "</p>" + key.substr(9),
        std::string(190, 'x') + key, "\"" + key + "\""}) {
    EXPECT_THAT(PutError({403, {}, body}).message, Not(HasSubstr(key.substr(0, 12)))) << body;
  }
}

TEST(S3Store, SaysWhereARedirectLeads) {
  for (const int status : {301, 302, 303, 307, 308}) {
    const Error error = PutError(
        {status, {{"Location", "https://s3.example.com:9000/bucket/a?X-Amz-Signature=1"}}});
    EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition);
    EXPECT_FALSE(error.retryable);
    EXPECT_THAT(error.message, testing::EndsWith("(redirect to \"https://s3.example.com:9000\")"));
    EXPECT_THAT(error.hint,
                HasSubstr("veza_backup.s3_endpoint to \"https://s3.example.com:9000\""));
    EXPECT_THAT(error.hint, Not(HasSubstr("s3_region")));
  }
  EXPECT_THAT(
      PutError({301, {{"Location", "https://eu-1.example.com/"}, {"x-amz-bucket-region", "eu-1"}}})
          .hint,
      HasSubstr("veza_backup.s3_region to \"eu-1\""));
}

// A recovery that took this for a missing segment would end there.
TEST(S3Store, ACodeAloneDoesNotMeanAMissingObject) {
  EXPECT_EQ(GetError(ErrorReply(404, "NoSuchKey")).code, ErrorCode::kNotFound);
  EXPECT_EQ(GetError(ErrorReply(403, "NoSuchKey")).code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(GetError(ErrorReply(400, "NoSuchVersion")).code, ErrorCode::kFailedPrecondition);
}

TEST(S3Store, NamesTheRegionThatTheServerNames) {
  EXPECT_THAT(
      PutError(ErrorReply(301, "PermanentRedirect", "", {{"x-amz-bucket-region", "eu-1"}})).hint,
      HasSubstr("veza_backup.s3_region to \"eu-1\""));
  EXPECT_THAT(
      PutError(ErrorReply(400, "AuthorizationHeaderMalformed", "<Region>eu-2</Region>")).hint,
      HasSubstr("veza_backup.s3_region to \"eu-2\""));
}

TEST(S3Store, SaysHowFarTheClockIsOff) {
  const auto hint = [](std::chrono::seconds offset) {
    // Makes an IMF-fixdate from the parts of a UTC time stamp.
    const std::time_t time = std::time(nullptr) + offset.count();
    char date[64];
    std::tm parts{};
    gmtime_r(&time, &parts);
    std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return PutError(ErrorReply(403, "RequestTimeTooSkewed", "", {{"Date", date}})).hint;
  };
  EXPECT_THAT(hint(std::chrono::hours(1)), HasSubstr("s behind the S3 server's"));
  EXPECT_THAT(hint(-std::chrono::hours(1)), HasSubstr("s ahead of the S3 server's"));
}

// s3_request_timeout, also while bytes still come.
TEST(S3Store, ARequestTakesNoLongerThanItMay) {
  for (const Fault fault : {Fault::kSayNothing, Fault::kTrickleHeader}) {
    LoopbackServer server(
        [&](const LoopbackRequest&) { return LoopbackReply{.body = "x", .fault = fault}; });
    S3Options options = OptionsFor(server);
    options.total_timeout = std::chrono::milliseconds(300);
    const auto begin = std::chrono::steady_clock::now();
    const Status put = PutSmall(*StoreFor(options), "a/b", AsBytes("x"), PutMode::kReplace);
    ASSERT_FALSE(put);
    EXPECT_TRUE(put.error().retryable) << put.error().message;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
  }
}

TEST(S3Store, ObeysRetryAfter) {
  using std::chrono::milliseconds;
  const auto after = [](const std::string& value) {
    return PutError(ErrorReply(503, "SlowDown", "",
                               {{"Retry-After", value}, {"Date", "Tue, 03 Nov 2026 10:00:00 GMT"}}))
        .retry_after;
  };
  EXPECT_EQ(after("7"), milliseconds(7'000));
  EXPECT_EQ(after("0"), milliseconds(0));
  EXPECT_EQ(after("Tue, 03 Nov 2026 10:00:09 GMT"), milliseconds(9'000));
  EXPECT_EQ(after("Tue, 03 Nov 2026 09:00:00 GMT"), milliseconds(0));
  EXPECT_EQ(after("soon"), std::nullopt);
  // A longer pause counts as one day. Text that is not a time gives no pause.
  const milliseconds day = std::chrono::hours(24);
  EXPECT_EQ(after("9223372036854775807"), day);
  EXPECT_EQ(after("Tue, 03 Nov 9999 10:00:00 GMT"), day);
  EXPECT_EQ(after("Tue, 03 Nov 1048577 10:00:00 GMT"), std::nullopt);
  EXPECT_EQ(PutError(ErrorReply(503, "SlowDown")).retry_after, std::nullopt);
}

// Only an S3 error document says that an object is missing. If a proxy's 404 counted, recovery
// would end there.
TEST(S3Store, AForeign404DoesNotMeanAMissingObject) {
  LoopbackServer server([](const LoopbackRequest&) {
    return LoopbackReply{404, {}, "<html>not here</html>"};
  });
  const auto store = StoreFor(OptionsFor(server));
  EXPECT_EQ(GetSmall(*store, "a", 1U << 20).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store->Head("a").error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store->Delete("a").error().code, ErrorCode::kUnavailable);
}

TEST(S3Store, HeadFindsOutWhy) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return ErrorReply(403, request.method == "HEAD" ? "unseen" : "InvalidAccessKeyId");
  });
  const Error error = StoreFor(OptionsFor(server))->Head("a").error();
  EXPECT_EQ(error.code, ErrorCode::kCredentials);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("could not look up"), HasSubstr("InvalidAccessKeyId")));
}

TEST(S3Store, HeadSurvivesAnObjectThatAppears) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return request.method == "HEAD" ? LoopbackReply{404} : LoopbackReply{206, {}, "x"};
  });
  const Error error = StoreFor(OptionsFor(server))->Head("a").error();
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_TRUE(error.retryable);
}

TEST(S3Store, SecretsNeverGetIntoMessages) {
  const std::string echo = fmt::format(
      "your key {} and token {}\nand {}, backup:hunter22, "
      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
      kSecretKey, kSessionToken, kSecretKey);
  LoopbackServer server([&](const LoopbackRequest&) {
    return LoopbackReply{
        403,
        {},
        fmt::format("<Error><Code>Code {}</Code><Message>{}</Message></Error>", kSecretKey, echo)};
  });
  S3Options options = OptionsFor(server);
  options.session_token = kSessionToken;
  options.proxy_login = "backup:hunter22";
  options.objects.customer_key.key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
  const auto store = StoreFor(options);
  for (const Error& error :
       {PutSmall(*store, "a", AsBytes("x"), PutMode::kCreate).error(), store->Head("a").error(),
        store->ListDirectories("").error(), store->Now().error()}) {
    EXPECT_THAT(error.message, AllOf(Not(HasSubstr(kSecretKey)), Not(HasSubstr(kSessionToken)),
                                     Not(HasSubstr("hunter22")), Not(HasSubstr("AAECAwQF")),
                                     Not(HasSubstr("\n")), HasSubstr("***")));
    EXPECT_THAT(error.hint, Not(HasSubstr(kSecretKey)));
  }
}

TEST(S3Store, ServerTextIsOneShortLine) {
  const Error error = PutError({500,
                                {},
                                "<Error><Code>A\x07</Code><Message>" + std::string(5'000, 'x') +
                                    "\xC3\xA4\r\n</Message></Error>"});
  EXPECT_LT(error.message.size(), 600U);
  EXPECT_TRUE(std::all_of(error.message.begin(), error.message.end(),
                          [](unsigned char c) { return c >= 0x20 && c < 0x7f; }));
}

TEST(S3Store, NowIsTheTimeOfTheServer) {
  LoopbackServer server([](const LoopbackRequest&) {
    return LoopbackReply{200, {{"Date", "Tue, 03 Nov 2026 10:00:00 GMT"}}, "<x/>"};
  });
  EXPECT_EQ(FormatUtc(StoreFor(OptionsFor(server))->Now().value()), "2026-11-03T10:00:00Z");
}

// A bucket with `keys`, which is listed in pages.
class Lister {
 public:
  explicit Lister(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  LoopbackReply operator()(const LoopbackRequest& request) const {
    const std::string prefix = request.Query("prefix");
    std::string after = request.Query("continuation-token");
    if (after == "(none)") {
      after = request.Query("start-after");
    } else {
      EXPECT_TRUE(after.starts_with("token+/="));
      after.erase(0, 8);
    }
    const std::size_t page_size = std::stoul(request.Query("max-keys"));
    std::string body =
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<EncodingType>url</EncodingType>";
    std::size_t count = 0;
    std::string last;
    for (const std::string& key : keys_) {
      if (!key.starts_with(prefix) || (after != "(none)" && key <= after)) {
        continue;
      }
      if (count == page_size) {
        return Page(body + "<IsTruncated>true</IsTruncated><NextContinuationToken>token+/=" + last +
                    "</NextContinuationToken>");
      }
      std::string encoded;
      for (const char c : key) {
        encoded += c == ' '                           ? "+"
                   : c == '&' || c == '+' || c == '%' ? fmt::format("%{:02X}", c)
                                                      : std::string(1, c);
      }
      body += fmt::format(
          "<Contents><Key>{}</Key><LastModified>2026-11-03T10:00:00.000Z</LastModified>"
          "<ETag>&quot;0&quot;</ETag><Size>{}</Size></Contents>",
          encoded, count);
      last = key;
      ++count;
    }
    return Page(body + "<IsTruncated>false</IsTruncated>");
  }

 private:
  static LoopbackReply Page(const std::string& body) {
    return {200, {}, body + "</ListBucketResult>"};
  }

  std::vector<std::string> keys_;
};

std::vector<std::string> NamesOf(Store& store, std::string_view prefix = {},
                                 std::string_view start_after = {}) {
  std::vector<std::string> names;
  const Status listed = store.List(prefix, start_after, [&](const ObjectInfo& info) {
    names.push_back(info.name);
    return Ok();
  });
  EXPECT_TRUE(listed) << listed.error().message;
  return names;
}

TEST(S3Store, ListsPageAfterPage) {
  std::vector<std::string> keys = {"other/x"};
  for (int i = 0; i < 2'500; ++i) {
    keys.push_back(fmt::format("some/prefix/a/{:04}", i));
  }
  LoopbackServer server{Lister(keys)};
  const auto store = StoreFor(OptionsFor(server));
  const std::vector<std::string> names = NamesOf(*store, "a/");
  ASSERT_EQ(names.size(), 2'500U);
  EXPECT_EQ(names.front(), "a/0000");
  EXPECT_EQ(names.back(), "a/2499");
  EXPECT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(server.requests().at(0).Query("list-type"), "2");
  EXPECT_EQ(server.requests().at(0).Query("prefix"), "some/prefix/a/");

  EXPECT_EQ(NamesOf(*store, "a/", "a/2479").size(), 20U);
  EXPECT_EQ(server.requests().back().Query("start-after"), "some/prefix/a/2479");
}

TEST(S3Store, DecodesKeysAndSkipsWhatIsNotAnObjectOfOurs) {
  LoopbackServer server{Lister({"with space+%&/", "with space+%&/a b", "with space+%&/a/",
                                "with space+%&/a//c", "with space+%&/a/b"})};
  S3Options options = OptionsFor(server);
  options.prefix = "with space+%&";
  const auto store = StoreFor(options);
  EXPECT_THAT(NamesOf(*store), testing::ElementsAre("a/b"));
  EXPECT_EQ(store->location(), "s3://bucket/with space+%&");
}

TEST(S3Store, ABucketWithoutPrefix) {
  LoopbackServer server{Lister({"a", "b/c"})};
  S3Options options = OptionsFor(server);
  options.prefix.clear();
  const auto store = StoreFor(options);
  EXPECT_EQ(store->location(), "s3://bucket");
  EXPECT_THAT(NamesOf(*store), testing::ElementsAre("a", "b/c"));
  EXPECT_EQ(server.requests().at(0).target.substr(0, 8), "/bucket?");
}

// MinIO answers 400 to such a prefix.
TEST(S3Store, DoesNotAskForNamesThatCannotBe) {
  LoopbackServer server{Lister({"some/prefix/a", "some/prefix/a.b"})};
  const auto store = StoreFor(OptionsFor(server));
  for (const char* prefix : {"../", "/", "a//", "a b", ".veza-tmp-"}) {
    EXPECT_THAT(NamesOf(*store, prefix), testing::IsEmpty()) << prefix;
  }
  EXPECT_TRUE(server.requests().empty());
  EXPECT_THAT(NamesOf(*store, "a."), testing::ElementsAre("a.b"));
  EXPECT_THAT(NamesOf(*store, "a"), testing::ElementsAre("a", "a.b"));
}

TEST(S3Store, RefusesAListingOutOfOrder) {
  LoopbackServer server{Lister({"some/prefix/b", "some/prefix/a"})};
  const Status listed =
      StoreFor(OptionsFor(server))->List("", "", [](const ObjectInfo&) { return Ok(); });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, ErrorCode::kUnsupported);
}

TEST(S3Store, RefusesAListingOfSomethingElse) {
  const auto refuses = [](const char* content) {
    LoopbackServer server{[&](const LoopbackRequest&) {
      return LoopbackReply{200,
                           {},
                           fmt::format("<ListBucketResult><IsTruncated>false</IsTruncated>{}"
                                       "</ListBucketResult>",
                                       content)};
    }};
    const auto store = StoreFor(OptionsFor(server));
    const Status listed = store->List("wal/", "", [](const ObjectInfo&) { return Ok(); });
    const auto directories = store->ListDirectories("wal/");
    ASSERT_FALSE(listed) << content;
    ASSERT_FALSE(directories) << content;
    for (const Error& error : {listed.error(), directories.error()}) {
      EXPECT_EQ(error.code, ErrorCode::kUnsupported);
      EXPECT_THAT(error.message, HasSubstr("do not begin with the prefix"));
    }
  };
  refuses(
      "<Contents><Key>some/prefix/backup/x</Key><LastModified>2026-11-03T10:00:00.000Z"
      "</LastModified><Size>1</Size></Contents>");
  refuses(
      "<Contents><Key>wal/x</Key><LastModified>2026-11-03T10:00:00.000Z</LastModified>"
      "<Size>1</Size></Contents>");
  refuses("<CommonPrefixes><Prefix>some/prefix/backup/</Prefix></CommonPrefixes>");
}

// A server whose listing never ends (core/limits.h).
TEST(S3Store, GivesUpAListingWithoutEnd) {
  LoopbackServer same{[](const LoopbackRequest&) {
    return LoopbackReply{200,
                         {},
                         "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t"
                         "</NextContinuationToken></ListBucketResult>"};
  }};
  const Status listed =
      StoreFor(OptionsFor(same))->List("", "", [](const ObjectInfo&) { return Ok(); });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(listed.error().message, HasSubstr("the same page of a listing again and again"));
  EXPECT_EQ(same.requests().size(), 2U);

  std::atomic<int> number = 0;
  LoopbackServer endless{[&](const LoopbackRequest&) {
    std::string body = fmt::format(
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t{}"
        "</NextContinuationToken>",
        number.load());
    for (int i = 0; i < 5000; ++i) {
      body += fmt::format("<CommonPrefixes><Prefix>some/prefix/{}/</Prefix></CommonPrefixes>",
                          number++);
    }
    return LoopbackReply{200, {}, body + "</ListBucketResult>"};
  }};
  const auto directories = StoreFor(OptionsFor(endless))->ListDirectories("");
  ASSERT_FALSE(directories);
  EXPECT_EQ(directories.error().code, ErrorCode::kDataCorrupted);
  EXPECT_LE(endless.requests().size(), 21U);
}

TEST(S3Store, AnythingElseThanAListingIsAnError) {
  for (const char* body :
       {"", "<html/>", "<ListBucketResult/>", "not xml",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>some/prefix/a</Key>"
        "</Contents></ListBucketResult>"}) {
    LoopbackServer server([&](const LoopbackRequest&) { return LoopbackReply{200, {}, body}; });
    const Status listed =
        StoreFor(OptionsFor(server))->List("", "", [](const ObjectInfo&) { return Ok(); });
    ASSERT_FALSE(listed) << body;
    EXPECT_EQ(listed.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(listed.error().message, HasSubstr("could not list \"s3://bucket/some/prefix/\""));
  }
}

// Wrong settings that MakeS3Store() refuses.

Error SettingError(const std::function<void(S3Options&)>& change) {
  S3Options options;
  options.bucket = "bucket";
  options.endpoint = "https://s3.example.com";
  options.access_key = "key";
  options.secret_key = kSecretKey;
  change(options);
  auto store = MakeS3Store(options, Environment{});
  return store ? Error{} : store.error();
}

TEST(S3Store, RefusesWrongSettingsByName) {
  const std::pair<const char*, std::function<void(S3Options&)>> wrong[] = {
      {"veza_backup.repository", [](S3Options& o) { o.bucket = ""; }},
      {"veza_backup.repository", [](S3Options& o) { o.bucket = "a/b"; }},
      {"veza_backup.repository", [](S3Options& o) { o.bucket = "a..b"; }},
      {"veza_backup.repository", [](S3Options& o) { o.prefix = "/a"; }},
      {"veza_backup.repository", [](S3Options& o) { o.prefix = "a/../b"; }},
      {"veza_backup.repository", [](S3Options& o) { o.prefix = "a\n"; }},
      {"veza_backup.repository", [](S3Options& o) { o.prefix = std::string(301, 'a'); }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = ""; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "s3.example.com"; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "ftp://s3.example.com"; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "https://"; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "https://h:99999"; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "https://u:secret@h"; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "https://h/path"; }},
      {"veza_backup.s3_endpoint", [](S3Options& o) { o.endpoint = "https://h?q"; }},
      {"veza_backup.s3_region", [](S3Options& o) { o.region = ""; }},
      {"veza_backup.s3_access_key", [](S3Options& o) { o.access_key = ""; }},
      {"veza_backup.s3_secret_key", [](S3Options& o) { o.secret_key = ""; }},
      {"veza_backup.s3_connections", [](S3Options& o) { o.max_connections = 0; }},
      {"veza_backup.s3_uri_style",
       [](S3Options& o) {
         o.uri_style = S3UriStyle::kVirtualHost;
         o.endpoint = "http://127.0.0.1:80";
       }},
      {"veza_backup.repository",
       [](S3Options& o) {
         o.uri_style = S3UriStyle::kVirtualHost;
         o.bucket = "Not_Dns";
       }},
  };
  for (const auto& [setting, change] : wrong) {
    const Error error = SettingError(change);
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << setting << " " << error.message;
    EXPECT_THAT(error.hint, HasSubstr(setting)) << error.message;
    EXPECT_THAT(error.message, Not(HasSubstr("secret@")));
  }
  for (const char* endpoint : {"https://h", "https://h/", "http://h:9000", "https://[::1]:9000",
                               "http://10.0.0.1", "https://h:443"}) {
    EXPECT_EQ(SettingError([&](S3Options& o) { o.endpoint = endpoint; }).message, "") << endpoint;
  }
}

// Gives numbered credentials: the next ones whenever S3 has refused the last.
class NumberedCredentials final : public CredentialProvider {
 public:
  explicit NumberedCredentials(int most) : most_(most) {}
  const std::string& description() const override { return description_; }
  Result<S3CredentialsPtr> Get(const Environment&) override {
    if (is_away) {
      return MakeError(ErrorCode::kCredentials, "the file is away");
    }
    return Current();
  }
  Result<S3CredentialsPtr> Replace(const S3Credentials&, const Environment&) override {
    if (number_ == most_) {
      return S3CredentialsPtr();
    }
    if (has_no_others) {
      return MakeError(ErrorCode::kCredentials, "the service is away");
    }
    ++number_;
    return Current();
  }

  std::atomic<bool> is_away = false;
  std::atomic<bool> has_no_others = false;

 private:
  S3CredentialsPtr Current() const {
    return std::make_shared<S3Credentials>(
        S3Credentials{{"ASIA" + std::to_string(number_), SecretString(kSecretKey)},
                      SecretString(fmt::format("token-{}", number_)),
                      {}});
  }
  const std::string description_ = "a test";
  const int most_;
  int number_ = 1;
};

TEST(S3Store, ARefusedTokenIsTriedOnceMoreWithANewOne) {
  for (const char* code : {"ExpiredToken", "InvalidToken", "InvalidTokenId", "TokenRefreshRequired",
                           "InvalidAccessKeyId", "SignatureDoesNotMatch"}) {
    std::string body;
    LoopbackServer server([&](const LoopbackRequest& request) {
      if (request.headers.at("x-amz-security-token") == "token-1") {
        return ErrorReply(400, code);
      }
      body = request.body;
      return LoopbackReply{};
    });
    S3Options options = OptionsFor(server);
    options.credentials = std::make_shared<NumberedCredentials>(9);
    const Status put =
        PutSmall(*StoreFor(options), "a/b", AsBytes("the whole body"), PutMode::kCreate);
    EXPECT_TRUE(put) << put.error().message;
    EXPECT_EQ(body, "the whole body");
    EXPECT_EQ(server.requests().size(), 2U);
    EXPECT_THAT(server.requests().at(1).headers.at("authorization"),
                HasSubstr("Credential=ASIA2/"));
  }
}

TEST(S3Store, WhatS3SaidIsNotHiddenByTheProvider) {
  LoopbackServer server([](const LoopbackRequest&) { return ErrorReply(400, "ExpiredToken"); });
  S3Options options = OptionsFor(server);
  const auto credentials = std::make_shared<NumberedCredentials>(9);
  credentials->has_no_others = true;
  options.credentials = credentials;
  const Status put = PutSmall(*StoreFor(options), "a/b", AsBytes("x"), PutMode::kCreate);
  EXPECT_THAT(put.error().message,
              HasSubstr("server answered 400 ExpiredToken: the service is away"));
}

TEST(S3Store, ARefusedTokenIsTriedOnlyOnceMore) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return ErrorReply(400, "ExpiredToken",
                      "<Token>" + request.headers.at("x-amz-security-token") + "</Token>");
  });
  S3Options options = OptionsFor(server);
  options.credentials = std::make_shared<NumberedCredentials>(9);
  const Status put = PutSmall(*StoreFor(options), "a/b", AsBytes("x"), PutMode::kCreate);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kCredentials);
  EXPECT_FALSE(put.error().retryable);
  EXPECT_THAT(put.error().hint, HasSubstr("veza_backup.s3_credentials"));
  EXPECT_EQ(server.requests().size(), 2U);
  options.credentials = std::make_shared<NumberedCredentials>(1);
  EXPECT_FALSE(PutSmall(*StoreFor(options), "a/b", AsBytes("x"), PutMode::kCreate));
  EXPECT_EQ(server.requests().size(), 3U) << "there were no others";
}

// Who rotates keys may write them one after the other: in between they do not fit together.
TEST(S3Store, OtherCredentialsAreWaitedForWhenTheOldOnesWereAccepted) {
  std::atomic<bool> refuses = false;
  LoopbackServer server([&](const LoopbackRequest&) {
    return refuses ? ErrorReply(403, "SignatureDoesNotMatch") : LoopbackReply{};
  });
  S3Options options = OptionsFor(server);
  const auto credentials = std::make_shared<NumberedCredentials>(1);
  options.credentials = credentials;
  TestClock clock;
  Environment environment;
  environment.clock = &clock;
  const auto store = MakeS3Store(options, environment).value();
  const auto put = [&] { return PutSmall(*store, "a/b", AsBytes("x"), PutMode::kReplace); };
  ASSERT_TRUE(put());
  refuses = true;
  for (int i = 0; i < 6; ++i) {
    credentials->is_away = i % 2 == 1;
    EXPECT_TRUE(put().error().retryable);
    clock.Sleep(std::chrono::seconds(10), nullptr);
  }
  EXPECT_FALSE(put().error().retryable) << "a minute later";
  EXPECT_EQ(put().error().code, ErrorCode::kCredentials);
  refuses = false;
  credentials->is_away = false;
  ASSERT_TRUE(put());
  refuses = true;
  EXPECT_TRUE(put().error().retryable) << "the next rotation has a minute of its own";

  options.credentials = nullptr;  // keys that never change
  refuses = false;
  const auto fixed = MakeS3Store(options, environment).value();
  ASSERT_TRUE(PutSmall(*fixed, "a/b", AsBytes("x"), PutMode::kReplace));
  refuses = true;
  EXPECT_FALSE(PutSmall(*fixed, "a/b", AsBytes("x"), PutMode::kReplace).error().retryable);
}

// Another owner of the keys would not have more rights.
TEST(S3Store, ALackOfRightsIsNoRefusalOfTheCredentials) {
  LoopbackServer server([](const LoopbackRequest&) { return ErrorReply(403, "AccessDenied"); });
  S3Options options = OptionsFor(server);
  options.credentials = std::make_shared<NumberedCredentials>(9);
  const Status put = PutSmall(*StoreFor(options), "a/b", AsBytes("x"), PutMode::kCreate);
  EXPECT_EQ(put.error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(S3Store, ATokenOfAProviderIsNotQuoted) {
  LoopbackServer server([](const LoopbackRequest& request) {
    return LoopbackReply{.status = 403,
                         .body = "<Error><Code>AccessDenied</Code><Message>bad &#116;oken-1 and " +
                                 request.headers.at("x-amz-security-token") + "</Message></Error>"};
  });
  S3Options options = OptionsFor(server);
  options.credentials = std::make_shared<NumberedCredentials>(1);
  const Status put = PutSmall(*StoreFor(options), "a/b", AsBytes("x"), PutMode::kCreate);
  EXPECT_THAT(put.error().message, AllOf(HasSubstr("bad *** and ***"), Not(HasSubstr("token-1"))));
}

// A provider that fails says nothing about the object.
TEST(S3Store, WithoutCredentialsNoRequestIsSent) {
  class NoCredentials final : public CredentialProvider {
   public:
    const std::string& description() const override { return description_; }
    Result<S3CredentialsPtr> Get(const Environment&) override {
      return MakeError(ErrorCode::kCredentials, "the service is away");
    }
    Result<S3CredentialsPtr> Replace(const S3Credentials&, const Environment&) override {
      return S3CredentialsPtr();
    }
    const std::string description_ = "a test";
  };
  LoopbackServer server([](const LoopbackRequest&) { return LoopbackReply{}; });
  S3Options options = OptionsFor(server);
  options.credentials = std::make_shared<NoCredentials>();
  const auto head = StoreFor(options)->Head("a/b");
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::kCredentials);
  EXPECT_EQ(head.error().message,
            "could not look up object \"s3://bucket/some/prefix/a/b\": the service is away");
  EXPECT_TRUE(server.requests().empty());
}

}  // namespace
}  // namespace veza
