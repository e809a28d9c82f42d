// Prints the records of WAL segments, one a line, for the comparison with pg_waldump
// (test/server/lib/WalDump.pm).
//
//   wal_records [--each] [--seed N] DIRECTORY TIMELINE
//
// It reads the segments of the timeline in DIRECTORY in order, as one stream. With --each it reads
// every segment by itself, and puts the records on the borders together. With --seed it takes the
// bytes in pieces of random size, and with --each the segments in random order. All print the same:
// the records up to the place where WAL ends, and a last line that names that place.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_border.h"
#include "core/wal/wal_facts.h"
#include "core/wal/wal_reader.h"
#include "core/wal/wal_record.h"

namespace veza {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestPiece = 100000;

struct Arguments {
  bool each = false;
  std::optional<std::uint64_t> seed;
  fs::path directory;
  TimelineId timeline = 0;
};

// --- lines ---------------------------------------------------------------------------------------

const char* ForkName(std::uint8_t fork) {
  switch (fork) {
    case kMainFork:
      return "main";
    case kFreeSpaceMapFork:
      return "fsm";
    case kVisibilityMapFork:
      return "vm";
    case kInitFork:
      return "init";
    default:
      return "unknown";
  }
}

std::string FileText(const RelationFile& file) {
  return fmt::format("{}/{}/{}", file.tablespace, file.database, file.relation);
}

std::string ForkText(const RelationFile& file, std::uint8_t fork = kMainFork) {
  return fmt::format("{}_{}", FileText(file), ForkName(fork));
}

std::string BlockText(const BlockReference& block) {
  std::string text = fmt::format(" block {} {} {} {}", block.id, FileText(block.file),
                                 ForkName(block.fork), block.block);
  if (block.has_image) {
    text += fmt::format(" image {}{}", block.image_length, block.applies_image ? "" : " unused");
  }
  return text;
}

// As in WAL: microseconds since 2000.
std::int64_t TimeNumber(TimePoint time) {
  constexpr std::int64_t kYear2000 = 946684800LL * 1000000;
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count() -
         kYear2000;
}

const char* OnOff(bool on) {
  return on ? "on" : "off";
}

// What a record says besides its blocks: one overload for each kind of fact.
struct FactText {
  const WalRecord& record;

