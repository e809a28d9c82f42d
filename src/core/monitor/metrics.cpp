#include "core/monitor/metrics.h"

#include <array>

#include "core/clock_tolerance.h"
#include "core/monitor/exposition.h"

namespace veza {
namespace {

constexpr std::array kTypes = {BackupType::kFull, BackupType::kDiff, BackupType::kIncr};

template <typename Number>
double Value(Number number) {
  return static_cast<double>(number);
}

class Lister {
 public:
  explicit Lister(const std::string& cluster) : cluster_(cluster) {}

  void Begin(const char* name, const char* help) {
    name_ = name;
    help_ = help;
  }
  void Add(double value, const std::vector<std::pair<std::string, std::string>>& labels = {}) {
    Metric metric{name_, help_, {{"cluster", cluster_}}, value};
    metric.labels.insert(metric.labels.end(), labels.begin(), labels.end());
    metrics_.push_back(std::move(metric));
  }
  void One(const char* name, const char* help, double value) {
    Begin(name, help);
    Add(value);
  }
  // Adds a number for each type of backup, also for those that `counts` lacks.
  void ByType(const char* name, const char* help, const std::map<BackupType, std::size_t>& counts) {
    Begin(name, help);
    for (const BackupType type : kTypes) {
      const auto count = counts.find(type);
      Add(count != counts.end() ? Value(count->second) : 0, {{"type", BackupTypeName(type)}});
    }
  }
  // Adds a value for the newest backup of each type.
  template <typename Of>
  void OfNewest(const char* name, const char* help, const RepositoryFacts& facts, Of of) {
    Begin(name, help);
    for (const auto& [type, backup] : facts.newest) {
      Add(of(backup), {{"type", BackupTypeName(type)}});
    }
  }
  std::vector<Metric> Take() { return std::move(metrics_); }

