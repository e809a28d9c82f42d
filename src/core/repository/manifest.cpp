#include "core/repository/manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/repository/manifest_records.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// The version of a manifest is the lowest whose readers understand it: 3 for an incr, 2 if a pack
// has digests by kGmac.
constexpr int kSha256Manifest = 1;
constexpr int kGmacManifest = 2;
constexpr int kIncrManifest = 3;
// The manifest of a few hundred thousand files stays in memory. A larger one goes to a file.
constexpr std::size_t kManifestMemory = 8U << 20;
// The size of the ranges in which a manifest is fetched.
constexpr std::uint64_t kRange = 4U << 20;

void Count(const Tablespace&, ManifestTotals&) {}
void Count(const DirectoryRecord&, ManifestTotals& totals) {
  ++totals.directories;
}
void Count(const FileRecord& file, ManifestTotals& totals) {
  ++totals.files;
  totals.extents += file.extents.size() + file.pages.size();
  totals.size += file.size;
}
void Count(const PackRecord& pack, ManifestTotals& totals) {
  totals.packs += pack.source == 0 ? 1 : 0;
}

int VersionOf(BackupType type, DigestMethod newest) {
  if (type == BackupType::kIncr) {
    return kIncrManifest;
  }
  return newest == DigestMethod::kGmac ? kGmacManifest : kSha256Manifest;
}

Result<Sha256Digest> DigestOf(Body& body) {
  RETURN_IF_ERROR(body.Rewind());
  Sha256 sha256;
  Bytes buffer(256U << 10);
  for (;;) {
    ASSIGN_OR_RETURN(const std::size_t bytes, body.Read(buffer));
    if (bytes == 0) {
      break;
    }
    sha256.Update({buffer.data(), bytes});
  }
  RETURN_IF_ERROR(body.Rewind());
  return sha256.Finish();
}

constexpr const char* kNotWhole = "Without it the backup is incomplete. Restore another backup.";

Error TruncatedPart(const std::string& name) {
  return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is truncated", name)
      .WithHint(kNotWhole);
}

limits::ManifestLine LineLimit(const SealPolicy& policy) {
  return policy.encrypts() ? limits::kAuthenticManifestLine : limits::kManifestLine;
}

// An upper bound on the number of values that ParseJson() counts.
std::size_t CountValues(std::string_view line) {
  return 1 + static_cast<std::size_t>(std::ranges::count_if(
                 line, [](char c) { return c == ',' || c == ':' || c == '[' || c == '{'; }));
}

class Reader {
 public:
  Reader(std::string object_name, const SealPolicy& policy, const BackupSummary& backup,
         const ManifestVisitor& visit)
      : object_name_(std::move(object_name)),
        limit_(LineLimit(policy)),
        encrypted_(policy.encrypts()),
        backup_(backup),
        visit_(visit) {}

