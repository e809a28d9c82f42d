#include "core/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

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
