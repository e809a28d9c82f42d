// A repository in a directory of its own, on a store that can be told to fail.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/archive/push_wal_file.h"
#include "core/archive/wal_archive.h"
#include "core/codec/codec_fixtures.h"
#include "core/codec/document.h"
#include "core/codec/hand_made_wrap.h"
#include "core/config/temporary_directory.h"
#include "core/repository/names.h"
#include "core/repository/repository.h"
#include "core/storage/fault_store.h"
#include "core/storage/local_store.h"
#include "core/test_files.h"

namespace veza {

inline constexpr std::uint64_t kTestSystem = 7711348379840072545U;
inline constexpr std::uint64_t kTestSegmentSize = 1U << 20;
inline constexpr const char* kTestPassphrase = "correct horse battery staple";

inline Identity TestIdentity(std::uint64_t system_identifier = kTestSystem) {
  Identity identity;
  identity.system_identifier = system_identifier;
  identity.postgres_version_num = 150020;
  identity.wal_segment_size = kTestSegmentSize;
  identity.block_size = 8192;
  return identity;
}

// An identity as somebody can write it who has access to the store and no key.
inline std::string SignedWithoutKey(const NamedText& identity) {
  Json document = ParseJsonObject(identity.text).value();
  document.erase("mac");
  document.erase("mac_algorithm");
  return SignDocument(std::move(document), TestPolicy(Cipher::kNone), identity.name).value();
}

// A clock that stands still except during Sleep(), which takes no real time. Thread-safe.
class TestClock final : public Clock {
 public:
  TimePoint Now() const override { return kTestTime + std::chrono::microseconds(passed_.load()); }
  SteadyTime Steady() const override {
    return SteadyTime(std::chrono::microseconds(passed_.load()));
  }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    passed_ += std::chrono::microseconds(duration).count();
    if (on_sleep) {
      on_sleep();
    }
    return cancellation == nullptr || !cancellation->cancelled();
  }

  std::function<void()> on_sleep;  // set it before threads run

 private:
  mutable std::atomic<std::int64_t> passed_{0};
};

class TestRepository {
 public:
  // `writes`: by which method digests are made. A repository without a key has kSha256 only.
  explicit TestRepository(Cipher cipher = Cipher::kNone,
                          DigestMethod writes = DigestMethod::kSha256) {
    options_.for_writing = writes == DigestMethod::kGmac;
    environment_.clock = &clock_;
    options_.cipher = cipher;
    if (cipher != Cipher::kNone) {
      options_.passphrase = SecretString(kTestPassphrase);
    }
    options_.node = "node-a";
    options_.spill_directory = directory_.path();
    for (const auto& [name, text] : InitialObjects(cipher)) {
      WriteText(PathOf(name), text);
    }
    store_ = MakeStore();
    Result<std::unique_ptr<Repository>> repository =
        Repository::Open(store_, options_, environment_);
    if (!repository) {
      ADD_FAILURE() << repository.error().message;
      std::abort();
    }
    repository_ = std::move(*repository);
  }

  // From now on, digests are made by this method: the repository is opened again, as by a node of
  // another version.
  void WriteBy(DigestMethod writes) {
    options_.for_writing = writes == DigestMethod::kGmac;
    repository_ = Repository::Open(store_, options_, environment_).value();
    EXPECT_EQ(repository_->digest_method(), writes);
  }

  const Repository& operator*() const { return *repository_; }
  const Repository* operator->() const { return repository_.get(); }
  FaultStore& store() const { return *store_; }
  TestClock& clock() { return clock_; }
  Cancellation& cancellation() const { return *environment_.cancellation; }
  const Environment& environment() const { return environment_; }
  const RepositoryOptions& options() const { return options_; }
  WalArchive wal() const { return {*repository_, kTestSystem}; }

  // The file in which the store keeps an object. Tests damage it.
  std::string PathOf(const std::string& name) const {
    return directory_.path() + "/repository/" + name;
  }
  bool Exists(const std::string& name) const { return std::filesystem::exists(PathOf(name)); }
  // A directory for files that are not objects.
  std::string Scratch(const std::string& name) const { return directory_.path() + "/" + name; }

  // Archives a WAL file with this content.
  Result<PushOutcome> PushWal(const std::string& file, ByteView content) const {
    const std::string path = Scratch("push-" + file);
    WriteBytes(path, content);
    return PushWalFile(wal(), file, path);
  }
  // Archives a segment of zeros.
  void PushSegment(TimelineId timeline, SegmentNumber number) const {
    EXPECT_OK(PushWal(SegmentName(timeline, number, kTestSegmentSize), Bytes(kTestSegmentSize)));
  }

  // Opens the same repository again, with other options.
  std::shared_ptr<FaultStore> MakeStore() const {
    return std::make_shared<FaultStore>(
        MakeLocalStore(directory_.path() + "/repository", environment_, environment_.clock)
            .value());
  }

 private:
  // The objects that Initialise() writes, by name. It is called once for each cipher. The key is
  // then wrapped again at the lowest cost, because few tests concern scrypt and many would have to
  // wait for it.
  static const std::map<std::string, std::string>& InitialObjects(Cipher cipher) {
    static std::map<Cipher, std::map<std::string, std::string>> by_cipher;
    std::map<std::string, std::string>& objects = by_cipher[cipher];
    if (!objects.empty()) {
      return objects;
    }
    const TemporaryDirectory directory;
    const TestClock clock;
    Environment environment;
    environment.clock = &clock;
    RepositoryOptions options;
    options.cipher = cipher;
    options.passphrase = SecretString(cipher == Cipher::kNone ? "" : kTestPassphrase);
    options.node = "node-a";
    const std::unique_ptr<Repository> repository =
        Repository::Initialise(
            MakeLocalStore(directory.path() + "/r", environment, environment.clock).value(),
            options, environment, TestIdentity(), false)
            .value();
    EXPECT_OK(repository->store().List("", "", [&](const ObjectInfo& object) {
      objects[object.name] =
          object.name.starts_with(kKeyPrefix)
              ? HandMadeWrap(*repository->seal_policy().key, kTestPassphrase, 2, 1, 1).dump()
              : ReadText(directory.path() + "/r/" + object.name);
      return Ok();
    }));
    return objects;
  }

  TemporaryDirectory directory_;
  TestClock clock_;
  Environment environment_;
  RepositoryOptions options_;
  std::shared_ptr<FaultStore> store_;
  std::unique_ptr<Repository> repository_;
};

}  // namespace veza
