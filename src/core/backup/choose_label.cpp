#include "core/backup/choose_label.h"

#include <chrono>
#include <utility>

#include "core/backup/backup_writer.h"
#include "core/repository/backup_order.h"
#include "core/repository/names.h"

namespace veza {

namespace {

std::int64_t WholeSeconds(TimePoint::duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

void WarnOfClocks(TimePoint node_now, TimePoint store_now, TimePoint label_time,
                  std::vector<std::string>* warnings) {
  const auto skew = node_now - store_now;
  if (std::chrono::abs(skew) > kSkewToWarn) {
    warnings->push_back(
        fmt::format("the clock of this server is {} s {} that of the repository: set it right, or "
                    "the target times of recoveries are wrong by as much",
                    std::abs(WholeSeconds(skew)), skew.count() < 0 ? "behind" : "ahead of"));
  }
  if (label_time - store_now > kSkewToWarn) {
    warnings->push_back(
        fmt::format("the newest backup label in the repository is {} s ahead of its clock, and so "
                    "is the label of this backup",
                    WholeSeconds(label_time - store_now)));
  }
}

std::string NewLabel(BackupType type, const std::string& full_label, TimePoint time) {
  switch (type) {
    case BackupType::kFull:
      break;
    case BackupType::kDiff:
      return DiffLabel(full_label, time);
    case BackupType::kIncr:
      return IncrLabel(full_label, time);
  }
  return FullLabel(time);
}

}  // namespace

Result<LabelChoice> ChooseLabel(const Repository& repository, BackupType type,
                                const std::string& full_label) {
  Store& store = repository.store();
  std::vector<std::string> taken;  // labels that the listing of directories did not show
  for (;;) {
    ASSIGN_OR_RETURN(const TimePoint store_now, store.Now());
    const TimePoint node_now = repository.environment().clock->Now();
    ASSIGN_OR_RETURN(std::vector<std::string> names, store.ListDirectories(kBackupPrefix));
    names.insert(names.end(), taken.begin(), taken.end());
    ASSIGN_OR_RETURN(const TimePoint time, NextLabelTime(names, store_now));
    LabelChoice choice;
    choice.label = NewLabel(type, full_label, time);
    const Status unused = BackupWriter::RequireUnusedLabel(repository, choice.label);
    if (!unused && unused.error().code == ErrorCode::kAlreadyExists) {
      taken.push_back(std::move(choice.label));
      continue;
    }
    RETURN_IF_ERROR(unused);
    WarnOfClocks(node_now, store_now, time, &choice.warnings);
    return choice;
  }
}

}  // namespace veza
