// Packs: many extents sealed into one object (FORMAT.md section 3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/bytes.h"
#include "core/codec/seal.h"
#include "core/error.h"

namespace veza {

inline constexpr std::size_t kExtentSize = 1U << 20;   // plain bytes at most
inline constexpr std::size_t kPackTarget = 16U << 20;  // a pack is closed when it passes this
inline constexpr std::size_t kExtentDigestSize = 16;   // leading bytes of the plain SHA-256
using ExtentDigest = std::array<std::uint8_t, kExtentDigestSize>;

ExtentDigest DigestExtent(ByteView plain);

// Where an extent is. `pack` 0: a hole of `length` zero bytes. `of_full`: the pack is one of the
// full backup that a diff refers to.
struct Extent {
  std::uint32_t length = 0;  // plain
  std::uint32_t pack = 0;
  std::uint32_t frame = 0;
  std::uint64_t offset = 0;
  std::uint32_t stored = 0;  // the frame with its word
  ExtentDigest digest{};
  bool of_full = false;
};

struct PackRecord {
  std::uint32_t number = 0;
  std::uint64_t size = 0;
  std::uint32_t frames = 0;  // extents in it
  ObjectHeader header{};
  bool of_full = false;  // as in Extent
};

// Memory for one pack, kept from one to the next: malloc would have some of it twice, in the arenas
// of the threads that take and give it back.
using PackBuffer = std::unique_ptr<std::uint8_t[]>;
PackBuffer NewPackBuffer();

// A pack being filled by several threads: Reserve() is called under the owner's lock and hands out
// disjoint places; Fill() seals into such a place without a lock. Close() once every place is
// filled.
class PackBuilder {
 public:
  PackBuilder(std::uint32_t number, std::string object_name, const SealPolicy& policy,
              const std::string& node, TimePoint now, Random& random,
              PackBuffer buffer = NewPackBuffer());

  // Room for a frame of `plain` bytes. There always is some while full() is false.
  struct Place {
    std::uint32_t frame = 0;
    std::uint64_t offset = 0;
    std::uint32_t stored = 0;
  };
  Place Reserve(std::size_t plain);
  Status Fill(const Place& place, std::uint32_t flags, ByteView plain);
  bool full() const { return used_ >= kPackTarget; }
  bool empty() const { return frames_ == 0; }

  // Seals the last frame; content() and record() are valid afterwards.
  Status Close();
  ByteView content() const { return {buffer_.get(), used_}; }
  std::uint32_t number() const { return number_; }
  const std::string& object_name() const { return object_name_; }
  PackRecord record() const;
  // For a later pack; the content of this one goes with it.
  PackBuffer TakeBuffer() { return std::move(buffer_); }

 private:
  std::uint32_t number_;
  std::string object_name_;
  ObjectSealer sealer_;
  PackBuffer buffer_;
  std::size_t used_ = 0;
  std::uint32_t frames_ = 0;
  std::uint32_t extents_ = 0;  // frames_ without the last one; set by Close()
  Status status_;              // of the construction; reported by Close()
};

}  // namespace veza
