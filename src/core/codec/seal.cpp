#include "core/codec/seal.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/codec/cipher.h"
#include "core/codec/json.h"

namespace veza {
namespace {

constexpr std::uint8_t kMagic[8] = {'V', 'E', 'Z', 'A', 'B', 'K', 'U', 'P'};
constexpr std::uint16_t kFormatVersion = 1;
constexpr std::uint8_t kCompressionZstd = 1;

constexpr std::size_t kVersionOffset = 8;
constexpr std::size_t kKindOffset = 10;
constexpr std::size_t kCipherOffset = 11;
constexpr std::size_t kCompressionOffset = 12;
constexpr std::size_t kZeroOffset = 13;
constexpr std::size_t kKeyIdOffset = 16;
constexpr std::size_t kSaltOffset = 32;
constexpr std::size_t kSaltSize = 32;

constexpr std::size_t kMacSize = 32;
constexpr std::uint32_t kFrameFlags = kFrameLast | kFrameStored;

// The object keys are 64 bytes: the encryption key and then the authentication key.
ByteView EncryptionKey(const Bytes& keys) {
  return ByteView(keys).first(kAesKeySize);
}
ByteView AuthenticationKey(const Bytes& keys) {
  return ByteView(keys).subspan(kAesKeySize);
}

Bytes ObjectKeys(const DataKey& key, const ObjectHeader& header) {
  return Hkdf(key.secret(), ByteView(header).subspan(kSaltOffset, kSaltSize),
              "veza_backup 1 object", kAesKeySize + kMacSize);
}

// What a frame's tag covers in addition to its text. FORMAT.md calls it AAD.
struct Associated {
  Associated(const ObjectHeader& object_header, std::uint64_t frame_number, std::uint32_t word,
             std::string_view object_name)
      : header(object_header), name(AsBytes(object_name)) {
    StoreLittleEndian(position, frame_number);
    StoreLittleEndian(position + 8, word);
  }
  ByteView header;
  std::uint8_t position[12];
  ByteView name;
};

// The member of the attributes that holds a digest of the content.
const char* DigestMember(DigestMethod method) {
  return method == DigestMethod::kGmac ? "plain_gmac" : "plain_sha256";
}

// Members of the attributes: SegmentOrigin.
constexpr const char* kPreviousMember = "previous";
constexpr const char* kRunMember = "run";

// False when the member is there and is no hash.
bool ReadHash(const Json& json, const char* member, std::optional<Sha256Digest>& hash) {
  if (!json.contains(member)) {
    return true;
  }
  hash = Sha256FromHex(StringMember(json, member).value_or(""));
  return hash.has_value();
}

struct GcmNonce {
  explicit GcmNonce(std::uint64_t frame_number) { StoreLittleEndian(bytes, frame_number); }
  std::uint8_t bytes[kGcmNonceSize] = {};
};

Sha256Digest PlainDigest(const Associated& associated, ByteView plain) {
  Sha256 hash;
  hash.Update(associated.header);
  hash.Update(associated.position);
  hash.Update(associated.name);
  hash.Update(plain);
  return hash.Finish();
}

Sha256Digest CbcMac(const Bytes& keys, const Associated& associated, ByteView iv_and_ciphertext) {
  return HmacSha256(AuthenticationKey(keys),
                    {associated.header, associated.position, associated.name, iv_and_ciphertext});
}

std::size_t BodySize(Cipher cipher, std::size_t plain) {
  switch (cipher) {
    case Cipher::kNone:
      return plain + kMacSize;
    case Cipher::kAes256Gcm:
      return plain + kGcmTagSize;
    case Cipher::kAes256Cbc:
      return kAesBlockSize + CbcSize(plain) + kMacSize;
  }
  return plain;
}

Error NotOfThisVersion(std::string_view object_name, const std::string& what) {
  return MakeError(ErrorCode::kUnsupported, "object \"{}\" has {}", object_name, what)
      .WithHint("A newer version of veza_backup may have written it; use that version.");
}

}  // namespace

Error DamagedObject(std::string_view object_name, std::string_view what) {
  return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is damaged: {}", object_name, what)
      .WithHint(
          "The object is not as veza_backup wrote it. If the store keeps old versions, put an "
          "older one back. Otherwise use another backup.");
}

const char* CipherName(Cipher cipher) {
  switch (cipher) {
    case Cipher::kNone:
      return "none";
    case Cipher::kAes256Gcm:
      return "aes-256-gcm";
    case Cipher::kAes256Cbc:
      return "aes-256-cbc";
  }
  return "unknown";
}

std::size_t SealedFrameSize(Cipher cipher, std::size_t plain) {
  return kFrameWordSize + BodySize(cipher, plain);
}

ObjectSealer::ObjectSealer(const SealPolicy& policy, ObjectKind kind, std::string object_name,
                           Random& random)
    : object_name_(std::move(object_name)),
      cipher_(policy.cipher),
      usable_((policy.cipher == Cipher::kNone) == (policy.key == nullptr)),
      random_(&random) {
  std::copy(std::begin(kMagic), std::end(kMagic), header_.begin());
  StoreLittleEndian(header_.data() + kVersionOffset, kFormatVersion);
  header_[kKindOffset] = static_cast<std::uint8_t>(kind);
  header_[kCipherOffset] = static_cast<std::uint8_t>(cipher_);
  header_[kCompressionOffset] = kCompressionZstd;
  random.Fill(MutableByteView(header_).subspan(kSaltOffset, kSaltSize));
  if (usable_ && policy.key != nullptr) {
    std::copy(policy.key->id().begin(), policy.key->id().end(), header_.begin() + kKeyIdOffset);
    keys_ = ObjectKeys(*policy.key, header_);
  }
}

ObjectSealer::~ObjectSealer() {
  OPENSSL_cleanse(keys_.data(), keys_.size());
}

Status ObjectSealer::Seal(std::uint64_t number, std::uint32_t flags, ByteView plain,
                          MutableByteView out) const {
  if (!usable_) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "object \"{}\" cannot be written: cipher and key do not go together",
                     object_name_);
  }
  const std::size_t body_size = BodySize(cipher_, plain.size());
  if ((flags & ~kFrameFlags) != 0 || body_size > kFrameLengthMask ||
      out.size() != kFrameWordSize + body_size) {
    return MakeError(ErrorCode::kInternal, "frame {} of object \"{}\" has a wrong size or flag",
                     number, object_name_);
  }
  const std::uint32_t word = static_cast<std::uint32_t>(body_size) | flags;
  StoreLittleEndian(out.data(), word);
  const MutableByteView body = out.subspan(kFrameWordSize);
  const Associated associated(header_, number, word, object_name_);
  switch (cipher_) {
    case Cipher::kNone: {
      std::copy(plain.begin(), plain.end(), body.begin());
      const Sha256Digest digest = PlainDigest(associated, plain);
      std::copy(digest.begin(), digest.end(), body.end() - kMacSize);
      return Ok();
    }
    case Cipher::kAes256Gcm:
      return EncryptGcm(EncryptionKey(keys_), GcmNonce(number).bytes,
                        {associated.header, associated.position, associated.name}, plain, body);
    case Cipher::kAes256Cbc: {
      const MutableByteView iv = body.first(kAesBlockSize);
      random_->Fill(iv);
      RETURN_IF_ERROR(EncryptCbc(EncryptionKey(keys_), iv, plain,
                                 body.subspan(kAesBlockSize, CbcSize(plain.size()))));
      const Sha256Digest mac = CbcMac(keys_, associated, body.first(body.size() - kMacSize));
      std::copy(mac.begin(), mac.end(), body.end() - kMacSize);
      return Ok();
    }
  }
  return MakeError(ErrorCode::kInternal, "object \"{}\" has an unknown cipher", object_name_);
}

