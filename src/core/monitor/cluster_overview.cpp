#include "core/monitor/cluster_overview.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/codec/document.h"
#include "core/limits.h"
#include "core/monitor/repository_facts.h"
#include "core/repository/backup_order.h"
#include "core/repository/backup_summary.h"
#include "core/repository/drill_record.h"
#include "core/repository/identity_list.h"
#include "core/repository/tombstone.h"

namespace veza {

namespace {

// How many backups, from the newest or the oldest on, and how many drills may be unfinished or
// damaged before the reader gives up. Each costs a request.
constexpr std::size_t kMostTried = 20;
// Names of WAL since the newest backup: 1.6 TB of it, and 100 requests.
constexpr std::size_t kMostWalNames = 100'000;
constexpr std::size_t kMostDrillNames = 10 * limits::kDrillRecords;
// Larger documents are read one at a time. JSON takes up to fifty times its size in memory.
constexpr std::size_t kSmallDocument = 256 * limits::kKiB;
constexpr std::size_t kLongestProblem = 400;
// Of the backups that cannot be restored.
constexpr std::size_t kMostBadNamed = 5;

// Puts an error that concerns this cluster alone into its line. Returns any other.
Status Note(ClusterOverview& overview, Error error) {
  if (error.retryable || IsOfTheStore(error)) {
    return error;
  }
  error.message = Shorten(std::move(error.message), kLongestProblem);
  overview.problems.push_back(std::move(error));
  return Ok();
}
Status Note(ClusterOverview& overview, const Status& status) {
  return status ? Ok() : Note(overview, status.error());
}

ClusterOverview::Backup BackupOf(const BackupSummary& summary) {
  return {summary.label, summary.type,        summary.stop_time,
          summary.size,  summary.stored_size, summary.postgres_version_num};
}

// What the directory holds says whether it is a cluster. A repository in the making has only key/.
Status LookInto(Store& store, ClusterOverview& overview) {
  ASSIGN_OR_RETURN(const std::vector<std::string> parts, store.ListDirectories(""));
  const auto holds = [&](std::string_view prefix) {
    return std::ranges::binary_search(parts, prefix.substr(0, prefix.size() - 1));
  };
  const bool has_identity = holds(kIdentityPrefix);
  const bool has_content = holds(kBackupPrefix) || holds(kWalPrefix);
  overview.is_cluster = has_identity || has_content;
  if (has_content && !has_identity) {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\" has no identity", store.location())
        .WithHint(
            "If it is a repository of veza_backup, a server that had it open puts the identity "
            "back within minutes. Otherwise run \"vezactl key restore\".");
  }
  return Ok();
}

class UnverifiedReader {
 public:
  UnverifiedReader(Store& store, TimePoint now, std::mutex& large, ClusterOverview& overview)
      : store_(store), now_(now), large_(large), overview_(overview) {}

  Status Read() {
    const Status looked = LookInto(store_, overview_);
    RETURN_IF_ERROR(Note(overview_, looked));
    if (!overview_.is_cluster || (!looked && looked.error().code != ErrorCode::kDataCorrupted)) {
      return Ok();
    }
    RETURN_IF_ERROR(Note(overview_, ReadBackups()));
    RETURN_IF_ERROR(Note(overview_, ReadEndOfWal()));
    return Note(overview_, ReadDrill());
  }

 private:
  Status ReadBackups() {
    ASSIGN_OR_RETURN(std::vector<std::string> labels, store_.ListDirectories(kBackupPrefix));
    std::erase_if(labels, [](const std::string& label) { return !ParseLabel(label); });
    std::ranges::sort(labels, std::ranges::greater(), LabelTimeText);
    overview_.backups = labels.size();
    const std::size_t tried = std::min(labels.size(), kMostTried);
    ASSIGN_OR_RETURN(newest_, FirstWhole(std::span(labels).first(tried), nullptr));
    if (!newest_) {
      // Also while the first backup is being taken: nothing can be restored yet.
      return labels.empty()
                 ? Ok()
                 : MakeError(ErrorCode::kDataCorrupted,
                             "none of the newest {} backups in \"{}\" is whole", tried,
                             store_.location())
                       .WithHint("\"vezactl info\" with this cluster shows all of them.");
    }
    overview_.newest = BackupOf(*newest_);
    overview_.system_identifier = newest_->system_identifier;
    overview_.window = {newest_->stop_time, newest_->stop_time};
    std::ranges::reverse(labels);
    ASSIGN_OR_RETURN(const std::optional<BackupSummary> oldest,
                     FirstWhole(std::span(labels).first(tried), &*newest_));
    if (oldest) {
      overview_.window->start = oldest->stop_time;
    }
    return Ok();
  }

