// The metrics of a server, for the view veza_backup_metrics and the scheduler's textfile.
// ops/metrics.txt lists them with examples.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/monitor/repository_facts.h"

namespace veza {

// What the node knows without the repository.
struct NodeFacts {
  bool in_recovery = false;
  bool archives = false;  // with veza_backup
  bool backup_runs = false;
  std::optional<TimePoint> last_failure;       // of a backup, since the server started
  std::map<std::string, TimePoint> next_runs;  // "full", "diff", "incr"
  std::size_t ready_files = 0;
  std::chrono::seconds oldest_ready_age{0};
  std::optional<std::chrono::seconds> exposure;  // nullopt when it is not known
  std::uint64_t stored = 0;
  std::uint64_t failures = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t dropped = 0;
  std::optional<std::uint64_t> gaps;  // nullopt when they have not been counted yet
  std::uint64_t indexed = 0;          // segments whose index this node has stored
  std::uint64_t index_failures = 0;
  std::optional<std::uint64_t> index_missing;  // segments; nullopt when it is not known
  std::uint64_t wal_free = 0;                  // bytes
  std::uint64_t wal_total = 0;
  std::optional<std::chrono::seconds> wal_full_in;
};

struct Metric {
  std::string name;
  std::string help;
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;
};

// Samples with the same name are adjacent. `repository` is null when it could not be read.
std::vector<Metric> ListMetrics(const NodeFacts& node, const RepositoryFacts* repository,
                                const Config& config);

// In the text format of Prometheus.
std::string FormatMetrics(const std::vector<Metric>& metrics);

}  // namespace veza
