#include "golden/golden_repository.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "core/codec/stream_builder.h"
#include "core/codec/their_json.h"

namespace veza {
namespace {

using nlohmann::json;

constexpr std::size_t kSegmentSize = 1U << 20;
constexpr std::size_t kPage = 8192;

std::string Text(ByteView bytes) {
  return std::string(AsText(bytes));
}

// Builds a zstd frame by hand (RFC 8878), so that it does not depend on the version of zstd. The
// header says: one segment, the size in four bytes. Then come raw blocks, or one block that repeats
// a byte.
Bytes ZstdHeader(std::size_t size) {
  Bytes frame{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0};
  StoreLittleEndian(frame.data() + 5, static_cast<std::uint32_t>(size));
  return frame;
}
void AppendBlockHeader(Bytes& frame, std::size_t size, std::uint32_t type) {
  std::uint8_t word[4];
  StoreLittleEndian(word, static_cast<std::uint32_t>(size << 3 | type << 1 | 1));  // the last block
  frame.insert(frame.end(), word, word + 3);
}
Bytes RawZstd(std::string_view content) {
  Bytes frame = ZstdHeader(content.size());
  AppendBlockHeader(frame, content.size(), 0);
  frame.insert(frame.end(), content.begin(), content.end());
  return frame;
}
Bytes RepeatedZstd(char byte, std::size_t count) {
  Bytes frame = ZstdHeader(count);
  AppendBlockHeader(frame, count, 1);
  frame.push_back(static_cast<std::uint8_t>(byte));
  return frame;
}

Bytes MakeStream(const SealPolicy& policy, const std::string& name, std::string_view content,
                 std::optional<DigestMethod> described) {
  ObjectAttributes attributes{.node = "golden-node", .created = kTestTime};
  if (described) {
    attributes.plain_size = content.size();
    attributes.plain_digest = DigestContent(*described, policy.key.get(), AsBytes(content));
  }
  FixedRandom random(name);
  return FrameByFrame(policy, ObjectKind::kStream, name, attributes, {RawZstd(content)}, random)
      .Object();
}

// A pack and the places of its extents.
class PackMaker {
 public:
  PackMaker(const SealPolicy& policy, const char* label, std::uint32_t number, DigestMethod method)
      : policy_(policy),
        method_(method),
        number_(number),
        name_(fmt::format("backup/{}/pack/{:08}", label, number)),
        random_(name_),
        sealer_(policy, ObjectKind::kPack, name_, random_),
        object_(sealer_.Head({.node = "golden-node", .created = kTestTime}).value()) {}

  json AddStored(std::string_view plain) { return Add(plain, AsBytes(plain), kFrameStored); }
  json AddRepeated(char byte, std::size_t count) {
    return Add(std::string(count, byte), RepeatedZstd(byte, count), 0);
  }

  json Finish(std::map<std::string, Bytes>& objects) {
    const Bytes last = SealOne(sealer_, frames_, kFrameLast, {});
    object_.insert(object_.end(), last.begin(), last.end());
    objects[name_] = object_;
    json record = {{"type", "pack"},
                   {"number", number_},
                   {"size", object_.size()},
                   {"frames", frames_},
                   {"header", ToBase64(sealer_.header())}};
    if (method_ == DigestMethod::kGmac) {
      record["digest"] = "gmac";
    }
    return record;
  }

 private:
  json Add(std::string_view plain, ByteView stored, std::uint32_t flags) {
    const Bytes frame = SealOne(sealer_, frames_, flags, stored);
    const ContentDigest digest = DigestContent(method_, policy_.key.get(), AsBytes(plain));
    json extent = {plain.size(),   number_,      frames_,
                   object_.size(), frame.size(), ToHex(digest.used()).substr(0, 32)};
    object_.insert(object_.end(), frame.begin(), frame.end());
    ++frames_;
    return extent;
  }

  const SealPolicy& policy_;
  DigestMethod method_;
  std::uint32_t number_;
  std::string name_;
  FixedRandom random_;
  ObjectSealer sealer_;
  Bytes object_;
  std::uint32_t frames_ = 0;
};

class RepositoryMaker {
 public:
  explicit RepositoryMaker(const GoldenKind& kind)
      : policy_(TestPolicy(kind.cipher, "golden")),
        method_(kind.version == 2 ? DigestMethod::kGmac : DigestMethod::kSha256),
        has_recovery_(kind.has_recovery) {}

