// The conformance suite on the S3 server that the environment names (test/support/rgw.sh starts
// one), over plain HTTP and, if there is an endpoint for it, over TLS.
#include <cstdlib>
#include <memory>

#include "core/s3/loopback_server.h"
#include "core/s3/s3_address.h"
#include "core/s3/s3_client.h"
#include "core/s3/s3_error.h"
#include "core/s3/s3_store.h"
#include "core/storage/store_conformance.h"

namespace veza {
namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Returns options for a new prefix in the test bucket.
S3Options TestOptions(const std::string& endpoint) {
  std::uint8_t unique[8];
  SystemRandom().Fill(unique);
  S3Options options;
  options.endpoint = endpoint;
  options.bucket = FromEnvironment("VEZA_TEST_S3_BUCKET");
  options.prefix = "veza-test/with space+%/" + ToHex(unique);
  options.access_key = FromEnvironment("VEZA_TEST_S3_ACCESS_KEY");
  options.secret_key = FromEnvironment("VEZA_TEST_S3_SECRET_KEY");
  options.ca_file = FromEnvironment("VEZA_TEST_S3_CA_FILE");
  return options;
}

template <const char* const* kEndpointVariable>
class S3Backend {
 public:
  static constexpr int kPageSize = 20;

  S3Backend() : options_(TestOptions(FromEnvironment(*kEndpointVariable))) {
    options_.list_page_size = kPageSize;
  }
  ~S3Backend() {
    if (!Unavailable().empty()) {
      return;
    }
    const std::unique_ptr<Store> store = Make(Environment{});
    EXPECT_TRUE(
        store->List("", "", [&](const ObjectInfo& info) { return store->Delete(info.name); }));
  }

  std::string Unavailable() const {
    return options_.endpoint.empty() ? std::string(*kEndpointVariable) + " is not set" : "";
  }
  std::unique_ptr<Store> Make(Environment environment) {
    return MakeS3Store(options_, std::move(environment)).value();
  }

 private:
  S3Options options_;
};

constexpr const char* kPlain = "VEZA_TEST_S3_ENDPOINT";
constexpr const char* kTls = "VEZA_TEST_S3_TLS_ENDPOINT";

using Backends = testing::Types<S3Backend<&kPlain>, S3Backend<&kTls>>;
INSTANTIATE_TYPED_TEST_SUITE_P(S3, StoreConformance, Backends);

// The response of a real server to wrong settings. Faults that a real server does not produce on
// demand are tested in s3_store_test.cpp.
class S3Server : public testing::Test {
 protected:
  void SetUp() override {
    options_ = TestOptions(FromEnvironment(kPlain));
    if (options_.endpoint.empty()) {
      GTEST_SKIP() << kPlain << " is not set";
    }
  }

  Error FailureOfPut() {
    const auto store = MakeS3Store(options_, Environment{}).value();
    const Status put = PutSmall(*store, "a", AsBytes("x"), PutMode::kCreate);
    EXPECT_FALSE(put);
    return put ? Error{} : put.error();
  }

  S3Options options_;
};

TEST_F(S3Server, RefusesAnUnknownAccessKey) {
  options_.access_key = "nobody";
  const Error error = FailureOfPut();
  EXPECT_EQ(error.code, ErrorCode::kCredentials) << error.message;
  EXPECT_FALSE(error.retryable);
  EXPECT_THAT(error.hint, testing::HasSubstr("veza_backup.s3_access_key"));
}

TEST_F(S3Server, RefusesAWrongSecretKey) {
  options_.secret_key = "wrong-secret-key";
  const Error error = FailureOfPut();
  EXPECT_EQ(error.code, ErrorCode::kCredentials) << error.message;
  EXPECT_FALSE(error.retryable);
  EXPECT_THAT(error.hint, testing::HasSubstr("veza_backup.s3_secret_key"));
  EXPECT_THAT(error.message, testing::Not(testing::HasSubstr("wrong-secret-key")));
}

TEST_F(S3Server, SaysThatTheBucketIsMissing) {
  options_.bucket += "-missing";
  const Error error = FailureOfPut();
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition) << error.message;
  EXPECT_THAT(error.hint, testing::HasSubstr("veza_backup.repository"));

