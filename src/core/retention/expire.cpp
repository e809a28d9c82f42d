#include "core/retention/expire.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/archive/wal_archive.h"
#include "core/limits.h"
#include "core/repository/delete_objects.h"
#include "core/repository/names.h"
#include "core/repository/pack_list.h"
#include "core/repository/restore_lease.h"
#include "core/repository/tombstone.h"
#include "core/retention/pins.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

// The number of objects to delete between two checks of the lock. A name takes about 60 bytes.
constexpr std::size_t kBatch = 1000;
constexpr const char* kWaitsForRoom =
    "waits until the repository can be written to; expire again then";
constexpr const char* kPurpose = "expiry of backups";

// A part of a listing: the names that begin with `prefix`, come after `start_after` and before
// `end` (empty means no end), and that `wanted` accepts.
struct NameRange {
  std::string prefix;
  std::string start_after;
  std::string end;
  std::function<bool(const std::string&)> wanted;
  bool new_lease_stops = false;  // stop when a restore begins meanwhile
};

// The first names of the range, at most kBatch.
Result<std::vector<std::string>> NextNames(Store& store, const NameRange& range) {
  std::vector<std::string> names;
  bool seen_enough = false;
  const Status listed =
      store.List(range.prefix, range.start_after, [&](const ObjectInfo& object) -> Status {
        seen_enough = names.size() == kBatch || (!range.end.empty() && object.name >= range.end);
        if (seen_enough) {
          return MakeError(ErrorCode::kCancelled, "seen enough");
        }
        if (range.wanted(object.name)) {
          names.push_back(object.name);
        }
        return Ok();
      });
  if (!seen_enough) {
    RETURN_IF_ERROR(listed);
  }
  return names;
}

Result<Remains> ReadRemains(const Repository& repository, const std::string& label, bool buried) {
  Remains remains;
  RETURN_IF_ERROR(
      repository.store().List(BackupDirectory(label), "", [&](const ObjectInfo& object) {
        if (buried && object.name == BackupDocumentName(label)) {
          remains.buried = object.modified;
        } else {
          ++remains.objects;
          remains.finished = remains.finished || object.name == FinishedCopyName(label);
          remains.bytes += object.size;
          remains.newest = std::max(remains.newest, object.modified);
        }
        return Ok();
      }));
  return remains;
}

void Count(const ObjectInfo& fragment, Fragments* fragments) {
  const bool is_first = fragments->count == 0;
  ++fragments->count;
  fragments->bytes += fragment.size;
  fragments->first = is_first ? fragment.name : std::min(fragments->first, fragment.name);
  fragments->last = std::max(fragments->last, fragment.name);
  fragments->oldest = is_first ? fragment.modified : std::min(fragments->oldest, fragment.modified);
}