  std::string operator()(const NothingMore&) const { return ""; }
  std::string operator()(const UnknownFact& fact) const {
    return fmt::format(" unknown: {}", fact.reason);
  }
  std::string operator()(const TransactionEnd& end) const {
    std::string text =
        fmt::format(" {} {}", end.committed ? "commit" : "abort", TimeNumber(end.time));
    if (end.prepared) {
      text += fmt::format(" of {}", end.xid);
    }
    if (!end.subtransactions.empty()) {
      text += fmt::format(" children {}", fmt::join(end.subtransactions, ","));
    }
    if (!end.dropped.empty()) {
      std::vector<std::string> files(end.dropped.size());
      std::ranges::transform(end.dropped, files.begin(),
                             [](const RelationFile& file) { return ForkText(file); });
      text += fmt::format(" drops {}", fmt::join(files, ","));
    }
    if (record.origin) {
      text += fmt::format(" origin {}", *record.origin);
    }
    return text;
  }
  std::string operator()(const TransactionPrepared& prepared) const {
    return fmt::format(" prepare {} \"{}\"", TimeNumber(prepared.time), prepared.gid);
  }
  std::string operator()(const RelationCreated& created) const {
    return fmt::format(" creates {}", ForkText(created.file, created.fork));
  }
  std::string operator()(const RelationTruncated& truncated) const {
    const int flags = (truncated.main ? 1 : 0) | (truncated.visibility_map ? 2 : 0) |
                      (truncated.free_space_map ? 4 : 0);
    return fmt::format(" truncates {} flags {} {}", truncated.blocks, flags,
                       ForkText(truncated.file));
  }
  std::string operator()(const DatabaseCopied& copied) const {
    return fmt::format(" copies {}/{} to {}/{}", copied.source_tablespace, copied.source_database,
                       copied.tablespace, copied.database);
  }
  std::string operator()(const DatabaseCreated& created) const {
    return fmt::format(" new-database {}/{}", created.tablespace, created.database);
  }
  std::string operator()(const DatabaseDropped& dropped) const {
    std::string text = " drops-database";
    for (const std::uint32_t tablespace : dropped.tablespaces) {
      text += fmt::format(" {}/{}", tablespace, dropped.database);
    }
    return text;
  }
  std::string operator()(const TablespaceCreated& created) const {
    return fmt::format(" new-tablespace {} \"{}\"", created.tablespace, created.location);
  }
  std::string operator()(const TablespaceDropped& dropped) const {
    return fmt::format(" drops-tablespace {}", dropped.tablespace);
  }
  std::string operator()(const RestorePointMade& point) const {
    return fmt::format(" restore-point \"{}\"", point.name);
  }
  std::string operator()(const CheckpointMade& checkpoint) const {
    return fmt::format(" checkpoint {} {} timeline {} before {} full-page-writes {}",
                       checkpoint.shutdown ? "shutdown" : "online", FormatLsn(checkpoint.redo),
                       checkpoint.timeline, checkpoint.previous_timeline,
                       checkpoint.full_page_writes);
  }
  std::string operator()(const CheckpointBegun&) const { return " checkpoint-begins"; }
  std::string operator()(const ParametersChanged& changed) const {
    return fmt::format(
        " parameters max_connections={} max_worker_processes={} max_wal_senders={} "
        "max_prepared_xacts={} max_locks_per_xact={} wal_level={} wal_log_hints={} "
        "track_commit_timestamp={}",
        changed.max_connections, changed.max_worker_processes, changed.max_wal_senders,
        changed.max_prepared_transactions, changed.max_locks_per_transaction,
        WalLevelName(changed.wal_level), OnOff(changed.wal_log_hints),
        OnOff(changed.track_commit_timestamp));
  }
  std::string operator()(const FullPageWritesChanged& changed) const {
    return fmt::format(" full-page-writes {}", changed.on);
  }
  std::string operator()(const ChecksumsChanged& changed) const {
    return fmt::format(" checksums {}", changed.state);
  }
  std::string operator()(const RecoveryEnded& ended) const {
    return fmt::format(" recovery-ended timeline {} before {} {}", ended.timeline,
                       ended.previous_timeline, TimeNumber(ended.time));
  }
  std::string operator()(const SegmentSwitched&) const { return " switch"; }
  std::string operator()(const RecordOverwritten& overwritten) const {
    return fmt::format(" overwrites {} {}", FormatLsn(overwritten.overwritten),
                       TimeNumber(overwritten.time));
  }
};

std::string RecordLine(const WalRecord& record, int version) {
  std::string line = fmt::format("{} prev {} length {} xid {} manager {} info 0x{:02x} end {}",
                                 FormatLsn(record.begin), FormatLsn(record.previous), record.length,
                                 record.xid, record.manager, record.info, FormatLsn(record.end));
  for (const BlockReference& block : record.blocks) {
    line += BlockText(block);
  }
  return line + std::visit(FactText{record}, ReadWalFact(record, version)) + '\n';
}

const char* EndName(WalEnd end) {
  switch (end) {
    case WalEnd::kMore:
      return "more";
    case WalEnd::kSwitch:
      return "switch";
    case WalEnd::kUnwritten:
      return "unwritten";
    case WalEnd::kDamaged:
      return "damaged";
  }
  return "unknown";
}

// --- segments ------------------------------------------------------------------------------------

struct Segment {
  fs::path path;
  std::uint64_t size = 0;
  Lsn begin;
};

// Up to the first one that is missing.
std::vector<Segment> ListSegments(const Arguments& arguments) {
  std::vector<Segment> segments;
  for (const fs::directory_entry& entry : fs::directory_iterator(arguments.directory)) {
    const std::string name = entry.path().filename();
    const std::optional<WalFileName> parts = ParseWalFileName(name);
    if (parts && parts->kind == WalFileKind::kSegment && parts->timeline == arguments.timeline) {
      const std::uint64_t size = entry.file_size();
      segments.push_back({entry.path(), size, Lsn{SegmentNumberOf(name, size) * size}});
    }
  }
  std::ranges::sort(segments, {}, &Segment::begin);
  const auto gap =
      std::ranges::adjacent_find(segments, [](const Segment& one, const Segment& next) {
        return one.begin.value + one.size != next.begin.value;
      });
  if (gap != segments.end()) {
    segments.erase(gap + 1, segments.end());
  }
  return segments;
}

// Feeds a file to a reader, in pieces of random size if there is a generator.
Status FeedFile(const Segment& segment, std::mt19937_64* random, WalReader& reader) {
  std::ifstream file(segment.path, std::ios::binary);
  Bytes bytes(segment.size);
  if (!file.read(reinterpret_cast<char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()))) {
    return MakeError(ErrorCode::kIo, "could not read \"{}\"", segment.path.string());
  }
  for (ByteView left = bytes; !left.empty();) {
    std::size_t size = left.size();
    if (random) {
      // Small ones are as likely as large ones.
      const std::size_t most = std::size_t{1} << ((*random)() % 18);
      size = std::min({size, 1 + (*random)() % most, kLargestPiece});
    }
    RETURN_IF_ERROR(reader.Feed(left.first(size)));
    left = left.subspan(size);
  }
  return Ok();
}

// --- the ways to read ----------------------------------------------------------------------------

// What was read of one segment, or of all of them as one stream.
struct Reading {
  std::string lines;
  int version = 0;
  WalEnd why_ended = WalEnd::kMore;
  std::string why;
  Lsn end;
  std::optional<WalTail> tail;
  std::optional<WalHead> head;
};