  GoldenRepository Make() {
    MakeIdentity();
    MakeWal();
    MakeIndex();
    MakeBackup();
    MakeDiff();
    MakeIncr();
    MakeDamage();
    return std::move(made_);
  }

 private:
  // The totals that are counted while a manifest is built.
  struct Totals {
    std::size_t directories = 0;
    std::size_t extents = 0;
    std::size_t packs = 0;
    std::size_t size = 0;
    std::size_t stored_size = 0;
  };

  void MakeIdentity() {
    json identity = {{"format", 1},
                     {"system_identifier", kGoldenSystem},
                     {"postgres_version_num", 150020},
                     {"wal_segment_size", kSegmentSize},
                     {"block_size", kPage},
                     {"node", "golden-node"},
                     {"created", "2026-11-22T02:00:00Z"}};
    AddKeyMembers(identity);
    Sign(identity, fmt::format("identity/{}", kGoldenSystem));
    if (method_ == DigestMethod::kGmac) {
      Sign({{"format", 1},
            {"version", 2},
            {"node", "golden-node"},
            {"created", "2026-11-22T02:00:00Z"}},
           "format/2");
    }
    if (policy_.key != nullptr) {
      FixedRandom random("wrap");
      const std::string wrap =
          WrapKey(*policy_.key, kGoldenPassphrase, "golden-node", kTestTime, random).value();
      PutWrap("0123456789abcdef", wrap);
    }
    if (has_recovery_) {
      FixedRandom random("recovery wrap");
      json wrap = json::parse(
          WrapKey(*policy_.key, kGoldenRecoveryPassphrase, "golden-node", kTestTime, random)
              .value());
      wrap["name"] = "recovery";
      PutWrap("fedcba9876543210",
              SignTheirs(wrap, policy_, "key/" + policy_.key->hex_id()).value());
    }
  }

  void PutWrap(const char* id, const std::string& text) {
    const std::string name = fmt::format("key/{}.{}", policy_.key->hex_id(), id);
    Put(name, AsBytes(text));
    wraps_.push_back({{"name", name}, {"text", text}});
  }

  void MakeWal() {
    const std::string wal = fmt::format("wal/{}", kGoldenSystem);
    std::string segment = Text(TestBytes(1000, "segment"));
    segment.resize(kSegmentSize);
    FixedRandom random("segment");
    Put(GoldenSegmentName(),
        SealStream(policy_, GoldenSegmentName(), AsBytes(segment),
                   method_ == DigestMethod::kGmac ? ContentDescription::kSizeAndGmac
                                                  : ContentDescription::kSizeAndSha256,
                   random));
    made_.wal[kGoldenSegment] = segment;

    const std::string history = "1\t0/1200000\tno recovery target specified\n";
    const std::string name = wal + "/00000002/00000002.history";
    Put(name, MakeStream(policy_, name, history, method_));
    made_.wal["00000002.history"] = history;
  }

  void AddDirectory(const std::string& path) {
    manifest_ += json{{"type", "directory"}, {"path", path}, {"mode", "0700"}}.dump() + "\n";
    ++totals_.directories;
  }

