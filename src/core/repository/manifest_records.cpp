#include "core/repository/manifest_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/codec/json_fields.h"
#include "core/limits.h"

namespace veza {

namespace {

// The frame word and the authentication tag.
constexpr std::size_t kShortestFrame = kFrameWordSize + 16;

std::string ModeText(std::uint32_t mode) {
  return fmt::format("{:04o}", mode);
}

Json ToJson(const Tablespace& tablespace) {
  Json record{{"type", "tablespace"}, {"oid", tablespace.oid}};
  PutPath(record, tablespace.path);
  return record;
}

Json ToJson(const DirectoryRecord& directory) {
  Json record{{"type", "directory"}, {"mode", ModeText(directory.mode)}};
  PutPath(record, directory.path);
  return record;
}

Json ToJson(const Extent& extent) {
  Json item = Json::Array();
  if (extent.pack == 0) {
    item.push_back(extent.length);
    return item;
  }
  for (const std::uint64_t number :
       {std::uint64_t{extent.length}, std::uint64_t{extent.pack}, std::uint64_t{extent.frame},
        std::uint64_t{extent.offset}, std::uint64_t{extent.stored}}) {
    item.push_back(number);
  }
  item.push_back(ToHex(extent.digest));
  if (extent.source != 0) {
    item.push_back(extent.source);
  }
  return item;
}

Json ToJson(const PageExtent& pages) {
  Json runs = Json::Array();
  for (const PageRun& run : pages.runs) {
    if (pages.extent.source != 0) {
      runs.push_back(run.at);
    }
    runs.push_back(run.first);
    runs.push_back(run.count);
  }
  Json item = ToJson(pages.extent);
  item.push_back(std::move(runs));
  return item;
}

Json ToJson(const FileRecord& file) {
  Json extents = Json::Array();
  for (const Extent& extent : file.extents) {
    extents.push_back(ToJson(extent));
  }
  Json record{{"type", "file"},
              {"mode", ModeText(file.mode)},
              {"size", file.size},
              {"mtime", file.mtime},
              {"extents", std::move(extents)}};
  if (!file.pages.empty()) {
    Json& pages = record["pages"] = Json::Array();
    for (const PageExtent& item : file.pages) {
      pages.push_back(ToJson(item));
    }
  }
  PutPath(record, file.path);
  return record;
}

const char* TypeOf(const PackRecord& pack, BackupType type) {
  if (pack.source == 0) {
    return "pack";
  }
  return type == BackupType::kIncr ? "source_pack" : "full_pack";
}

Json ToJson(const PackRecord& pack, BackupType type) {
  Json record{{"type", TypeOf(pack, type)},
              {"number", pack.number},
              {"size", pack.size},
              {"frames", pack.frames},
              {"header", ToBase64(pack.header)}};
  if (pack.digest == DigestMethod::kGmac) {
    record["digest"] = std::string(kGmacName);
  }
  if (pack.source != 0 && type == BackupType::kIncr) {
    record["source"] = pack.source;
  }
  return record;
}

// Only records of packs depend on the type of the backup.
template <typename Record>
Json ToJson(const Record& record, BackupType) {
  return ToJson(record);
}

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

// Whether the extent's place can exist in a pack. The frame is read into memory, so its size must
// be checked.
bool LiesInPack(const Extent& extent) {
  const std::size_t longest = SealedFrameSize(Cipher::kAes256Cbc, kExtentSize);
  return extent.stored >= kShortestFrame && extent.stored <= longest &&
         extent.offset >= kObjectHeaderSize && extent.offset <= limits::kPack - extent.stored &&
         extent.frame < limits::kPack / kShortestFrame;
}

// Parses the six members of an extent that is stored in a pack.
bool StoredExtentFrom(const Json& item, Extent& extent) {
  if (!JsonFields::IntegerFrom(item[0], extent.length) ||
      !JsonFields::IntegerFrom(item[1], extent.pack) || extent.pack == 0 ||
      !JsonFields::IntegerFrom(item[2], extent.frame) ||
      !JsonFields::IntegerFrom(item[3], extent.offset) ||
      !JsonFields::IntegerFrom(item[4], extent.stored) || !item[5].is_text() ||
      extent.length > kExtentSize || !LiesInPack(extent)) {
    return false;
  }
  const auto digest = FromHex(*item[5].AsText());
  if (!digest || digest->size() != extent.digest.size()) {
    return false;
  }
  std::copy(digest->begin(), digest->end(), extent.digest.begin());
  return true;
}

bool ExtentFrom(const Json& item, Extent& extent) {
  if (!item.is_array()) {
    return false;
  }
  switch (item.size()) {
    case 1:
      return JsonFields::IntegerFrom(item[0], extent.length);
    case 6:
      return StoredExtentFrom(item, extent);
    case 7:
      return JsonFields::IntegerFrom(item[6], extent.source) && extent.source != 0 &&
             StoredExtentFrom(item, extent);
    default:
      return false;
  }
}

// Pairs of first page and number of pages, which fill the extent. `limit` is the number of pages of
// the file, `held` that of the extent.
bool DenseRunsFrom(const Json& item, std::uint64_t limit, std::uint64_t held,
                   std::vector<PageRun>& runs) {
  if (!item.is_array() || item.empty() || item.size() % 2 != 0) {
    return false;
  }
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < item.size(); i += 2) {
    PageRun run;
    if (!JsonFields::IntegerFrom(item[i], run.first) ||
        !JsonFields::IntegerFrom(item[i + 1], run.count) || run.count == 0 ||
        std::uint64_t{run.first} + run.count > limit || at + run.count > held) {
      return false;
    }
    run.at = static_cast<std::uint32_t>(at);
    at += run.count;
    runs.push_back(run);
  }
  return at == held;
}

// Triples of place in the extent, first page and number of pages. The places ascend.
bool PlacedRunsFrom(const Json& item, std::uint64_t limit, std::uint64_t held,
                    std::vector<PageRun>& runs) {
  if (!item.is_array() || item.empty() || item.size() % 3 != 0) {
    return false;
  }
  std::uint64_t end = 0;  // of the run before
  for (std::size_t i = 0; i < item.size(); i += 3) {
    PageRun run;
    if (!JsonFields::IntegerFrom(item[i], run.at) ||
        !JsonFields::IntegerFrom(item[i + 1], run.first) ||
        !JsonFields::IntegerFrom(item[i + 2], run.count) || run.count == 0 || run.at < end ||
        std::uint64_t{run.first} + run.count > limit || std::uint64_t{run.at} + run.count > held) {
      return false;
    }
    end = std::uint64_t{run.at} + run.count;
    runs.push_back(run);
  }
  return true;
}

bool PageExtentFrom(const Json& item, std::uint64_t file_size, std::uint32_t block_size,
                    PageExtent& pages) {
  if (block_size == 0 || !item.is_array() || (item.size() != 7 && item.size() != 8) ||
      !StoredExtentFrom(item, pages.extent) || pages.extent.length % block_size != 0) {
    return false;
  }
  const std::uint64_t limit = file_size / block_size;
  const std::uint64_t held = pages.extent.length / block_size;
  if (item.size() == 7) {
    return DenseRunsFrom(item[6], limit, held, pages.runs);
  }
  return JsonFields::IntegerFrom(item[6], pages.extent.source) && pages.extent.source != 0 &&
         PlacedRunsFrom(item[7], limit, held, pages.runs);
}

// Whether no page occurs twice.
bool AreDisjoint(const std::vector<PageExtent>& pages) {
  std::vector<PageRun> all;
  for (const PageExtent& extent : pages) {
    all.insert(all.end(), extent.runs.begin(), extent.runs.end());
  }
  std::ranges::sort(all, {}, &PageRun::first);
  return std::ranges::adjacent_find(all, [](const PageRun& a, const PageRun& b) {
           return std::uint64_t{a.first} + a.count > b.first;
         }) == all.end();
}

void ReadPages(JsonFields& fields, const Json& record, std::uint32_t block_size, FileRecord& file) {
  const Json* const pages = record.Find("pages");
  if (pages == nullptr) {
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
  if (!AreDisjoint(file.pages)) {
    fields.Fail(fmt::format("a page of \"{}\" occurs twice", file.path));
  }
}

void ReadExtents(JsonFields& fields, const Json& record, FileRecord& file) {
  const Json* const extents = record.Find("extents");
  if (extents == nullptr || !extents->is_array()) {
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

// Whether a backup of this type can have such places in a file. Pages of other backups are in incrs
// only.
bool MayHave(const FileRecord& file, const BackupSummary& backup) {
  const auto is_known = [&](const Extent& extent) {
    return extent.source <= backup.sources.size();
  };
  if (backup.type == BackupType::kFull && !file.pages.empty()) {
    return false;
  }
  return std::ranges::all_of(file.extents, is_known) &&
         std::ranges::all_of(file.pages, [&](const PageExtent& pages) {
           return backup.type == BackupType::kIncr ? is_known(pages.extent)
                                                   : pages.extent.source == 0;
         });
}

template <typename Record>
Result<ManifestRecord> Checked(const JsonFields& fields, Record&& record) {
  RETURN_IF_ERROR(fields.status());
  return ManifestRecord(std::forward<Record>(record));
}

Result<ManifestRecord> FileFrom(JsonFields& fields, const Json& record,
                                const BackupSummary& backup) {
  FileRecord file;
  ReadSafePath(fields, file.path);
  if (file.path.empty()) {
    fields.Fail("a file has no path");
  }
  ReadMode(fields, file.mode);
  fields.Read("size", file.size);
  fields.Read("mtime", file.mtime);
  ReadExtents(fields, record, file);
  ReadPages(fields, record, backup.block_size, file);
  if (!MayHave(file, backup)) {
    fields.Fail(backup.type == BackupType::kFull
                    ? "a full backup refers to another one"
                    : "a file refers to a backup that backup.json does not name");
  }
  return Checked(fields, std::move(file));
}

// By which method the extents of a pack are digested.
Result<DigestMethod> DigestFrom(JsonFields& fields, std::uint32_t pack,
                                const std::string& object_name) {
  if (!fields.Has("digest")) {
    return DigestMethod::kSha256;
  }
  std::string word;
  fields.Read("digest", word);
  RETURN_IF_ERROR(fields.status());
  if (word == kGmacName) {
    return DigestMethod::kGmac;
  }
  return MakeError(ErrorCode::kUnsupported,
                   "\"{}\" has digests of an unknown kind \"{}\" for pack {}", object_name, word,
                   pack)
      .WithHint("It was written by a newer version of veza_backup; use that version.");
}

// Whose pack the record describes.
std::uint32_t SourceFrom(JsonFields& fields, const std::string& type, const BackupSummary& backup) {
  std::uint32_t source = 0;
  if (type == "source_pack") {
    fields.Read("source", source);
  } else if (type == "full_pack") {
    source = 1;
  }
  const bool fits =
      type == "pack" || (source > 0 && source <= backup.sources.size() &&
                         (type == "source_pack") == (backup.type == BackupType::kIncr));
  if (!fits) {
    fields.Fail("a pack belongs to a backup that backup.json does not name");
  }
  return source;
}

Result<ManifestRecord> PackFrom(JsonFields& fields, const std::string& type,
                                const BackupSummary& backup, const std::string& object_name) {
  PackRecord pack;
  pack.source = SourceFrom(fields, type, backup);
  std::string header;
  fields.Read("number", pack.number);
  if (pack.number == 0) {
    fields.Fail("a pack has number 0");
  }
  fields.Read("size", pack.size);
  fields.Read("frames", pack.frames);
  if (pack.size > limits::kPack || pack.frames > pack.size / kShortestFrame) {
    fields.Fail(fmt::format("pack {} is larger than a pack can be", pack.number));
  }
  fields.Read("header", header);
  const auto bytes = FromBase64(header);
  if (!bytes || bytes->size() != pack.header.size()) {
    fields.Fail("member \"header\" is not an object header");
  } else {
    std::copy(bytes->begin(), bytes->end(), pack.header.begin());
  }
  ASSIGN_OR_RETURN(pack.digest, DigestFrom(fields, pack.number, object_name));
  return Checked(fields, pack);
}

}  // namespace

std::string SerializeRecord(const ManifestRecord& record, BackupType type) {
  return std::visit([type](const auto& specific) { return ToJson(specific, type).Print(); },
                    record);
}

Result<ManifestRecord> ParseRecord(const Json& record, const std::string& type,
                                   const BackupSummary& backup, const std::string& object_name) {
  JsonFields fields(record, object_name);
  if (type == "tablespace") {
    Tablespace tablespace;
    fields.Read("oid", tablespace.oid);
    ReadPath(fields, tablespace.path);
    return Checked(fields, std::move(tablespace));
  }
  if (type == "directory") {
    DirectoryRecord directory;
    ReadSafePath(fields, directory.path);
    ReadMode(fields, directory.mode);
    return Checked(fields, std::move(directory));
  }
  if (type == "file") {
    return FileFrom(fields, record, backup);
  }
  if (type == "pack" || type == "full_pack" || type == "source_pack") {
    return PackFrom(fields, type, backup, object_name);
  }
  return MakeError(ErrorCode::kUnsupported, "\"{}\" has a record of unknown type \"{}\"",
                   object_name, type)
      .WithHint("It was written by a newer version of veza_backup; use that version.");
}

}  // namespace veza