  // No request may mistake this for a missing object.
  const auto store = MakeS3Store(options_, Environment{}).value();
  EXPECT_EQ(store->Head("a").error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(GetSmall(*store, "a", 1U << 20).error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(store->Delete("a").error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(store->ListDirectories("").error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(store->Now().error().code, ErrorCode::kFailedPrecondition);
}

class ClockThatIsWrong final : public Clock {
 public:
  TimePoint Now() const override { return SystemClock().Now() + std::chrono::hours(2); }
  SteadyTime Steady() const override { return SystemClock().Steady(); }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    return SystemClock().Sleep(duration, cancellation);
  }
};

TEST_F(S3Server, SaysThatTheClockIsWrong) {
  const ClockThatIsWrong clock;
  Environment environment;
  environment.clock = &clock;
  const auto store = MakeS3Store(options_, environment).value();
  const Status put = PutSmall(*store, "a", AsBytes("x"), PutMode::kCreate);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kFailedPrecondition) << put.error().message;
  EXPECT_THAT(put.error().hint, testing::HasSubstr("ahead of the S3 server's"));
}

TEST_F(S3Server, IsNotTrustedWithoutItsAuthority) {
  options_.endpoint = FromEnvironment(kTls);
  if (options_.endpoint.empty()) {
    GTEST_SKIP() << kTls << " is not set";
  }
  options_.ca_file.clear();
  const Error untrusted = FailureOfPut();
  EXPECT_EQ(untrusted.code, ErrorCode::kFailedPrecondition) << untrusted.message;
  EXPECT_FALSE(untrusted.retryable);
  EXPECT_THAT(untrusted.hint, testing::HasSubstr("veza_backup.s3_ca_file"));
  EXPECT_THAT(untrusted.message, testing::HasSubstr("could not write object \"s3://"));

  options_.ca_file = "/no/such/file";
  const Error no_file = FailureOfPut();
  EXPECT_EQ(no_file.code, ErrorCode::kInvalidArgument) << no_file.message;
  EXPECT_THAT(no_file.hint, testing::HasSubstr("veza_backup.s3_ca_file"));

  options_.verify_tls = false;
  options_.ca_file.clear();
  const auto store = MakeS3Store(options_, Environment{}).value();
  EXPECT_TRUE(store->Now());
}

TEST_F(S3Server, TakesEveryChecksum) {
  const Bytes content(3'000'000, 'x');
  for (const S3Checksum checksum : {S3Checksum::kSha256, S3Checksum::kMd5, S3Checksum::kNone}) {
    options_.objects.checksum = checksum;
    const auto store = MakeS3Store(options_, Environment{}).value();
    ASSERT_TRUE(PutSmall(*store, "checked", content, PutMode::kReplace));
    EXPECT_EQ(GetSmall(*store, "checked", content.size()).value(), content);
    EXPECT_TRUE(store->Delete("checked"));
  }
}

// The server compares the checksum with what arrives.
TEST_F(S3Server, RefusesContentThatDoesNotMatchItsChecksum) {
  S3Client client(options_, MakeS3Address(options_).value(), Environment{});
  MemoryBody body(AsBytes("x"));
  S3Call call{"PUT", options_.prefix + "/damaged"};
  call.payload_hash = client.HashPayload(body, "damaged").value().sha256;
  call.headers = DocumentHeaders("y");
  call.body = &body;
  const S3Response answer = client.Send(call, "could not write").value();
  EXPECT_EQ(answer.status, 400);
  const Error error = S3ResponseError(answer, "could not write", options_, TimePoint{});
  EXPECT_EQ(error.code, ErrorCode::kDataCorrupted) << error.message;
}

TEST_F(S3Server, KeepsTags) {
  options_.objects.tags = {{"project", "shop + co"}, {"a/b", "c=d+e"}};
  const auto store = MakeS3Store(options_, Environment{}).value();
  const Status put = PutSmall(*store, "tagged", AsBytes("x"), PutMode::kCreate);
  ASSERT_TRUE(put) << put.error().message;
  S3Client client(options_, MakeS3Address(options_).value(), Environment{});
  S3Call call{"GET", options_.prefix + "/tagged"};
  call.query.emplace_back("tagging", "");
  const S3Response answer = client.Send(call, "could not read tags").value();
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.body, testing::AllOf(testing::HasSubstr("<Value>shop + co</Value>"),
                                          testing::HasSubstr("<Key>a/b</Key>"),
                                          testing::HasSubstr("<Value>c=d+e</Value>")));
  EXPECT_TRUE(store->Delete("tagged"));
}

// Only over TLS. The gateway refuses the key elsewhere.
TEST_F(S3Server, EncryptsWithACustomersKey) {
  options_.endpoint = FromEnvironment(kTls);
  if (options_.endpoint.empty()) {
    GTEST_SKIP() << kTls << " is not set";
  }
  const S3Options plain = options_;
  options_.objects.encryption = S3Encryption::kCustomerKey;
  options_.objects.customer_key =
      ParseS3CustomerKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").value();
  const auto store = MakeS3Store(options_, Environment{}).value();
  const Bytes content(3'000'000, 'x');
  ASSERT_TRUE(PutSmall(*store, "sealed", content, PutMode::kCreate));
  EXPECT_EQ(GetSmall(*store, "sealed", content.size()).value(), content);
  EXPECT_EQ(store->Head("sealed").value().size, content.size());
  std::string part;
  EXPECT_TRUE(store->Get("sealed", {2'000'000, 3}, [&](ByteView piece) {
    part += AsText(piece);
    return Ok();
  }));
  EXPECT_EQ(part, "xxx");

  const auto without = MakeS3Store(plain, Environment{}).value();
  const auto unread = GetSmall(*without, "sealed", content.size());
  ASSERT_FALSE(unread);
  EXPECT_EQ(unread.error().code, ErrorCode::kFailedPrecondition) << unread.error().message;
  options_.objects.customer_key = ParseS3CustomerKey(std::string(64, '7')).value();
  EXPECT_FALSE(GetSmall(*MakeS3Store(options_, Environment{}).value(), "sealed", content.size()));
  EXPECT_TRUE(store->Delete("sealed"));
}

TEST_F(S3Server, SaysThatItHasNoSuchStorageClass) {
  options_.objects.storage_class = "STANDARD";
  options_.objects.storage_class_prefixes = {"a"};
  const auto store = MakeS3Store(options_, Environment{}).value();
  EXPECT_TRUE(PutSmall(*store, "a", AsBytes("x"), PutMode::kCreate));
  EXPECT_TRUE(store->Delete("a"));
  options_.objects.storage_class = "NO_SUCH_CLASS";
  const Error error = FailureOfPut();
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition) << error.message;
  EXPECT_THAT(error.hint, testing::HasSubstr("veza_backup.s3_storage_class")) << error.message;
}