Result<std::vector<RetentionDecision>> Plan(const Repository& repository,
                                            std::uint64_t system_identifier,
                                            const RetentionChooser& choose, std::string active_node,
                                            bool without_lock = false) {
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  RetentionInput input;
  input.system_identifier = system_identifier;
  input.wal_segment_size = identity.wal_segment_size;
  input.active_node = std::move(active_node);
  input.without_lock = without_lock;
  // The archive is read before the catalog. A timeline that appears in between is then only too
  // new.
  ASSIGN_OR_RETURN(input.lineage, ReadLineage(repository, identity));
  ASSIGN_OR_RETURN(input.catalog, ReadBackupCatalog(repository));
  ASSIGN_OR_RETURN(input.settings, choose(input.catalog));
  ASSIGN_OR_RETURN(input.lost,
                   FindLostParts(repository, input.catalog.backups, &input.damage_records));
  ASSIGN_OR_RETURN(input.pins, ReadPins(repository));
  ASSIGN_OR_RETURN(input.leases, ReadLeases(repository));
  // The oldest records are listed first. If there are more, the next expiry sees the rest.
  ASSIGN_OR_RETURN(const FirstObjects drills,
                   ListFirst(repository.store(), kDrillPrefix, limits::kDirectories));
  for (const ObjectInfo& object : drills.objects) {
    if (ParseDrillName(object.name)) {
      input.drills.push_back(object.name);
    }
  }
  // Likewise. Whatever is in the way there does not keep old backups and WAL from being removed: a
  // policy of an earlier version that does not allow it, or something that is no object.
  Result<FirstObjects> indexes =
      ListFirst(repository.store(), IndexSystemPrefix(system_identifier), limits::kIndexObjects);
  if (indexes) {
    input.indexes = std::move(indexes->objects);
  } else if (!IsOfTheObject(indexes.error())) {
    return std::move(indexes.error());
  }
  for (const UnfinishedBackup& unfinished : input.catalog.unfinished) {
    ASSIGN_OR_RETURN(input.remains[unfinished.label],
                     ReadRemains(repository, unfinished.label, false));
  }
  for (const std::string& label : input.catalog.buried) {
    ASSIGN_OR_RETURN(input.remains[label], ReadRemains(repository, label, true));
  }
  ASSIGN_OR_RETURN(input.now, repository.store().Now());
  RETURN_IF_ERROR(
      ReadFragments(repository.store(), input.now, &input.young_fragments, &input.old_fragments));
  return PlanRetention(input, [&](const Store::ObjectVisitor& each) {
    return repository.store().List(WalSystemPrefix(system_identifier), "", each);
  });
}

class Remover {
 public:
  // `guard` is called before each deletion, or batch of deletions. An error from it forbids the
  // deletion.
  Remover(const Repository& repository, std::uint64_t system_identifier,
          std::function<Status()> guard, int requests_in_flight)
      : repository_(repository),
        store_(repository.store()),
        system_identifier_(system_identifier),
        guard_(std::move(guard)),
        requests_in_flight_(requests_in_flight) {}

  // Remembers the leases that the decisions have taken into account.
  void NoteLeases(const std::vector<RetentionDecision>& decisions) {
    for (const RetentionDecision& decision : decisions) {
      if (decision.kind == RetentionKind::kLease && decision.keep) {
        known_leases_.insert(decision.name);
      }
    }
  }

  Status Run(std::vector<RetentionDecision>& decisions) {
    NoteLeases(decisions);
    RETURN_IF_ERROR(RemoveBackups(decisions));
    for (const RetentionKind kind :
         {RetentionKind::kLeftOver, RetentionKind::kTombstone, RetentionKind::kFragment,
          RetentionKind::kLease, RetentionKind::kDrill, RetentionKind::kWal, RetentionKind::kIndex,
          RetentionKind::kDamage}) {
      for (RetentionDecision& decision : decisions) {
        if (decision.kind == kind && !decision.keep) {
          RETURN_IF_ERROR(RemoveOne(decision));
        }
      }
    }
    return Ok();
  }

  Status RemoveOne(RetentionDecision& decision) {
    switch (decision.kind) {
      case RetentionKind::kFragment:
        return RemoveFragments();
      case RetentionKind::kWal:
        return RemoveWal(decision);
      case RetentionKind::kIndex:
        return RemoveIndexes(decision);
      case RetentionKind::kBackup:
        return RemoveBackup(decision);
      case RetentionKind::kLeftOver:
        return RemoveLeftOver(decision);
      case RetentionKind::kTombstone:
        return RemoveTombstone(decision);
      case RetentionKind::kLease:
        return RemoveLease(decision);
      case RetentionKind::kDrill:
        return RemoveDrills(decision);
      case RetentionKind::kDamage:
        return RemoveDamageRecord(decision);
    }
    return MakeError(ErrorCode::kInternal, "unknown kind of decision");
  }

