#include "core/codec/frame_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/codec/stream_builder.h"

namespace veza {
namespace {

constexpr const char* kName = "backup/20261122-020000F/pack/00000001";

class FrameReaderWith : public testing::TestWithParam<Cipher> {
 protected:
  // Makes a pack of four extents with its empty last frame.
  FrameByFrame Pack() const {
    return FrameByFrame(policy_, ObjectKind::kPack, kName, {.node = "db1", .created = kTestTime},
                        {TestBytes(40, "0"), TestBytes(40, "1"), TestBytes(1, "2"), Bytes(0), {}});
  }

  // Returns the plain text of all extents, or the first error.
  Result<std::vector<Bytes>> Read(ByteView object, std::size_t piece = 1U << 20) const {
    std::vector<Bytes> extents;
    FrameReader reader(policy_, ObjectKind::kPack, kName);
    const auto visit = [&](std::uint64_t number, std::uint64_t offset, const ObjectOpener& opener,
                           ByteView frame) -> Status {
      EXPECT_EQ(number, extents.size());
      EXPECT_TRUE(std::equal(frame.begin(), frame.end(), object.begin() + offset));
      Bytes plain;
      RETURN_IF_ERROR(opener.Open(number, frame, plain));
      extents.push_back(std::move(plain));
      return Ok();
    };
    for (std::size_t at = 0; at < object.size(); at += piece) {
      RETURN_IF_ERROR(reader.Feed(object.subspan(at, std::min(piece, object.size() - at)), visit));
    }
    RETURN_IF_ERROR(reader.Finish());
    return extents;
  }