  // The first of these that is whole, and of the system of `newest` (which may be null). Reaching
  // `newest` itself needs no request.
  Result<std::optional<BackupSummary>> FirstWhole(std::span<const std::string> labels,
                                                  const BackupSummary* newest) {
    for (const std::string& label : labels) {
      if (newest != nullptr && newest->label == label) {
        break;
      }
      Result<std::optional<BackupSummary>> summary = ReadSummary(label);
      if (!summary) {
        RETURN_IF_ERROR(Note(overview_, summary.error()));
      } else if (*summary && (newest == nullptr ||
                              (*summary)->system_identifier == newest->system_identifier)) {
        return summary;
      }
    }
    return std::optional<BackupSummary>();
  }

  // nullopt when the backup is not complete, or has a tombstone.
  Result<std::optional<BackupSummary>> ReadSummary(const std::string& label) {
    std::optional<BackupSummary> found;
    const Status read = WithDocument(
        BackupDocumentName(label), limits::kBackupDocument, [&](std::string_view text) -> Status {
          Result<BackupSummary> summary = ParseUnverifiedSummary(text, label);
          if (!summary) {
            return IsUnverifiedTombstone(text, label) ? Ok() : Status(summary.error());
          }
          KeepOnly(SummaryParts::kFacts, &*summary);
          found = std::move(*summary);
          return Ok();
        });
    if (!read && read.error().code != ErrorCode::kNotFound) {
      return read.error();
    }
    return found;
  }

  template <typename Parse>
  Status WithDocument(const std::string& name, std::size_t limit, Parse parse) {
    Result<Bytes> text = GetSmall(store_, name, kSmallDocument);
    std::unique_lock alone(large_, std::defer_lock);
    if (!text && text.error().code == ErrorCode::kDataCorrupted) {
      alone.lock();
      text = GetSmall(store_, name, limit);
    }
    RETURN_IF_ERROR(text);
    return parse(AsText(*text));
  }

  Status ReadEndOfWal() {
    if (!newest_) {
      return Ok();
    }
    const std::uint64_t system = newest_->system_identifier;
    ASSIGN_OR_RETURN(const std::string from, WalObjectName(system, newest_->stop_wal));
    std::size_t names = 0;
    return store_.List(WalSystemPrefix(system), from, [&](const ObjectInfo& object) -> Status {
      if (++names > kMostWalNames) {
        return MakeError(ErrorCode::kUnsupported,
                         "\"{}\" has more than {} files of WAL since its newest backup",
                         store_.location(), kMostWalNames)
            .WithHint(
                "Take backups more often. \"vezactl info\" with this cluster reads them all.");
      }
      if (SegmentIn(object)) {
        overview_.window->end = std::max(overview_.window->end, object.modified);
      }
      return Ok();
    });
  }

  Status ReadDrill() {
    ASSIGN_OR_RETURN(const std::deque<std::string> names, NewestDrills());
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      std::optional<DrillRecord> record;
      const Status read =
          WithDocument(*name, limits::kDrillRecord, [&](std::string_view text) -> Status {
            ASSIGN_OR_RETURN(const Json document, OpenUnverifiedDocument(text, *name));
            ASSIGN_OR_RETURN(record, DrillFromJson(document, *name));
            return Ok();
          });
      if (!read && read.error().code != ErrorCode::kNotFound) {
        RETURN_IF_ERROR(Note(overview_, read.error()));
      }
      if (record && (!newest_ || record->system_identifier == newest_->system_identifier)) {
        overview_.last_drill = {record->started, record->passed};
        return Ok();
      }
    }
    return Ok();
  }

