#include "core/archive/sealed_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace veza {
namespace {

constexpr std::uint64_t kSegmentSize = 1U << 20;
// What a segment can need: itself, a little more, and a frame.
constexpr std::size_t kLargest = kSegmentSize + kSegmentSize / 64 + (1U << 20);

TEST(SealedMemoryTest, TheFileThatIsAskedForHasAPartOfItsOwn) {
  SealedMemory memory(3 * kLargest, kSegmentSize);
  SealedMemory::Share asked(memory);
  EXPECT_EQ(asked.ReserveForAskedFile(), 3 * kLargest);
  asked.Keep(kLargest);
  SealedMemory::Share ahead[4] = {SealedMemory::Share(memory), SealedMemory::Share(memory),
                                  SealedMemory::Share(memory), SealedMemory::Share(memory)};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ahead[i].ReserveForFileAhead(), kLargest);
  }
  EXPECT_EQ(ahead[3].ReserveForFileAhead(), 0);
  SealedMemory::Share asked_later(memory);
  EXPECT_EQ(asked_later.ReserveForAskedFile(), 3 * kLargest);
}

TEST(SealedMemoryTest, WhatAFileDoesNotNeedIsForTheNext) {
  SealedMemory memory(kLargest + 100, kSegmentSize);
  SealedMemory::Share first(memory);
  EXPECT_EQ(first.ReserveForFileAhead(), kLargest);
  {
    SealedMemory::Share second(memory);
    EXPECT_EQ(second.ReserveForFileAhead(), 100);
    first.Keep(1000);
    SealedMemory::Share third(memory);
    EXPECT_EQ(third.ReserveForFileAhead(), kLargest - 1000);
  }
  SealedMemory::Share fourth(memory);
  EXPECT_EQ(fourth.ReserveForFileAhead(), kLargest - 900) << "the others have ended";
}

TEST(SealedMemoryTest, AFileThatDoesNotFitTakesNothing) {
  SealedMemory memory(1000, kSegmentSize);
  SealedMemory::Share first(memory);
  EXPECT_EQ(first.ReserveForFileAhead(), 1000);
  first.Keep(1001);  // it is in a temporary file
  SealedMemory::Share second(memory);
  EXPECT_EQ(second.ReserveForFileAhead(), 1000);
  second.Keep(1000);
  SealedMemory::Share third(memory);
  EXPECT_EQ(third.ReserveForFileAhead(), 0);
}

TEST(SealedMemoryTest, ThreadsNeverHaveMoreThanThereIs) {
  constexpr std::size_t kPart = 2 * kLargest + 12345;
  SealedMemory memory(kPart, kSegmentSize);
  std::atomic<std::size_t> taken{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (std::size_t round = 0; round < 100; ++round) {
        SealedMemory::Share share(memory);
        const std::size_t limit = share.ReserveForFileAhead();
        EXPECT_LE(taken += limit, kPart);
        std::this_thread::yield();
        const std::size_t kept = limit / (1 + (round + i) % 3);
        taken -= limit - kept;
        share.Keep(kept);
        std::this_thread::yield();
        taken -= kept;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  SealedMemory::Share whole[3] = {SealedMemory::Share(memory), SealedMemory::Share(memory),
                                  SealedMemory::Share(memory)};
  std::size_t free = 0;
  for (SealedMemory::Share& share : whole) {
    free += share.ReserveForFileAhead();
  }
  EXPECT_EQ(free, kPart) << "everything was given back";
}

}  // namespace
}  // namespace veza
