#include "core/backup/pack_uploader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <thread>

#include "core/codec/frame_reader.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr const char* kLabel = "20261122-020000F";

// Uploads wait at the door until it is opened.
class Door {
 public:
  Status Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
    return Ok();
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool WaitFor(int waiting) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return waiting_ >= waiting; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

bool IsPack(FaultStore::Operation operation, std::string_view name) {
  return operation == FaultStore::Operation::kPut && name.find("/pack/") != name.npos;
}

class PackUploaderTest : public testing::Test {
 protected:
  void Start(int uploads) {
    uploader_ = std::make_unique<PackUploader>(*repository_, kLabel, uploads, manifest_, stored_);
  }

  // Reads every extent back from where it is said to be.
  void Check(const std::vector<std::pair<Extent, Bytes>>& extents) {
    std::map<std::uint32_t, std::map<std::uint32_t, const Bytes*>> by_pack;
    for (const auto& [extent, content] : extents) {
      EXPECT_TRUE(by_pack[extent.pack].emplace(extent.frame, &content).second);
    }
    EXPECT_EQ(by_pack.size(), uploader_->packs());
    std::uint64_t stored = 0;
    for (const auto& [number, frames] : by_pack) {
      const std::string name = PackName(kLabel, number);
      FrameReader reader(repository_->seal_policy(), ObjectKind::kPack, name);
      std::size_t seen = 0;
      ASSERT_OK(repository_->store().Get(name, {}, [&, &frames = frames](ByteView piece) {
        stored += piece.size();
        return reader.Feed(piece,
                           [&](std::uint64_t frame, std::uint64_t, const ObjectOpener& opener,
                               ByteView sealed) -> Status {
                             Bytes plain;
                             RETURN_IF_ERROR(opener.Open(frame, sealed, plain));
                             EXPECT_EQ(plain, *frames.at(static_cast<std::uint32_t>(frame)));
                             ++seen;
                             return Ok();
                           });
      }));
      ASSERT_OK(reader.Finish());
      EXPECT_EQ(seen, frames.size());
    }
    EXPECT_EQ(stored, stored_);
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  ManifestWriter manifest_{*repository_, kLabel};
  std::atomic<std::uint64_t> stored_{0};
  Door door_;  // outlives the threads of the uploader, which may wait at it until they end
  std::unique_ptr<PackUploader> uploader_;
};

TEST_F(PackUploaderTest, ManyThreadsFillPacksThatComeBackWhole) {
  Start(3);
  std::mutex mutex;
  std::vector<std::pair<Extent, Bytes>> extents;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 24; ++i) {
        Bytes content = NoiseBytes(i % 3 == 0 ? 100 + i : 500'000 + 1000 * i, 100 * t + i);
        const auto extent = uploader_->Add(kFrameStored, content);
        ASSERT_OK(extent);
        const std::lock_guard lock(mutex);
        extents.emplace_back(*extent, std::move(content));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  ASSERT_OK(uploader_->Finish());
  EXPECT_GE(uploader_->packs(), 4U);
  Check(extents);
}

TEST_F(PackUploaderTest, NothingAddedIsNoPack) {
  Start(2);
  ASSERT_OK(uploader_->Finish());
  EXPECT_EQ(uploader_->packs(), 0U);
  EXPECT_FALSE(repository_.Exists(BackupDirectory(kLabel)));
}

// The store takes nothing. Add() must wait when there are uploads + 1 packs, but not for ever.
TEST_F(PackUploaderTest, WaitsWhenAllPacksAreBeingStored) {
  repository_.store().SetHook([this](FaultStore::Operation operation, std::string_view name) {
    return IsPack(operation, name) ? door_.Pass() : Ok();
  });
  constexpr int kUploads = 2;
  constexpr std::size_t kBound = (kUploads + 1) * (17U << 20);
  Start(kUploads);
  const Bytes content = NoiseBytes(kExtentSize);
  constexpr std::size_t kExtents = 80;
  std::atomic<std::size_t> added{0};
  std::vector<std::pair<Extent, Bytes>> extents;
  std::thread adder([&] {
    for (std::size_t i = 0; i < kExtents; ++i) {
      const auto extent = uploader_->Add(kFrameStored, content);
      ASSERT_OK(extent);
      extents.emplace_back(*extent, content);
      ++added;
    }
  });
  EXPECT_TRUE(door_.WaitFor(kUploads));
  std::size_t before = 0;
  do {  // until nothing moves
    before = added;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  } while (added != before);
  EXPECT_LE(added * content.size(), kBound);
  EXPECT_GE(added * content.size(), kUploads * kPackTarget);
  door_.Open();
  adder.join();
  ASSERT_OK(uploader_->Finish());
  Check(extents);
}

TEST_F(PackUploaderTest, AFailureOfTheStoreEndsEverything) {
  repository_.store().SetHook([](FaultStore::Operation operation, std::string_view name) -> Status {
    if (IsPack(operation, name) && name.ends_with("00000002")) {
      return MakeError(ErrorCode::kNoSpace, "no room for \"{}\"", name);
    }
    return Ok();
  });
  Start(1);
  const Bytes content = NoiseBytes(kExtentSize);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (;;) {
        const auto extent = uploader_->Add(kFrameStored, content);
        if (!extent) {
          EXPECT_EQ(extent.error().code, ErrorCode::kNoSpace);
          return;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const Status finished = uploader_->Finish();
  EXPECT_ERROR(finished, ErrorCode::kNoSpace);
  EXPECT_THAT(finished.error().message, HasSubstr("00000002"));
}

TEST_F(PackUploaderTest, AFailureOfTheLastPackIsReportedByFinish) {
  repository_.store().SetHook([](FaultStore::Operation operation, std::string_view name) -> Status {
    if (IsPack(operation, name)) {
      return MakeError(ErrorCode::kPermissionDenied, "no");
    }
    return Ok();
  });
  Start(2);
  ASSERT_OK(uploader_->Add(0, NoiseBytes(100)));
  EXPECT_ERROR(uploader_->Finish(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(stored_, 0U);
}

// Another process has stored a pack under the name. It is kept, and reported.
TEST_F(PackUploaderTest, OverwritesNothing) {
  WriteText(repository_.PathOf(PackName(kLabel, 1)), "of another writer");
  Start(1);
  ASSERT_OK(uploader_->Add(0, NoiseBytes(100)));
  EXPECT_ERROR(uploader_->Finish(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(ReadText(repository_.PathOf(PackName(kLabel, 1))), "of another writer");
}

TEST_F(PackUploaderTest, AbortWakesWhoWaitsAndTheFirstReasonStays) {
  repository_.store().SetHook([this](FaultStore::Operation operation, std::string_view name) {
    return IsPack(operation, name) ? door_.Pass() : Ok();
  });
  Start(1);
  const Bytes content = NoiseBytes(kExtentSize);
  std::thread adder([&] {
    for (;;) {
      const auto extent = uploader_->Add(kFrameStored, content);
      if (!extent) {
        EXPECT_EQ(extent.error().message, "first");
        return;
      }
    }
  });
  EXPECT_TRUE(door_.WaitFor(1));
  uploader_->Abort(MakeError(ErrorCode::kCancelled, "first"));
  adder.join();
  uploader_->Abort(MakeError(ErrorCode::kInternal, "second"));
  EXPECT_EQ(uploader_->Add(0, content).error().message, "first");
  EXPECT_EQ(uploader_->Finish().error().message, "first");
  door_.Open();
}

TEST_F(PackUploaderTest, MayBeDestroyedInTheMiddle) {
  Start(2);
  const Bytes content = NoiseBytes(kExtentSize);
  for (int i = 0; i < 20; ++i) {
    ASSERT_OK(uploader_->Add(kFrameStored, content));
  }
  uploader_.reset();
}

// Runs in a child, which has limits of its own. Processes of root are not counted.
void RunWithoutThreads() {
  TestRepository repository;
  ManifestWriter manifest(*repository, kLabel);
  std::atomic<std::uint64_t> stored{0};
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_NPROC, &none) != 0 || setresuid(65534, 65534, 65534) != 0) {
    _exit(3);
  }
  PackUploader uploader(*repository, kLabel, 4, manifest, stored);
  const auto added = uploader.Add(0, NoiseBytes(100));
  const Status finished = uploader.Finish();
  const bool said = !added && !finished && added.error().code == ErrorCode::kUnavailable &&
                    finished.error().message.find("thread") != std::string::npos;
  _exit(said ? 0 : 4);
}

TEST(PackUploader, WantOfThreadsIsAnErrorAndNoEnd) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  EXPECT_EXIT(RunWithoutThreads(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace veza
