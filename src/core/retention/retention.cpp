#include "core/retention/retention.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

#include "core/clock_tolerance.h"
#include "core/limits.h"
#include "core/repository/backup_order.h"
#include "core/repository/names.h"
#include "core/retention/index_retention.h"
#include "core/retention/wal_retention.h"

namespace veza {

namespace {

// The limit that a setting means: 0 means "all".
std::size_t LimitOf(int setting) {
  return setting == 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(setting);
}

// What the times of a backup may differ by. If they differ by more, the clock was set.
constexpr std::chrono::hours kLongestBackup{30 * 24};

// A backup from whose start on all WAL is kept.
struct WalAnchor {
  const BackupSummary* backup;
  bool by_window;  // retention_window wants it so; otherwise retention_archive
};

// Decides on the backups of the system.
//
// Backups are counted on each line of history (lineage.h) separately, because each needs backups of
// its own. In doubt a backup is kept: one backup displaces another only if it is certainly newer
// and certainly lies on the line, and a backup is removed only if that is so on every line that it
// may lie on.
class BackupRules {
 public:
  explicit BackupRules(const RetentionInput& input) : input_(input) {
    for (const BackupSummary& backup : input.catalog.backups) {
      if (backup.system_identifier == input.system_identifier) {
        own_[backup.label] = &backup;
      }
    }
    LostParts missing = input.lost;
    std::erase_if(missing,
                  [](const auto& part) { return part.second.by != LostPart::By::kListing; });
    for (const auto& [label, backup] : own_) {
      if (IsGood(*backup, input.lost)) {
        good_[backup->type].push_back(backup);
      }
      if (IsGood(*backup, missing)) {
        good_but_for_records_[backup->type].push_back(backup);
      }
    }
    FindLines();
    FindNewest();
    Force();
    FindOldestPresent();
    KeepWindow();
    KeepPeriods();
  }

  RetentionDecision Decide(const BackupSummary& backup) const {
    RetentionDecision decision{
        .kind = RetentionKind::kBackup, .name = backup.label, .bytes = backup.stored_size};
    for (const SourceBackup& source : backup.sources) {
      decision.needs.push_back(source.label);
    }
    if (backup.system_identifier != input_.system_identifier) {
      decision.reason = fmt::format("belongs to system {}", backup.system_identifier);
    } else if (const auto forced = forced_.find(backup.label); forced != forced_.end()) {
      decision.reason = forced->second;
    } else if (const auto by_time = by_time_.find(&backup); by_time != by_time_.end()) {
      decision.reason = by_time->second;
    } else if (backup.type == BackupType::kFull) {
      std::tie(decision.keep, decision.reason) = DecideByNumber(backup);
    } else {
      std::tie(decision.keep, decision.reason) = DecideDependent(backup);
    }
    return decision;
  }

  // A backup stays as long as one that stays names packs of it. `decisions` are those of all
  // backups. What a backup names is older, and the order of labels of one full is that of their
  // times, so one way backwards is enough.
  void KeepNamed(std::vector<RetentionDecision>& decisions) const {
    std::map<std::string_view, RetentionDecision*> by_label;
    for (RetentionDecision& decision : decisions) {
      by_label[decision.name] = &decision;
    }
    for (auto own = own_.rbegin(); own != own_.rend(); ++own) {
      if (!by_label.at(own->first)->keep) {
        continue;
      }
      for (const SourceBackup& source : own->second->sources) {
        const auto named = by_label.find(source.label);
        if (named != by_label.end() && !named->second->keep) {
          named->second->keep = true;
          named->second->reason = fmt::format("{} needs it", NameBackup(own->first));
        }
      }
    }
  }

