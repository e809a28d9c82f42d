// Packs: objects that hold many sealed extents (FORMAT.md section 3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/bytes.h"
#include "core/codec/content_digest.h"
#include "core/codec/seal.h"
#include "core/error.h"

namespace veza {

inline constexpr std::size_t kExtentSize = 1U << 20;  // uncompressed bytes of an extent, at most
// A pack is closed when it is larger than this.
inline constexpr std::size_t kPackTarget = 16U << 20;
// The first bytes of the ContentDigest of the uncompressed content. The extent's pack says by which
// method (PackRecord::digest).
inline constexpr std::size_t kExtentDigestSize = 16;
using ExtentDigest = std::array<std::uint8_t, kExtentDigestSize>;

// `key` may be null with kSha256.
ExtentDigest DigestExtent(ByteView plain, DigestMethod method, const DataKey* key);

// The place of an extent. `pack` 0 means a hole of `length` zero bytes. `source` says whose pack it
// is: 0 for a pack of the backup itself, n for the n-th of BackupSummary::sources.
struct Extent {
  std::uint32_t length = 0;  // uncompressed
  std::uint32_t pack = 0;
  std::uint32_t frame = 0;
  std::uint64_t offset = 0;
  std::uint32_t stored = 0;  // size of the frame, with its frame word
  ExtentDigest digest{};
  std::uint32_t source = 0;
};

struct PackRecord {
  std::uint32_t number = 0;
  std::uint64_t size = 0;
  std::uint32_t frames = 0;  // number of extents in it
  ObjectHeader header{};
  std::uint32_t source = 0;                     // as Extent::source
  DigestMethod digest = DigestMethod::kSha256;  // of its extents
};

// The memory for one pack. It is passed on from one pack to the next. Freeing and allocating it
// again would cost more, because malloc keeps freed memory in the arenas of different threads.
using PackBuffer = std::unique_ptr<std::uint8_t[]>;
PackBuffer NewPackBuffer();

struct NewPack {
  std::uint32_t number = 0;
  std::string object_name;
  std::string node;  // makes the pack
  TimePoint created{};
  DigestMethod digest = DigestMethod::kSha256;  // by which the caller computes Extent::digest
};

// A pack that several threads fill. The caller serialises calls of Reserve(), which hands out
// disjoint places. Fill() seals into such a place, and may be called from several threads at once.
// Close() is called when every place is filled.
class PackBuilder {
 public:
  PackBuilder(NewPack pack, const SealPolicy& policy, Random& random,
              PackBuffer buffer = NewPackBuffer());

  // Reserves a place for a frame of `plain` uncompressed bytes. There is always room while full()
  // is false.
  struct Place {
    std::uint32_t frame = 0;
    std::uint64_t offset = 0;
    std::uint32_t stored = 0;
  };
  Place Reserve(std::size_t plain);
  Status Fill(const Place& place, std::uint32_t flags, ByteView plain);
  bool full() const { return used_ >= kPackTarget; }
  bool empty() const { return frames_ == 0; }

  // Seals the last frame. content() and record() are valid afterwards.
  Status Close();
  ByteView content() const { return {buffer_.get(), used_}; }
  std::uint32_t number() const { return pack_.number; }
  const std::string& object_name() const { return pack_.object_name; }
  PackRecord record() const;
  // Takes the memory for a later pack. content() is invalid afterwards.
  PackBuffer TakeBuffer() { return std::move(buffer_); }

 private:
  NewPack pack_;
  ObjectSealer sealer_;
  PackBuffer buffer_;
  std::size_t used_ = 0;
  std::uint32_t frames_ = 0;
  std::uint32_t extents_ = 0;  // number of frames without the last one; set by Close()
  Status status_;              // the error of the constructor, if any; Close() returns it
};

}  // namespace veza