Result<Bytes> ObjectSealer::Head(const ObjectAttributes& attributes) const {
  std::vector<JsonMember> members{{"node", attributes.node},
                                  {"created", FormatUtc(attributes.created)}};
  if (attributes.plain_size) {
    members.push_back({"plain_size", *attributes.plain_size});
  }
  if (attributes.plain_digest) {
    members.push_back(
        {DigestMember(attributes.plain_digest->method), ToHex(attributes.plain_digest->used())});
  }
  if (attributes.origin.previous) {
    members.push_back({kPreviousMember, ToHex(*attributes.origin.previous)});
  }
  if (attributes.origin.run) {
    members.push_back({kRunMember, ToHex(*attributes.origin.run)});
  }
  // PrintInOrder() replaces what is not UTF-8: a strange host name must not make this fail.
  const std::string text = PrintInOrder(members, -1);
  if (text.size() > kAttributesPlain) {
    return MakeError(ErrorCode::kInvalidArgument, "node name has {} bytes, which is too long",
                     attributes.node.size());
  }
  Bytes head(kObjectHeaderSize + FrameSize(text.size()));
  std::copy(header_.begin(), header_.end(), head.begin());
  RETURN_IF_ERROR(
      Seal(kAttributesFrame, 0, AsBytes(text), MutableByteView(head).subspan(kObjectHeaderSize)));
  return head;
}