  // The full backups from whose start on WAL is kept, and the newest good backups, which must lead
  // to the present whatever the settings are.
  std::vector<WalAnchor> WalAnchors() const {
    std::vector<WalAnchor> anchors;
    for (const BackupSummary* newest : newest_good_) {
      anchors.push_back({newest, false});
    }
    const std::size_t limit =
        std::min(LimitOf(input_.settings.archive), LimitOf(input_.settings.full));
    // Also of a full that lacks a part while it is kept: the part may come back.
    for (const auto& [label, full] : own_) {
      if (full->type != BackupType::kFull) {
        continue;
      }
      const std::vector<TimelineId> lines = LinesOf(*full);
      if (full->checksum_failures == 0 &&
          std::ranges::any_of(lines, [&, full = full](TimelineId line) {
            return NewerGood(*full, line) < limit;
          })) {
        anchors.push_back({full, false});
      } else if (in_window_.contains(full)) {
        // Also with wrong checksums: where nothing better leads to a moment, it is restored.
        anchors.push_back({full, true});
      }
    }
    return anchors;
  }

  // The newest living line that no good full backup certainly leads to.
  std::optional<TimelineId> LineWithoutFull() const {
    for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
      if (std::ranges::none_of(Good(BackupType::kFull), [&](const BackupSummary* full) {
            return input_.lineage.Holds(*line, full->timeline, full->stop_lsn);
          })) {
        return *line;
      }
    }
    return std::nullopt;
  }

 private:
  using Verdict = std::pair<bool, std::string>;

  using Backups = std::vector<const BackupSummary*>;

  using ByType = std::map<BackupType, Backups>;

  static const Backups& OfType(const ByType& backups, BackupType type) {
    static const Backups none;
    const auto found = backups.find(type);
    return found == backups.end() ? none : found->second;
  }
  const Backups& Good(BackupType type) const { return OfType(good_, type); }

  const BackupSummary* FullOf(const BackupSummary& dependent) const {
    const auto full = own_.find(dependent.full_label());
    return full == own_.end() ? nullptr : full->second;
  }

  // Whether nothing in the backup is known to be wrong. Only then may it displace an older one.
  bool IsGood(const BackupSummary& backup, const LostParts& lost) const {
    if (backup.checksum_failures > 0 || !WhyUncertain(backup, lost).empty() ||
        !WhyNotRestorable(backup, input_.catalog.backups, lost).empty()) {
      return false;
    }
    const BackupSummary* const full = FullOf(backup);
    return full != nullptr && full->checksum_failures == 0 &&
           std::ranges::all_of(backup.sources, [&](const SourceBackup& source) {
             const auto there = own_.find(source.label);
             return there != own_.end() && there->second->checksum_failures == 0;
           });
  }

  // The living lines. Without an archive, the timelines of all backups.
  void FindLines() {
    const std::vector<TimelineId>& alive = input_.lineage.alive();
    lines_.insert(alive.begin(), alive.end());
    if (alive.empty()) {
      for (const auto& [label, backup] : own_) {
        lines_.insert(backup->timeline);
      }
    }
  }

  // The living lines that the backup may lie on.
  std::vector<TimelineId> LinesOf(const BackupSummary& backup) const {
    std::vector<TimelineId> lines;
    std::ranges::copy_if(lines_, std::back_inserter(lines), [&](TimelineId line) {
      return input_.lineage.MayHold(line, backup.timeline, backup.stop_lsn);
    });
    return lines;
  }

  bool IsNewerOnLine(const BackupSummary& other, const BackupSummary& backup,
                     TimelineId line) const {
    return input_.lineage.Holds(line, other.timeline, other.stop_lsn) &&
           IsSurelyOlder(backup, other);
  }

  // The number of good backups of its type that are certainly newer, on the line.
  std::size_t NewerGood(const BackupSummary& backup, TimelineId line) const {
    const Backups& good = Good(backup.type);
    return static_cast<std::size_t>(std::ranges::count_if(
        good, [&](const BackupSummary* other) { return IsNewerOnLine(*other, backup, line); }));
  }

  // The newest by WAL, and the newest by label, which may be the same. Empty only when `some` is.
  static Backups NewestOf(const Backups& some) {
    if (some.empty()) {
      return {};
    }
    return {*std::ranges::max_element(
                some, [](const auto* a, const auto* b) { return IsBefore(*a, *b); }),
            *std::ranges::max_element(some, [](const auto* a, const auto* b) {
              return LabelTimeText(a->label) < LabelTimeText(b->label);
            })};
  }

