#include "core/repository/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/repository/json_fields.h"

namespace veza {

namespace {

using nlohmann::json;

constexpr int kManifestVersion = 1;
// The manifest of some hundred thousand files stays in memory; a larger one goes to a file.
constexpr std::size_t kManifestMemory = 8U << 20;
// A record this long would be a file of more than 10 TB.
constexpr std::size_t kLongestRecord = 1U << 30;

std::string ModeText(std::uint32_t mode) {
  return fmt::format("{:04o}", mode);
}

json ToJson(const Tablespace& tablespace) {
  json record{{"type", "tablespace"}, {"oid", tablespace.oid}};
  PutPath(record, tablespace.path);
  return record;
}

json ToJson(const DirectoryRecord& directory) {
  json record{{"type", "directory"}, {"mode", ModeText(directory.mode)}};
  PutPath(record, directory.path);
  return record;
}

json ToJson(const Extent& extent) {
  if (extent.pack == 0) {
    return json::array({extent.length});
  }
  json item = json::array({extent.length, extent.pack, extent.frame, extent.offset, extent.stored,
                           ToHex(extent.digest)});
  if (extent.of_full) {
    item.push_back(1);
  }
  return item;
}

json ToJson(const PageExtent& pages) {
  json runs = json::array();
  for (const PageRun& run : pages.runs) {
    runs.push_back(run.first);
    runs.push_back(run.count);
  }
  json item = ToJson(pages.extent);
  item.push_back(std::move(runs));
  return item;
}

json ToJson(const FileRecord& file) {
  json extents = json::array();
  for (const Extent& extent : file.extents) {
    extents.push_back(ToJson(extent));
  }
  json record{{"type", "file"},
              {"mode", ModeText(file.mode)},
              {"size", file.size},
              {"mtime", file.mtime},
              {"extents", std::move(extents)}};
  if (!file.pages.empty()) {
    json& pages = record["pages"] = json::array();
    for (const PageExtent& item : file.pages) {
      pages.push_back(ToJson(item));
    }
  }
  PutPath(record, file.path);
  return record;
}

json ToJson(const PackRecord& pack) {
  return json{{"type", pack.of_full ? "full_pack" : "pack"},
              {"number", pack.number},
              {"size", pack.size},
              {"frames", pack.frames},
              {"header", ToBase64(pack.header)}};
}

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
  totals.packs += pack.of_full ? 0 : 1;
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

// --- reading -------------------------------------------------------------------------------------

bool IsSafePath(std::string_view path) {
  if (path.empty()) {
    return true;  // the data directory itself
  }
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string_view::npos) {
      return false;
    }
    begin = end + 1;
  }
  return true;
}

void ReadSafePath(JsonFields& fields, std::string& path) {
  ReadPath(fields, path);
  if (!IsSafePath(path)) {
    fields.Fail("a path leaves the data directory");
  }
}

void ReadMode(JsonFields& fields, std::uint32_t& mode) {
  std::string text;
  fields.Read("mode", text);
  const char* const text_end = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), text_end, mode, 8);
  if (error != std::errc() || end != text_end || mode > 07777) {
    fields.Fail("member \"mode\" is not an octal number");
  }
}

// The six members of an extent that is stored somewhere.
bool StoredExtentFrom(const json& item, Extent& extent) {
  if (!JsonFields::IntegerFrom(item[0], extent.length) || !JsonFields::IntegerFrom(item[1], extent.pack) || extent.pack == 0 ||
      !JsonFields::IntegerFrom(item[2], extent.frame) ||
      !JsonFields::IntegerFrom(item[3], extent.offset) ||
      !JsonFields::IntegerFrom(item[4], extent.stored) || !item[5].is_string() ||
      extent.length > kExtentSize) {
    return false;
  }
  const auto digest = FromHex(item[5].get_ref<const std::string&>());
  if (!digest || digest->size() != extent.digest.size()) {
    return false;
  }
  std::copy(digest->begin(), digest->end(), extent.digest.begin());
  return true;
}

bool ExtentFrom(const json& item, Extent& extent) {
  if (!item.is_array()) {
    return false;
  }
  switch (item.size()) {
    case 1:
      return JsonFields::IntegerFrom(item[0], extent.length);
    case 6:
      return StoredExtentFrom(item, extent);
    case 7:
      extent.of_full = item[6] == 1;
      return extent.of_full && StoredExtentFrom(item, extent);
    default:
      return false;
  }
}

