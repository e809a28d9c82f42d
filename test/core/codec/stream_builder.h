// Builds sealed objects frame by frame, so that tests can rearrange the frames.
#pragma once

#include <string>
#include <vector>

#include "core/codec/codec_fixtures.h"
#include "core/codec/frame_reader.h"
#include "core/codec/stream.h"
#include "core/codec/zstd.h"

namespace veza {

inline Bytes Compressed(ByteView plain) {
  Compressor compressor(3);
  Bytes out;
  EXPECT_OK(compressor.Compress(plain, out));
  return out;
}

// The head (header and attributes frame), then the frames. Frame i holds plain text i. The last
// frame has bit 31.
struct FrameByFrame {
  FrameByFrame(const SealPolicy& policy, ObjectKind kind, const std::string& name,
               const ObjectAttributes& attributes, const std::vector<Bytes>& plain,
               Random& random = SystemRandom()) {
    const ObjectSealer sealer(policy, kind, name, random);
    const Result<Bytes> sealed_head = sealer.Head(attributes);
    EXPECT_OK(sealed_head);
    head = *sealed_head;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      frames.push_back(SealOne(sealer, i, i + 1 == plain.size() ? kFrameLast : 0, plain[i]));
    }
  }

  Bytes Object() const {
    Bytes object = head;
    for (const Bytes& frame : frames) {
      object.insert(object.end(), frame.begin(), frame.end());
    }
    return object;
  }

  Bytes head;
  std::vector<Bytes> frames;
};

// Cuts compressed content as StreamSealer does.
inline std::vector<Bytes> CutStream(const Bytes& compressed) {
  std::vector<Bytes> pieces;
  for (std::size_t at = 0; at == 0 || at < compressed.size(); at += kStreamFramePlain) {
    const std::size_t end = std::min(at + kStreamFramePlain, compressed.size());
    pieces.emplace_back(compressed.begin() + static_cast<std::ptrdiff_t>(at),
                        compressed.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return pieces;
}

inline Bytes ReadAll(Body& body) {
  EXPECT_OK(body.Rewind());
  Bytes all(body.size() + 1);
  std::size_t used = 0;
  for (;;) {
    const Result<std::size_t> got = body.Read(MutableByteView(all).subspan(used));
    EXPECT_OK(got);
    if (!got || *got == 0) {
      break;
    }
    used += *got;
  }
  all.resize(used);
  return all;
}

inline Bytes SealStream(const SealPolicy& policy, const std::string& name, ByteView plain,
                        ContentDescription description, Random& random = SystemRandom(),
                        int level = 3) {
  StreamSealer sealer(policy, {name, level, testing::TempDir(), 64U << 20, description}, random);
  EXPECT_OK(sealer.Append(plain));
  const Result<SealedStream> sealed = sealer.Finish("db1", kTestTime);
  EXPECT_OK(sealed);
  return ReadAll(*sealed->body);
}

// Opens a sealed stream that is fed in pieces of the given size. Returns its content.
inline Result<Bytes> OpenStream(const SealPolicy& policy, const std::string& name, ByteView object,
                                std::size_t piece = 64U << 10) {
  Bytes content;
  StreamOpener opener(policy, name, [&](ByteView plain) {
    content.insert(content.end(), plain.begin(), plain.end());
    return Ok();
  });
  for (std::size_t at = 0; at < object.size(); at += piece) {
    RETURN_IF_ERROR(opener.Feed(object.subspan(at, std::min(piece, object.size() - at))));
  }
  RETURN_IF_ERROR(opener.Finish());
  return content;
}

}  // namespace veza