  // Finds the newest good backups on each living line.
  void FindNewest() {
    FindNewestOf(good_);
    FindNewestOf(good_but_for_records_);
  }

  void FindNewestOf(const ByType& by_type) {
    Backups good;
    for (const auto& [type, some] : by_type) {
      good.insert(good.end(), some.begin(), some.end());
    }
    std::set<const BackupSummary*> newest;
    const auto add = [&](const Backups& some) {
      const Backups of_some = NewestOf(some);
      newest.insert(of_some.begin(), of_some.end());
    };
    for (const TimelineId line : lines_) {
      std::vector<const BackupSummary*> of_line;
      std::ranges::copy_if(good, std::back_inserter(of_line), [&](const BackupSummary* backup) {
        return input_.lineage.Holds(line, backup->timeline, backup->stop_lsn);
      });
      add(of_line);
    }
    if (newest.empty()) {
      add(good);
    }
    newest_good_.merge(newest);
  }

  // Finds the full that decides about abandoned branches: a backup there is removed when it is
  // older than this full.
  void FindOldestPresent() {
    for (const BackupSummary* full : OfType(good_but_for_records_, BackupType::kFull)) {
      if (!LinesOf(*full).empty() && DecideByNumber(*full).first &&
          (oldest_present_ == nullptr ||
           LabelTimeText(full->label) < LabelTimeText(oldest_present_->label))) {
        oldest_present_ = full;
      }
    }
  }

  void Keep(const std::string& label, const std::string& reason,
            const std::string& reason_for_full) {
    forced_.emplace(label, reason);
    const auto parts = ParseLabel(label);
    if (!parts || parts->type == BackupType::kFull) {
      return;
    }
    forced_.emplace(parts->full_label, reason_for_full);
    if (own_.contains(label)) {
      return;  // what it names follows (KeepNamed)
    }
    // An incr that cannot be read may name any older backup of its full.
    for (const auto& [older, backup] : own_) {
      if (parts->type == BackupType::kIncr && backup->full_label() == parts->full_label &&
          LabelTimeText(older) < LabelTimeText(label)) {
        forced_.emplace(older, reason_for_full);
      }
    }
  }

  // Collects what is kept whatever the numbers say.
  void Force() {
    for (const std::string& label : input_.pins) {
      Keep(label, "pinned by veza_backup_keep()",
           fmt::format("pinned backup \"{}\" needs it", label));
    }
    for (const BackupSummary* newest : newest_good_) {
      const std::string why = WhyNotGood(*newest);
      Keep(newest->label,
           why.empty() ? "newest good backup" : "would be the newest good backup, but " + why,
           fmt::format("newest good backup \"{}\" needs it", newest->label));
    }
    for (const LeaseState& lease : input_.leases) {
      if (lease.alive) {
        Keep(lease.label, "in use by " + lease.Holder(),
             fmt::format("backup \"{}\", which is in use by {}, needs it", lease.label,
                         lease.Holder()));
      }
    }
    for (const BrokenBackup& broken : input_.catalog.broken) {
      Keep(broken.label, "",
           fmt::format("backup \"{}\", which cannot be read, needs it", broken.label));
    }
  }

  // Whether nothing that it names is gone for good. Otherwise it cannot be restored, whatever it is
  // kept for.
  bool HasItsSources(const BackupSummary& backup) const {
    return std::ranges::all_of(
        backup.sources, [&](const SourceBackup& source) { return own_.contains(source.label); });
  }

  TimePoint WindowBegin() const { return input_.now - input_.settings.window - kClockTolerance; }

