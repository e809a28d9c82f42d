#include "core/mirror/mirror.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <limits>
#include <mutex>
#include <set>
#include <utility>

#include "core/archive/wal_archive.h"
#include "core/bytes.h"
#include "core/limits.h"
#include "core/mirror/copy_object.h"
#include "core/mirror/merged_listing.h"
#include "core/rate_limiter.h"
#include "core/repository/backup_summary.h"
#include "core/repository/entrance.h"
#include "core/repository/names.h"
#include "core/repository/tombstone.h"
#include "core/work_queue.h"

namespace veza {

namespace {

// Objects that wait for a thread.
constexpr std::size_t kWaitingObjects = 1000;

// Tells whether the mirror is the repository itself. Its content is random.
constexpr std::string_view kMirrorProbe = "probe/mirror";

// Names of conflicts that are remembered, to know whether a backup needs one of them.
constexpr std::size_t kConflictsRemembered = 10'000;

bool IsCopiedLast(std::string_view name, const std::string& label) {
  // Nobody else may complete the copy that finished.json is of.
  return name == BackupDocumentName(label) || name == FinishedCopyName(label);
}

Error OfAnotherRepository(const Store& mirror) {
  return MakeError(ErrorCode::kConflict, "mirror \"{}\" belongs to another repository",
                   mirror.location())
      .WithHint("Let veza_backup.mirror name an empty place, or the mirror of this repository.");
}

Error OnePlace(const Store& mirror) {
  return MakeError(ErrorCode::kConflict,
                   "mirror \"{}\" is the repository itself, by another name of the same place",
                   mirror.location())
      .WithHint(
          "An object that was stored on the mirror has appeared in the repository, too. There is "
          "no second copy. Let veza_backup.mirror name a place of its own.");
}

bool IsSameRepository(const Repository& one, const Repository& other) {
  // There is one key for all systems of a repository.
  if (one.identities().front().key_id != other.identities().front().key_id) {
    return false;
  }
  return std::ranges::any_of(one.identities(), [&](const Identity& identity) {
    return other.RequireSystem(identity.system_identifier).has_value();
  });
}

// History files of a timeline that are held back; more than any repository has.
constexpr std::size_t kHistoriesHeldBack = 10'000;

std::vector<std::string_view> PartsOf(std::string_view name) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t slash = name.find('/');
    parts.push_back(name.substr(0, slash));
    if (slash == std::string_view::npos) {
      return parts;
    }
    name.remove_prefix(slash + 1);
  }
}

std::optional<std::uint64_t> NumberOf(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number)
                                                                  : std::nullopt;
}

std::uint64_t LargestBelowBackup(const std::string& label, std::string_view name) {
  return !ParseLabel(label)                  ? 0
         : name == ManifestName(label)       ? std::numeric_limits<std::uint64_t>::max()
         : name == BackupDocumentName(label) ? limits::kBackupDocument
         : ParsePackName(label, name)        ? limits::kPack
                                             : 0;
}

// How large an object of this name may be. 0 when it is none of those that are copied.
std::uint64_t LargestOf(const std::string& name) {
  const std::vector<std::string_view> parts = PartsOf(name);
  const std::optional<std::uint64_t> system = parts.size() < 2 ? std::nullopt : NumberOf(parts[1]);
  if (name.starts_with(kBackupPrefix)) {
    return LargestBelowBackup(std::string(parts[1]), name);
  }
  if (name.starts_with(kWalPrefix) && system) {
    const auto known = WalObjectName(*system, parts.back());
    // Compression may make it larger, by less than this.
    return known && *known == name ? limits::kWalSegment + limits::kWalSegment / 16 : 0;
  }
  const bool is_known = name == kFormatMarkName ||
                        (name.starts_with(kIdentityPrefix) && parts.size() == 2 && system) ||
                        (name.starts_with(kKeyPrefix) && parts.size() == 2) ||
                        (name.starts_with(kPinPrefix) && parts.size() == 2 &&
                         (ParseLabel(parts[1]) || ParseNamedMark(name))) ||
                        (name.starts_with(kGapPrefix) && parts.size() == 3 && system) ||
                        ParseDrillName(name);
  if (name.starts_with(kIndexPrefix) && parts.size() == 4 && system) {
    return limits::kIndexObject;
  }
  return is_known ? limits::kDrillRecord : 0;  // the largest of these
}

