#include "core/archive/look_ahead_gate.h"

#include "core/postgres/ready_files.h"

namespace veza {
namespace {

// Whether an error of sealing or putting concerns one file, and says nothing about the store.
bool IsOfTheFile(ErrorCode code, ShippingStage stage) {
  switch (code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kDataCorrupted:
    case ErrorCode::kInvalidArgument:
      return true;
    case ErrorCode::kIo:
    case ErrorCode::kPermissionDenied:
      return stage == ShippingStage::kSealing;
    default:
      return false;
  }
}

}  // namespace

void LookAheadGate::NoteStored(const std::string& file) {
  proven_ = true;
  trouble_ = false;
  // Files before the refused one prove nothing: both servers may have them in common.
  if (conflict_ && !IsArchivedBefore(file, *conflict_)) {
    conflict_.reset();
  }
}

void LookAheadGate::NoteFailure(const std::string& file, ErrorCode code, ShippingStage stage,
                                bool is_asked_for) {
  const bool is_of_the_repository = IsOfTheRepository(stage);
  if (code == ErrorCode::kConflict && !is_of_the_repository) {
    if (!conflict_ || IsArchivedBefore(*conflict_, file)) {
      conflict_ = file;
    }
  } else if (is_of_the_repository || !IsOfTheFile(code, stage)) {
    trouble_ = true;
  } else if (is_asked_for) {
    // The repository could be opened, and a file that cannot be read must not hold up the others.
    proven_ = true;
  }
}

}  // namespace veza