  // By the store's clock, of which the label is: a node's clock may have been wrong for years. Of
  // what the backup says of its length the greater counts: a steady clock stands still while the
  // machine is suspended, and the other one may have been set.
  static TimePoint EndOf(const BackupSummary& backup) {
    const std::chrono::duration<double> by_times = backup.stop_time - backup.start_time;
    const std::chrono::duration<double> length = std::clamp<std::chrono::duration<double>>(
        std::max(by_times, DurationOf(backup)), std::chrono::seconds(0), kLongestBackup);
    return LabelTime(backup) + std::chrono::ceil<std::chrono::microseconds>(length);
  }
  bool EndedBeforeWindow(const BackupSummary& backup) const {
    return EndOf(backup) < WindowBegin();
  }

  // A recovery to a moment of the window begins with a backup that had ended by then. So on each
  // line the newest good full that ended before the window stays, and all that came later. A line
  // that has been abandoned within the window has moments of it, too.
  void KeepWindow() {
    if (input_.settings.window.count() == 0) {
      return;
    }
    window_lines_ = lines_;
    const std::vector<TimelineId> grown = input_.lineage.GrownSince(WindowBegin());
    window_lines_.insert(grown.begin(), grown.end());
    const std::string window = WindowText(input_.settings.window);
    for (const auto& [label, backup] : own_) {
      if (!HasItsSources(*backup)) {
        continue;
      }
      if (!EndedBeforeWindow(*backup)) {
        in_window_.insert(backup);
        by_time_.emplace(
            backup,
            fmt::format("ended in the last {}, give or take an hour (retention_window)", window));
      } else if (backup->type == BackupType::kFull && OpensWindow(*backup)) {
        in_window_.insert(backup);
        by_time_.emplace(backup, fmt::format("recovery to the oldest moments of the last {} begins "
                                             "with it (retention_window)",
                                             window));
      }
    }
  }

  // Whether no good full is certainly newer, and old enough, on some line that the full may lie on.
  bool OpensWindow(const BackupSummary& full) const {
    return std::ranges::any_of(window_lines_, [&](TimelineId line) {
      return input_.lineage.MayHold(line, full.timeline, full.stop_lsn) &&
             std::ranges::none_of(Good(BackupType::kFull), [&](const BackupSummary* other) {
               return EndedBeforeWindow(*other) && IsNewerOnLine(*other, full, line);
             });
    });
  }

  // Finds one backup of each of the newest periods on each line. A backup that only may lie on the
  // line displaces none there, but is kept where it would be the one.
  void KeepPeriods() {
    KeepPeriodsOf(good_);
    KeepPeriodsOf(good_but_for_records_);
  }

  void KeepPeriodsOf(const ByType& by_type) {
    Backups candidates;
    for (const auto& [type, good] : by_type) {
      std::ranges::copy_if(good, std::back_inserter(candidates), [&](const BackupSummary* backup) {
        return LabelTime(*backup) <= input_.now + kClockTolerance;
      });
    }
    for (const KeepRule& rule : input_.settings.keep) {
      for (const TimelineId line : lines_) {
        Backups certain;
        Backups doubtful;
        for (const BackupSummary* backup : candidates) {
          if (input_.lineage.Holds(line, backup->timeline, backup->stop_lsn)) {
            certain.push_back(backup);
          } else if (input_.lineage.MayHold(line, backup->timeline, backup->stop_lsn)) {
            doubtful.push_back(backup);
          }
        }
        KeepOfPeriods(rule, certain, certain);
        for (const BackupSummary* backup : doubtful) {
          Backups with_it = certain;
          with_it.push_back(backup);
          KeepOfPeriods(rule, with_it, {backup});
        }
      }
    }
  }

  // Keeps those of `wanted` that the rule chooses among `backups`.
  void KeepOfPeriods(const KeepRule& rule, const Backups& backups, const Backups& wanted) {
    std::map<std::string, Backups, std::greater<>> periods;
    for (const BackupSummary* backup : backups) {
      periods[NamePeriod(rule.period, LabelTime(*backup))].push_back(backup);
    }
    int left = rule.count;
    for (const auto& [period, of_period] : periods) {
      if (left-- == 0) {
        break;
      }
      for (const BackupSummary* chosen : BestOf(of_period)) {
        if (std::ranges::find(wanted, chosen) != wanted.end()) {
          by_time_.emplace(chosen, fmt::format("newest {} backup of {} ({} in retention_keep)",
                                               BackupTypeName(chosen->type), period, ToText(rule)));
        }
      }
    }
  }

