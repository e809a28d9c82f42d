// Makes a repository in a new directory, for measuring what reads the index of WAL and the list of
// backups: README.md, "Timeline and report".
//
//   made_up_repository DIRECTORY DAYS SEGMENTS COMMITS BACKUPS
//
// It holds the WAL of so many days that end now, in so many segments with so many commits in all,
// and so many backups and drills of that time. Index objects, backup.json and drills are made by
// the writers of the product; what the indexes say of the transactions of a segment is made up. The
// WAL itself is made up, too, and so are packs and manifests: the objects are there, and nothing
// may read them.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/drill_record.h"
#include "core/repository/names.h"
#include "core/repository/repository.h"
#include "core/storage/local_store.h"
#include "core/wal_index/event_lines.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/relation_table.h"
#include "core/wal_index/transaction_list.h"

namespace veza {
namespace {

constexpr std::uint64_t kSystem = 7711348379840072545U;
constexpr std::uint64_t kSegmentSize = std::uint64_t{16} << 20;
constexpr SegmentNumber kFirst = 1000;
constexpr std::size_t kStored = 64;  // of what stands for a WAL object
constexpr std::uint32_t kRelations = 20;
constexpr int kBlocksOfTransaction = 4;
constexpr std::uint64_t kMostDays = 10'000;  // whose microseconds are a number

struct Plan {
  std::string directory;
  std::uint64_t days = 0;
  std::uint64_t segments = 0;
  std::uint64_t commits = 0;
  std::uint64_t backups = 0;

  TimePoint begin{};
  std::chrono::microseconds length() const { return std::chrono::hours(24 * days); }
  std::chrono::microseconds of_segment() const { return length() / segments; }
  TimePoint TimeOf(std::uint64_t segment) const {
    return begin + of_segment() * static_cast<std::int64_t>(segment);
  }
};

std::string NameOf(std::uint64_t segment) {
  return SegmentName(1, kFirst + segment, kSegmentSize);
}

Lsn After(Lsn lsn, std::uint64_t bytes) {
  return Lsn{lsn.value + bytes};
}

std::int64_t MinuteOf(TimePoint time) {
  return std::chrono::floor<std::chrono::minutes>(time.time_since_epoch()).count();
}

// Makes the indexes of segments.
class SegmentMaker {
 public:
  explicit SegmentMaker(const Plan& plan) : plan_(plan) {}

  SegmentIndex Make(std::uint64_t segment) {
    SegmentIndex index;
    SegmentSummary& summary = index.summary;
    const Lsn begin{(kFirst + segment) * kSegmentSize};
    summary.timeline = 1;
    summary.number = kFirst + segment;
    summary.segment_size = kSegmentSize;
    summary.stored = kStored;
    summary.version = 15;
    summary.last_page_timeline = 1;
    summary.begin = After(begin, 40);
    summary.end = After(begin, kSegmentSize);
    summary.records = 10 * plan_.commits / plan_.segments;
    PutTransactions(segment, begin, index);
    PutEvents(segment, begin, index);
    return index;
  }

 private:
  void PutTransactions(std::uint64_t segment, Lsn begin, SegmentIndex& index) {
    const auto count = static_cast<std::int64_t>((segment + 1) * plan_.commits / plan_.segments -
                                                 segment * plan_.commits / plan_.segments);
    ends_.Clear(begin);
    touches_.Clear();
    relations_.Clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint64_t at = 64 + (kSegmentSize - 128) / static_cast<std::uint64_t>(count) *
                                        static_cast<std::uint64_t>(i) / 8 * 8;
      const IndexedEnd end{.begin = After(begin, at),
                           .end = After(begin, at + 34),
                           .time = plan_.TimeOf(segment) + plan_.of_segment() * i / count,
                           .xid = xid_++,
                           .committed = true,
                           .subtransactions = {}};
      ends_.Add(end, {});
      for (int block = 0; block < kBlocksOfTransaction; ++block) {
        const std::uint32_t relation = 16384 + (end.xid * 7 + block) % kRelations;
        touches_.Add(end.xid, relations_.NumberOf({1663, 5, relation}, kMainFork));
      }
      AddMinute(end.time, count, index.summary);
    }
    if (count > 0) {
      ends_.EncodeTo(index.transactions);
      touches_.EncodeTo(relations_, index.transactions);
    }
  }

