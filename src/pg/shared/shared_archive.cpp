#include "pg/shared/shared_archive.h"

#include "pg/shared/shared_state.h"

namespace veza::pg {

namespace {

void Note(SharedWalEvent& event, const char* file) {
  strlcpy(event.file, file, sizeof event.file);
  event.at = GetCurrentTimestamp();
  ++event.count;
}

}  // namespace

void ReportStored(const char* file, std::uint64_t plain_size, std::uint64_t sealed_size) {
  UpdatePart<&SharedState::archive>([=](SharedArchive& archive) {
    Note(archive.stored, file);
    archive.stored_bytes += plain_size;
    archive.sealed_bytes += sealed_size;
    archive.failing = false;
    archive.giving_up = false;
  });
}

void ReportFailure(const char* file, const ErrorReport* error, bool is_conflict) {
  UpdatePart<&SharedState::archive>([=](SharedArchive& archive) {
    Note(archive.failed, file);
    archive.error = *error;
    archive.failing = true;
    if (is_conflict) {
      Note(archive.conflict, file);
      archive.conflict_error = *error;
    }
  });
}

void ReportLeftOut(const char* file, const ErrorReport* error, bool is_conflict) {
  UpdatePart<&SharedState::archive>([=](SharedArchive& archive) {
    archive.failing = false;
    if (is_conflict) {
      Note(archive.conflict, file);
      archive.conflict_error = *error;
    }
  });
}

void ReportDropped(const char* file) {
  UpdatePart<&SharedState::archive>([=](SharedArchive& archive) {
    Note(archive.dropped, file);
    archive.failing = false;
    archive.giving_up = true;
  });
}

void ReportShipping(const ShippingNow& now) {
  UpdatePart<&SharedState::archive>([&](SharedArchive& archive) {
    archive.in_flight = now.in_flight;
    archive.ahead = now.ahead;
    archive.level = now.level;
    archive.retries += now.new_retries;
    archive.indexed += now.new_indexed;
    archive.index_failures += now.new_index_failures;
  });
}

SharedArchive ReadSharedArchive() {
  return CopyPart<&SharedState::archive>();
}

}  // namespace veza::pg
