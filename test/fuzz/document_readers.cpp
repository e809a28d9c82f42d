// Reads JSON and the documents of FORMAT.md. A fuzzer's input never has the right mac. So the text
// is signed here, as anybody could who may write to a repository without encryption.
#include <nlohmann/json.hpp>

#include "core/archive/gap_record.h"
#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/key.h"
#include "core/codec/their_json.h"
#include "core/postgres/empty_databases.h"
#include "core/repository/backup_summary.h"
#include "core/repository/drill_record.h"
#include "core/repository/identity.h"
#include "core/repository/lock_document.h"
#include "core/repository/names.h"
#include "core/repository/tombstone.h"
#include "fuzz/memory_store.h"
#include "fuzz/readers.h"

namespace veza::fuzz {
namespace {

using nlohmann::json;

constexpr const char* kLabel = "20261122-020000F";
constexpr const char* kDiffLabel = "20261122-020000F_20261123-020000D";
constexpr const char* kIncrLabel = "20261122-020000F_20261124-020000I";
constexpr std::uint64_t kSystem = 7711348379840072545U;
const SealPolicy kPolicy{Cipher::kNone, nullptr};

std::optional<std::string> Signed(ByteView input, const std::string& name) {
  const std::optional<Json> document = ParseJsonObject(AsText(input));
  if (!document) {
    return std::nullopt;
  }
  Result<std::string> text = SignDocument(*document, kPolicy, name);
  return text ? std::optional(std::move(*text)) : std::nullopt;
}

// Requires that writing and reading again gives the same text.
template <typename Serialize, typename Parse>
void RequireStable(const std::string& text, Serialize serialize, Parse parse) {
  const auto first = parse(text);
  if (!first) {
    return;
  }
  const Result<std::string> written = serialize(*first);
  FUZZ_REQUIRE(written);
  const auto second = parse(*written);
  FUZZ_REQUIRE(second);
  FUZZ_REQUIRE(serialize(*second).value() == *written);
}

// Within its limits our parser must accept the same texts, and make the same values, as the
// library.
void ReadJson(ByteView input) {
  const std::optional<Json> ours = ParseJson(AsText(input));
  if (ours) {
    const json theirs = json::parse(AsText(input), nullptr, false);
    FUZZ_REQUIRE(!theirs.is_discarded());
    FUZZ_REQUIRE(Theirs(*ours) == theirs || ours->Print() == theirs.dump());
  } else if (input.size() < 16) {
    FUZZ_REQUIRE(!json::accept(AsText(input)));
  }
  FUZZ_REQUIRE(json::accept(json(ValidUtf8(std::string(AsText(input)))).dump()));
}

void ReadDocuments(ByteView input) {
  // The input as it is. Only its digest prevents that it is accepted.
  const Result<Json> opened = OpenDocument(AsText(input), kPolicy, LockName(1));
  if (opened) {
    const std::string again = SignDocument(*opened, kPolicy, LockName(1)).value();
    FUZZ_REQUIRE(OpenDocument(again, kPolicy, LockName(1)).value().Print() == opened->Print());
  }
  if (const auto text = Signed(input, LockName(1))) {
    RequireStable(
        *text, [](const LockDocument& lock) { return SerializeLock(lock, 1, kPolicy); },
        [](const std::string& stored) { return ParseLock(stored, 1, kPolicy); });
  }
  if (const auto text = Signed(input, IdentityName(kSystem))) {
    RequireStable(
        *text, [](const Identity& identity) { return SerializeIdentity(identity, kPolicy); },
        [](const std::string& stored) {
          return ParseIdentity({IdentityName(kSystem), stored}, kPolicy);
        });
  }
  const Result<Identity> unverified =
      ParseUnverifiedIdentity({IdentityName(kSystem), std::string(AsText(input))});
  if (unverified) {
    FUZZ_REQUIRE(unverified->system_identifier == kSystem);
  }
  if (const auto text = Signed(input, BackupDocumentName(kLabel))) {
    [[maybe_unused]] const bool buried = IsTombstone(*text, kLabel, kPolicy);
  }
}

void ReadBackupDocument(ByteView input) {
  for (const char* const label : {kLabel, kDiffLabel, kIncrLabel}) {
    if (const auto text = Signed(input, BackupDocumentName(label))) {
      RequireStable(
          *text,
          [](const BackupSummary& summary) -> Result<std::string> {
            FUZZ_REQUIRE(summary.block_size > 0);
            [[maybe_unused]] const std::string notes = DescribeNotes(summary.notes);
            return SerializeSummary(summary, kPolicy);
          },
          [label](const std::string& stored) { return ParseSummary(stored, label, kPolicy); });
    }
  }
  for (const NamedText& wrap : UnverifiedKeyWraps(AsText(input))) {
    FUZZ_REQUIRE(ValidateObjectName(wrap.name));
  }
}

void ReadRecords(ByteView input) {
  const std::string drill = "drill/20261122-020000-20261122-020000F";
  if (const auto text = Signed(input, drill)) {
    RequireStable(
        *text,
        [&](const DrillRecord& record) {
          return SignDocument(DrillToJson(record), kPolicy, drill);
        },
        [&](const std::string& stored) -> Result<DrillRecord> {
          ASSIGN_OR_RETURN(const Json document, OpenDocument(stored, kPolicy, drill));
          return DrillFromJson(document, drill);
        });
  }
  const std::string gap = GapPrefix(kSystem) + "000000010000000000000001-000000010000000000000002";
  if (const auto text = Signed(input, gap)) {
    TheRepository().store->Set(gap, Bytes(text->begin(), text->end()));
    const Result<WalGap> read = ReadGap(*TheRepository().repository, gap);
    if (read) {
      FUZZ_REQUIRE(ParseWalFileName(read->first) && ParseWalFileName(read->last));
    }
  }
  const Result<EmptyDatabases> empty = ParseEmptyDatabases(AsText(input));
  if (empty) {
    FUZZ_REQUIRE(FormatEmptyDatabases(ParseEmptyDatabases(FormatEmptyDatabases(*empty)).value()) ==
                 FormatEmptyDatabases(*empty));
  }
}

// Reads a key wrap without running scrypt, which is slow on purpose.
void ReadKeyWrap(ByteView input) {
  if (const std::optional<Json> wrap = ParseJsonObject(AsText(input))) {
    const auto cost = [&](const char* name) { return UnsignedMember(*wrap, name).value_or(0); };
    if (cost("n") <= 1U << 20 && cost("r") <= 32 && cost("p") <= 16 &&
        cost("n") * cost("r") * cost("p") > 64) {
      return;
    }
  }
  const Result<DataKey> key = UnwrapKey(AsText(input), "correct horse battery staple");
  if (key) {
    FUZZ_REQUIRE(UnwrapKey(AsText(input), "correct horse battery staple"));
    FUZZ_REQUIRE(!UnwrapKey(AsText(input), "another"));
  }
}

}  // namespace

std::vector<Reader> DocumentReaders() {
  return {{"json", ReadJson},
          {"document", ReadDocuments},
          {"backup_json", ReadBackupDocument},
          {"record", ReadRecords},
          {"key_wrap", ReadKeyWrap}};
}

}  // namespace veza::fuzz