Result<Reading> Read(std::span<const Segment> segments, std::mt19937_64* random) {
  Reading reading;
  WalReader::Options options;
  options.begin = segments.front().begin;
  options.segment_size = segments.front().size;
  const WalReader* source = nullptr;
  WalReader reader(options, [&](const WalRecord& record) -> Status {
    reading.lines += RecordLine(record, source->version());
    return Ok();
  });
  source = &reader;
  for (const Segment& segment : segments) {
    RETURN_IF_ERROR(FeedFile(segment, random, reader));
  }
  reading.why_ended = reader.Finish();
  reading.version = reader.version();
  reading.why = reader.why();
  reading.end = reader.end();
  reading.tail = reader.tail();
  reading.head = reader.head();
  return reading;
}

// Adds the record that begins in one segment and ends in another one. False if WAL ends within it.
Result<bool> AppendBorder(std::span<const Reading> readings, std::string& lines) {
  std::vector<WalTail> tails;
  for (const Reading& reading : readings.subspan(1)) {
    if (!reading.tail) {
      break;
    }
    tails.push_back(*reading.tail);
    if (reading.tail->overwritten || reading.tail->taken == reading.tail->length) {
      break;
    }
  }
  ASSIGN_OR_RETURN(
      const BorderOutcome outcome,
      JoinBorder(*readings.front().head, tails, {}, [&](const WalRecord& record) -> Status {
        lines += RecordLine(record, readings.front().version);
        return Ok();
      }));
  return outcome != BorderOutcome::kIncomplete;
}

Result<Reading> ReadEach(std::span<const Segment> segments, std::mt19937_64* random) {
  std::vector<std::size_t> order(segments.size());
  std::iota(order.begin(), order.end(), 0);
  if (random) {
    std::ranges::shuffle(order, *random);
  }
  std::vector<Reading> readings(segments.size());
  for (const std::size_t at : order) {
    ASSIGN_OR_RETURN(readings[at], Read(segments.subspan(at, 1), random));
  }

  Reading all;
  for (std::size_t at = 0; at < readings.size(); ++at) {
    const Reading& reading = readings[at];
    all.lines += reading.lines;
    all.why_ended = reading.why_ended;
    all.why = reading.why;
    all.end = reading.end;
    if (reading.why_ended == WalEnd::kUnwritten || reading.why_ended == WalEnd::kDamaged) {
      break;
    }
    if (reading.head) {
      ASSIGN_OR_RETURN(const bool goes_on,
                       AppendBorder(std::span(readings).subspan(at), all.lines));
      if (!goes_on) {
        all.end = reading.head->begin;
        break;
      }
    }
  }
  return all;
}

Status Print(const Arguments& arguments) {
  const std::vector<Segment> segments = ListSegments(arguments);
  if (segments.empty()) {
    return MakeError(ErrorCode::kNotFound, "there is no WAL of timeline {} in \"{}\"",
                     arguments.timeline, arguments.directory.string());
  }
  std::mt19937_64 random(arguments.seed.value_or(0));
  std::mt19937_64* pieces = arguments.seed ? &random : nullptr;
  ASSIGN_OR_RETURN(const Reading reading,
                   arguments.each ? ReadEach(segments, pieces) : Read(segments, pieces));
  fmt::print("{}end {} {} {}\n", reading.lines, FormatLsn(reading.end), EndName(reading.why_ended),
             reading.why);
  return Ok();
}

template <typename T>
bool ParseNumber(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<Arguments> ParseArguments(std::span<char* const> words) {
  Arguments arguments;
  std::size_t at = 1;
  for (; at < words.size() && std::string_view(words[at]).starts_with("--"); ++at) {
    const std::string_view word = words[at];
    if (word == "--each") {
      arguments.each = true;
    } else if (word == "--seed" && at + 1 < words.size()) {
      if (!ParseNumber(words[++at], arguments.seed.emplace())) {
        return std::nullopt;
      }
    } else {
      return std::nullopt;
    }
  }
  if (words.size() - at != 2 || !ParseNumber(words[at + 1], arguments.timeline)) {
    return std::nullopt;
  }
  arguments.directory = words[at];
  return arguments;
}

}  // namespace
}  // namespace veza

int main(int argc, char** argv) {
  const auto arguments = veza::ParseArguments({argv, static_cast<std::size_t>(argc)});
  if (!arguments) {
    std::fputs("usage: wal_records [--each] [--seed N] DIRECTORY TIMELINE\n", stderr);
    return 2;
  }
  const veza::Status status = veza::CatchExceptions([&] { return veza::Print(*arguments); });
  if (!status.has_value()) {
    fmt::print(stderr, "wal_records: {}\n", status.error().message);
    return 1;
  }
  return 0;
}