  void AddFile(const std::string& path, const std::string& content,
               const std::vector<json>& extents, const std::vector<json>& pages = {}) {
    json record = {{"type", "file"},
                   {"mode", "0600"},
                   {"size", content.size()},
                   {"mtime", 1'795'312'000},
                   {"extents", extents}};
    if (!pages.empty()) {
      record["pages"] = pages;
    }
    if (path.ends_with('\xff')) {
      record["path_base64"] = ToBase64(AsBytes(path));
    } else {
      record["path"] = path;
    }
    manifest_ += record.dump() + "\n";
    (*files_)[path] = content;
    totals_.extents += extents.size() + pages.size();
    totals_.size += content.size();
  }

  json AddPack(PackMaker& pack) {
    json record = pack.Finish(made_.objects);
    totals_.stored_size += record.at("size").get<std::size_t>();
    manifest_ += record.dump() + "\n";
    ++totals_.packs;
    return record;
  }

  void BeginManifest(const char* label, std::map<std::string, std::string>* files) {
    totals_ = {};
    files_ = files;
    const int version = std::string(label).ends_with('I') ? 3
                        : method_ == DigestMethod::kGmac  ? 2
                                                          : 1;
    manifest_ = json{{"type", "manifest"}, {"version", version}, {"label", label}}.dump() + "\n";
  }

  void EndManifest() {
    manifest_ += json{{"type", "end"},
                      {"files", files_->size()},
                      {"directories", totals_.directories},
                      {"extents", totals_.extents},
                      {"packs", totals_.packs},
                      {"size", totals_.size}}
                     .dump() +
                 "\n";
  }

  void MakeManifest() {
    BeginManifest(kGoldenLabel, &made_.files);
    manifest_ +=
        json{{"type", "tablespace"}, {"oid", 16384}, {"path", kGoldenTablespace}}.dump() + "\n";
    for (const char* path : {"", "base", "base/1", "global", "pg_tblspc", "pg_wal"}) {
      AddDirectory(path);
    }
    PackMaker first(policy_, kGoldenLabel, 1, DigestMethod::kSha256);
    PackMaker second(policy_, kGoldenLabel, 2, method_);
    version_extent_ = first.AddStored("15\n");
    AddFile("PG_VERSION", "15\n", {version_extent_});
    const std::string random_page = Text(TestBytes(kPage, "page"));
    relation_extents_ = {first.AddRepeated('A', kPage), json::array({2 * kPage}),
                         second.AddStored(random_page)};
    AddFile("base/1/1259", std::string(kPage, 'A') + std::string(2 * kPage, '\0') + random_page,
            relation_extents_);
    AddFile("base/1/empty", "", {});
    AddFile("base/1/\xff", "x", {second.AddStored("x")});
    for (const char* path : {"pg_tblspc/16384", "pg_tblspc/16384/PG_15_202209061",
                             "pg_tblspc/16384/PG_15_202209061/1"}) {
      AddDirectory(path);
    }
    full_packs_.push_back(AddPack(first));
    AddFile("pg_tblspc/16384/PG_15_202209061/1/2", std::string(kPage, 'T'),
            {second.AddRepeated('T', kPage)});
    AddFile("backup_label", "golden\n", {second.AddStored("golden\n")});
    AddFile("global/pg_control", std::string(kPage, 'C'), {second.AddRepeated('C', kPage)});
    full_packs_.push_back(AddPack(second));
    EndManifest();
  }

  // Makes the manifest of a diff: one page of the full has changed, one file is gone, and the
  // others are references.
  void MakeDiffManifest() {
    BeginManifest(kGoldenDiffLabel, &made_.diff_files);
    for (json pack : full_packs_) {
      pack["type"] = "full_pack";
      manifest_ += pack.dump() + "\n";
    }
    for (const char* path : {"", "base", "base/1", "global", "pg_tblspc", "pg_wal"}) {
      AddDirectory(path);
    }
    PackMaker pack(policy_, kGoldenDiffLabel, 1, method_);
    const auto of_full = [](json extent) {
      if (extent.size() > 1) {
        extent.push_back(1);
      }
      return extent;
    };
    AddFile("PG_VERSION", "15\n", {of_full(version_extent_)});
    std::vector<json> extents;
    for (const json& extent : relation_extents_) {
      extents.push_back(of_full(extent));
    }
    const std::string pages = Text(TestBytes(kPage, "changed")) + std::string(kPage, 'B');
    std::string content = made_.files["base/1/1259"];
    content.replace(0, kPage, pages, 0, kPage);
    content.replace(2 * kPage, kPage, pages, kPage, kPage);
    json changed = pack.AddStored(pages);
    changed_pages_ = changed;
    changed.push_back(json::array({0, 1, 2, 1}));
    AddFile("base/1/1259", content, extents, {changed});
    AddFile("backup_label", "golden diff\n", {pack.AddStored("golden diff\n")});
    AddFile("global/pg_control", std::string(kPage, 'D'), {pack.AddRepeated('D', kPage)});
    diff_pack_ = AddPack(pack);
    EndManifest();
  }

  // Makes the manifest of an incr on the diff: one of the pages that the diff has is in use, and
  // the other one has changed again. The full is its first source, the diff the second.
  void MakeIncrManifest() {
    BeginManifest(kGoldenIncrLabel, &made_.incr_files);
    for (const char* path : {"", "base", "base/1", "global", "pg_tblspc", "pg_wal"}) {
      AddDirectory(path);
    }
    const auto name_pack = [&](json pack, int source) {
      pack["type"] = "source_pack";
      pack["source"] = source;
      manifest_ += pack.dump() + "\n";
    };
    const auto of_full = [](json extent) {
      if (extent.size() > 1) {
        extent.push_back(1);
      }
      return extent;
    };
    for (const json& pack : full_packs_) {
      name_pack(pack, 1);
    }
    AddFile("PG_VERSION", "15\n", {of_full(version_extent_)});
    name_pack(diff_pack_, 2);
    PackMaker pack(policy_, kGoldenIncrLabel, 1, method_);
    std::vector<json> extents;
    for (const json& extent : relation_extents_) {
      extents.push_back(of_full(extent));
    }
    std::string content = made_.diff_files["base/1/1259"];
    content.replace(0, kPage, kPage, 'E');
    json own = pack.AddRepeated('E', kPage);
    own.push_back(json::array({0, 1}));
    json of_diff = changed_pages_;
    of_diff.push_back(2);
    of_diff.push_back(json::array({1, 2, 1}));
    AddFile("base/1/1259", content, extents, {own, of_diff});
    AddFile("backup_label", "golden incr\n", {pack.AddStored("golden incr\n")});
    AddFile("global/pg_control", std::string(kPage, 'F'), {pack.AddRepeated('F', kPage)});
    AddPack(pack);
    EndManifest();
  }

  // An index of WAL (FORMAT.md section 15). It says what nobody wrote into the segment, because the
  // segment is random.
  void MakeIndex() {
    const Bytes blocks = Varints({1663, 5,  16384, 0, 3,
                                  1,    16, 0,  // blocks 0 to 2 and 10
                                  1663, 5,  16384, 2, 2,
                                  0,  // block 0
                                  1664, 0,  1262,  0, 2 * 0xFFFF'FFFFULL,
                                  0});  // the last one
    constexpr std::uint64_t kTime = 1'795'348'800'000'000;
    const Bytes transactions =
        Varints({2, 5,    27,  5,     9,    2 * kTime, 5,    1400, 1, 1, 12, 5, 2, 4, 1,  // ends
                 2, 1663, 5,   16384, 1664, 0,         1262,           // relations
                 2, 1,    0,   0,     2,    0,         4,    0,    0,  // shapes
                 3, 0,    699, 1,     0,    1,         0});            // touches
    const std::string events =
        R"({"begin":"0/1000028","dropped":{"1663/5":[16390,16384]},"database":5,"committed":true,)"
        R"("prepared":false,"time":1795348800000000,"ended":700,"end":"0/1000050",)"
        R"("event":"transaction_ended","xid":700})"
        "\n"
        R"({"begin":"0/1000060","end":"0/10000C8","event":"restore_point","name_base64":"/w==",)"
        R"("time":1795348800000001,"xid":0})"
        "\n";
    made_.index = fmt::format(
        "segment {} stored {} records 7 begin 0/1000028 end 0/1000148 unwritten minutes 1 head 0 "
        "tail 1 doubts 1\n"
        "blocks 1663/5/16384 fork 0: 3 from 0\n"
        "blocks 1663/5/16384 fork 0: 1 from 10\n"
        "blocks 1663/5/16384 fork 2: 1 from 0\n"
        "blocks 1664/0/1262 fork 0: 1 from 4294967294\n"
        "end 0/1000028 0/1000050 1795348800000000 xid 700 database 0 1 0\n"
        "end 0/1000100 0/1000148 1795348799999997 xid 699 database 5 0 0 701 700\n"
        "touch 0 1663/5/16384: 1\n"
        "touch 699 1663/5/16384: 5\n"
        "touch 699 1664/0/1262: 1\n"
        "touch 700 1663/5/16384: 1\n"
        "event transaction_ended 0/1000028 0/1000050 xid 700\n"
        "event restore_point 0/1000060 0/10000C8 xid 0\n",
        kGoldenSegment, made_.objects[GoldenSegmentName()].size());
    PutIndex({Bytes(events.begin(), events.end()), blocks, transactions});
  }

  static Bytes Varints(const std::vector<std::uint64_t>& numbers) {
    Bytes bytes;
    for (std::uint64_t number : numbers) {
      for (; number > 127; number /= 128) {
        bytes.push_back(static_cast<std::uint8_t>(number % 128 + 128));
      }
      bytes.push_back(static_cast<std::uint8_t>(number));
    }
    return bytes;
  }

  // The events are compressed, and the other parts are stored as they are.
  void PutIndex(const std::vector<Bytes>& parts) {
    const std::string name = GoldenIndexName();
    FixedRandom random(name);
    const ObjectSealer sealer(policy_, ObjectKind::kPack, name, random);
    const Bytes events = RawZstd(AsText(parts[0]));
    json places;
    const auto place = [&](const char* part, int frame, std::size_t stored, std::size_t size) {
      places[part] = {{"frame", frame}, {"stored", {sealer.FrameSize(stored)}}, {"size", size}};
    };
    place("events", 1, events.size(), parts[0].size());
    place("blocks", 2, parts[1].size(), parts[1].size());
    place("transactions", 3, parts[2].size(), parts[2].size());
    const ContentDigest digest =
        DigestContent(method_, policy_.key.get(), AsBytes(made_.wal[kGoldenSegment]));
    const json segment = {
        {"segment", kGoldenSegment},
        {method_ == DigestMethod::kGmac ? "gmac" : "sha256", ToHex(digest.used())},
        {"stored", made_.objects[GoldenSegmentName()].size()},
        {"postgresql", 15},
        {"last_page_timeline", 1},
        {"begin", "0/1000028"},
        {"end", "0/1000148"},
        {"ends", "unwritten"},
        {"records", 7},
        {"minutes", {{29'922'480, 1, 1, 288, 0, 0}}},
        {"last_end",
         {{"begin", "0/1000100"},
          {"end", "0/1000148"},
          {"time", 1'795'348'799'999'997},
          {"xid", 699},
          {"database", 5},
          {"committed", false},
          {"prepared", false}}},
        {"earliest_end", 1'795'348'799'999'997},
        {"latest_end", 1'795'348'800'000'000},
        {"tail",
         {{"length", 16}, {"taken", 16}, {"kept", ToBase64(Bytes(16, 7))}, {"end", "0/1000028"}}},
        {"doubts", 1},
        {"doubt", {{"lsn", "0/1000098"}, {"reason", "the kind of the record is not known"}}},
        {"parts", places}};
    const json directory = {{"version", 1},
                            {"reader", 1},
                            {"system", kGoldenSystem},
                            {"timeline", 1},
                            {"segment_size", kSegmentSize},
                            {"segments", {segment}}};
    Bytes object = sealer.Head({.node = "golden-node", .created = kTestTime}).value();
    std::uint64_t number = 0;
    const auto append = [&](std::uint32_t flags, ByteView plain) {
      const Bytes frame = SealOne(sealer, number++, flags, plain);
      object.insert(object.end(), frame.begin(), frame.end());
    };
    append(0, RawZstd(directory.dump()));
    append(0, events);
    append(kFrameStored, parts[1]);
    append(kFrameStored, parts[2]);
    append(kFrameLast, {});
    Put(name, object);
  }

  void MakeBackup() {
    MakeManifest();
    SignBackup(kGoldenLabel, "full",
               {{{"oid", 16384}, {"path", kGoldenTablespace}, {"size", kPage}}}, json::object());
  }

  void MakeDiff() {
    MakeDiffManifest();
    SignBackup(kGoldenDiffLabel, "diff", json::array(),
               {{"full_manifest_sha256", manifests_[kGoldenLabel]}});
  }

  void MakeIncr() {
    MakeIncrManifest();
    json sources = json::array();
    for (const char* label : {kGoldenLabel, kGoldenDiffLabel}) {
      sources.push_back({{"label", label}, {"manifest_sha256", manifests_[label]}});
    }
    SignBackup(kGoldenIncrLabel, "incr", json::array(),
               {{"parent", kGoldenDiffLabel}, {"sources", sources}, {"changes_by", "wal"}});
  }

  void MakeDamage() {
    const std::string label = kGoldenIncrLabel;
    Sign({{"format", 1},
          {"manifest_sha256", manifests_[label]},
          {"node", "golden-verifier"},
          {"created", "2026-11-25T02:00:00Z"},
          {"objects", {fmt::format("backup/{}/pack/00000001", label)}},
          {"count", 1}},
         fmt::format("damage/{}", label));
  }

  // `more`: members that only this type has.
  void SignBackup(const char* label, const char* type, const json& tablespaces, const json& more) {
    const std::string name = fmt::format("backup/{}/manifest", label);
    const Bytes sealed = MakeStream(policy_, name, manifest_, std::nullopt);
    Put(name, sealed);
    manifests_[label] = ToHex(Sha256Of(sealed));
    json backup = {
        {"format", 1},
        {"label", label},
        {"type", type},
        {"system_identifier", kGoldenSystem},
        {"postgres_version_num", 150020},
        {"postgres_version", "15.20 (Debian 15.20-0+deb12u1)"},
        {"timeline", 1},
        {"start_lsn", "0/1000028"},
        {"stop_lsn", "0/1000120"},
        {"start_wal", kGoldenSegment},
        {"stop_wal", kGoldenSegment},
        {"start_time", "2026-11-22T02:00:00Z"},
        {"stop_time", "2026-11-22T02:00:01.250000Z"},
        {"wal_segment_size", kSegmentSize},
        {"block_size", kPage},
        {"data_checksum_version", 1},
        {"from_standby", false},
        {"node", "golden-node"},
        {"size", totals_.size},
        {"stored_size", totals_.stored_size + sealed.size()},
        {"files", files_->size()},
        {"packs", totals_.packs},
        {"manifest_size", sealed.size()},
        {"manifest_sha256", manifests_[label]},
        {"tablespaces", tablespaces},
        {"databases", {{{"oid", 1}, {"name", "template1"}, {"row_xid", 3}, {"size", 5 * kPage}}}},
        {"extensions", {{{"database", "template1"}, {"name", "plpgsql"}, {"version", "1.0"}}}},
        {"settings", {{"archive_timeout", "60"}}},
        {"checksum_failures", 1},
        {"checksum_failure_pages", {{{"path", "base/1/1259"}, {"block", 3}}}},
        {"backup_label", "START WAL LOCATION: 0/1000028 (\"golden\", ä)\n"}};
    backup.update(more);
    if (has_recovery_) {
      backup["key_wraps"] = wraps_;
    }
    AddKeyMembers(backup);
    Sign(backup, fmt::format("backup/{}/backup.json", label));
  }

  void AddKeyMembers(json& document) const {
    document["cipher"] = CipherName(policy_.cipher);
    if (policy_.key != nullptr) {
      document["key_id"] = policy_.key->hex_id();
    }
  }

  void Sign(const json& document, const std::string& name) {
    Put(name, AsBytes(SignTheirs(document, policy_, name).value()));
  }

  void Put(const std::string& name, ByteView content) {
    made_.objects[name] = Bytes(content.begin(), content.end());
  }

  SealPolicy policy_;
  DigestMethod method_;
  bool has_recovery_;
  json wraps_ = json::array();
  GoldenRepository made_;
  std::string manifest_;
  Totals totals_;
  std::map<std::string, std::string>* files_ = nullptr;  // files of the backup that is being made
  json version_extent_;
  std::vector<json> relation_extents_;
  std::vector<json> full_packs_;
  json changed_pages_;  // the page extent of the diff, without its runs
  json diff_pack_;
  std::map<std::string, std::string> manifests_;  // digests by label
};

}  // namespace

std::string GoldenSegmentName() {
  return fmt::format("wal/{}/00000001/00000000/{}", kGoldenSystem, kGoldenSegment);
}

std::string GoldenIndexName() {
  return fmt::format("walindex/{0}/00000001/{1}-{1}-1-0123456789abcdef", kGoldenSystem,
                     kGoldenSegment);
}

std::string NameOf(const GoldenKind& kind) {
  return fmt::format("{}{}{}", CipherName(kind.cipher), kind.version == 1 ? "" : "-2",
                     kind.has_recovery ? "-keys" : "");
}

GoldenRepository MakeGoldenRepository(const GoldenKind& kind) {
  return RepositoryMaker(kind).Make();
}

}  // namespace veza
