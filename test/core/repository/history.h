// A repository with a random past: good and bad backups of both types, failed backups, timelines,
// pins, and objects of others. The same seed gives the same past.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/repository/lock_nodes.h"
#include "core/repository/test_backup.h"

namespace veza {

inline constexpr std::uint64_t kForeignSystem = 42;

// What the test knows about a backup, independently of what the tested code reads.
struct PastBackup {
  std::string label{};
  std::string full_label{};  // its own label for a full
  bool is_full = true;
  bool has_failures = false;
  bool foreign = false;
  bool broken = false;
  bool pinned = false;
  TimelineId timeline = 1;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
};

struct PastSegment {
  std::string name{};  // name of the object
  TimelineId timeline = 1;
  SegmentNumber number = 0;
  TimePoint stored{};
};

// An index object, which describes these segments.
struct PastIndex {
  std::string name{};
  TimelineId timeline = 1;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
};

// Where a timeline has left its parent, within that segment.
struct PastBranch {
  TimelineId parent = 0;  // 0 when it has no parent
  SegmentNumber left_in = 0;
};

class History {
 public:
  explicit History(std::uint64_t seed, int events = 40) : random_(seed) {
    Full(false, false);
    for (int event = 0; event < events; ++event) {
      time_ += std::chrono::minutes(61);
      if (Below(15) == 0) {
        time_ += std::chrono::hours(24 * 8);  // long enough for a branch to count as abandoned
      }
      Happen(Below(21));
    }
    for (PastBackup& backup : backups) {
      if (!backup.broken && Below(12) == 0) {
        backup.pinned = true;
        Put(PinName(backup.label), "{}");
      }
    }
    time_ += std::chrono::hours(2);
    repository.clock().Sleep(
        std::chrono::duration_cast<std::chrono::milliseconds>(time_ - kTestTime), nullptr);
    if (Below(3) == 0) {
      repository.clock().Sleep(std::chrono::hours(24 * 8), nullptr);
    }
    // Its WAL may be newer than a listing.
    time_ = repository.clock().Now();
    Index(0, 0);
    untouchable.push_back(indexes.back().name);
    indexes.pop_back();
  }

  std::size_t Below(std::size_t bound) { return random_() % bound; }

  std::set<std::string> Objects() const {
    std::set<std::string> names;
    EXPECT_OK(repository->store().List("", "", [&](const ObjectInfo& object) {
      if (!object.name.starts_with(kLockPrefix)) {
        names.insert(object.name);
      }
      return Ok();
    }));
    return names;
  }

  TestRepository repository;
  std::vector<PastBackup> backups;    // oldest first
  std::vector<PastSegment> segments;  // those of our system
  std::vector<PastIndex> indexes;     // at least an hour old
  std::map<TimelineId, PastBranch> branches{{1, {}}};
  std::vector<std::string> left_over_labels;
  std::vector<std::string> untouchable;  // history files and objects of others

 private:
  void Happen(std::size_t what) {
    Grow(1 + Below(4));
    switch (what) {
      case 0:
        return Promote(0);
      case 1:
        return Promote(1 + Below(8));
      case 2:
      case 3:
        return Fail();
      case 4:
        return Below(4) == 0 ? Break() : Diff(false);
      case 5:
        return Full(false, true);
      case 6:
        return Full(true, false);
      case 7:
        return Diff(true);
      case 8:
      case 9:
      case 10:
      case 11:
        return Full(false, false);
      case 12:
        return GoOnElsewhere();
      default:
        return Diff(false);
    }
  }

  void Put(const std::string& name, std::string_view content) {
    WriteText(repository.PathOf(name), content);
    const timespec time{(time_ - TimePoint()) / std::chrono::seconds(1), 0};
    const timespec times[2] = {time, time};
    EXPECT_EQ(utimensat(AT_FDCWD, repository.PathOf(name).c_str(), times, 0), 0) << name;
  }

  void Grow(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i, ++position_) {
      const std::string file = SegmentName(timeline_, position_, kTestSegmentSize);
      const std::string name = WalObjectName(kTestSystem, file).value();
      Put(name, "segment");
      segments.push_back({name, timeline_, position_, time_});
    }
    // Indexes may be missing, may overlap, and may describe segments that are not there.
    if (Below(3) > 0) {
      Index(position_ - std::min<SegmentNumber>(position_, count + Below(3)),
            position_ - 1 + Below(2));
    }
  }