ObjectOpener::~ObjectOpener() {
  OPENSSL_cleanse(keys_.data(), keys_.size());
}

Result<ObjectOpener> ObjectOpener::Create(const SealPolicy& policy, ObjectKind kind,
                                          std::string object_name, ByteView header) {
  if (header.size() != kObjectHeaderSize) {
    return DamagedObject(object_name, "its header is incomplete");
  }
  if (!std::equal(std::begin(kMagic), std::end(kMagic), header.begin())) {
    return DamagedObject(object_name, "it does not begin with \"VEZABKUP\"");
  }
  const auto version = LoadLittleEndian<std::uint16_t>(header.data() + kVersionOffset);
  if (version != kFormatVersion) {
    return NotOfThisVersion(object_name, fmt::format("unknown format version {}", version));
  }
  if (header[kKindOffset] != static_cast<std::uint8_t>(ObjectKind::kStream) &&
      header[kKindOffset] != static_cast<std::uint8_t>(ObjectKind::kPack)) {
    return NotOfThisVersion(object_name, fmt::format("unknown kind {}", header[kKindOffset]));
  }
  if (header[kKindOffset] != static_cast<std::uint8_t>(kind)) {
    return DamagedObject(object_name, "it is an object of another kind");
  }
  if (header[kCipherOffset] > static_cast<std::uint8_t>(Cipher::kAes256Cbc)) {
    return NotOfThisVersion(object_name, fmt::format("unknown cipher {}", header[kCipherOffset]));
  }
  if (header[kCompressionOffset] != kCompressionZstd) {
    return NotOfThisVersion(object_name,
                            fmt::format("unknown compression {}", header[kCompressionOffset]));
  }
  const auto is_zero = [](std::uint8_t byte) { return byte == 0; };
  const ByteView zeros = header.subspan(kZeroOffset, kKeyIdOffset - kZeroOffset);
  if (!std::all_of(zeros.begin(), zeros.end(), is_zero)) {
    return DamagedObject(object_name, "its header has nonzero bytes that must be zero");
  }

  ObjectOpener opener;
  std::copy(header.begin(), header.end(), opener.header_.begin());
  opener.object_name_ = std::move(object_name);
  opener.kind_ = kind;
  opener.cipher_ = static_cast<Cipher>(header[kCipherOffset]);
  const ByteView key_id = header.subspan(kKeyIdOffset, kSaltOffset - kKeyIdOffset);
  if (opener.cipher_ == Cipher::kNone) {
    if (policy.encrypts()) {
      return MakeError(ErrorCode::kPermissionDenied,
                       "object \"{}\" is not encrypted although encryption is configured",
                       opener.object_name_)
          .WithHint(
              "Somebody else may have put it there. To read a repository without encryption, set "
              "\"veza_backup.cipher\" to \"none\".");
    }
    if (!std::all_of(key_id.begin(), key_id.end(), is_zero)) {
      return DamagedObject(opener.object_name_, "it names a key although it is not encrypted");
    }
    return opener;
  }
  if (policy.key == nullptr) {
    return MakeError(ErrorCode::kWrongKey, "object \"{}\" is encrypted, but no key is configured",
                     opener.object_name_)
        .WithHint(
            "Set \"veza_backup.cipher\" and the passphrase to the values with which the object was "
            "written.");
  }
  if (!std::equal(key_id.begin(), key_id.end(), policy.key->id().begin())) {
    return MakeError(ErrorCode::kWrongKey,
                     "object \"{}\" is encrypted with key \"{}\" instead of \"{}\"",
                     opener.object_name_, ToHex(key_id), policy.key->hex_id())
        .WithHint("The object belongs to another repository, or somebody has altered it.");
  }
  opener.keys_ = ObjectKeys(*policy.key, opener.header_);
  return opener;
}

Result<std::size_t> ObjectOpener::FrameSize(std::uint64_t number, ByteView word) const {
  if (word.size() < kFrameWordSize) {
    return DamagedObject(object_name_, "a frame is incomplete");
  }
  const auto value = LoadLittleEndian<std::uint32_t>(word.data());
  const std::size_t body_size = value & kFrameLengthMask;
  std::uint32_t flags_allowed = kFrameLast;
  std::size_t longest = kStreamFramePlain;
  if (number == kAttributesFrame) {
    flags_allowed = 0;
    longest = kAttributesPlain;
  } else if (kind_ == ObjectKind::kPack) {
    flags_allowed = kFrameLast | kFrameStored;
    longest = kPackFramePlain;
  }
  if ((value & ~kFrameLengthMask & ~flags_allowed) != 0) {
    return DamagedObject(object_name_, "a frame has flags that are not allowed");
  }
  if (body_size < BodySize(cipher_, 0) || body_size > BodySize(cipher_, longest) ||
      (cipher_ == Cipher::kAes256Cbc && body_size % kAesBlockSize != 0)) {
    return DamagedObject(object_name_, "a frame has an impossible length");
  }
  return kFrameWordSize + body_size;
}

