#include "core/repository/tombstone.h"

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/repository/names.h"

namespace veza {

namespace {
constexpr const char* kType = "tombstone";

bool IsTombstone(const Result<Json>& document) {
  return document && StringMember(*document, "type") == kType;
}
}  // namespace

Result<std::string> SerializeTombstone(const std::string& label, const std::string& node,
                                       TimePoint created, const SealPolicy& policy) {
  return SignDocument({{"format", 1},
                       {"type", kType},
                       {"label", label},
                       {"node", node},
                       {"created", FormatUtc(created)}},
                      policy, BackupDocumentName(label));
}

bool IsTombstone(std::string_view text, std::string_view label, const SealPolicy& policy) {
  return IsTombstone(OpenDocument(text, policy, BackupDocumentName(label)));
}

bool IsUnverifiedTombstone(std::string_view text, std::string_view label) {
  return IsTombstone(OpenUnverifiedDocument(text, BackupDocumentName(label)));
}

}  // namespace veza
