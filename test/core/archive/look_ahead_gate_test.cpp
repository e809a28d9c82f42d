#include "core/archive/look_ahead_gate.h"

#include <gtest/gtest.h>

#include "core/postgres/lsn.h"
#include "core/repository/names.h"

namespace veza {
namespace {

constexpr std::uint64_t kSegmentSize = 1U << 20;

std::string Segment(SegmentNumber number, TimelineId timeline = 1) {
  return SegmentName(timeline, number, kSegmentSize);
}

// A gate that a first file has opened.
LookAheadGate OpenGate() {
  LookAheadGate gate;
  gate.NoteStored(Segment(1));
  return gate;
}

LookAheadGate AfterFailure(ErrorCode code, ShippingStage stage, bool is_asked_for = true) {
  LookAheadGate gate = OpenGate();
  gate.NoteFailure(Segment(5), code, stage, is_asked_for);
  return gate;
}

TEST(LookAheadGateTest, IsClosedUntilAFirstFileIsStored) {
  LookAheadGate gate;
  EXPECT_FALSE(gate.is_open());
  gate.NoteStored(Segment(1));
  EXPECT_TRUE(gate.is_open());
}

// Otherwise a fresh process that begins with such a file would do nothing ahead until it is mended.
TEST(LookAheadGateTest, AFirstFileThatCannotBeReadOpensItToo) {
  for (const ErrorCode code : {ErrorCode::kNotFound, ErrorCode::kDataCorrupted, ErrorCode::kIo,
                               ErrorCode::kPermissionDenied, ErrorCode::kInvalidArgument}) {
    LookAheadGate gate;
    gate.NoteFailure(Segment(1), code, ShippingStage::kSealing, false);
    EXPECT_FALSE(gate.is_open()) << "nobody has asked for it";
    gate.NoteFailure(Segment(1), code, ShippingStage::kSealing, true);
    EXPECT_TRUE(gate.is_open()) << ErrorCodeName(code);
  }
}

TEST(LookAheadGateTest, ErrorsThatConcernOneFileDoNotCloseIt) {
  for (const bool is_asked_for : {true, false}) {
    for (const ErrorCode code :
         {ErrorCode::kNotFound, ErrorCode::kDataCorrupted, ErrorCode::kInvalidArgument,
          ErrorCode::kIo, ErrorCode::kPermissionDenied}) {
      EXPECT_TRUE(AfterFailure(code, ShippingStage::kSealing, is_asked_for).is_open())
          << ErrorCodeName(code);
    }
    for (const ErrorCode code :
         {ErrorCode::kNotFound, ErrorCode::kDataCorrupted, ErrorCode::kInvalidArgument}) {
      EXPECT_TRUE(AfterFailure(code, ShippingStage::kPutting, is_asked_for).is_open())
          << ErrorCodeName(code);
    }
  }
}

TEST(LookAheadGateTest, TroubleClosesItUntilAFileIsStored) {
  struct Case {
    ErrorCode code;
    ShippingStage stage;
  };
  for (const auto& [code, stage] : {Case{ErrorCode::kUnavailable, ShippingStage::kPutting},
                                    Case{ErrorCode::kDeadlineExceeded, ShippingStage::kPutting},
                                    Case{ErrorCode::kNoSpace, ShippingStage::kPutting},
                                    Case{ErrorCode::kIo, ShippingStage::kPutting},
                                    Case{ErrorCode::kPermissionDenied, ShippingStage::kPutting},
                                    // No disk space for temporary files.
                                    Case{ErrorCode::kNoSpace, ShippingStage::kSealing},
                                    Case{ErrorCode::kInternal, ShippingStage::kSealing}}) {
    for (const bool is_asked_for : {true, false}) {
      LookAheadGate gate = AfterFailure(code, stage, is_asked_for);
      EXPECT_FALSE(gate.is_open()) << ErrorCodeName(code);
      // An earlier file proves as much as a later one: the store is there again.
      gate.NoteStored(Segment(2));
      EXPECT_TRUE(gate.is_open()) << ErrorCodeName(code);
    }
  }
}

// What is wrong with the repository is trouble, whatever the error is called. Above all it is no
// conflict, which only the refused file would end.
TEST(LookAheadGateTest, EveryErrorOfTheRepositoryIsTrouble) {
  for (const ShippingStage stage : {ShippingStage::kOpening, ShippingStage::kAccepting}) {
    for (const ErrorCode code :
         {ErrorCode::kConflict, ErrorCode::kDataCorrupted, ErrorCode::kNotFound,
          ErrorCode::kWrongKey, ErrorCode::kFailedPrecondition, ErrorCode::kUnavailable}) {
      LookAheadGate gate = AfterFailure(code, stage);
      EXPECT_FALSE(gate.is_open()) << ErrorCodeName(code);
      gate.NoteStored(Segment(2));
      EXPECT_TRUE(gate.is_open()) << ErrorCodeName(code);
    }
    LookAheadGate gate;
    gate.NoteFailure(Segment(1), ErrorCode::kNotFound, stage, true);
    EXPECT_FALSE(gate.is_open()) << "it proves nothing of this server";
  }
}

TEST(LookAheadGateTest, AConflictClosesItUntilTheRefusedFileOrALaterOneIsStored) {
  for (const bool is_asked_for : {true, false}) {
    for (const SegmentNumber stored : {5, 6}) {
      LookAheadGate gate =
          AfterFailure(ErrorCode::kConflict, ShippingStage::kPutting, is_asked_for);
      EXPECT_FALSE(gate.is_open());
      // Both servers may have what comes before.
      gate.NoteStored(Segment(4));
      EXPECT_FALSE(gate.is_open());
      gate.NoteStored(Segment(stored));
      EXPECT_TRUE(gate.is_open()) << stored;
    }
  }
}

TEST(LookAheadGateTest, TheLastOfTheRefusedFilesCounts) {
  LookAheadGate gate = OpenGate();
  for (const SegmentNumber refused : {4, 6, 5}) {
    gate.NoteFailure(Segment(refused), ErrorCode::kConflict, ShippingStage::kPutting, false);
  }
  gate.NoteStored(Segment(5));
  EXPECT_FALSE(gate.is_open());
  gate.NoteStored(Segment(6));
  EXPECT_TRUE(gate.is_open());
}

// The archiver sends history files first, so a segment is behind each of them.
TEST(LookAheadGateTest, ARefusedHistoryFileHoldsBackNoSegmentForLong) {
  LookAheadGate gate = OpenGate();
  gate.NoteFailure("00000003.history", ErrorCode::kConflict, ShippingStage::kPutting, true);
  EXPECT_FALSE(gate.is_open());
  gate.NoteStored("00000002.history");
  EXPECT_FALSE(gate.is_open());
  gate.NoteStored(Segment(2));
  EXPECT_TRUE(gate.is_open());
}

TEST(LookAheadGateTest, EachReasonHoldsByItself) {
  LookAheadGate gate;
  gate.NoteFailure(Segment(5), ErrorCode::kConflict, ShippingStage::kPutting, true);
  gate.NoteFailure(Segment(5), ErrorCode::kUnavailable, ShippingStage::kPutting, true);
  gate.NoteFailure(Segment(5), ErrorCode::kNotFound, ShippingStage::kSealing, true);
  EXPECT_FALSE(gate.is_open()) << "trouble and a conflict";
  gate.NoteStored(Segment(4));
  EXPECT_FALSE(gate.is_open()) << "the conflict";
  gate.NoteFailure(Segment(6), ErrorCode::kUnavailable, ShippingStage::kPutting, false);
  gate.NoteStored(Segment(5));
  EXPECT_TRUE(gate.is_open());
}

}  // namespace
}  // namespace veza