// `limit`: the number of pages that the file can have.
bool RunsFrom(const json& item, std::uint64_t limit, std::vector<PageRun>& runs) {
  if (!item.is_array() || item.empty() || item.size() % 2 != 0) {
    return false;
  }
  for (std::size_t i = 0; i < item.size(); i += 2) {
    PageRun run;
    if (!JsonFields::IntegerFrom(item[i], run.first) ||
        !JsonFields::IntegerFrom(item[i + 1], run.count) || run.count == 0 ||
        std::uint64_t{run.first} + run.count > limit) {
      return false;
    }
    runs.push_back(run);
  }
  return true;
}

bool PageExtentFrom(const json& item, std::uint64_t file_size, std::uint32_t block_size,
                    PageExtent& pages) {
  if (block_size == 0 || !item.is_array() || item.size() != 7 ||
      !StoredExtentFrom(item, pages.extent) ||
      !RunsFrom(item[6], file_size / block_size, pages.runs)) {
    return false;
  }
  std::uint64_t count = 0;
  for (const PageRun& run : pages.runs) {
    count += run.count;
  }
  return count * block_size == pages.extent.length;
}

void ReadPages(JsonFields& fields, const json& record, std::uint32_t block_size, FileRecord& file) {
  const auto pages = record.find("pages");
  if (pages == record.end()) {
    return;
  }
  if (!pages->is_array()) {
    fields.Fail("member \"pages\" is not an array");
    return;
  }
  file.pages.resize(pages->size());
  for (std::size_t i = 0; i < file.pages.size(); ++i) {
    if (!PageExtentFrom((*pages)[i], file.size, block_size, file.pages[i])) {
      fields.Fail("a list of pages is malformed");
      return;
    }
  }
}

void ReadExtents(JsonFields& fields, const json& record, FileRecord& file) {
  const auto extents = record.find("extents");
  if (extents == record.end() || !extents->is_array()) {
    fields.Fail("member \"extents\" is not an array");
    return;
  }
  std::uint64_t sum = 0;
  file.extents.resize(extents->size());
  for (std::size_t i = 0; i < file.extents.size(); ++i) {
    if (!ExtentFrom((*extents)[i], file.extents[i])) {
      fields.Fail("an extent is malformed");
      return;
    }
    sum += file.extents[i].length;
  }
  if (sum != file.size) {
    fields.Fail(fmt::format("the extents of \"{}\" do not add up to its size", file.path));
  }
}

bool RefersToFull(const FileRecord& file) {
  return !file.pages.empty() || std::any_of(file.extents.begin(), file.extents.end(),
                                            [](const Extent& extent) { return extent.of_full; });
}

class Reader {
 public:
  Reader(std::string object_name, const BackupSummary& backup, const ManifestVisitor& visit)
      : object_name_(std::move(object_name)), backup_(backup), visit_(visit) {}

  Status Take(ByteView piece) {
    std::string_view text = AsText(piece);
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      if (end == std::string_view::npos) {
        if (line_.size() + text.size() > kLongestRecord) {
          return Corrupted("a record is too long");
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
      return Corrupted("goes on after its end record");
    }
    const json record = json::parse(line_, nullptr, false);
    JsonFields fields(record, object_name_);
    std::string type;
    fields.Read("type", type);
    RETURN_IF_ERROR(fields.status());
    if (!begun_) {
      return TakeHeader(fields, type);
    }
    if (type == "tablespace") {
      Tablespace tablespace;
      fields.Read("oid", tablespace.oid);
      ReadPath(fields, tablespace.path);
      return Deliver(fields, std::move(tablespace));
    }
    if (type == "directory") {
      DirectoryRecord directory;
      ReadSafePath(fields, directory.path);
      ReadMode(fields, directory.mode);
      return Deliver(fields, std::move(directory));
    }
    if (type == "file") {
      FileRecord file;
      ReadSafePath(fields, file.path);
      if (file.path.empty()) {
        fields.Fail("a file has no path");
      }
      ReadMode(fields, file.mode);
      fields.Read("size", file.size);
      fields.Read("mtime", file.mtime);
      ReadExtents(fields, record, file);
      ReadPages(fields, record, backup_.block_size, file);
      if (backup_.type == BackupType::kFull && RefersToFull(file)) {
        fields.Fail("a full backup refers to another one");
      }
      return Deliver(fields, std::move(file));
    }
    if (type == "pack" || type == "full_pack") {
      return TakePack(fields, type == "full_pack");
    }
    if (type == "end") {
      return TakeEnd(fields);
    }
    return MakeError(ErrorCode::kUnsupported, "\"{}\" has a record of unknown type \"{}\"",
                     object_name_, type)
        .WithHint("It was written by a newer version of veza_backup; use that version.");
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
    if (version != kManifestVersion) {
      return MakeError(ErrorCode::kUnsupported, "\"{}\" has manifest version {}", object_name_,
                       version)
          .WithHint("It was written by a newer version of veza_backup; use that version.");
    }
    begun_ = true;
    return Ok();
  }

  Status TakePack(JsonFields& fields, bool of_full) {
    PackRecord pack;
    pack.of_full = of_full;
    std::string header;
    fields.Read("number", pack.number);
    if (pack.number == 0) {
      fields.Fail("a pack has number 0");
    }
    fields.Read("size", pack.size);
    fields.Read("frames", pack.frames);
    fields.Read("header", header);
    const auto bytes = FromBase64(header);
    if (!bytes || bytes->size() != pack.header.size()) {
      fields.Fail("member \"header\" is not an object header");
    } else {
      std::copy(bytes->begin(), bytes->end(), pack.header.begin());
    }
    return Deliver(fields, pack);
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
      return Corrupted("does not hold as many records as it says");
    }
    ended_ = true;
    return Ok();
  }

