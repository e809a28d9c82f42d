#include "core/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

TEST(WorkQueueTest, EveryJobIsDoneOnce) {
  std::atomic<int> sum{0};
  std::atomic<int> workers{0};
  WorkQueue<int> queue(4);
  ASSERT_OK(queue.Start(3, [&] {
    ++workers;
    return [&sum, own = std::make_unique<int>(0)](int& job) -> Status {
      ++*own;
      sum += job;
      return Ok();
    };
  }));
  for (int i = 1; i <= 100; ++i) {
    ASSERT_OK(queue.Push(i));
  }
  ASSERT_OK(queue.WaitUntilIdle());
  EXPECT_EQ(sum, 5050);
  ASSERT_OK(queue.Push(1));
  ASSERT_OK(queue.Finish());
  EXPECT_EQ(sum, 5051);
  EXPECT_EQ(workers, 3);
}

TEST(WorkQueueTest, AFullQueueTakesMoreWhenHalfOfItIsFree) {
  constexpr int kLimit = 8;
  std::counting_semaphore<> go{0};
  std::atomic<int> begun{0};
  std::atomic<int> pushed{0};
  WorkQueue<int> queue(kLimit);
  ASSERT_OK(queue.Start(1, [&] {
    return [&](int&) -> Status {
      ++begun;
      go.acquire();
      return Ok();
    };
  }));
  const auto wait_for = [](const std::atomic<int>& count, int wanted) {
    while (count < wanted) {
      std::this_thread::yield();
    }
  };
  std::thread owner([&] {
    for (int i = 0; i < kLimit + 2; ++i) {
      EXPECT_OK(queue.Push(i));
      ++pushed;
      wait_for(begun, 1);  // before the queue is full
    }
    EXPECT_OK(queue.Finish());
  });
  // The worker has one job, and the queue is full.
  wait_for(pushed, kLimit + 1);
  for (int done = 1; done < kLimit / 2; ++done) {
    go.release();
    wait_for(begun, done + 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(pushed, kLimit + 1) << "with " << kLimit - done << " waiting";
  }
  go.release();
  wait_for(pushed, kLimit + 2);
  go.release(kLimit + 2);
  owner.join();
  EXPECT_EQ(begun, kLimit + 2);
}

// A wake-up that is lost makes this wait for ever.
TEST(WorkQueueTest, TheSmallestQueuesWakeWhoeverWaits) {
  for (const std::size_t limit : {1, 2, 3}) {
    for (const int threads : {1, 4}) {
      std::atomic<int> sum{0};
      WorkQueue<int> queue(limit);
      ASSERT_OK(queue.Start(threads, [&] {
        return [&](int& job) -> Status {
          sum += job;
          return Ok();
        };
      }));
      for (int i = 1; i <= 2000; ++i) {
        ASSERT_OK(queue.Push(1));
        if (i % 7 == 0) {
          ASSERT_OK(queue.WaitUntilIdle());
          ASSERT_EQ(sum, i);
        }
      }
      ASSERT_OK(queue.Finish());
      EXPECT_EQ(sum, 2000) << limit << " waiting, " << threads << " threads";
    }
  }
}

TEST(WorkQueueTest, TheFirstErrorEndsIt) {
  std::atomic<int> done{0};
  WorkQueue<int> queue(2);
  ASSERT_OK(queue.Start(2, [&] {
    return [&](int& job) -> Status {
      if (job == 3) {
        return MakeError(ErrorCode::kNoSpace, "job {}", job);
      }
      ++done;
      return Ok();
    };
  }));
  Status pushed = Ok();
  for (int i = 1; i <= 1000 && pushed; ++i) {
    pushed = queue.Push(i);
  }
  EXPECT_ERROR(pushed, ErrorCode::kNoSpace);
  EXPECT_ERROR(queue.WaitUntilIdle(), ErrorCode::kNoSpace);
  queue.Fail(MakeError(ErrorCode::kInternal, "another"));
  EXPECT_ERROR(queue.Finish(), ErrorCode::kNoSpace);
  EXPECT_LT(done, 1000);
}

TEST(WorkQueueTest, TheFirstErrorIsReportedOnce) {
  std::vector<ErrorCode> reported;
  {
    WorkQueue<int> queue(2, [&](const Error& error) { reported.push_back(error.code); });
    ASSERT_OK(queue.Start(
        1, [] { return [](int&) -> Status { return MakeError(ErrorCode::kNoSpace, "full"); }; }));
    ASSERT_OK(queue.Push(1));
    EXPECT_ERROR(queue.Finish(), ErrorCode::kNoSpace);
    queue.Fail(MakeError(ErrorCode::kInternal, "another"));
  }
  EXPECT_EQ(reported, std::vector{ErrorCode::kNoSpace});
}

TEST(WorkQueueTest, DestroyingItIsReportedWhereNothingHasFailed) {
  std::vector<ErrorCode> reported;
  {
    WorkQueue<int> queue(2, [&](const Error& error) { reported.push_back(error.code); });
    ASSERT_OK(queue.Start(1, [] { return [](int&) -> Status { return Ok(); }; }));
  }
  EXPECT_EQ(reported, std::vector{ErrorCode::kCancelled});
}

TEST(WorkQueueTest, AnExceptionIsAnError) {
  WorkQueue<int> queue(2);
  ASSERT_OK(queue.Start(1, [] { return [](int&) -> Status { throw std::bad_alloc(); }; }));
  ASSERT_OK(queue.Push(1));
  EXPECT_ERROR(queue.Finish(), ErrorCode::kInternal);
}

TEST(WorkQueueTest, DestroyingItDropsWhatWaits) {
  std::atomic<bool> go{false};
  std::atomic<int> done{0};
  {
    WorkQueue<int> queue(10);
    ASSERT_OK(queue.Start(1, [&] {
      return [&](int&) -> Status {
        go.wait(false);
        ++done;
        return Ok();
      };
    }));
    for (int i = 0; i < 10; ++i) {
      ASSERT_OK(queue.Push(i));
    }
    queue.Fail(MakeError(ErrorCode::kCancelled, "stop"));
    go = true;
    go.notify_all();
  }
  EXPECT_LE(done, 1);
}

}  // namespace
}  // namespace veza