 private:
  // In an order in which there is never a backup without those that it needs.
  Status RemoveBackups(std::vector<RetentionDecision>& decisions) {
    std::vector<RetentionDecision*> order;
    for (RetentionDecision& decision : decisions) {
      if (decision.kind == RetentionKind::kBackup && !decision.keep) {
        order.push_back(&decision);
      }
    }
    std::ranges::stable_sort(order, [](const auto* one, const auto* other) {
      return IsRemovedBefore(one->name, other->name);
    });
    for (RetentionDecision* const decision : order) {
      RETURN_IF_ERROR(RemoveOne(*decision));
    }
    return Ok();
  }

  // As Overtaken(). What the backup needs comes later in the order of removal, and stays as well.
  Status KeepBackup(RetentionDecision& decision, std::string reason) {
    for (const std::string& label : decision.needs) {
      needed_by_.emplace(label, decision.name);
    }
    return Overtaken(decision, std::move(reason));
  }

  // Keeps what the decision would have removed, because the situation has changed since.
  Status Overtaken(RetentionDecision& decision, std::string reason) {
    decision.keep = true;
    decision.reason = std::move(reason);
    overtaken_ = true;
    return Ok();
  }

  // Keeps what cannot be removed while the store accepts no writes. Nothing else depends on it.
  static Status Postpone(RetentionDecision& decision) {
    decision.keep = true;
    decision.reason = kWaitsForRoom;
    return Ok();
  }

  Status RemoveBackup(RetentionDecision& decision) {
    RETURN_IF_ERROR(guard_());
    if (const auto needed = needed_by_.find(decision.name); needed != needed_by_.end()) {
      return KeepBackup(decision, NameBackup(needed->second) + ", which stays, needs it");
    }
    ASSIGN_OR_RETURN(const std::vector<LeaseState> leases,
                     ReadLeasesOn(repository_, decision.name));
    if (const LeaseState* const lease = FindLease(leases, decision.name)) {
      return KeepBackup(decision, "is in use by " + lease->Holder());
    }
    // Last, because a person waits for the answer to a pin, and will rely on it.
    ASSIGN_OR_RETURN(const bool pinned, IsPinned(repository_, decision.name));
    if (pinned) {
      return KeepBackup(decision, "was pinned a moment ago");
    }
    RETURN_IF_ERROR(store_.Delete(BackupDocumentName(decision.name)));
    return RemoveContents(decision.name);
  }

  // The lease had lapsed, but its process may have renewed it since.
  Status RemoveLease(RetentionDecision& decision) {
    RETURN_IF_ERROR(guard_());
    ASSIGN_OR_RETURN(const std::optional<LeaseState> lease,
                     ReadLeaseNamed(repository_, decision.name));
    if (lease && lease->alive) {
      return Overtaken(decision, "was renewed a moment ago");
    }
    return store_.Delete(decision.name);
  }

  // Whether a restore has begun since the decisions were made.
  Result<bool> HasNewLease() {
    ASSIGN_OR_RETURN(const std::vector<LeaseState> leases,
                     ReadLeases(repository_, kLeasePrefix, known_leases_));
    return std::ranges::any_of(leases, &LeaseState::alive);
  }

  Status RemoveLeftOver(RetentionDecision& decision) {
    RETURN_IF_ERROR(guard_());
    Status buried = Bury(decision.name);
    if (!buried && buried.error().code == ErrorCode::kNoSpace) {
      // The note that the copy was finished is useless after a day. No backup needs it, and
      // deleting it may make enough room. It is the only part of a left-over that may go before the
      // tombstone is written.
      RETURN_IF_ERROR(store_.Delete(FinishedCopyName(decision.name)));
      buried = Bury(decision.name);
    }
    if (!buried && buried.error().code == ErrorCode::kNoSpace) {
      return Postpone(decision);
    }
    if (!buried && buried.error().code == ErrorCode::kAlreadyExists) {
      return Overtaken(decision, "was completed a moment ago");
    }
    RETURN_IF_ERROR(buried);
    return RemoveContents(decision.name);
  }