  SealPolicy policy_ = TestPolicy(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Ciphers, FrameReaderWith, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(FrameReaderWith, FindsTheFramesInPiecesOfAnySize) {
  const FrameByFrame pack = Pack();
  const Bytes object = pack.Object();
  for (std::size_t piece = 1; piece <= object.size(); ++piece) {
    const Result<std::vector<Bytes>> extents = Read(object, piece);
    ASSERT_OK(extents);
    EXPECT_EQ(*extents, (std::vector<Bytes>{TestBytes(40, "0"), TestBytes(40, "1"),
                                            TestBytes(1, "2"), Bytes(0)}))
        << piece;
  }
}

TEST_P(FrameReaderWith, AttributesAreThereAsSoonAsTheirFrameIs) {
  const Bytes object = Pack().Object();
  const Bytes head = Pack().head;
  FrameReader reader(policy_, ObjectKind::kPack, kName);
  const auto never = [](auto&&...) -> Status {
    ADD_FAILURE() << "no data frame has arrived";
    return Ok();
  };
  for (std::size_t i = 0; i < head.size(); ++i) {
    EXPECT_FALSE(reader.attributes().has_value());
    ASSERT_OK(reader.Feed(ByteView(object).subspan(i, 1), never));
  }
  ASSERT_TRUE(reader.attributes().has_value());
  EXPECT_EQ(reader.attributes()->node, "db1");
  EXPECT_ERROR(reader.Finish(), ErrorCode::kDataCorrupted);
}

TEST_P(FrameReaderWith, RefusesEveryTruncation) {
  const Bytes object = Pack().Object();
  for (std::size_t length = 0; length < object.size(); ++length) {
    const auto extents = Read(ByteView(object).first(length));
    EXPECT_ERROR(extents, ErrorCode::kDataCorrupted);
    EXPECT_NE(extents.error().message.find("is truncated"), std::string::npos);
  }
  EXPECT_ERROR(Read(Concatenate({object, Bytes(1)})), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Read(Concatenate({object, object})), ErrorCode::kDataCorrupted);
}

TEST_P(FrameReaderWith, RefusesFramesInAnotherOrder) {
  const FrameByFrame pack = Pack();
  std::vector<std::size_t> order(pack.frames.size());
  std::iota(order.begin(), order.end(), 0);
  while (std::next_permutation(order.begin(), order.end())) {
    FrameByFrame shuffled = pack;
    for (std::size_t i = 0; i < order.size(); ++i) {
      shuffled.frames[i] = pack.frames[order[i]];
    }
    EXPECT_ERROR(Read(shuffled.Object()), ErrorCode::kDataCorrupted);
  }
}

TEST_P(FrameReaderWith, RefusesFramesDroppedRepeatedOrForeign) {
  const FrameByFrame pack = Pack();
  const FrameByFrame other = Pack();
  for (std::size_t i = 0; i < pack.frames.size(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i);
    FrameByFrame changed = pack;
    changed.frames.erase(changed.frames.begin() + at);
    EXPECT_ERROR(Read(changed.Object()), ErrorCode::kDataCorrupted);

    changed = pack;
    changed.frames.insert(changed.frames.begin() + at, pack.frames[i]);
    EXPECT_ERROR(Read(changed.Object()), ErrorCode::kDataCorrupted);

    changed = pack;
    changed.frames[i] = other.frames[i];
    EXPECT_ERROR(Read(changed.Object()), ErrorCode::kDataCorrupted);
  }
  FrameByFrame other_head = pack;
  other_head.head = other.head;
  EXPECT_ERROR(Read(other_head.Object()), ErrorCode::kDataCorrupted);
  FrameByFrame no_attributes = pack;
  no_attributes.head.resize(kObjectHeaderSize);
  EXPECT_ERROR(Read(no_attributes.Object()), ErrorCode::kDataCorrupted);
}

// Setting bit 31 (the last frame) in an earlier frame would hide a truncation.
TEST_P(FrameReaderWith, RefusesAFrameMadeTheLast) {
  FrameByFrame pack = Pack();
  pack.frames.resize(4);
  pack.frames[3][3] |= 0x80;
  EXPECT_ERROR(Read(pack.Object()), ErrorCode::kDataCorrupted);
}

TEST_P(FrameReaderWith, RefusesAPackWhoseLastFrameIsNotEmpty) {
  const ObjectSealer sealer(policy_, ObjectKind::kPack, kName, SystemRandom());
  const Bytes head = sealer.Head({.node = "db1", .created = kTestTime}).value();
  EXPECT_OK(Read(Concatenate({head, SealOne(sealer, 0, kFrameLast, {})})));
  EXPECT_ERROR(Read(Concatenate({head, SealOne(sealer, 0, kFrameLast, Bytes(1))})),
               ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Read(Concatenate({head, SealOne(sealer, 0, kFrameLast | kFrameStored, {})})),
               ErrorCode::kDataCorrupted);
}

// The first four bytes are enough to refuse: nothing is buffered for the claimed length.
TEST_P(FrameReaderWith, RefusesAHugeClaimAtOnce) {
  const Bytes head = Pack().head;
  const auto visit = [](auto&&...) { return Ok(); };
  const Bytes claim{0xff, 0xff, 0xff, 0x0f};
  FrameReader after_head(policy_, ObjectKind::kPack, kName);
  ASSERT_OK(after_head.Feed(head, visit));
  ASSERT_OK(after_head.Feed(ByteView(claim).first(3), visit));
  EXPECT_ERROR(after_head.Feed(Concatenate({ByteView(claim).last(1), Bytes(1)}), visit),
               ErrorCode::kDataCorrupted);
  FrameReader after_header(policy_, ObjectKind::kPack, kName);
  ASSERT_OK(after_header.Feed(ByteView(head).first(kObjectHeaderSize), visit));
  EXPECT_ERROR(after_header.Feed(Concatenate({claim, Bytes(1)}), visit), ErrorCode::kDataCorrupted);
}

TEST_P(FrameReaderWith, ReturnsTheVisitorsError) {
  const Bytes object = Pack().Object();
  FrameReader reader(policy_, ObjectKind::kPack, kName);
  int calls = 0;
  EXPECT_ERROR(reader.Feed(object,
                           [&](auto&&...) -> Status {
                             return ++calls == 2 ? Status(MakeError(ErrorCode::kNoSpace, "full"))
                                                 : Ok();
                           }),
               ErrorCode::kNoSpace);
  EXPECT_EQ(calls, 2);
  EXPECT_ERROR(reader.Finish(), ErrorCode::kDataCorrupted);
}

}  // namespace
}  // namespace veza
