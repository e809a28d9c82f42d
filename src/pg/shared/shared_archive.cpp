#include "pg/shared/shared_archive.h"

#include "pg/shared/shared_state.h"

namespace veza::pg {

namespace {

// Calls `change` with the archive's part of shared memory, under the lock.
template <typename Change>
void Update(Change change) {
  SharedState* const state = GetSharedState();
  if (state == nullptr) {
    return;
  }
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  change(state->archive);
  LWLockRelease(state->lock);
}

void Note(SharedWalEvent& event, const char* file) {
  strlcpy(event.file, file, sizeof event.file);
  event.at = GetCurrentTimestamp();
  ++event.count;
}

}  // namespace

void ReportStored(const char* file, std::uint64_t plain_size, std::uint64_t sealed_size) {
  Update([=](SharedArchive& archive) {
    Note(archive.stored, file);
    archive.stored_bytes += plain_size;
    archive.sealed_bytes += sealed_size;
    archive.failing = false;
    archive.giving_up = false;
  });
}

void ReportFailure(const char* file, const ErrorReport* error, bool is_conflict) {
  Update([=](SharedArchive& archive) {
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
  Update([=](SharedArchive& archive) {
    archive.failing = false;
    if (is_conflict) {
      Note(archive.conflict, file);
      archive.conflict_error = *error;
    }
  });
}

void ReportDropped(const char* file) {
  Update([=](SharedArchive& archive) {
    Note(archive.dropped, file);
    archive.failing = false;
    archive.giving_up = true;
  });
}

void ReportShipping(const ShippingNow& now) {
  Update([&](SharedArchive& archive) {
    archive.in_flight = now.in_flight;
    archive.ahead = now.ahead;
    archive.level = now.level;
    archive.retries += now.new_retries;
  });
}

void ReportObservation(std::int64_t at_us, double written_rate, double archived_rate,
                       std::int64_t exposed_since_us) {
  Update([=](SharedArchive& archive) {
    archive.watch.observed_us = at_us;
    archive.watch.written_rate = written_rate;
    archive.watch.archived_rate = archived_rate;
    archive.watch.exposed_since_us = exposed_since_us;
  });
}

void ReportSurvey(std::int64_t at_us, std::uint32_t gaps, std::uint32_t lost,
                  const char* first_gap) {
  Update([=](SharedArchive& archive) {
    archive.watch.surveyed_us = at_us;
    archive.watch.gaps = gaps;
    archive.watch.lost = lost;
    strlcpy(archive.watch.first_gap, first_gap, sizeof archive.watch.first_gap);
  });
}

SharedArchive ReadSharedArchive() {
  SharedArchive copy{};
  if (SharedState* const state = GetSharedState(); state != nullptr) {
    LWLockAcquire(state->lock, LW_SHARED);
    copy = state->archive;
    LWLockRelease(state->lock);
  }
  return copy;
}

}  // namespace veza::pg