  // On success there is a tombstone. kAlreadyExists when there is a backup instead.
  Status Bury(const std::string& label) {
    const std::string name = BackupDocumentName(label);
    ASSIGN_OR_RETURN(
        const std::string tombstone,
        SerializeTombstone(label, repository_.options().node,
                           repository_.environment().clock->Now(), repository_.seal_policy()));
    Status put = PutSmall(store_, name, AsBytes(tombstone), PutMode::kCreate);
    if (put || (put.error().code != ErrorCode::kAlreadyExists &&
                put.error().code != ErrorCode::kNoSpace)) {
      return put;
    }
    // A full store may refuse to replace even an object that exists.
    const Result<Bytes> there = GetSmall(store_, name, limits::kBackupDocument);
    if (!there && there.error().code == ErrorCode::kNotFound) {
      return put;
    }
    RETURN_IF_ERROR(there);
    if (IsTombstone(AsText(*there), label, repository_.seal_policy())) {
      return Ok();
    }
    return MakeError(ErrorCode::kAlreadyExists, "\"{}\" is a backup", label);
  }

  Status RemoveTombstone(const RetentionDecision& decision) {
    RETURN_IF_ERROR(guard_());
    return store_.Delete(BackupDocumentName(decision.name));
  }

  Status RemoveDrills(const RetentionDecision& decision) {
    return RemoveEach(
        {.prefix = std::string(kDrillPrefix),
         .start_after = "",
         .end = decision.last + "/",  // after the last one
         .wanted = [](const std::string& name) { return ParseDrillName(name).has_value(); }});
  }

  // Only if the backup is gone: it may have been committed since, or kept against the plan.
  Status RemoveDamageRecord(RetentionDecision& decision) {
    RETURN_IF_ERROR(guard_());
    ASSIGN_OR_RETURN(decision.keep, IsStillThere(repository_, decision.name));
    if (decision.keep) {
      decision.reason = "goes with its backup, which is there";
      return Ok();
    }
    return store_.Delete(DamageName(decision.name));
  }