  static void AddMinute(TimePoint time, std::int64_t count, SegmentSummary& summary) {
    std::vector<MinuteOfWal>& minutes = summary.minutes;
    if (minutes.empty() || minutes.back().minute != MinuteOf(time)) {
      minutes.push_back({.minute = MinuteOf(time)});
    }
    minutes.back().commits += 1;
    minutes.back().bytes += kSegmentSize / static_cast<std::uint64_t>(count);
    minutes.back().images += 1;
    minutes.back().image_bytes += 2000;
    IndexedEnd& last = summary.last_end.emplace();
    last.begin = last.end = summary.end;
    last.time = time;
    last.committed = true;
    summary.earliest_end = summary.earliest_end.value_or(time);
    summary.latest_end = time;
  }

  // A checkpoint every five minutes, a relation cut in each tenth segment, a restore point a day.
  void PutEvents(std::uint64_t segment, Lsn begin, SegmentIndex& index) const {
    const TimePoint time = plan_.TimeOf(segment);
    const TimePoint next = plan_.TimeOf(segment + 1);
    const auto put = [&](std::uint64_t at, WalFact fact) {
      PutEvent({After(begin, at), After(begin, at + 100), 0, std::move(fact)}, index.events);
    };
    if (MinuteOf(time) / 5 != MinuteOf(next) / 5) {
      put(1000, CheckpointMade{.redo = After(begin, 40),
                               .timeline = 1,
                               .previous_timeline = 1,
                               .full_page_writes = true,
                               .time = std::chrono::floor<std::chrono::seconds>(time),
                               .wal_level = std::nullopt});
    }
    if (segment % 10 == 0) {
      put(2000, RelationTruncated{.file = {1663, 5, 16384}, .blocks = 10, .main = true});
    }
    if (MinuteOf(time) / 1440 != MinuteOf(next) / 1440) {
      put(3000,
          RestorePointMade{.name = fmt::format("day {}", MinuteOf(next) / 1440), .time = time});
    }
  }

  const Plan& plan_;
  TransactionEnds ends_;
  TouchedRelations touches_;
  RelationTable relations_;
  std::uint32_t xid_ = 1000;
};

class RepositoryMaker {
 public:
  RepositoryMaker(const Plan& plan, const Repository& repository)
      : plan_(plan), repository_(repository) {}

  Status Make() {
    RETURN_IF_ERROR(PutWal());
    RETURN_IF_ERROR(PutIndexes());
    for (std::uint64_t backup = 0; backup < plan_.backups; ++backup) {
      RETURN_IF_ERROR(PutBackup(backup));
    }
    return Ok();
  }

 private:
  // Not by the store: each object would be synced to disk.
  Status PutFile(const std::string& name, std::size_t size) const {
    const std::filesystem::path path = plan_.directory + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file << std::string(size, '.');
    return file.flush()
               ? Ok()
               : Status(MakeError(ErrorCode::kIo, "could not write \"{}\"", path.string()));
  }

  Status PutWal() const {
    for (std::uint64_t segment = 0; segment < plan_.segments; ++segment) {
      ASSIGN_OR_RETURN(const std::string name, WalObjectName(kSystem, NameOf(segment)));
      RETURN_IF_ERROR(PutFile(name, kStored));
    }
    return Ok();
  }

  Status PutIndexes() const {
    SegmentMaker maker(plan_);
    IndexObjectWriter objects(repository_, kSystem);
    for (std::uint64_t segment = 0; segment < plan_.segments; ++segment) {
      SegmentIndex index = maker.Make(segment);
      index.summary.digest =
          DigestContent(repository_.digest_method(), repository_.seal_policy().key.get(),
                        AsBytes(NameOf(segment)));
      if (!objects.Fits(index)) {
        RETURN_IF_ERROR(objects.Store());
      }
      objects.Add(std::move(index));
    }
    RETURN_IF_ERROR(objects.Store());
    return Ok();
  }