 private:
  std::string cluster_;
  std::string name_;
  std::string help_;
  std::vector<Metric> metrics_;
};

void ListNode(const NodeFacts& node, Lister& list) {
  list.One("veza_backup_in_recovery", "Whether this node is a standby or recovers.",
           node.in_recovery ? 1 : 0);
  list.One("veza_backup_archiving", "Whether this server archives its WAL with veza_backup.",
           node.archives ? 1 : 0);
  list.One("veza_backup_running", "Whether a backup runs on this node.", node.backup_runs ? 1 : 0);
  if (node.last_failure) {
    list.One("veza_backup_last_failure_timestamp_seconds",
             "When a backup last failed on this node.", UnixSeconds(*node.last_failure));
  }
  list.Begin("veza_backup_next_run_timestamp_seconds", "When the next backup is due.");
  for (const auto& [kind, time] : node.next_runs) {
    list.Add(UnixSeconds(time), {{"type", kind}});
  }
  list.One("veza_backup_archive_ready_files", "WAL files of this node that wait for the archiver.",
           Value(node.ready_files));
  list.One("veza_backup_archive_oldest_ready_age_seconds",
           "How long the oldest WAL file of this node has waited for the archiver.",
           Value(node.oldest_ready_age.count()));
  if (node.exposure) {
    list.One("veza_backup_archive_exposure_seconds",
             "Age of the oldest commit that only this node has: what its loss would cost now.",
             Value(node.exposure->count()));
  }
  list.One("veza_backup_archive_stored_total", "WAL files that this node has stored.",
           Value(node.stored));
  list.One("veza_backup_archive_failures_total", "Attempts to store a WAL file that failed.",
           Value(node.failures));
  list.One("veza_backup_archive_conflicts_total",
           "WAL files refused because the repository has other content under their names.",
           Value(node.conflicts));
  list.One("veza_backup_archive_dropped_total",
           "WAL files dropped because the disk was nearly full (archive_drop_below).",
           Value(node.dropped));
  if (node.gaps) {
    list.One("veza_backup_archive_gaps", "Gaps in the archived WAL since the newest backup.",
             Value(*node.gaps));
  }
  list.One("veza_backup_archive_indexed_total",
           "WAL segments whose index this node has stored with them.", Value(node.indexed));
  list.One("veza_backup_archive_index_failures_total",
           "Attempts to store or complete the index of WAL that failed.",
           Value(node.index_failures));
  if (node.index_missing) {
    list.One("veza_backup_archive_index_missing_segments",
             "Archived WAL segments without an index.", Value(*node.index_missing));
  }
  list.One("veza_backup_wal_free_bytes", "Free space of the disk that pg_wal is on.",
           Value(node.wal_free));
  list.One("veza_backup_wal_total_bytes", "Size of the disk that pg_wal is on.",
           Value(node.wal_total));
  if (node.wal_full_in) {
    list.One("veza_backup_wal_full_in_seconds",
             "Time until the disk of pg_wal is full at the present rate; absent while it is not "
             "filling.",
             Value(node.wal_full_in->count()));
  }
}

void ListRepository(const RepositoryFacts& facts, Lister& list) {
  list.One("veza_backup_lock_held", "Whether a node holds the lock of the repository.",
           facts.lock.alive ? 1 : 0);
  list.ByType("veza_backup_backups", "Backups in the repository that can be restored.",
              facts.backups);
  list.ByType("veza_backup_backups_unrestorable",
              "Backups that cannot be restored: a part of them, or WAL that they need, is missing "
              "or damaged.",
              facts.unrestorable);
  list.OfNewest("veza_backup_last_success_timestamp_seconds",
                "When the newest backup that can be restored ended. 0 if it says a time to come.",
                facts, [&](const BackupSummary& backup) {
                  // A clock was ahead. An alert that takes the newest of all must not trust it.
                  const bool is_to_come = facts.lock.now != TimePoint() &&
                                          backup.stop_time > facts.lock.now + kClockTolerance;
                  return is_to_come ? 0 : UnixSeconds(backup.stop_time);
                });
  list.OfNewest("veza_backup_last_duration_seconds", "How long the newest backup took.", facts,
                [](const BackupSummary& backup) { return DurationOf(backup).count(); });
  list.OfNewest("veza_backup_last_size_bytes", "Size of the cluster in the newest backup.", facts,
                [](const BackupSummary& backup) { return Value(backup.size); });
  list.OfNewest("veza_backup_last_stored_bytes",
                "Bytes of the repository that the newest backup takes.", facts,
                [](const BackupSummary& backup) { return Value(backup.stored_size); });
  list.OfNewest("veza_backup_last_checksum_failures",
                "Pages with a wrong checksum in the newest backup.", facts,
                [](const BackupSummary& backup) { return Value(backup.checksum_failures); });
  if (facts.window) {
    list.One("veza_backup_recovery_window_start_timestamp_seconds",
             "The earliest moment that can be restored, of the newest range without a gap.",
             UnixSeconds(facts.window->start_time));
    if (facts.window->end_time) {
      list.One("veza_backup_recovery_window_end_timestamp_seconds",
               "The latest moment that can be restored.", UnixSeconds(*facts.window->end_time));
    }
  }
  if (facts.last_drill) {
    list.One("veza_backup_last_drill_timestamp_seconds",
             "When the newest restore drill in the repository ended.",
             UnixSeconds(facts.last_drill->finished));
    list.One("veza_backup_last_drill_passed",
             "Whether the newest restore drill in the repository passed.",
             facts.last_drill->passed ? 1 : 0);
  }
}

}  // namespace

std::vector<Metric> ListMetrics(const NodeFacts& node, const RepositoryFacts* repository,
                                const Config& config) {
  Lister list(config.cluster);
  list.One("veza_backup_up",
           "Whether the scheduler of this node could read the repository when it last looked.",
           repository != nullptr ? 1 : 0);
  ListNode(node, list);
  list.Begin("veza_backup_retention", "How many backups are kept; 0 is all.");
  list.Add(config.retention_full, {{"type", "full"}});
  list.Add(config.retention_diff, {{"type", "diff"}});
  list.Add(config.retention_incr, {{"type", "incr"}});
  list.Add(config.retention_archive, {{"type", "archive"}});
  if (repository != nullptr) {
    ListRepository(*repository, list);
  }
  return list.Take();
}

std::string FormatMetrics(const std::vector<Metric>& metrics) {
  Exposition text;
  const std::string* last = nullptr;
  for (const Metric& metric : metrics) {
    if (last == nullptr || *last != metric.name) {
      text.Family(metric.name, metric.help);
    }
    last = &metric.name;
    text.Sample(metric.value, metric.labels);
  }
  return text.text();
}

}  // namespace veza
