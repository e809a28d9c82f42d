// identity/<system id>: the cluster that a repository belongs to (FORMAT.md section 5).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

struct Identity {
  std::uint64_t system_identifier = 0;
  int postgres_version_num = 0;
  std::uint64_t wal_segment_size = 0;
  std::uint32_t block_size = 0;
  std::string cipher;
  std::string key_id;  // empty with cipher none
  std::string node;
  TimePoint created{};
};

// The words `key "…"` or "no key", for messages.
std::string KeyInWords(const std::string& key_id);

// A small object: its name, and its content as stored.
struct NamedText {
  std::string name;
  std::string text;
  bool operator==(const NamedText&) const = default;
};

// The signed text to store under IdentityName().
Result<std::string> SerializeIdentity(const Identity& identity, const SealPolicy& policy);

// Parses the text without checking its signature, because the key is not known before the identity
// has named it. The content may be forged.
// Also checks the signature.
Result<Identity> ParseUnverifiedIdentity(const NamedText& object);
Result<Identity> ParseIdentity(const NamedText& object, const SealPolicy& policy);
Result<std::vector<Identity>> ParseUnverifiedIdentities(const std::vector<NamedText>& objects);

// All identities (identity_list.h). kDataCorrupted when there are too many, or one is too large
// (core/limits.h).
Result<std::vector<NamedText>> ReadIdentityObjects(Store& store);

}  // namespace veza
