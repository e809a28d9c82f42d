#include "core/archive/sealing_turns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

namespace veza {
namespace {

constexpr std::uint64_t kSegmentSize = 16U << 20;

TEST(SealingTurnsTest, ThereAreAsManyAsWantedIfTheMemoryIsEnough) {
  const std::size_t one = WalScratch::MemoryFor(kSegmentSize);
  EXPECT_EQ(SealingTurns::CountFor(4, 4 * one, kSegmentSize), 4);
  EXPECT_EQ(SealingTurns::CountFor(4, 4 * one - 1, kSegmentSize), 3);
  EXPECT_EQ(SealingTurns::CountFor(4, 100 * one, kSegmentSize), 4);
  EXPECT_EQ(SealingTurns::CountFor(4, 0, kSegmentSize), 1);
  EXPECT_EQ(SealingTurns::CountFor(0, 4 * one, kSegmentSize), 1);
  // Such a segment is sealed piece by piece.
  EXPECT_EQ(SealingTurns::CountFor(4, 0, 2 * WalScratch::kLargest), 4);
}

TEST(SealingTurnsTest, NoMoreThreadsThanTurnsSealAtATime) {
  constexpr int kTurns = 2;
  SealingTurns turns(kTurns);
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  std::atomic<int> ended{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 40; ++round) {
        SealingTurns::Turn turn(turns);
        const int together = ++now;
        for (int seen = most; seen < together && !most.compare_exchange_weak(seen, together);) {
        }
        // Nobody else has the same working memory.
        turn.scratch()->plain.assign(1000, static_cast<std::uint8_t>(together));
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        EXPECT_EQ(std::ranges::count(turn.scratch()->plain, together), 1000);
        --now;
        ++ended;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(ended, 5 * 40) << "everybody has had a turn";
  EXPECT_EQ(most, kTurns);
}

TEST(SealingTurnsTest, ATurnThatEndsIsForWhoeverWaits) {
  SealingTurns turns(1);
  std::optional<SealingTurns::Turn> first(std::in_place, turns);
  std::atomic<bool> had_turn{false};
  std::thread waiting([&] {
    const SealingTurns::Turn turn(turns);
    had_turn = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(had_turn);
  first.reset();
  waiting.join();
  EXPECT_TRUE(had_turn);
}

TEST(SealingTurnsTest, WorkingMemoryGoesFromTurnToTurnUntilItIsFreed) {
  SealingTurns turns(2);
  const std::uint8_t* memory = nullptr;
  {
    SealingTurns::Turn turn(turns);
    EXPECT_TRUE(turn.scratch()->plain.empty());
    turn.scratch()->plain.resize(1000);
    memory = turn.scratch()->plain.data();
  }
  {
    SealingTurns::Turn turn(turns);
    EXPECT_EQ(turn.scratch()->plain.data(), memory);
    SealingTurns::Turn other(turns);
    EXPECT_TRUE(other.scratch()->plain.empty());
  }
  turns.FreeScratch();
  SealingTurns::Turn turn(turns);
  EXPECT_TRUE(turn.scratch()->plain.empty());
}

TEST(SealingTurnsTest, ProgressIsATurnThatIsTakenOrHasEnded) {
  SealingTurns turns(2);
  EXPECT_FALSE(turns.TakeProgress());
  {
    const SealingTurns::Turn turn(turns);
    EXPECT_TRUE(turns.TakeProgress());
    EXPECT_TRUE(turns.TakeProgress()) << "it is still taken";
  }
  EXPECT_TRUE(turns.TakeProgress()) << "it has ended";
  EXPECT_FALSE(turns.TakeProgress());
}

}  // namespace
}  // namespace veza
