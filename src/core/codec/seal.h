// Sealing (encrypting or signing) objects and opening them: the headers, frames and attributes of
// FORMAT.md section 3.
//
// ObjectSealer and ObjectOpener handle single frames. frame_reader.h finds the frames in what a
// store delivers. stream.h adds compression, and cuts content into frames, for kind "stream".
// core/repository/pack.h puts packs together.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/codec/content_digest.h"
#include "core/codec/key.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza {

enum class Cipher : std::uint8_t { kNone = 0, kAes256Gcm = 1, kAes256Cbc = 2 };
enum class ObjectKind : std::uint8_t { kStream = 1, kPack = 2 };

// "none", "aes-256-gcm", "aes-256-cbc", as in the setting `cipher`.
const char* CipherName(Cipher cipher);

inline constexpr std::size_t kObjectHeaderSize = 64;
using ObjectHeader = std::array<std::uint8_t, kObjectHeaderSize>;

inline constexpr std::size_t kFrameWordSize = 4;
inline constexpr std::uint32_t kFrameLast = 1U << 31;
inline constexpr std::uint32_t kFrameStored = 1U << 30;
inline constexpr std::uint32_t kFrameLengthMask = (1U << 28) - 1;
inline constexpr std::uint64_t kAttributesFrame = ~std::uint64_t{0};

// The most plain text that a frame may hold. Readers refuse longer frames before they buffer them.
inline constexpr std::size_t kStreamFramePlain = 256U << 10;
inline constexpr std::size_t kPackFramePlain = 1U << 20;
inline constexpr std::size_t kAttributesPlain = 64U << 10;

// What the writer of a WAL segment says of where it comes from (FORMAT.md section 4). Both are
// hashes, which tell nothing of a content.
struct SegmentOrigin {
  std::optional<Sha256Digest> previous{};  // LinkTo() the segment before it, in the same pg_wal
  std::optional<Sha256Digest> run{};       // the run of acknowledgements that it is of
  bool operator==(const SegmentOrigin&) const = default;
};

struct ObjectAttributes {
  std::string node;
  TimePoint created{};
  std::optional<std::uint64_t> plain_size{};
  std::optional<ContentDigest> plain_digest{};
  SegmentOrigin origin{};
};

// How the objects of a repository are sealed, and which objects its readers accept. Cheap to copy.
// Thread-safe.
struct SealPolicy {
  Cipher cipher = Cipher::kAes256Gcm;  // for writing
  // A writer needs a key exactly when `cipher` is not kNone. A reader with a key or a cipher
  // refuses objects that are not encrypted and objects with another key id.
  std::shared_ptr<const DataKey> key;

  bool encrypts() const { return cipher != Cipher::kNone || key != nullptr; }
};

// The size of a whole frame, including its word, for `plain` bytes of plain text.
std::size_t SealedFrameSize(Cipher cipher, std::size_t plain);

// Writes one object. Seal() may be called from several threads at once, with different frame
// numbers. A number must not be used twice. Seal() and Head() fail with kFailedPrecondition when
// the policy has a cipher and no key, or a key and no cipher.
class ObjectSealer {
 public:
  ObjectSealer(const SealPolicy& policy, ObjectKind kind, std::string object_name, Random& random);
  ~ObjectSealer();
  ObjectSealer(ObjectSealer&&) noexcept = default;

  const ObjectHeader& header() const { return header_; }
  std::size_t FrameSize(std::size_t plain) const { return SealedFrameSize(cipher_, plain); }
  // Writes exactly FrameSize(plain.size()) bytes to `out`, which must not overlap `plain`. `flags`
  // is any combination of kFrameLast and kFrameStored.
  Status Seal(std::uint64_t number, std::uint32_t flags, ByteView plain, MutableByteView out) const;
  // Returns the header and the attributes frame, which are the first bytes of the object.
  Result<Bytes> Head(const ObjectAttributes& attributes) const;

 private:
  ObjectHeader header_{};
  std::string object_name_;
  Cipher cipher_;
  bool usable_;
  Bytes keys_;
  Random* random_;
};

// Reads one object. Open() may be called from several threads at once. Errors name the object:
// kDataCorrupted (tag, magic or layout), kUnsupported (version, kind, cipher or compression),
// kWrongKey (another key id, or encrypted although the policy has no key), kPermissionDenied (not
// encrypted although the policy demands it).
class ObjectOpener {
 public:
  static Result<ObjectOpener> Create(const SealPolicy& policy, ObjectKind kind,
                                     std::string object_name, ByteView header);
  ~ObjectOpener();
  ObjectOpener(ObjectOpener&&) noexcept = default;
  ObjectOpener& operator=(ObjectOpener&&) noexcept = default;

  // Returns the size of the whole frame that begins with `word` (kFrameWordSize bytes). Fails when
  // no frame with that number may begin so. A caller checks this first, so that it does not read or
  // allocate whatever a damaged word claims.
  Result<std::size_t> FrameSize(std::uint64_t number, ByteView word) const;

  // `frame` is a whole frame, including its word. On success `plain` holds the plain text; its old
  // content is lost and its capacity reused. Returns the flags.
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

// kDataCorrupted with the message: object "<name>" is damaged: <what>
Error DamagedObject(std::string_view object_name, std::string_view what);

}  // namespace veza
