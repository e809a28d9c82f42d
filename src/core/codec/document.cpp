#include "core/codec/document.h"

#include <openssl/crypto.h>

namespace veza {
namespace {

constexpr const char* kHmac = "hmac-sha-256";
constexpr const char* kPlain = "sha-256";

Sha256Digest Mac(std::string_view canonical, const SealPolicy& policy,
                 std::string_view object_name) {
  if (policy.key == nullptr) {
    static constexpr std::uint8_t kZero = 0;
    Sha256 hash;
    hash.Update(AsBytes(object_name));
    hash.Update({&kZero, 1});
    hash.Update(AsBytes(canonical));
    return hash.Finish();
  }
  Bytes key =
      Hkdf(policy.key->secret(), {}, "veza_backup 1 document " + std::string(object_name), 32);
  const Sha256Digest mac = HmacSha256(key, {AsBytes(canonical)});
  OPENSSL_cleanse(key.data(), key.size());
  return mac;
}

Status CheckFormat(const Json& document, std::string_view object_name) {
  const std::optional<std::uint64_t> format = UnsignedMember(document, "format");
  if (!format || *format == 0) {
    return DamagedObject(object_name, "it has no format");
  }
  if (*format != 1) {
    return MakeError(ErrorCode::kUnsupported, "object \"{}\" has unknown format {}", object_name,
                     *format)
        .WithHint("A newer version of veza_backup may have written it; use that version.");
  }
  return Ok();
}

Status CheckAlgorithm(const Json& document, const SealPolicy& policy,
                      std::string_view object_name) {
  const std::optional<std::string> algorithm = StringMember(document, "mac_algorithm");
  if (!algorithm) {
    return DamagedObject(object_name, "it has no mac_algorithm");
  }
  if (*algorithm == kPlain) {
    if (policy.encrypts()) {
      return MakeError(ErrorCode::kPermissionDenied,
                       "object \"{}\" is signed without a key although encryption is configured",
                       object_name)
          .WithHint(
              "Somebody else may have put it there. To read a repository without encryption, set "
              "\"veza_backup.cipher\" to \"none\".");
    }
    return Ok();
  }
  if (*algorithm != kHmac) {
    return MakeError(ErrorCode::kUnsupported, "object \"{}\" has an unknown mac_algorithm",
                     object_name)
        .WithHint("A newer version of veza_backup may have written it; use that version.");
  }
  if (policy.key == nullptr) {
    return MakeError(ErrorCode::kWrongKey,
                     "object \"{}\" is signed with a key, but no key is configured", object_name)
        .WithHint(
            "Set \"veza_backup.cipher\" and the passphrase to the values with which the object was "
            "written.");
  }
  return Ok();
}

}  // namespace

Result<std::string> SignDocument(Json document, const SealPolicy& policy,
                                 std::string_view object_name) {
  if ((policy.cipher == Cipher::kNone) != (policy.key == nullptr)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "object \"{}\" cannot be written: cipher and key do not go together",
                     object_name);
  }
  if (!document.is_object() || !CheckFormat(document, object_name) || !document.HasOnlyIntegers()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "object \"{}\" cannot be written: it is not a document", object_name);
  }
  document.erase("mac");
  document["mac_algorithm"] = policy.key != nullptr ? kHmac : kPlain;
  const std::optional<std::string> canonical = document.PrintUtf8();
  if (!canonical) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "object \"{}\" cannot be written: it contains text that is not UTF-8",
                     object_name);
  }
  document["mac"] = ToHex(Mac(*canonical, policy, object_name));
  std::string text = document.Print(2) + "\n";
  if (!ParseJsonObject(text)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "object \"{}\" cannot be written: its {} bytes exceed the limit of readers",
                     object_name, text.size());
  }
  return text;
}

Result<Json> OpenUnverifiedDocument(std::string_view text, std::string_view object_name) {
  std::optional<Json> document = ParseJsonObject(text);
  if (!document) {
    return DamagedObject(object_name, "it is not a JSON object");
  }
  RETURN_IF_ERROR(CheckFormat(*document, object_name));
  return std::move(*document);
}

Result<Json> OpenDocument(std::string_view text, const SealPolicy& policy,
                          std::string_view object_name) {
  Result<Json> document = OpenUnverifiedDocument(text, object_name);
  RETURN_IF_ERROR(document);
  RETURN_IF_ERROR(CheckAlgorithm(*document, policy, object_name));
  const std::optional<std::string> mac = StringMember(*document, "mac");
  if (!mac) {
    return DamagedObject(object_name, "it has no mac");
  }
  document->erase("mac");
  const std::optional<std::string> canonical =
      document->HasOnlyIntegers() ? document->PrintUtf8() : std::nullopt;
  if (!canonical ||
      !EqualInConstantTime(AsBytes(ToHex(Mac(*canonical, policy, object_name))), AsBytes(*mac))) {
    return DamagedObject(object_name, "it does not match its mac");
  }
  document->erase("mac_algorithm");
  return std::move(*document);
}

bool IsUnreadable(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kUnsupported ||
         error.code == ErrorCode::kPermissionDenied || error.code == ErrorCode::kWrongKey;
}

}  // namespace veza