  void Index(SegmentNumber first, SegmentNumber last) {
    const std::string name = IndexObjectName(
        kTestSystem, SegmentName(timeline_, first, kTestSegmentSize),
        SegmentName(timeline_, last, kTestSegmentSize), 1, fmt::format("{:016x}", indexes.size()));
    Put(name, "index");
    indexes.push_back({name, timeline_, first, last});
  }

  void Promote(std::size_t back) {
    const SegmentNumber begin = branches.at(timeline_).left_in + 1;
    position_ =
        std::max<SegmentNumber>(begin, position_ - std::min<SegmentNumber>(back, position_));
    const auto timeline = static_cast<TimelineId>(branches.size() + 1);
    branches[timeline] = {timeline_, position_};
    timeline_ = timeline;
    const std::string file = TimelineHistoryName(timeline_);
    ASSERT_OK(repository.PushWal(file, AsBytes(HistoryText(timeline_))));
    untouchable.push_back(WalObjectName(kTestSystem, file).value());
    last_full_.clear();
    Grow(1);
  }

  std::string HistoryText(TimelineId timeline) const {
    const PastBranch& branch = branches.at(timeline);
    if (branch.parent == 0) {
      return "";
    }
    const Lsn left{branch.left_in * kTestSegmentSize + 100};
    return HistoryText(branch.parent) +
           fmt::format("{}\t{}\tno recovery target\n", branch.parent, FormatLsn(left));
  }

  // Another server that was thought to be dead, or a twin of this one.
  void GoOnElsewhere() {
    timeline_ = static_cast<TimelineId>(1 + Below(branches.size()));
    position_ = 0;
    for (const PastSegment& segment : segments) {
      if (segment.timeline == timeline_) {
        position_ = std::max(position_, segment.number + 1);
      }
    }
    last_full_.clear();
    Grow(1 + Below(3));
  }

  void Fail() {
    const std::string label = FullLabel(time_);
    Put(PackName(label, 1), "pack");
    Put(PackName(label, 2), "pack");
    left_over_labels.push_back(label);
  }

  void Break() {
    Full(false, false);
    Put(BackupDocumentName(backups.back().label), "not a document");
    backups.back().broken = true;
    last_full_.clear();
  }

  void Full(bool has_failures, bool foreign) {
    Have(FullLabel(time_), has_failures, foreign);
    if (!foreign) {
      last_full_ = backups.back().label;
    }
    if (foreign) {
      const std::string name =
          WalObjectName(kForeignSystem, SegmentName(1, position_, kTestSegmentSize)).value();
      Put(name, "segment");
      untouchable.push_back(name);
    }
  }

  void Diff(bool has_failures) {
    if (last_full_.empty()) {
      return Full(has_failures, false);
    }
    Have(DiffLabel(last_full_, time_), has_failures, false);
  }

  void Have(const std::string& label, bool has_failures, bool foreign) {
    const auto parts = ParseLabel(label);
    PastBackup backup{.label = label,
                      .full_label = parts->full_label,
                      .is_full = parts->type == BackupType::kFull,
                      .has_failures = has_failures,
                      .foreign = foreign,
                      .timeline = timeline_,
                      .first = position_};
    Grow(1 + Below(3));
    backup.last = position_ - 1;
    BackupSummary summary = TestSummary(*repository, label);
    summary.type = parts->type;
    summary.system_identifier = foreign ? kForeignSystem : kTestSystem;
    summary.timeline = timeline_;
    summary.start_time = time_;
    summary.start_lsn = Lsn{backup.first * kTestSegmentSize + Below(kTestSegmentSize)};
    summary.stop_lsn = Lsn{position_ * kTestSegmentSize - Below(kTestSegmentSize / 2)};
    summary.checksum_failures = has_failures ? 1 : 0;
    summary.manifest_size = 8;
    // Which diffs of TestSummary() name.
    summary.manifest_sha256 = Sha256Of(AsBytes("the full's manifest"));
    Put(PackName(label, 1), "pack");
    Put(PackName(label, 2), "pack");
    Put(ManifestName(label), "manifest");
    Put(BackupDocumentName(label), SerializeSummary(summary, repository->seal_policy()).value());
    backups.push_back(backup);
  }

  std::mt19937_64 random_;
  TimePoint time_ = kTestTime;
  TimelineId timeline_ = 1;
  SegmentNumber position_ = 1;
  std::string last_full_;
};

}  // namespace veza