  // The newest full, since it needs no other backup, otherwise the newest backup: by WAL, and by
  // label if that is another one.
  static Backups BestOf(const Backups& backups) {
    Backups fulls;
    std::ranges::copy_if(backups, std::back_inserter(fulls), [](const BackupSummary* backup) {
      return backup->type == BackupType::kFull;
    });
    return NewestOf(fulls.empty() ? backups : fulls);
  }

  static TimePoint LabelTime(const BackupSummary& backup) {
    return ParseLabelTime(backup.label).value_or(backup.start_time);
  }

  // Why the backup may not be restorable. Empty when only its pages are wrong, or nothing is.
  std::string WhyNotGood(const BackupSummary& backup) const {
    const std::string why = WhyNotRestorable(backup, input_.catalog.backups, input_.lost);
    return why.empty() ? WhyUncertain(backup, input_.lost) : "cannot be restored, because " + why;
  }

  int NumberOf(BackupType type) const {
    switch (type) {
      case BackupType::kFull:
        return input_.settings.full;
      case BackupType::kDiff:
        return input_.settings.diff;
      case BackupType::kIncr:
        return input_.settings.incr;
    }
    return 0;
  }

  // Decides by the number of good backups of its type that are newer.
  Verdict DecideByNumber(const BackupSummary& backup) const {
    const int wanted = NumberOf(backup.type);
    const char* const type = BackupTypeName(backup.type);
    if (wanted == 0) {
      return {true, fmt::format("all {} backups are kept (retention_{})", type, type)};
    }
    const std::vector<TimelineId> lines = LinesOf(backup);
    const bool abandoned = lines.empty();
    const auto is_pushed_out = [&](TimelineId line) {
      return NewerGood(backup, line) >= LimitOf(wanted);
    };
    if (abandoned ? is_pushed_out(backup.timeline) : std::ranges::all_of(lines, is_pushed_out)) {
      return {false,
              fmt::format("{} newer {} backups are kept (retention_{})", wanted, type, type)};
    }
    if (abandoned) {
      return DecideAbandoned(backup);
    }
    if (!IsGood(backup, input_.lost)) {
      const std::string why = WhyNotGood(backup);
      return {true,
              fmt::format("{}; stays until {} newer {} backups are good (retention_{})",
                          why.empty() ? "has page checksum failures" : why, wanted, type, type)};
    }
    return {true,
            fmt::format("one of the {} newest {} backups (retention_{})", wanted, type, type)};
  }

  // The backup leads to no living line, and must not displace a backup that does.
  Verdict DecideAbandoned(const BackupSummary& backup) const {
    if (oldest_present_ != nullptr &&
        LabelTimeText(backup.label) < LabelTimeText(oldest_present_->label)) {
      return {false, fmt::format("is on an abandoned branch of timeline {}, and older than "
                                 "full backup \"{}\"",
                                 backup.timeline, oldest_present_->label)};
    }
    return {true, fmt::format("is on an abandoned branch of timeline {}; stays until it is older "
                              "than all full backups that are kept on a branch in use",
                              backup.timeline)};
  }

  // A diff or an incr.
  Verdict DecideDependent(const BackupSummary& backup) const {
    const std::string full_label = backup.full_label();
    const BackupSummary* const full = FullOf(backup);
    for (const SourceBackup& source : backup.sources) {
      if (!own_.contains(source.label)) {
        const std::string name = NameBackup(source.label);
        return DecideOrphan(source.label == full_label ? "its " + name : name + ", which it needs,",
                            source.label);
      }
    }
    // Of an incr that names nothing of its full, that may be gone.
    if (full != nullptr && !forced_.contains(full_label) && !by_time_.contains(full) &&
        !DecideByNumber(*full).first) {
      return {false, fmt::format("goes with its full backup \"{}\"", full_label)};
    }
    return DecideByNumber(backup);
  }