  template <typename Record>
  Status Deliver(const JsonFields& fields, Record&& record) {
    RETURN_IF_ERROR(fields.status());
    Count(record, totals_);
    return visit_(ManifestRecord(std::forward<Record>(record)));
  }

  std::string object_name_;
  const BackupSummary& backup_;
  const ManifestVisitor& visit_;
  std::string line_;
  ManifestTotals totals_;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

ManifestWriter::ManifestWriter(const Repository& repository, const std::string& label)
    : repository_(repository),
      label_(label),
      sealer_(std::make_unique<StreamSealer>(repository.seal_policy(), ManifestName(label),
                                             repository.options().compression_level,
                                             repository.options().spill_directory, kManifestMemory,
                                             *repository.environment().random)) {
  begun_ = AppendLine(
      json{{"type", "manifest"}, {"version", kManifestVersion}, {"label", label_}}.dump());
}

ManifestWriter::~ManifestWriter() = default;

Status ManifestWriter::AppendLine(const std::string& line) {
  RETURN_IF_ERROR(sealer_->Append(AsBytes(line)));
  return sealer_->Append(AsBytes("\n"));
}

Status ManifestWriter::Add(const ManifestRecord& record) {
  const std::string line =
      std::visit([](const auto& specific) { return ToJson(specific).dump(); }, record);
  const std::lock_guard lock(mutex_);
  std::visit([this](const auto& specific) { Count(specific, totals_); }, record);
  return AppendLine(line);
}

Result<ManifestWriter::Stored> ManifestWriter::Commit() {
  RETURN_IF_ERROR(begun_);
  RETURN_IF_ERROR(AppendLine(json{
      {"type", "end"},
      {"files", totals_.files},
      {"directories", totals_.directories},
      {"extents", totals_.extents},
      {"packs", totals_.packs},
      {"size", totals_.size}}.dump()));
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
  Reader reader(name, backup, visit);
  StreamOpener opener(repository.seal_policy(), name,
                      [&](ByteView plain) { return reader.Take(plain); });
  Sha256 sha256;
  RETURN_IF_ERROR(GetPartOfBackup(repository, name, {}, [&](ByteView piece) {
    sha256.Update(piece);
    return opener.Feed(piece);
  }));
  RETURN_IF_ERROR(opener.Finish());
  RETURN_IF_ERROR(reader.Finish());
  if (sha256.Finish() != backup.manifest_sha256) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "\"{}\" is not the manifest that backup.json describes", name)
        .WithHint("The object was replaced after the backup was made. Restore another backup.");
  }
  return Ok();
}

Status GetPartOfBackup(const Repository& repository, const std::string& name, ByteRange range,
                       const Sink& sink) {
  bool begun = false;
  Status got = repository.store().Get(name, range, [&](ByteView piece) {
    begun = true;
    return sink(piece);
  });
  // The sink may have the same code for a reason of its own.
  if (!got && got.error().code == ErrorCode::kNotFound && !begun) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is missing", name)
        .WithHint("The backup is not whole without it. Restore another backup.");
  }
  if (!got && got.error().code == ErrorCode::kInvalidArgument && !begun) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is truncated", name)
        .WithHint("The backup is not whole without it. Restore another backup.");
  }
  return got;
}

}  // namespace veza