  Status Take(ByteView piece) {
    std::string_view text = AsText(piece);
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      if (end == std::string_view::npos) {
        if (line_.size() + text.size() > limit_.size) {
          return Corrupted("has a record that is too long");
        }
        line_.append(text);
        return Ok();
      }
      line_.append(text.substr(0, end));
      text.remove_prefix(end + 1);
      RETURN_IF_ERROR(TakeLine());
      line_.clear();
    }
    return Ok();
  }

  Status Finish() const {
    if (!ended_ || !line_.empty()) {
      return Corrupted("does not end with its end record");
    }
    return Ok();
  }

 private:
  Error Corrupted(const std::string& what) const {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\" {}", object_name_, what);
  }

  Status TakeLine() {
    if (ended_) {
      return Corrupted("continues after its end record");
    }
    const Json record =
        ParseJson(line_, {.size = limit_.size, .values = limit_.values}).value_or(Json());
    JsonFields fields(record, object_name_);
    std::string type;
    fields.Read("type", type);
    RETURN_IF_ERROR(fields.status());
    if (!begun_) {
      return TakeHeader(fields, type);
    }
    if (type == "end") {
      return TakeEnd(fields);
    }
    ASSIGN_OR_RETURN(ManifestRecord parsed, ParseRecord(record, type, backup_, object_name_));
    if (const auto* const pack = std::get_if<PackRecord>(&parsed)) {
      RETURN_IF_ERROR(CheckDigests(*pack));
    }
    std::visit([this](const auto& specific) { Count(specific, totals_); }, parsed);
    return visit_(std::move(parsed));
  }

  Status CheckDigests(const PackRecord& pack) const {
    if (pack.digest == DigestMethod::kSha256) {
      return Ok();
    }
    if (version_ == kSha256Manifest) {
      return Corrupted(
          fmt::format("has version 1, but digests of version 2 for pack {}", pack.number));
    }
    return encrypted_
               ? Ok()
               : Status(Corrupted(fmt::format(
                     "has keyed digests for pack {}, although it is not encrypted", pack.number)));
  }

  Status TakeHeader(JsonFields& fields, const std::string& type) {
    int version = 0;
    std::string label;
    fields.Read("version", version);
    fields.Read("label", label);
    RETURN_IF_ERROR(fields.status());
    if (type != "manifest" || label != backup_.label) {
      return Corrupted(fmt::format("is not the manifest of backup \"{}\"", backup_.label));
    }
    if (version < kSha256Manifest || version > kIncrManifest) {
      return MakeError(ErrorCode::kUnsupported, "\"{}\" has manifest version {}", object_name_,
                       version)
          .WithHint("It was written by a newer version of veza_backup; use that version.");
    }
    if ((version == kIncrManifest) != (backup_.type == BackupType::kIncr)) {
      return Corrupted(fmt::format("has version {}, which is not that of a manifest of type {}",
                                   version, BackupTypeName(backup_.type)));
    }
    version_ = version;
    begun_ = true;
    return Ok();
  }

  Status TakeEnd(JsonFields& fields) {
    ManifestTotals said;
    fields.Read("files", said.files);
    fields.Read("directories", said.directories);
    fields.Read("extents", said.extents);
    fields.Read("packs", said.packs);
    fields.Read("size", said.size);
    RETURN_IF_ERROR(fields.status());
    if (said != totals_) {
      return Corrupted("does not have as many records as its end record says");
    }
    ended_ = true;
    return Ok();
  }

  std::string object_name_;
  const limits::ManifestLine limit_;
  const bool encrypted_;
  const BackupSummary& backup_;
  const ManifestVisitor& visit_;
  std::string line_;
  ManifestTotals totals_;
  int version_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

Error OtherManifest(const std::string& name) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "\"{}\" is not the manifest that backup.json describes", name)
      .WithHint("The object was replaced after the backup was made. Restore another backup.");
}

// Fetches the whole range at `offset`. After the last range the object must end.
Status FetchRange(const Repository& repository, const BackupSummary& backup, std::uint64_t offset,
                  Bytes& range) {
  const std::string name = ManifestName(backup.label);
  const std::uint64_t length = std::min(kRange, backup.manifest_size - offset);
  const std::uint64_t behind = offset + length == backup.manifest_size ? 1 : 0;
  range.clear();
  range.reserve(length + behind);
  RETURN_IF_ERROR(GetPartOfBackup(repository, name, {offset, length + behind}, [&](ByteView piece) {
    range.insert(range.end(), piece.begin(), piece.end());
    return Ok();
  }));
  if (range.size() < length) {
    return TruncatedPart(name);
  }
  return range.size() > length ? OtherManifest(name) : Ok();
}

}  // namespace

ManifestWriter::ManifestWriter(const Repository& repository, const std::string& label)
    : ManifestWriter(repository, label, repository.digest_method()) {}

ManifestWriter::ManifestWriter(const Repository& repository, const std::string& label,
                               DigestMethod newest)
    : repository_(repository),
      label_(label),
      type_(ParseLabel(label).value_or(LabelParts()).type),
      version_(VersionOf(type_, newest)),
      sealer_(std::make_unique<StreamSealer>(
          repository.seal_policy(),
          StreamOptions{.object_name = ManifestName(label),
                        .compression_level = repository.options().compression_level,
                        .spill_directory = repository.options().spill_directory,
                        .memory_limit = kManifestMemory},
          *repository.environment().random)) {
  begun_ = AppendLine(Json{{"type", "manifest"}, {"version", version_}, {"label", label_}}.Print());
}