// The proxy only opens the tunnel. Inside, the certificate of the S3 server is verified as usual.
TEST_F(S3Server, IsReachedThroughTheTunnelOfAProxy) {
  options_.endpoint = FromEnvironment(kTls);
  if (options_.endpoint.empty()) {
    GTEST_SKIP() << kTls << " is not set";
  }
  LoopbackServer proxy(
      [](const LoopbackRequest&) { return LoopbackReply{.fault = LoopbackReply::Fault::kTunnel}; });
  options_.proxy = proxy.endpoint();
  const auto store = MakeS3Store(options_, Environment{}).value();
  const Bytes content(3'000'000, 'x');
  ASSERT_TRUE(PutSmall(*store, "tunnelled", content, PutMode::kCreate));
  EXPECT_EQ(GetSmall(*store, "tunnelled", content.size()).value(), content);
  EXPECT_TRUE(store->Delete("tunnelled"));
  ASSERT_GT(proxy.connections(), 0);
  for (LoopbackRequest request : proxy.requests()) {
    EXPECT_EQ(request.method, "CONNECT");
    EXPECT_FALSE(request.headers.contains("authorization"));
  }

  options_.ca_file.clear();
  EXPECT_EQ(FailureOfPut().code, ErrorCode::kFailedPrecondition);
}

TEST_F(S3Server, SpeaksTlsOrNot) {
  const std::string tls = FromEnvironment(kTls);
  if (tls.empty()) {
    GTEST_SKIP() << kTls << " is not set";
  }
  options_.endpoint.replace(0, 4, "https");
  EXPECT_THAT(FailureOfPut().hint, testing::HasSubstr("veza_backup.s3_endpoint"));
  options_.endpoint = "http" + tls.substr(5);
  EXPECT_THAT(FailureOfPut().hint, testing::HasSubstr("veza_backup.s3_endpoint"));
}

}  // namespace
}  // namespace veza