  // `needed` is what the message calls the backup that is not among the readable ones.
  Verdict DecideOrphan(const std::string& needed, const std::string& label) const {
    const auto has_label = [&](const auto& item) { return item.label == label; };
    if (std::any_of(input_.catalog.broken.begin(), input_.catalog.broken.end(), has_label)) {
      return {true, fmt::format("{} cannot be read", needed)};
    }
    if (std::any_of(input_.catalog.backups.begin(), input_.catalog.backups.end(), has_label)) {
      return {true, fmt::format("{} belongs to another system", needed)};
    }
    return {false, fmt::format("{} is gone, so it cannot be restored", needed)};
  }

  const RetentionInput& input_;
  std::map<std::string, const BackupSummary*> own_;
  ByType good_;
  // The same, and those that only records of damage speak against. They push out no other backup.
  // They are protected as if they were good, because no such record may be the reason for which
  // anything is removed.
  ByType good_but_for_records_;
  std::set<TimelineId> lines_;  // the living ones
  std::set<const BackupSummary*> newest_good_;
  // The oldest good full on a living line that is kept by number.
  const BackupSummary* oldest_present_ = nullptr;
  std::map<std::string, std::string> forced_;  // reason by label
  // What retention_window and retention_keep keep, with the reason.
  std::map<const BackupSummary*, std::string> by_time_;
  std::set<TimelineId> window_lines_;         // on which there are moments of the window
  std::set<const BackupSummary*> in_window_;  // of these, what retention_window keeps
};

void DecideRemains(const RetentionInput& input, const std::string& label, const Remains& remains,
                   std::vector<RetentionDecision>& decisions) {
  if (remains.objects > 0) {
    RetentionDecision decision{
        .kind = RetentionKind::kLeftOver, .name = label, .bytes = remains.bytes};
    if (!input.active_node.empty()) {
      decision.reason = fmt::format("node \"{}\" is at work", input.active_node);
    } else if (!remains.buried && remains.finished &&
               input.now - remains.newest <= kFinishedCopyAge) {
      decision.reason = "is a finished copy that waits for its WAL; a backup may complete it";
    } else if (!remains.buried && input.now - remains.newest <= kLeftOverAge) {
      decision.reason =
          fmt::format("was last added to at {}, less than an hour ago", FormatUtc(remains.newest));
    } else {
      decision.keep = false;
      decision.reason = "remains of a backup that failed or was removed";
    }
    decisions.push_back(std::move(decision));
  }
  if (remains.buried) {
    RetentionDecision decision{.kind = RetentionKind::kTombstone, .name = label};
    decision.keep = input.now - *remains.buried <= kTombstoneAge;
    decision.reason = decision.keep ? "prevents a suspended process from completing this backup"
                                    : "no process can still complete this backup";
    decisions.push_back(std::move(decision));
  }
}

void DecideFragments(const RetentionInput& input, std::vector<RetentionDecision>& decisions) {
  const auto add = [&](const Fragments& fragments, bool keep, std::string reason) {
    if (fragments.count > 0) {
      decisions.push_back({.kind = RetentionKind::kFragment,
                           .name = fragments.first,
                           .last = fragments.last,
                           .keep = keep,
                           .reason = fmt::format("{} temporary files: {}", fragments.count, reason),
                           .bytes = fragments.bytes});
    }
  };
  add(input.young_fragments, true, "interrupted less than an hour ago, or still being written");
  add(input.old_fragments, false, "left by interrupted writes");
}

void DecideLeases(const std::vector<LeaseState>& leases,
                  std::vector<RetentionDecision>& decisions) {
  for (const LeaseState& lease : leases) {
    RetentionDecision decision{.kind = RetentionKind::kLease, .name = lease.name};
    decision.keep = lease.alive;
    decision.reason = lease.alive
                          ? "held by " + lease.Holder()
                          : "was last renewed at " +
                                FormatUtc(std::chrono::floor<std::chrono::seconds>(lease.renewed));
    decisions.push_back(std::move(decision));
  }
}

// Keeps the WAL that restores need. If the backup still exists, its own start counts, and not what
// the lease says.
void KeepLeasedWal(const RetentionInput& input, WalRules& wal) {
  for (const LeaseState& lease : input.leases) {
    if (!lease.alive) {
      continue;
    }
    const std::string reason =
        fmt::format("backup \"{}\" is in use by {}", lease.label, lease.Holder());
    const auto backup =
        std::ranges::find(input.catalog.backups, lease.label, &BackupSummary::label);
    if (backup != input.catalog.backups.end()) {
      if (backup->system_identifier == input.system_identifier) {
        wal.KeepFrom(backup->start_lsn, reason);
      }
    } else if (!lease.document) {
      wal.KeepAll(fmt::format("lease \"{}\" cannot be read and may need any WAL", lease.name));
    } else if (lease.document->system_identifier == input.system_identifier) {
      wal.KeepFrom(lease.document->start_lsn, reason);
    }
  }
}

// Records whose time is in the future displace no others, and are kept themselves. However many
// there are, readers ignore them.
void DecideDrills(const RetentionInput& input, std::vector<RetentionDecision>& decisions) {
  std::vector<std::string> drills = input.drills;
  std::erase_if(drills, [ahead = FirstDrillAhead(input.now)](const std::string& name) {
    return name >= ahead;
  });
  if (drills.size() > kDrillsKept) {
    decisions.push_back({.kind = RetentionKind::kDrill,
                         .name = drills.front(),
                         .last = drills[drills.size() - kDrillsKept - 1],
                         .keep = false,
                         .reason = fmt::format("{} newer drill records are kept", kDrillsKept)});
  }
}

// A record of damage goes with its backup. If there are very many, the next expiry sees the rest.
void DecideDamageRecords(const RetentionInput& input, std::vector<RetentionDecision>& decisions) {
  std::set<std::string_view> staying;
  for (const RetentionDecision& decision : decisions) {
    if (decision.kind == RetentionKind::kBackup && decision.keep) {
      staying.insert(decision.name);
    }
  }
  std::vector<RetentionDecision> removed;
  for (const std::string& label : input.damage_records) {
    if (!staying.contains(label) && removed.size() < limits::kDamageRecords) {
      removed.push_back({.kind = RetentionKind::kDamage,
                         .name = label,
                         .keep = false,
                         .reason = "the damaged backup is gone, or goes"});
    }
  }
  std::ranges::move(removed, std::back_inserter(decisions));
}

}  // namespace

