// Sealing and opening: headers, frames and attributes of FORMAT.md section 3.
//
// ObjectSealer and ObjectOpener deal with single frames; frame_reader.h finds them in what a store
// delivers. stream.h adds compression and the cutting into frames for kind "stream"; packs are put
// together by repository/pack.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/codec/digest.h"
#include "core/codec/key.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza {

enum class Cipher : std::uint8_t { kNone = 0, kAes256Gcm = 1, kAes256Cbc = 2 };
enum class ObjectKind : std::uint8_t { kStream = 1, kPack = 2 };

// "none", "aes-256-gcm", "aes-256-cbc", as in the setting `cipher`.
const char* CipherName(Cipher cipher);
std::optional<Cipher> CipherFromName(std::string_view name);

inline constexpr std::size_t kObjectHeaderSize = 64;
using ObjectHeader = std::array<std::uint8_t, kObjectHeaderSize>;

inline constexpr std::size_t kFrameWordSize = 4;
inline constexpr std::uint32_t kFrameLast = 1U << 31;
inline constexpr std::uint32_t kFrameStored = 1U << 30;
inline constexpr std::uint32_t kFrameLengthMask = (1U << 28) - 1;
inline constexpr std::uint64_t kAttributesFrame = ~std::uint64_t{0};

// The most plain text that a frame may hold; readers refuse longer ones before they buffer them.
inline constexpr std::size_t kStreamFramePlain = 256U << 10;
inline constexpr std::size_t kPackFramePlain = 1U << 20;
inline constexpr std::size_t kAttributesPlain = 64U << 10;

struct ObjectAttributes {
  std::string node;
  TimePoint created{};
  std::optional<std::uint64_t> plain_size{};
  std::optional<Sha256Digest> plain_sha256{};
};

// How objects of a repository are sealed, and what its readers accept. Copied freely; thread-safe.
struct SealPolicy {
  Cipher cipher = Cipher::kAes256Gcm;  // for writing
  // Present unless `cipher` is kNone. With a key or a cipher, reading refuses unencrypted objects,
  // and objects of another key id.
  std::shared_ptr<const DataKey> key;

  bool encrypts() const { return cipher != Cipher::kNone || key != nullptr; }
};

// Bytes of a whole frame, its word included, for `plain` bytes of plain text.
std::size_t SealedFrameSize(Cipher cipher, std::size_t plain);

// One object being written. Seal() may be called from several threads at once, with different frame
// numbers; a number must not be used twice. A policy that lacks its key, or has one for kNone,
// makes every Seal() and Head() fail with kFailedPrecondition.
class ObjectSealer {
 public:
  ObjectSealer(const SealPolicy& policy, ObjectKind kind, std::string object_name, Random& random);
  ~ObjectSealer();
  ObjectSealer(ObjectSealer&&) noexcept = default;

  const ObjectHeader& header() const { return header_; }
  std::size_t FrameSize(std::size_t plain) const { return SealedFrameSize(cipher_, plain); }
  // Writes exactly FrameSize(plain.size()) bytes to `out`, which must not overlap `plain`. `flags`:
  // kFrameLast, kFrameStored.
  Status Seal(std::uint64_t number, std::uint32_t flags, ByteView plain, MutableByteView out) const;
  // Header and attributes frame: the first bytes of the object.
  Result<Bytes> Head(const ObjectAttributes& attributes) const;

 private:
  ObjectHeader header_{};
  std::string object_name_;
  Cipher cipher_;
  bool usable_;
  Bytes keys_;
  Random* random_;
};

// One object being read. Open() may be called from several threads at once. Errors name the object:
// kDataCorrupted (tag, magic, layout), kUnsupported (version, kind, cipher, compression), kWrongKey
// (another key id, or encrypted although the policy has no key), kPermissionDenied (not encrypted
// although the policy demands it).
class ObjectOpener {
 public:
  static Result<ObjectOpener> Create(const SealPolicy& policy, ObjectKind kind,
                                     std::string object_name, ByteView header);
  ~ObjectOpener();
  ObjectOpener(ObjectOpener&&) noexcept = default;
  ObjectOpener& operator=(ObjectOpener&&) noexcept = default;

  // Size of the whole frame that begins with `word` (kFrameWordSize bytes), unless no frame with
  // that number may begin so: then nobody needs to read, or find memory for, what it claims.
  Result<std::size_t> FrameSize(std::uint64_t number, ByteView word) const;

  // `frame` is a whole frame, word included; on success `plain` holds its plain text (its old
  // content is lost, its capacity reused). Returns the flags.
  Result<std::uint32_t> Open(std::uint64_t number, ByteView frame, Bytes& plain) const;
  Result<ObjectAttributes> OpenAttributes(ByteView frame) const;
  const std::string& object_name() const { return object_name_; }

 private:
  ObjectOpener() = default;
  ObjectHeader header_{};
  std::string object_name_;
  ObjectKind kind_ = ObjectKind::kStream;
  Cipher cipher_ = Cipher::kNone;
  Bytes keys_;
};

// kDataCorrupted, "object "<name>" is damaged: <what>".
Error DamagedObject(std::string_view object_name, std::string_view what);

}  // namespace veza