  // Deletes everything except backup.json. First the mark that somebody names the backup, while a
  // listing still shows that something is left.
  Status RemoveContents(const std::string& label) {
    const std::string document = BackupDocumentName(label);
    const std::string mark = NamedMarkName(label);
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> marked, HeadIfThere(store_, mark));
    if (marked) {
      RETURN_IF_ERROR(store_.Delete(mark));
    }
    return RemoveEach({.prefix = BackupDirectory(label),
                       .start_after = "",
                       .end = "",
                       .wanted = [&](const std::string& name) { return name != document; }});
  }

  // Applies the same age as the plan, but at the present time.
  Status RemoveFragments() {
    RETURN_IF_ERROR(guard_());
    ASSIGN_OR_RETURN(const TimePoint now, store_.Now());
    return store_.ListFragments([&](const ObjectInfo& fragment) {
      return now - fragment.modified > kLeftOverAge ? store_.RemoveFragment(fragment.name) : Ok();
    });
  }

  Status RemoveWal(RetentionDecision& decision) {
    if (overtaken_) {
      return Overtaken(
          decision, "waits for the next expiry, because a backup that was to be removed is kept");
    }
    constexpr const char* kNewRestore = "waits for the next expiry, because a restore has begun";
    ASSIGN_OR_RETURN(const bool new_lease, HasNewLease());
    if (new_lease) {
      return Overtaken(decision, kNewRestore);
    }
    NameRange range;
    range.prefix = WalTimelinePrefix(system_identifier_, ParseWalFileName(decision.name)->timeline);
    ASSIGN_OR_RETURN(range.start_after, WalObjectName(system_identifier_, decision.name));
    range.start_after.pop_back();  // sorts before the first segment, and hardly before any other
    ASSIGN_OR_RETURN(range.end, WalObjectName(system_identifier_, decision.last));
    range.end += '/';  // after the last segment's .partial and .backup files
    range.wanted = [&](const std::string& name) {
      const auto file = ParseWalFileName(name.substr(name.rfind('/') + 1));
      return file && file->kind != WalFileKind::kTimelineHistory &&
             file->segment_name >= decision.name;
    };
    range.new_lease_stops = true;
    RETURN_IF_ERROR(RemoveEach(std::move(range)));
    if (overtaken_) {
      return Overtaken(decision, kNewRestore);
    }
    return RemoveGapRecords(decision.last);
  }

  // After the WAL. If that has stayed against the plan, its index stays as well.
  Status RemoveIndexes(RetentionDecision& decision) {
    if (overtaken_) {
      return Overtaken(decision, "waits for the next expiry, because its WAL may be needed");
    }
    const std::vector<std::string>& names = decision.objects;
    for (std::size_t begin = 0; begin < names.size(); begin += kBatch) {
      const std::size_t end = std::min(begin + kBatch, names.size());
      RETURN_IF_ERROR(guard_());
      RETURN_IF_ERROR(DeleteObjects(store_,
                                    {names.begin() + static_cast<std::ptrdiff_t>(begin),
                                     names.begin() + static_cast<std::ptrdiff_t>(end)},
                                    requests_in_flight_));
    }
    return Ok();
  }

  // Removes the records of gaps in WAL that no longer exists, up to the segment `last`.
  Status RemoveGapRecords(const std::string& last) {
    const std::string name = GapName(system_identifier_, last.substr(0, 8), "");
    return RemoveEach({.prefix = name.substr(0, name.size() - 1),
                       .start_after = "",
                       .end = "",
                       .wanted = [&](const std::string& record) {
                         return record.substr(record.rfind('-') + 1) <= last;
                       }});
  }

  Status RemoveEach(NameRange range) {
    for (;;) {
      ASSIGN_OR_RETURN(const std::vector<std::string> names, NextNames(store_, range));
      if (names.empty()) {
        return Ok();
      }
      RETURN_IF_ERROR(guard_());
      if (range.new_lease_stops) {
        ASSIGN_OR_RETURN(overtaken_, HasNewLease());
        if (overtaken_) {
          return Ok();
        }
      }
      RETURN_IF_ERROR(DeleteObjects(store_, names, requests_in_flight_));
      range.start_after = names.back();
    }
  }

  const Repository& repository_;
  Store& store_;
  const std::uint64_t system_identifier_;
  const std::function<Status()> guard_;
  const int requests_in_flight_;
  std::set<std::string> known_leases_;  // those that were alive when the decisions were made
  // Backups that were to be removed, and the backup that stays against the plan and needs them.
  std::map<std::string, std::string> needed_by_;
  bool overtaken_ = false;
};

// The order of removal without the lock: first what is of no use to anybody. A tombstone goes after
// the objects that it protects.
int RankWithoutLock(const RetentionDecision& decision) {
  switch (decision.kind) {
    case RetentionKind::kFragment:
    case RetentionKind::kLease:
    case RetentionKind::kDrill:
      return 0;
    case RetentionKind::kLeftOver:
      return 1;
    case RetentionKind::kTombstone:
      return 2;
    case RetentionKind::kWal:
    case RetentionKind::kIndex:
      return 3;
    case RetentionKind::kBackup:
      return 4;
    case RetentionKind::kDamage:
      break;
  }
  return 5;
}

// The hint of the error that nothing could be removed from a full store.
std::string HintOfFullStore(const std::vector<RetentionDecision>& decisions) {
  std::uint64_t bytes = 0;
  for (const RetentionDecision& decision : decisions) {
    bytes += decision.reason == kWaitsForRoom ? decision.bytes.value_or(0) : 0;
  }
  const std::string kept = bytes == 0
                               ? "Retention keeps everything in it."
                               : fmt::format(
                                     "Failed backups have left {} bytes, which can be removed as "
                                     "soon as there is room for one more object of one kilobyte.",
                                     bytes);
  return kept +
         " Make room in the store, lower veza_backup.retention_full, or remove pins with "
         "veza_backup_keep().";
}