RetentionSettings RetentionOf(const Config& config) {
  return {.full = config.retention_full,
          .diff = config.retention_diff,
          .incr = config.retention_incr,
          .archive = config.retention_archive,
          .window = config.retention_window,
          .keep = config.retention_keep};
}

bool KeepsEverything(const RetentionSettings& settings) {
  return settings.full == 0 && settings.diff == 0 && settings.incr == 0 && settings.archive == 0;
}

std::string WindowText(std::chrono::seconds window) {
  const auto count = window.count();
  if (count % 86'400 == 0) {
    return fmt::format("{} d", count / 86'400);
  }
  if (count % 3600 == 0) {
    return fmt::format("{} h", count / 3600);
  }
  return count % 60 == 0 ? fmt::format("{} min", count / 60) : fmt::format("{} s", count);
}

const char* RetentionKindName(RetentionKind kind) {
  switch (kind) {
    case RetentionKind::kBackup:
      return "backup";
    case RetentionKind::kLeftOver:
      return "left-over";
    case RetentionKind::kTombstone:
      return "tombstone";
    case RetentionKind::kFragment:
      return "fragment";
    case RetentionKind::kLease:
      return "lease";
    case RetentionKind::kDrill:
      return "drill";
    case RetentionKind::kWal:
      return "wal";
    case RetentionKind::kIndex:
      return "index";
    case RetentionKind::kDamage:
      return "damage";
  }
  return "unknown";
}

std::string RangeOf(const RetentionDecision& decision) {
  const bool is_range = !decision.last.empty() && decision.last != decision.name;
  return is_range ? decision.name + "-" + decision.last : decision.name;
}

bool IsRemovedBefore(std::string_view label, std::string_view other) {
  const auto full_of = [](std::string_view one) { return one.substr(0, one.find('_')); };
  const std::string_view full = full_of(label);
  const std::string_view other_full = full_of(other);
  if (full != other_full) {
    return full < other_full;
  }
  if ((label == full) != (other == full)) {
    return other == full;
  }
  return LabelTimeText(label) > LabelTimeText(other);
}

Result<std::vector<RetentionDecision>> PlanRetention(const RetentionInput& input,
                                                     const WalLister& list_wal) {
  std::vector<RetentionDecision> decisions;
  const BackupRules rules(input);
  WalRules wal(input.wal_segment_size);
  TimelineId newest_timeline = 0;
  for (const BackupSummary& backup : input.catalog.backups) {
    decisions.push_back(rules.Decide(backup));
  }
  rules.KeepNamed(decisions);
  for (std::size_t i = 0; i < decisions.size(); ++i) {
    const BackupSummary& backup = input.catalog.backups[i];
    if (backup.system_identifier != input.system_identifier) {
      continue;
    }
    if (decisions[i].keep || input.without_lock) {
      wal.KeepConsistent(backup);
    }
    if (decisions[i].keep) {
      newest_timeline = std::max(newest_timeline, backup.timeline);
    }
  }
  for (const BrokenBackup& broken : input.catalog.broken) {
    decisions.push_back({.kind = RetentionKind::kBackup,
                         .name = broken.label,
                         .reason = "cannot be read: " + broken.error.message});
  }
  for (const auto& [label, remains] : input.remains) {
    DecideRemains(input, label, remains, decisions);
  }
  DecideFragments(input, decisions);
  DecideLeases(input.leases, decisions);
  DecideDrills(input, decisions);
  DecideDamageRecords(input, decisions);

  const std::vector<WalAnchor> anchors = rules.WalAnchors();
  for (const WalAnchor& anchor : anchors) {
    wal.KeepFrom(*anchor.backup, anchor.by_window ? "retention_window" : "retention_archive");
  }
  KeepLeasedWal(input, wal);
  if (input.settings.archive == 0) {
    wal.KeepAll("all WAL is kept (retention_archive)");
  } else if (!input.catalog.broken.empty()) {
    wal.KeepAll(fmt::format("backup \"{}\" cannot be read and may need any WAL",
                            input.catalog.broken.front().label));
  } else if (anchors.empty()) {
    wal.KeepAll("there is no good full backup yet");
  } else if (!input.lineage.alive().empty() && input.lineage.alive().back() > newest_timeline) {
    // The timeline may have left the others before the start of the newest full backup. That start
    // then says nothing about the WAL that the new timeline needs.
    wal.KeepAll(
        fmt::format("no backup has been taken on timeline {} yet", input.lineage.alive().back()));
  } else if (const auto line = rules.LineWithoutFull()) {
    wal.KeepAll(fmt::format("no good full backup leads to timeline {} yet", *line));
  }
  IndexRules indexes(input.indexes, input.wal_segment_size, input.now);
  RETURN_IF_ERROR(list_wal([&](const ObjectInfo& object) {
    if (const auto kept = wal.Add(object)) {
      indexes.NoteKept(kept->first, kept->second);
    }
    return Ok();
  }));
  std::ranges::move(wal.TakeRanges(), std::back_inserter(decisions));
  std::ranges::move(indexes.Decide(), std::back_inserter(decisions));
  return decisions;
}

std::vector<KeptWal> WhereWalIsKept(const RetentionInput& input) {
  std::vector<KeptWal> kept;
  for (const WalAnchor& anchor : BackupRules(input).WalAnchors()) {
    kept.push_back({*anchor.backup, anchor.by_window});
  }
  std::ranges::sort(kept, {}, [](const KeptWal& one) { return one.from.start_lsn; });
  return kept;
}

}  // namespace veza