bool IsHistory(std::string_view name) {
  return name.starts_with(kWalPrefix) && name.ends_with(".history");
}

// Small objects, of which each pass compares the content.
bool IsCompared(std::string_view name) {
  return IsHistory(name) || name == kFormatMarkName || name.starts_with(kKeyPrefix) ||
         name.starts_with(kGapPrefix) || name.ends_with("/backup.json");
}

struct Task {
  ObjectInfo object;
  bool compares = false;  // both sides have it; otherwise it is copied
};

class Pass {
 public:
  Pass(const Repository& repository, const std::shared_ptr<Store>& mirror,
       const MirrorOptions& options, MirrorProgress& progress)
      : repository_(repository),
        first_(repository.store()),
        mirror_(mirror),
        options_(options),
        progress_(progress),
        rate_(options.rate),
        limiter_(repository.environment(), rate_),
        queue_(kWaitingObjects) {}

  Result<MirrorReport> Run() {
    RETURN_IF_ERROR(RequireOwnMirror());
    RETURN_IF_ERROR(RequireAnotherPlace());
    RETURN_IF_ERROR(StartThreads());
    ASSIGN_OR_RETURN(report_.now, first_.Now());
    // Everything that these backups need is there by now, and so in the listings below.
    ASSIGN_OR_RETURN(const std::vector<std::string> labels, FinishedBackups());
    // Without identity and key, what follows is of no use; without the key, the identity is not.
    for (const std::string_view prefix : {kKeyPrefix, kIdentityPrefix, kFormatMarkName}) {
      RETURN_IF_ERROR(CopyAll(prefix));
    }
    RETURN_IF_ERROR(OpenMirror());
    RETURN_IF_ERROR(CopyAll(kWalPrefix));
    RETURN_IF_ERROR(CopyHistories());
    // A record below gap/ is about WAL that is there, and comes after it.
    for (const std::string_view prefix : {kGapPrefix, kIndexPrefix, kPinPrefix, kDrillPrefix}) {
      RETURN_IF_ERROR(CopyAll(prefix));
    }
    for (const std::string& label : labels) {
      RETURN_IF_ERROR(CopyBackup(label));
    }
    RETURN_IF_ERROR(queue_.Finish());
    RETURN_IF_ERROR(RequireFirstInPlace(labels));
    return std::move(report_);
  }

 private:
  using Filter = std::function<bool(std::string_view name)>;

  Status RequireOwnMirror() {
    const bool has_key = !repository_.identities().front().key_id.empty();
    auto identities = ReadIdentities(*mirror_, has_key);
    if (!identities) {
      return std::move(identities.error()).WithContext("mirror");
    }
    const bool is_new = identities->empty();
    // Its wraps may be of passphrases that the repository has no more. The pass copies the present
    // ones, and then opens it.
    waits_for_key_ = is_new || (has_key && SharesKey(*identities));
    return waits_for_key_ ? Ok() : OpenMirror();
  }

  // Only what anybody can see: the key itself is not known before the mirror is opened.
  bool SharesKey(const std::vector<NamedText>& of_mirror) const {
    return std::ranges::any_of(of_mirror, [&](const NamedText& object) {
      const Result<Identity> there = ParseUnverifiedIdentity(object);
      return there && std::ranges::any_of(repository_.identities(), [&](const Identity& here) {
               return here.key_id == there->key_id &&
                      here.system_identifier == there->system_identifier;
             });
    });
  }

