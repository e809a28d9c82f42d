// A repository, in a directory or on S3, whose identity and key the tests delete.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/archive/push_wal_file.h"
#include "core/archive/wal_archive.h"
#include "core/repository/test_backup.h"
#include "core/repository/test_repository.h"
#include "core/s3/s3_store.h"

namespace veza {

inline constexpr std::uint64_t kOtherSystem = 7'000'000'000'000'000'001U;

enum class Backend { kDirectory, kS3 };

class EntranceFixture : public testing::TestWithParam<std::tuple<Backend, Cipher>> {
 protected:
  EntranceFixture() {
    environment_.clock = &clock_;
    options_.cipher = std::get<Cipher>(GetParam());
    options_.passphrase = SecretString(encrypted() ? kTestPassphrase : "");
    options_.node = "node-a";
    options_.spill_directory = directory_.path();
    std::uint8_t unique[8];
    SystemRandom().Fill(unique);
    unique_ = ToHex(unique);
  }
  ~EntranceFixture() override {
    if (store_) {
      EXPECT_OK(store_->List(
          "", "", [&](const ObjectInfo& object) { return store_->Delete(object.name); }));
    }
  }

  void SetUp() override {
    if (std::get<Backend>(GetParam()) == Backend::kS3 && Variable("ENDPOINT").empty()) {
      GTEST_SKIP() << "VEZA_TEST_S3_ENDPOINT is not set";
    }
    store_ = MakeStore("main");
  }

  static std::string Variable(const std::string& name) {
    const char* const value = std::getenv(("VEZA_TEST_S3_" + name).c_str());
    return value == nullptr ? "" : value;
  }
  std::shared_ptr<FaultStore> MakeStore(const std::string& cluster) const {
    if (std::get<Backend>(GetParam()) == Backend::kDirectory) {
      return std::make_shared<FaultStore>(
          MakeLocalStore(directory_.path() + "/" + cluster, environment_, environment_.clock)
              .value());
    }
    S3Options options;
    options.endpoint = Variable("ENDPOINT");
    options.bucket = Variable("BUCKET");
    options.prefix = "veza-test/" + unique_ + "/" + cluster;
    options.access_key = Variable("ACCESS_KEY");
    options.secret_key = Variable("SECRET_KEY");
    // Requests are signed with the real time, because a real store refuses the time of another day.
    return std::make_shared<FaultStore>(MakeS3Store(options, Environment{}).value());
  }

  bool encrypted() const { return std::get<Cipher>(GetParam()) != Cipher::kNone; }
  RepositoryOptions OptionsWith(std::string_view passphrase) const {
    RepositoryOptions options = options_;
    options.passphrase = SecretString(passphrase);
    return options;
  }
  Result<std::unique_ptr<Repository>> Initialise(std::uint64_t system = kTestSystem,
                                                 bool accept = false) {
    return Repository::Initialise(store_, options_, environment_, TestIdentity(system), accept);
  }
  Result<std::unique_ptr<Repository>> Open() {
    return Repository::Open(store_, options_, environment_);
  }

  // All objects whose names begin with `prefix`.
  static Result<std::vector<NamedText>> ReadObjects(Store& store, std::string_view prefix,
                                                    std::size_t size, std::size_t count) {
    ASSIGN_OR_RETURN(std::vector<ObjectInfo> listed, ListAtMost(store, prefix, count));
    std::vector<NamedText> objects;
    for (ObjectInfo& object : listed) {
      ASSIGN_OR_RETURN(const Bytes content, GetListed(store, object, size));
      objects.push_back({std::move(object.name), std::string(AsText(content))});
    }
    return objects;
  }
  std::vector<NamedText> Objects(const std::string& prefix = "") {
    return ReadObjects(*store_, prefix, 64U << 20, 10'000).value();
  }
  std::vector<std::string> Names(const std::string& prefix = "") {
    std::vector<std::string> names;
    for (const NamedText& object : Objects(prefix)) {
      names.push_back(object.name);
    }
    return names;
  }
  void Put(const std::string& name, std::string_view text) {
    EXPECT_OK(PutSmall(*store_, name, AsBytes(text), PutMode::kReplace));
  }
  void Lose(const std::string& prefix) {
    for (const std::string& name : Names(prefix)) {
      EXPECT_OK(store_->Delete(name));
    }
  }
  // Stores a WAL file as the archiver does.
  void PutWal(const Repository& repository, std::uint64_t system = kTestSystem) {
    const std::string path = directory_.path() + "/00000002.history";
    WriteText(path, "1\t0/3000000\tno reason\n");
    EXPECT_OK(PushWalFile(WalArchive(repository, system), "00000002.history", path));
  }
  // Stores a backup.json as the backup worker does. The rest of the backup does not matter here.
  void PutBackup(const Repository& repository, const std::string& label,
                 std::uint64_t system = kTestSystem, bool with_wraps = true) {
    BackupSummary summary = TestSummary(repository, label);
    summary.system_identifier = system;
    if (with_wraps) {
      summary.key_wraps = repository.key_wraps();
    }
    Put(BackupDocumentName(label),
        SerializeSummary(summary, repository.seal_policy()).value_or(""));
  }

  TemporaryDirectory directory_;
  TestClock clock_;
  Environment environment_;
  RepositoryOptions options_;
  std::string unique_;
  std::shared_ptr<FaultStore> store_;
};

inline std::string EntranceTestName(
    const testing::TestParamInfo<std::tuple<Backend, Cipher>>& info) {
  return std::string(std::get<Backend>(info.param) == Backend::kS3 ? "S3" : "Directory") +
         (std::get<Cipher>(info.param) == Cipher::kNone ? "Plain" : "Encrypted");
}

inline auto EntranceTestValues() {
  return testing::Combine(testing::Values(Backend::kDirectory, Backend::kS3),
                          testing::Values(Cipher::kNone, Cipher::kAes256Gcm));
}

}  // namespace veza
