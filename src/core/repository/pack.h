// Packs: many extents sealed into one object (FORMAT.md section 3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

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

// A pack being filled by several threads: Reserve() is called under the owner's lock and hands out
// disjoint places; Fill() seals into such a place without a lock. Close() once every place is
// filled.
class PackBuilder {
 public:
  PackBuilder(std::uint32_t number, std::string object_name, const SealPolicy& policy,
              const std::string& node, TimePoint now, Random& random);

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

 private:
  std::uint32_t number_;
  std::string object_name_;
  ObjectSealer sealer_;
  std::unique_ptr<std::uint8_t[]> buffer_;  // never zeroed: only what is used is touched
  std::size_t used_ = 0;
  std::uint32_t frames_ = 0;
  std::uint32_t extents_ = 0;  // frames_ without the last one; set by Close()
  Status status_;              // of the construction; reported by Close()
};

}  // namespace veza