Status RequireNobody(const Repository& repository) {
  ASSIGN_OR_RETURN(const LockState state, ReadLockState(repository));
  if (state.alive) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "node \"{}\" is now at work in repository \"{}\": {}", state.node,
                     repository.store().location(), state.purpose)
        .WithHint("Wait until it has finished.");
  }
  return Ok();
}

// The store is full, so the lock cannot be written. Nobody holds it, and another node that wants it
// must write, too. So objects are removed one decision at a time, each after a check that nobody
// holds the lock, until the lock can be taken. It is then in `lock`; null when everything was
// removed without it.
Result<std::vector<RetentionDecision>> MakeRoom(const Repository& repository,
                                                std::uint64_t system_identifier,
                                                const RetentionChooser& choose,
                                                int requests_in_flight,
                                                Result<std::unique_ptr<ClusterLock>>* lock) {
  ASSIGN_OR_RETURN(std::vector<RetentionDecision> decisions,
                   Plan(repository, system_identifier, choose, "", true));
  Remover remover(
      repository, system_identifier, [&repository] { return RequireNobody(repository); },
      requests_in_flight);
  remover.NoteLeases(decisions);
  std::vector<RetentionDecision*> order;
  for (RetentionDecision& decision : decisions) {
    if (!decision.keep) {
      order.push_back(&decision);
    }
  }
  std::ranges::stable_sort(order, [](const auto* one, const auto* other) {
    const int rank = RankWithoutLock(*one);
    const int other_rank = RankWithoutLock(*other);
    return rank != other_rank
               ? rank < other_rank
               : one->kind == RetentionKind::kBackup && IsRemovedBefore(one->name, other->name);
  });
  for (std::size_t i = 0; i < order.size(); ++i) {
    RETURN_IF_ERROR(remover.RemoveOne(*order[i]));
    *lock = ClusterLock::Acquire(repository, {.purpose = kPurpose});
    if (*lock || lock->error().code != ErrorCode::kNoSpace) {
      // The remaining decisions are made anew.
      std::for_each(order.begin() + static_cast<std::ptrdiff_t>(i) + 1, order.end(),
                    [](RetentionDecision* later) { later->keep = true; });
      return decisions;
    }
  }
  if (std::ranges::all_of(order, &RetentionDecision::keep)) {
    lock->error().hint = HintOfFullStore(decisions);
    return lock->error();
  }
  *lock = std::unique_ptr<ClusterLock>();
  return decisions;
}

Result<std::vector<RetentionDecision>> ExpireBy(const Repository& repository,
                                                std::uint64_t system_identifier,
                                                const RetentionChooser& choose, ClusterLock& lock,
                                                int requests_in_flight) {
  ASSIGN_OR_RETURN(std::vector<RetentionDecision> decisions,
                   Plan(repository, system_identifier, choose, ""));
  const auto guard = [&lock] { return lock.RequireHeld(); };
  RETURN_IF_ERROR(Remover(repository, system_identifier, guard, requests_in_flight).Run(decisions));
  return decisions;
}

RetentionChooser Always(const RetentionSettings& settings) {
  return [settings](const BackupCatalog&) -> Result<RetentionSettings> { return settings; };
}

}  // namespace

Result<std::vector<RetentionDecision>> PlanExpire(const Repository& repository,
                                                  std::uint64_t system_identifier,
                                                  const RetentionChooser& choose) {
  ASSIGN_OR_RETURN(const LockState lock, ReadLockState(repository));
  return Plan(repository, system_identifier, choose, lock.alive ? lock.node : "");
}

Result<std::vector<RetentionDecision>> PlanExpire(const Repository& repository,
                                                  std::uint64_t system_identifier,
                                                  const RetentionSettings& settings) {
  return PlanExpire(repository, system_identifier, Always(settings));
}