ManifestWriter::~ManifestWriter() = default;

Status ManifestWriter::AppendLine(const std::string& line) {
  RETURN_IF_ERROR(sealer_->Append(AsBytes(line)));
  return sealer_->Append(AsBytes("\n"));
}

Status ManifestWriter::Add(const ManifestRecord& record) {
  const auto* const pack = std::get_if<PackRecord>(&record);
  if (pack != nullptr && pack->digest == DigestMethod::kGmac && version_ == kSha256Manifest) {
    return MakeError(ErrorCode::kInternal,
                     "\"{}\" was begun with version 1, but pack {} needs version 2",
                     ManifestName(label_), pack->number);
  }
  const std::string line = SerializeRecord(record, type_);
  const limits::ManifestLine limit = LineLimit(repository_.seal_policy());
  if (line.size() > limit.size ||
      (line.size() > limit.values && CountValues(line) > limit.values)) {
    return MakeError(ErrorCode::kUnsupported,
                     "the record of a file in \"{}\" is too long: it has {} bytes",
                     ManifestName(label_), line.size())
        .WithHint("The file is too large for a backup without encryption: set veza_backup.cipher.");
  }
  const std::lock_guard lock(mutex_);
  std::visit([this](const auto& specific) { Count(specific, totals_); }, record);
  return AppendLine(line);
}

Result<ManifestWriter::Stored> ManifestWriter::Commit() {
  RETURN_IF_ERROR(begun_);
  RETURN_IF_ERROR(AppendLine(Json{
      {"type", "end"},
      {"files", totals_.files},
      {"directories", totals_.directories},
      {"extents", totals_.extents},
      {"packs", totals_.packs},
      {"size", totals_.size}}.Print()));
  ASSIGN_OR_RETURN(
      const SealedStream sealed,
      sealer_->Finish(repository_.options().node, repository_.environment().clock->Now()));
  Stored stored;
  stored.size = sealed.body->size();
  stored.totals = totals_;
  ASSIGN_OR_RETURN(stored.sha256, DigestOf(*sealed.body));
  RETURN_IF_ERROR(repository_.store().Put(ManifestName(label_), *sealed.body, PutMode::kCreate));
  return stored;
}

Status ReadManifest(const Repository& repository, const BackupSummary& backup,
                    const ManifestVisitor& visit) {
  const std::string name = ManifestName(backup.label);
  Reader reader(name, repository.seal_policy(), backup, visit);
  // A manifest may have any length, so it is read line by line. One that decompresses without end
  // can be cancelled.
  StreamOpener opener(repository.seal_policy(), name, [&](ByteView plain) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    return reader.Take(plain);
  });
  Sha256 sha256;
  Bytes range;
  for (std::uint64_t offset = 0; offset < backup.manifest_size; offset += range.size()) {
    RETURN_IF_ERROR(FetchRange(repository, backup, offset, range));
    sha256.Update(range);
    RETURN_IF_ERROR(opener.Feed(range));
  }
  RETURN_IF_ERROR(opener.Finish());
  RETURN_IF_ERROR(reader.Finish());
  if (sha256.Finish() != backup.manifest_sha256) {
    return OtherManifest(name);
  }
  return Ok();
}

Error MissingPart(const std::string& name) {
  return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is missing", name).WithHint(kNotWhole);
}

Status GetPartOfBackup(const Repository& repository, const std::string& name, ByteRange range,
                       const Sink& sink) {
  bool begun = false;
  Status got = repository.store().Get(name, range, [&](ByteView piece) {
    begun = true;
    return sink(piece);
  });
  // The sink may return the same code for another reason.
  if (!got && got.error().code == ErrorCode::kNotFound && !begun) {
    return MissingPart(name);
  }
  if (!got && got.error().code == ErrorCode::kInvalidArgument && !begun) {
    return TruncatedPart(name);
  }
  return got;
}

}  // namespace veza