  Result<std::deque<std::string>> NewestDrills() {
    const std::string ahead = FirstDrillAhead(now_);
    std::deque<std::string> newest;
    std::size_t names = 0;
    RETURN_IF_ERROR(store_.List(kDrillPrefix, "", [&](const ObjectInfo& object) -> Status {
      if (++names > kMostDrillNames) {
        return TooManyObjects(store_, kDrillPrefix, kMostDrillNames);
      }
      if (ParseDrillName(object.name) && object.name < ahead) {
        newest.push_back(object.name);
      }
      if (newest.size() > kMostTried) {
        newest.pop_front();
      }
      return Ok();
    }));
    return newest;
  }

  Store& store_;
  const TimePoint now_;
  std::mutex& large_;
  ClusterOverview& overview_;
  std::optional<BackupSummary> newest_;
};

// Of the facts of one system.
void Fill(ClusterOverview& overview, std::uint64_t system_identifier, const RepositoryFacts& facts,
          const BackupSummary* newest) {
  overview.system_identifier = system_identifier;
  overview.backups = 0;
  for (const auto& [type, count] : facts.backups) {
    overview.backups += count;
  }
  overview.newest = newest == nullptr ? std::nullopt : std::optional(BackupOf(*newest));
  overview.window.reset();
  if (facts.window) {
    overview.window = {facts.window->start_time,
                       facts.window->end_time.value_or(facts.window->start_time)};
  }
  overview.last_drill.reset();
  if (facts.last_drill) {
    overview.last_drill = {facts.last_drill->started, facts.last_drill->passed};
  }
}

Error CannotBeRestored(const std::vector<std::string>& labels, const Store& store) {
  std::string names;
  const std::size_t named = std::min(labels.size(), kMostBadNamed);
  for (std::size_t i = 0; i < named; ++i) {
    names += (i == 0 ? "" : ", ") + labels[i];
  }
  if (labels.size() > named) {
    names += fmt::format(" and {} older", labels.size() - named);
  }
  return MakeError(ErrorCode::kDataCorrupted, "{} of the backups in \"{}\" cannot be restored: {}",
                   labels.size(), store.location(), names)
      .WithHint("\"vezactl info\" with this cluster tells which ones, and why.");
}

Status ReadVerified(ClusterOverview& overview, const std::shared_ptr<Store>& store,
                    const RepositoryOptions& options, const Environment& environment,
                    const CatalogBudget& budget) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   Repository::Open(store, options, environment));
  overview.is_verified = true;
  std::vector<std::string> unrestorable;
  std::string newest_label;
  for (const Identity& identity : repository->identities()) {
    ASSIGN_OR_RETURN(const RepositoryFacts facts,
                     ReadRepositoryFacts(*repository, identity.system_identifier, budget));
    const BackupSummary* newest = nullptr;
    for (const auto& [type, backup] : facts.newest) {
      newest = newest == nullptr || IsBefore(*newest, backup) ? &backup : newest;
    }
    // A backup that cannot be read counts for each system.
    if (facts.unrestorable_labels.size() > unrestorable.size()) {
      unrestorable = facts.unrestorable_labels;
    }
    const std::string label = newest == nullptr ? "" : newest->label;
    if (!overview.system_identifier || LabelTimeText(label) > LabelTimeText(newest_label)) {
      newest_label = label;
      Fill(overview, identity.system_identifier, facts, newest);
    }
  }
  return unrestorable.empty() ? Ok() : Status(CannotBeRestored(unrestorable, *store));
}

}  // namespace

Result<ClusterOverview> OverviewReader::ReadUnverified(const std::string& cluster, Store& store) {
  ClusterOverview overview;
  overview.cluster = cluster;
  RETURN_IF_ERROR(UnverifiedReader(store, now_, large_, overview).Read());
  return overview;
}

Result<ClusterOverview> ReadVerifiedOverview(const std::string& cluster,
                                             const std::shared_ptr<Store>& store,
                                             const RepositoryOptions& options,
                                             const Environment& environment,
                                             const CatalogBudget& budget) {
  ClusterOverview overview;
  overview.cluster = cluster;
  const Status looked = LookInto(*store, overview);
  RETURN_IF_ERROR(Note(overview, looked));
  if (looked && overview.is_cluster) {
    RETURN_IF_ERROR(Note(overview, ReadVerified(overview, store, options, environment, budget)));
  }
  return overview;
}

}  // namespace veza
