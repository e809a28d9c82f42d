// What reaches an S3 server through all the stores that ConnectStore() puts on top of each other.
#include "core/repository/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "core/s3/loopback_server.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr const char* kSegment = "wal/1/00000001/00000000/000000010000000000000001";

// Keeps names, honours If-None-Match, and refuses one storage class.
class SmallServer {
 public:
  SmallServer() : server_([this](const LoopbackRequest& request) { return Answer(request); }) {}

  Config ConfigWithClass(const std::string& storage_class) const {
    Config config;
    config.kind = RepositoryKind::kS3;
    config.s3.bucket = "bucket";
    config.s3.prefix = "main";
    config.s3.endpoint = server_.endpoint();
    config.s3.access_key = "AKIA7";
    config.s3.secret_key = "k7Jd0";
    config.s3.objects.storage_class = storage_class;
    return config;
  }
  // The storage class with which the object was written; "none" when it was written without one.
  std::string ClassOf(const std::string& name) const {
    std::string found;
    for (const LoopbackRequest& request : server_.requests()) {
      if (request.method == "PUT" && request.target == "/bucket/main/" + name) {
        const auto header = request.headers.find("x-amz-storage-class");
        found = header == request.headers.end() ? "none" : header->second;
      }
    }
    return found;
  }

 private:
  static LoopbackReply Refusal(int status, const std::string& code) {
    return {status, {}, fmt::format("<Error><Code>{0}</Code><Message>{0}</Message></Error>", code)};
  }

  LoopbackReply Answer(const LoopbackRequest& request) {
    const std::lock_guard lock(mutex_);
    if (request.method != "PUT") {
      return Refusal(404, "NoSuchKey");
    }
    const auto storage_class = request.headers.find("x-amz-storage-class");
    if (storage_class != request.headers.end() && storage_class->second == "NO_SUCH_CLASS") {
      return Refusal(400, "InvalidStorageClass");
    }
    const bool is_new = names_.insert(request.target).second;
    return is_new || !request.headers.contains("if-none-match")
               ? LoopbackReply{}
               : Refusal(412, "PreconditionFailed");
  }

  std::mutex mutex_;
  std::set<std::string> names_;
  LoopbackServer server_;
};

Status Write(const Config& config, const std::string& name, PutMode mode = PutMode::kCreate) {
  const std::shared_ptr<Store> store =
      ConnectStore(config, Environment{}, RetryPolicy{.max_attempts = 1}).value();
  return PutSmall(*store, name, AsBytes("x"), mode);
}

TEST(ConnectStore, TheStorageClassIsForBackupsAndWalWhateverWritesThem) {
  for (const bool looks : {false, true}) {
    const SmallServer server;
    Config config = server.ConfigWithClass("STANDARD_IA");
    config.looks_before_writes = looks;
    for (const char* name : {kSegment, "backup/20260101-000000F/backup.json", "walindex/1/1/a"}) {
      EXPECT_TRUE(Write(config, name));
      EXPECT_EQ(server.ClassOf(name), "STANDARD_IA") << name;
    }
    for (const char* name : {"lock/1", "lease/1", "identity/1", "key/1", "pin/1"}) {
      EXPECT_TRUE(Write(config, name));
      EXPECT_EQ(server.ClassOf(name), "none") << name;
    }
  }
}

// The trial of conditional writes must not take the refusal of a class for its own.
TEST(ConnectStore, AStorageClassThatTheServerDoesNotHaveIsNamed) {
  const SmallServer server;
  const Status written = Write(server.ConfigWithClass("NO_SUCH_CLASS"), kSegment);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("InvalidStorageClass"));
  EXPECT_THAT(written.error().hint, HasSubstr("veza_backup.s3_storage_class"));
}

}  // namespace
}  // namespace veza