namespace {

// Whether there is any segment behind those of one backup and before those of the next, on the
// timeline of either.
Result<bool> HasWalBetween(const Repository& repository, const BackupSummary& backup,
                           const BackupSummary& next) {
  const std::uint64_t size = backup.wal_segment_size;
  const SegmentNumber behind = SegmentOf(backup.stop_lsn, size) + 1;
  const SegmentNumber start = SegmentOf(next.start_lsn, next.wal_segment_size);
  if (start <= behind) {
    return true;
  }
  const WalArchive archive(repository, backup.system_identifier);
  for (const TimelineId timeline : std::set{backup.timeline, next.timeline}) {
    ASSIGN_OR_RETURN(const std::optional<SegmentNumber> first,
                     archive.FirstOf(timeline, behind, start - 1, size));
    if (first) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<std::optional<BackupSummary>> OldestWithAllWal(const Repository& repository,
                                                      std::uint64_t system_identifier,
                                                      const RetentionSettings& settings,
                                                      BackupCatalog catalog, TimePoint now) {
  RetentionInput input;
  input.settings = settings;
  input.system_identifier = system_identifier;
  input.now = now;
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  ASSIGN_OR_RETURN(input.lineage, ReadLineage(repository, identity));
  input.catalog = std::move(catalog);
  std::vector<KeptWal> kept = WhereWalIsKept(input);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i].by_window && i + 1 < kept.size()) {
      ASSIGN_OR_RETURN(const bool has_wal,
                       HasWalBetween(repository, kept[i].from, kept[i + 1].from));
      if (!has_wal) {
        continue;
      }
    }
    return std::optional(std::move(kept[i].from));
  }
  return std::optional<BackupSummary>();
}

Status ReadFragments(Store& store, TimePoint now, Fragments* young, Fragments* old) {
  return store.ListFragments([&](const ObjectInfo& fragment) {
    if (now - fragment.modified > kWrittenJustNow) {
      Count(fragment, now - fragment.modified > kLeftOverAge ? old : young);
    }
    return Ok();
  });
}

Result<std::vector<RetentionDecision>> Expire(const Repository& repository,
                                              std::uint64_t system_identifier,
                                              const RetentionSettings& settings, ClusterLock& lock,
                                              int requests_in_flight) {
  return ExpireBy(repository, system_identifier, Always(settings), lock, requests_in_flight);
}

Result<std::vector<RetentionDecision>> ExpireUnderLock(const Repository& repository,
                                                       std::uint64_t system_identifier,
                                                       const RetentionSettings& settings,
                                                       int requests_in_flight) {
  return ExpireUnderLock(repository, system_identifier, Always(settings), requests_in_flight);
}

Result<std::vector<RetentionDecision>> ExpireUnderLock(const Repository& repository,
                                                       std::uint64_t system_identifier,
                                                       const RetentionChooser& choose,
                                                       int requests_in_flight) {
  Result<std::unique_ptr<ClusterLock>> lock =
      ClusterLock::Acquire(repository, {.purpose = kPurpose});
  std::vector<RetentionDecision> decisions;
  if (!lock && lock.error().code == ErrorCode::kNoSpace) {
    ASSIGN_OR_RETURN(decisions,
                     MakeRoom(repository, system_identifier, choose, requests_in_flight, &lock));
  }
  if (!lock) {
    return lock.error();
  }
  if (*lock == nullptr) {
    return decisions;
  }
  std::erase_if(decisions, [](const RetentionDecision& decision) { return decision.keep; });
  Result<std::vector<RetentionDecision>> rest =
      ExpireBy(repository, system_identifier, choose, **lock, requests_in_flight);
  if (!rest) {
    // The first error is the one to report. A lock that cannot be released is taken over after its
    // lease.
    [[maybe_unused]] const Status released = (*lock)->ReleaseWithin(kReleasePatience);
    return rest;
  }
  RETURN_IF_ERROR((*lock)->Release());
  std::move(rest->begin(), rest->end(), std::back_inserter(decisions));
  return decisions;
}

}  // namespace veza