  // One place may have several names, which no comparison of settings finds: a link, another
  // address of a server. So an object is stored on the mirror and looked for in the repository. It
  // stays, for the passes to come: they may have no right to delete it, and must not leave one
  // each.
  Status RequireAnotherPlace() {
    if (options_.dry_run) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const bool is_there, LeaveProbe(kMirrorProbe));
    ASSIGN_OR_RETURN(const FirstObjects seen, ListFirst(first_, kMirrorProbe, 1));
    if (seen.objects.empty() || seen.objects.front().name != kMirrorProbe) {
      return Ok();
    }
    if (is_there) {
      // It may have been copied along with the repository, or be of a mirror that this one was.
      const auto here = GetSmall(first_, kMirrorProbe, limits::kProbe);
      const auto there = GetSmall(*mirror_, kMirrorProbe, limits::kProbe);
      if (here && there && *here != *there) {
        return Ok();
      }
      const std::string fresh = fmt::format("{}-{}", kMirrorProbe, RandomHex());
      RETURN_IF_ERROR(LeaveProbe(fresh));
      const auto seen_fresh = ListFirst(first_, fresh, 1);
      [[maybe_unused]] const Status removed = mirror_->Delete(fresh);
      RETURN_IF_ERROR(seen_fresh);
      if (seen_fresh->objects.empty()) {
        return Ok();
      }
    }
    [[maybe_unused]] const Status removed = mirror_->Delete(kMirrorProbe);
    return OnePlace(*mirror_);
  }

  // Whether it was there already.
  Result<bool> LeaveProbe(std::string_view name) {
    const Status put = PutSmall(*mirror_, name, AsBytes(RandomHex()), PutMode::kCreate);
    if (!put && put.error().code != ErrorCode::kAlreadyExists) {
      return put.error();
    }
    return !put;
  }

  std::string RandomHex() const {
    std::array<std::uint8_t, 16> random;
    repository_.environment().random->Fill(random);
    return ToHex(random);
  }

  Status OpenMirror() {
    if (mirror_repository_ || (waits_for_key_ && options_.dry_run)) {
      return Ok();
    }
    auto opened = Repository::Open(mirror_, repository_.options(), repository_.environment());
    if (!opened && opened.error().code == ErrorCode::kWrongKey) {
      return OfAnotherRepository(*mirror_);
    }
    if (!opened) {
      return std::move(opened.error()).WithContext("mirror");
    }
    if (!IsSameRepository(repository_, **opened)) {
      return OfAnotherRepository(*mirror_);
    }
    mirror_repository_ = std::move(*opened);
    return Ok();
  }

  Status StartThreads() {
    return queue_.Start(options_.jobs, [this] {
      return [this](const Task& task) {
        return task.compares ? Compare(task.object) : Copy(task.object);
      };
    });
  }

  // In a directory that was moved or unmounted under way, and in a bucket that was deleted, nothing
  // is missing on the mirror, because there is nothing. Neither was anything copied.
  Status RequireFirstInPlace(const std::vector<std::string>& labels) {
    for (const Identity& identity : repository_.identities()) {
      RETURN_IF_ERROR(RequireRepositoryInPlace(repository_, identity.system_identifier));
    }
    // An expiry never takes the last backup.
    ASSIGN_OR_RETURN(const bool has_backup, HasBackup(first_));
    if (!has_backup) {
      ASSIGN_OR_RETURN(const bool has_copy, HasBackup(*mirror_));
      report_.has_lost_backups = has_copy || !labels.empty();
    }
    return Ok();
  }

  static Result<bool> HasBackup(Store& store) {
    ASSIGN_OR_RETURN(const std::vector<std::string> labels, store.ListDirectories(kBackupPrefix));
    for (const std::string& label : labels) {
      ASSIGN_OR_RETURN(const std::optional<ObjectInfo> document,
                       HeadIfThere(store, BackupDocumentName(label)));
      if (document) {
        return true;
      }
    }
    return false;
  }

  // The labels with a backup.json, each behind those that it names.
  Result<std::vector<std::string>> FinishedBackups() {
    ASSIGN_OR_RETURN(std::vector<std::string> labels, first_.ListDirectories(kBackupPrefix));
    std::vector<std::string> finished;
    for (std::string& label : labels) {
      if (!ParseLabel(label)) {
        continue;
      }
      ASSIGN_OR_RETURN(const std::optional<ObjectInfo> document,
                       HeadIfThere(first_, BackupDocumentName(label)));
      if (document) {
        finished.push_back(std::move(label));
      }
    }
    std::ranges::stable_sort(finished, [](const std::string& a, const std::string& b) {
      return LabelTimeText(a) < LabelTimeText(b);
    });
    return finished;
  }

  // Returns when all objects below the prefix that the filter lets through have been copied.
  Status CopyAll(std::string_view prefix, const Filter& is_wanted = {}) {
    RETURN_IF_ERROR(ListMerged(first_, *mirror_, prefix, [&](const MergedObject& object) {
      return is_wanted && !is_wanted(object.name) ? Ok() : Look(object);
    }));
    return queue_.WaitUntilIdle();
  }

  // A timeline whose history is there must have the WAL of those that it continues.
  Status CopyHistories() {
    for (ObjectInfo& history : std::exchange(histories_, {})) {
      RETURN_IF_ERROR(queue_.Push({std::move(history)}));
    }
    return queue_.WaitUntilIdle();
  }

  Status Look(const MergedObject& object) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    if (!object.in_first) {
      Count(&MirrorReport::objects_only_there);
      return Ok();
    }
    if (object.in_first->size == 0) {
      // A store that was full may leave one. On the mirror it would take the name for ever.
      NoteUnreadable({object.name, "it has 0 bytes"});
      return Ok();
    }
    const std::uint64_t largest = LargestOf(object.name);
    if (largest == 0) {
      Count(&MirrorReport::objects_foreign);
      return Ok();
    }
    if (object.in_first->size > largest) {
      NoteUnreadable({object.name, "it is larger than any object of its kind"});
      return Ok();
    }
    if (!object.in_second) {
      return Want(*object.in_first);
    }
    // An identity may have been made anew. That it is of this repository has been found already.
    if (object.in_first->size != object.in_second->size &&
        !object.name.starts_with(kIdentityPrefix)) {
      NoteConflict({object.name, fmt::format("it has {} bytes there, and {} in the repository",
                                             object.in_second->size, object.in_first->size)});
      return Ok();
    }
    if (IsCompared(object.name) && !options_.dry_run) {
      return queue_.Push({*object.in_first, true});
    }
    Count(&MirrorReport::objects_there);
    return Ok();
  }

  // By any thread.
  void Count(std::uint64_t MirrorReport::*counter) {
    const std::lock_guard lock(mutex_);
    ++(report_.*counter);
  }

  void NoteBehind(const ObjectInfo& object) {
    ++report_.objects_behind;
    report_.bytes_behind += object.size;
    progress_.bytes_behind += object.size;
    // What lies below a label counts from when the backup was whole.
    const TimePoint since = std::max(object.modified, committed_.value_or(object.modified));
    report_.oldest_behind = std::min(report_.oldest_behind.value_or(since), since);
  }

  Status Want(const ObjectInfo& object) {
    NoteBehind(object);
    if (!options_.dry_run && IsHistory(object.name) && histories_.size() < kHistoriesHeldBack) {
      histories_.push_back(object);
      return Ok();
    }
    return options_.dry_run ? Ok() : queue_.Push({object});
  }

  // By any thread. Whether an object of the same size is the same.
  Status Compare(const ObjectInfo& object) {
    const auto here = DigestOf(first_, object.name);
    if (!here && IsOfTheStore(here.error())) {
      return here.error();
    }
    if (!here && here.error().code == ErrorCode::kNotFound) {
      Count(&MirrorReport::objects_gone);
      return Ok();
    }
    if (!here) {
      NoteUnreadable({object.name, here.error().message});
      return Ok();
    }
    const auto there = DigestOf(*mirror_, object.name);
    if (!there && IsOfTheStore(there.error())) {
      return there.error();
    }
    if (!there || *there != *here) {
      NoteConflict({object.name, there ? "it has other content there" : there.error().message});
      return Ok();
    }
    Count(&MirrorReport::objects_there);
    return Ok();
  }

  // By any thread.
  Status Copy(const ObjectInfo& object) {
    CopyOptions copy{.policy = repository_.seal_policy(),
                     .spill_directory = repository_.options().spill_directory,
                     .reads_back = options_.reads_back};
    if (object.name == manifest_name_) {
      copy.expected = manifest_sha256_;
    }
    auto copied = CopyObject(first_, *mirror_, object, copy, limiter_);
    if (!copied) {
      return std::move(copied.error())
          .WithContext(fmt::format("could not copy object \"{}\" to the mirror", object.name));
    }
    progress_.bytes_done += object.size;
    switch (copied->outcome) {
      case CopyOutcome::kCopied: {
        const std::lock_guard lock(mutex_);
        ++report_.objects_copied;
        report_.bytes_copied += object.size;
        break;
      }
      case CopyOutcome::kThere:
        Count(&MirrorReport::objects_there);
        break;
      case CopyOutcome::kGone:
        Count(&MirrorReport::objects_gone);
        break;
      case CopyOutcome::kDiffers:
        NoteConflict({object.name, "it has other content there"});
        break;
      case CopyOutcome::kRefused:
      case CopyOutcome::kUnreadable:
        NoteUnreadable({object.name, copied->reason});
        break;
    }
    return Ok();
  }

  void NoteConflict(NotMirrored what) {
    const std::lock_guard lock(mutex_);
    ++report_.conflict_count;
    if (conflicts_.size() < kConflictsRemembered) {
      conflicts_.insert(what.name);
    }
    if (report_.conflicts.size() < MirrorReport::kMostShown) {
      report_.conflicts.push_back(std::move(what));
    }
  }

  void NoteUnreadable(NotMirrored what) {
    const std::lock_guard lock(mutex_);
    ++report_.unreadable_count;
    if (report_.unreadable.size() < MirrorReport::kMostShown) {
      report_.unreadable.push_back(std::move(what));
    }
  }

  // Whether a name from `first` to `last` has other content on the mirror. Called when no thread is
  // at work.
  bool HasConflict(const std::string& first, const std::string& last) const {
    const auto found = conflicts_.lower_bound(first);
    return report_.conflict_count > conflicts_.size() ||
           (found != conflicts_.end() && *found <= last);
  }

  Status CopyBackup(const std::string& label) {
    const std::string document = BackupDocumentName(label);
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> in_first, HeadIfThere(first_, document));
    if (!in_first) {
      return Ok();
    }
    committed_ = in_first->modified;
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> in_mirror, HeadIfThere(*mirror_, document));
    std::optional<Document> summary;
    if (!in_mirror) {
      ASSIGN_OR_RETURN(summary, ReadSummary(label, *in_first));
      if (!summary) {
        return Ok();
      }
    }
    if (summary) {
      manifest_name_ = ManifestName(label);
      manifest_sha256_ = summary->backup.manifest_sha256;
    }
    RETURN_IF_ERROR(CopyAll(BackupDirectory(label),
                            [&](std::string_view name) { return !IsCopiedLast(name, label); }));
    if (summary) {
      return Commit(*summary, *in_first);
    }
    return Look({document, in_first, in_mirror});
  }

  // A backup.json that was found good.
  struct Document {
    std::string text;
    BackupSummary backup;
  };

  // Nothing for what is not a backup: the document was removed, is a tombstone, or cannot be read.
  Result<std::optional<Document>> ReadSummary(const std::string& label, const ObjectInfo& listed) {
    const auto content = GetListed(first_, listed, limits::kBackupDocument);
    if (!content && content.error().code == ErrorCode::kNotFound) {
      return std::optional<Document>();
    }
    if (!content && IsOfTheStore(content.error())) {
      return content.error();
    }
    if (!content) {
      NoteUnreadable({listed.name, content.error().message});
      return std::optional<Document>();
    }
    std::string text(content->begin(), content->end());
    if (IsTombstone(text, label, repository_.seal_policy())) {
      return std::optional<Document>();
    }
    Result<BackupSummary> summary = ParseSummary(text, label, repository_.seal_policy());
    if (!summary) {
      NoteUnreadable({listed.name, summary.error().message});
      return std::optional<Document>();
    }
    return std::optional(Document{std::move(text), std::move(*summary)});
  }

  // Creates backup.json on the mirror if all is there that it names.
  Status Commit(const Document& read, const ObjectInfo& document) {
    const BackupSummary& summary = read.backup;
    NoteBehind(document);
    if (options_.dry_run) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const std::string missing, WhatIsMissing(summary));
    if (!missing.empty()) {
      // An expiry that began meanwhile has removed backup.json before everything else.
      ASSIGN_OR_RETURN(const std::optional<ObjectInfo> still, HeadIfThere(first_, document.name));
      if (still) {
        report_.incomplete.push_back({summary.label, missing});
      } else {
        Count(&MirrorReport::objects_gone);
      }
      return Ok();
    }
    limiter_.Pass(read.text.size());
    // The bytes that were found good, whatever the repository would give out now.
    const Status put = PutSmall(*mirror_, document.name, AsBytes(read.text), PutMode::kCreate);
    const bool was_there = !put && put.error().code == ErrorCode::kAlreadyExists;
    if (!put && !was_there) {
      return put.error();
    }
    if (was_there || options_.reads_back) {
      const auto there = GetSmall(*mirror_, document.name, limits::kBackupDocument);
      if (!there && IsOfTheStore(there.error())) {
        return there.error();
      }
      if (!there || AsText(*there) != read.text) {
        NoteConflict({document.name, "it has other content there"});
        return Ok();
      }
    }
    progress_.bytes_done += document.size;
    if (was_there) {
      Count(&MirrorReport::objects_there);
      return Ok();
    }
    ++report_.objects_copied;
    report_.bytes_copied += document.size;
    report_.backups_copied.push_back(summary.label);
    return Ok();
  }

  // A clause on the first thing that a backup names and the mirror does not have. Empty if there is
  // none.
  Result<std::string> WhatIsMissing(const BackupSummary& summary) {
    const std::string& label = summary.label;
    std::set<std::uint32_t> stored;
    bool has_manifest = false;
    RETURN_IF_ERROR(mirror_->List(BackupDirectory(label), "", [&](const ObjectInfo& object) {
      const std::optional<std::uint32_t> pack = ParsePackName(label, object.name);
      if (pack && *pack >= 1 && *pack <= summary.packs) {
        stored.insert(*pack);
      }
      has_manifest |= object.name == ManifestName(label) && object.size == summary.manifest_size;
      return Ok();
    }));
    const std::uint64_t packs = stored.size();
    const std::string directory = BackupDirectory(label);
    if (!has_manifest || packs != summary.packs || HasConflict(directory, directory + '~')) {
      return fmt::format("the mirror has {} of its {} packs, and {} manifest", packs, summary.packs,
                         has_manifest ? "its" : "not its");
    }
    // An earlier pass may have stored it, and have seen another backup.json.
    ASSIGN_OR_RETURN(const Sha256Digest manifest, DigestOf(*mirror_, ManifestName(label)));
    if (manifest != summary.manifest_sha256) {
      return std::string("the mirror has another manifest than its backup.json names");
    }
    std::set<std::string> named{summary.full_label()};
    for (const SourceBackup& source : summary.sources) {
      named.insert(source.label);
    }
    named.erase(label);
    for (const std::string& other : named) {
      ASSIGN_OR_RETURN(const std::optional<ObjectInfo> there,
                       HeadIfThere(*mirror_, BackupDocumentName(other)));
      if (!there) {
        return fmt::format("the mirror does not have {}, which it builds on", NameBackup(other));
      }
    }
    return MissingWal(summary);
  }

  Result<std::string> MissingWal(const BackupSummary& summary) {
    const WalArchive wal(*mirror_repository_, summary.system_identifier);
    const std::uint64_t size = summary.wal_segment_size;
    ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                     wal.Missing(summary.timeline, SegmentNumberOf(summary.start_wal, size),
                                 SegmentNumberOf(summary.stop_wal, size), size, 1));
    if (!missing.empty()) {
      return fmt::format("the mirror does not have WAL segment \"{}\", which it needs",
                         missing.front());
    }
    ASSIGN_OR_RETURN(const std::string first,
                     WalObjectName(summary.system_identifier, summary.start_wal));
    ASSIGN_OR_RETURN(const std::string last,
                     WalObjectName(summary.system_identifier, summary.stop_wal));
    return HasConflict(first, last)
               ? std::string("the mirror has something else in place of WAL that it needs")
               : std::string();
  }

  const Repository& repository_;
  Store& first_;
  const std::shared_ptr<Store> mirror_;
  const MirrorOptions options_;
  MirrorProgress& progress_;
  const std::atomic<std::uint64_t> rate_;
  RateLimiter limiter_;
  bool waits_for_key_ = false;  // the mirror can be opened when keys have been copied
  std::unique_ptr<Repository> mirror_repository_;
  std::vector<ObjectInfo> histories_;   // that are copied when the WAL is there
  std::optional<TimePoint> committed_;  // when the repository received backup.json
  // Of the backup that is being copied. Written when no thread is at work.
  std::string manifest_name_;
  Sha256Digest manifest_sha256_{};

  std::mutex mutex_;  // for what the threads write: counters of outcomes, and what was not copied
  MirrorReport report_;
  std::set<std::string> conflicts_;

  WorkQueue<Task> queue_;  // last: its threads use the others
};

}  // namespace

Result<MirrorReport> RunMirror(const Repository& repository, const std::shared_ptr<Store>& mirror,
                               const MirrorOptions& options, MirrorProgress& progress) {
  return Pass(repository, mirror, options, progress).Run();
}

}  // namespace veza