Result<std::uint32_t> ObjectOpener::Open(std::uint64_t number, ByteView frame, Bytes& plain) const {
  ASSIGN_OR_RETURN(const std::size_t size, FrameSize(number, frame));
  if (size != frame.size()) {
    return DamagedObject(object_name_, "a frame is incomplete");
  }
  const auto word = LoadLittleEndian<std::uint32_t>(frame.data());
  const ByteView body = frame.subspan(kFrameWordSize);
  const Associated associated(header_, number, word, object_name_);
  bool authentic = false;
  switch (cipher_) {
    case Cipher::kNone: {
      const ByteView text = body.first(body.size() - kMacSize);
      authentic = EqualInConstantTime(PlainDigest(associated, text), body.last(kMacSize));
      plain.assign(text.begin(), text.end());
      break;
    }
    case Cipher::kAes256Gcm: {
      plain.resize(body.size() - kGcmTagSize);
      ASSIGN_OR_RETURN(
          authentic,
          DecryptGcm(EncryptionKey(keys_), GcmNonce(number).bytes,
                     {associated.header, associated.position, associated.name}, body, plain));
      break;
    }
    case Cipher::kAes256Cbc: {
      const ByteView sealed = body.first(body.size() - kMacSize);
      authentic = EqualInConstantTime(CbcMac(keys_, associated, sealed), body.last(kMacSize));
      if (authentic) {
        plain.resize(sealed.size() - kAesBlockSize);
        ASSIGN_OR_RETURN(const std::size_t length,
                         DecryptCbc(EncryptionKey(keys_), sealed.first(kAesBlockSize),
                                    sealed.subspan(kAesBlockSize), plain));
        authentic = length <= plain.size();
        plain.resize(std::min(length, plain.size()));
      }
      break;
    }
  }
  if (!authentic) {
    plain.clear();
    return DamagedObject(object_name_,
                         number == kAttributesFrame
                             ? std::string("its attributes do not match their tag")
                             : fmt::format("frame {} does not match its tag", number));
  }
  return word & ~kFrameLengthMask;
}

Result<ObjectAttributes> ObjectOpener::OpenAttributes(ByteView frame) const {
  Bytes plain;
  RETURN_IF_ERROR(Open(kAttributesFrame, frame, plain));
  const std::optional<Json> json = ParseJsonObject(AsText(plain));
  if (!json) {
    return DamagedObject(object_name_, "its attributes are not JSON");
  }
  ObjectAttributes attributes;
  const std::optional<std::string> node = StringMember(*json, "node");
  const std::optional<std::string> created = StringMember(*json, "created");
  const Result<TimePoint> time = ParseUtc(created.value_or(""));
  if (!node || !time) {
    return DamagedObject(object_name_, "its attributes lack node or time");
  }
  attributes.node = *node;
  attributes.created = *time;
  if (json->contains("plain_size")) {
    attributes.plain_size = UnsignedMember(*json, "plain_size");
    if (!attributes.plain_size) {
      return DamagedObject(object_name_, "the size in its attributes is not a number");
    }
  }
  for (const DigestMethod method : {DigestMethod::kSha256, DigestMethod::kGmac}) {
    const char* const member = DigestMember(method);
    if (!json->contains(member)) {
      continue;
    }
    if (attributes.plain_digest) {
      return DamagedObject(object_name_, "its attributes have two digests");
    }
    const std::optional<Bytes> digest = FromHex(StringMember(*json, member).value_or(""));
    attributes.plain_digest =
        digest ? ContentDigest::Of(method, *digest) : std::optional<ContentDigest>();
    // Without a key there is nothing to compute GMAC with.
    if (!attributes.plain_digest || (method == DigestMethod::kGmac && cipher_ == Cipher::kNone)) {
      return DamagedObject(object_name_,
                           fmt::format("its attributes have no valid \"{}\"", member));
    }
  }
  if (!ReadHash(*json, kPreviousMember, attributes.origin.previous) ||
      !ReadHash(*json, kRunMember, attributes.origin.run)) {
    return DamagedObject(object_name_, "the origin in its attributes is invalid");
  }
  return attributes;
}

}  // namespace veza