  // Every seventh is a full, and each has a drill.
  Status PutBackup(std::uint64_t number) {
    const std::uint64_t segment = number * (plan_.segments - 1) / plan_.backups;
    BackupSummary summary;
    summary.start_time = std::chrono::ceil<std::chrono::seconds>(plan_.TimeOf(segment));
    summary.stop_time = summary.start_time + std::chrono::seconds(90);
    if (number % 7 == 0) {
      full_ = FullLabel(summary.start_time);
    }
    summary.type = number % 7 == 0 ? BackupType::kFull : BackupType::kDiff;
    summary.label = number % 7 == 0 ? full_ : DiffLabel(full_, summary.start_time);
    if (summary.type == BackupType::kDiff) {
      summary.sources = {{.label = full_, .manifest_sha256 = Sha256Digest{}}};
      summary.changes_by = "wal";
    }
    Fill(segment, summary);
    RETURN_IF_ERROR(PutFile(PackName(summary.label, 1), kStored));
    RETURN_IF_ERROR(PutFile(ManifestName(summary.label), kStored));
    ASSIGN_OR_RETURN(const std::string text, SerializeSummary(summary, repository_.seal_policy()));
    RETURN_IF_ERROR(PutSmall(repository_.store(), BackupDocumentName(summary.label), AsBytes(text),
                             PutMode::kCreate));
    const DrillRecord drill{.label = summary.label,
                            .system_identifier = kSystem,
                            .node = "node-a",
                            .started = summary.stop_time,
                            .finished = summary.stop_time + std::chrono::minutes(10),
                            .passed = number % 50 != 0,
                            .rto = std::chrono::minutes(9),
                            .rpo = std::chrono::seconds(20),
                            .error = number % 50 != 0 ? "" : "the server did not start"};
    RETURN_IF_ERROR(StoreDrill(repository_, drill));
    return Ok();
  }

  void Fill(std::uint64_t segment, BackupSummary& summary) const {
    const Lsn begin{(kFirst + segment) * kSegmentSize};
    summary.system_identifier = kSystem;
    summary.postgres_version_num = 150020;
    summary.postgres_version = "15.20";
    summary.timeline = 1;
    summary.start_lsn = After(begin, 40);
    summary.stop_lsn = After(begin, kSegmentSize + 40);
    summary.start_wal = NameOf(segment);
    summary.stop_wal = NameOf(segment + 1);
    summary.wal_segment_size = kSegmentSize;
    summary.block_size = 8192;
    summary.data_checksum_version = 1;
    summary.node = "node-a";
    summary.size = std::uint64_t{1} << 30;
    summary.stored_size = std::uint64_t{256} << 20;
    summary.files = 10'000;
    summary.packs = 1;
    summary.manifest_size = kStored;
    summary.cipher = CipherName(repository_.options().cipher);
    summary.databases = {{5, "postgres", 731, summary.size}};
    summary.extensions = {{"postgres", "plpgsql", "1.0"}};
    summary.backup_label = "made up\n";
  }

  const Plan& plan_;
  const Repository& repository_;
  std::string full_;
};

Status Run(const Plan& plan) {
  const Environment environment;
  ASSIGN_OR_RETURN(std::shared_ptr<Store> store, MakeLocalStore(plan.directory, environment));
  Identity identity;
  identity.system_identifier = kSystem;
  identity.postgres_version_num = 150020;
  identity.wal_segment_size = kSegmentSize;
  identity.block_size = 8192;
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   Repository::Initialise(std::move(store),
                                          {.cipher = Cipher::kNone,
                                           .passphrase = SecretString(),
                                           .node = "node-a",
                                           .spill_directory = "/tmp"},
                                          environment, identity, false));
  return RepositoryMaker(plan, *repository).Make();
}

bool ParseNumber(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number > 0;
}

bool ParsePlan(std::span<char*> arguments, Plan& plan) {
  if (arguments.size() != 6) {
    return false;
  }
  plan.directory = arguments[1];
  const bool is_plan =
      ParseNumber(arguments[2], plan.days) && ParseNumber(arguments[3], plan.segments) &&
      ParseNumber(arguments[4], plan.commits) && ParseNumber(arguments[5], plan.backups);
  plan.begin = std::chrono::floor<std::chrono::seconds>(SystemClock().Now()) - plan.length();
  return is_plan && plan.days <= kMostDays && plan.segments > 1;
}

}  // namespace
}  // namespace veza

int main(int argc, char** argv) {
  veza::Plan plan;
  if (!veza::ParsePlan({argv, static_cast<std::size_t>(argc)}, plan)) {
    fmt::print(stderr, "usage: {} DIRECTORY DAYS SEGMENTS COMMITS BACKUPS\n", argv[0]);
    return 2;
  }
  if (const veza::Status made = veza::CatchExceptions([&] { return veza::Run(plan); }); !made) {
    fmt::print(stderr, "error: {}\n", made.error().message);
    return 1;
  }
  return 0;
}
