// Implements veza_backup_check(): tests settings, store, identity and key, and whether WAL arrives.

#include <algorithm>
#include <optional>

#include "core/archive/wal_archive.h"
#include "core/backup/directory_survey.h"
#include "core/monitor/check.h"
#include "core/monitor/credentials_check.h"
#include "core/monitor/security_check.h"
#include "core/repository/connect.h"
#include "pg/sql/rows_call.h"
//
#include "pg/archive/archiving.h"
#include "pg/settings.h"
#include "pg/shared/shared_archive_watch.h"
#include "pg/shared/shared_key.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

constexpr std::chrono::seconds kArchiveCheckTimeout{30};
constexpr std::chrono::milliseconds kArchivePollPause{200};
constexpr int kRecommendedTimeout = 60;
// How long the check reports that identity or key had been deleted.
constexpr std::chrono::hours kPutBackIsNews{24};

Row RowOf(const CheckResult& result) {
  return {result.name, result.passed ? "true" : "false", result.detail,
          result.hint.empty() ? std::nullopt : std::optional(result.hint)};
}

// What the main thread knows about archiving.
struct ArchivingState {
  bool enabled = false;     // archive_mode and archive_library are right
  bool is_primary = false;  // only a primary can switch segments
  XLogRecPtr switched_at = InvalidXLogRecPtr;
  TimeLineID timeline = 0;
  int timeout_s = 0;           // archive_timeout
  SharedArchiveWatch watch{};  // before the check switches segments
};

class CheckCall final : public RowsCall {
 public:
  CheckCall(const ArchivingState& archiving, const SharedKey& key, const SecretSources& secrets)
      : archiving_(archiving), key_(key), secrets_(secrets) {}
  ~CheckCall() override { StopAndJoin(); }

  void AddSettingsFailure(const ErrorReport& report) {
    rows_.push_back({"settings", "false", report.message, report.hint});
  }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::shared_ptr<Store> store, Connect());
    rows_.push_back(
        {"settings", "true", fmt::format("repository \"{}\"", store->location()), std::nullopt});
    rows_.push_back(RowOf(CheckDataDirectory()));
    RETURN_IF_ERROR(environment_.cancellation->Check());
    const auto credentials = CheckCredentialsOf(config_, environment_);
    RETURN_IF_ERROR(environment_.cancellation->Check());
    if (credentials) {
      rows_.push_back(RowOf(*credentials));
    }
    bool usable = !credentials || credentials->passed;
    bool answers = usable;
    for (const CheckResult& result : usable ? CheckStore(store) : std::vector<CheckResult>()) {
      const bool decides = result.name == "store" || result.name == "identity";
      usable = usable && (result.passed || !decides);
      answers = answers && (result.passed || result.name != "store");
      rows_.push_back(RowOf(result));
    }
    RETURN_IF_ERROR(environment_.cancellation->Check());
    if (usable) {
      rows_.push_back(RowOf(CheckKey(store)));
    }
    if (answers) {
      rows_.push_back(RowOf(CheckSecurityOfServer()));
    }
    RETURN_IF_ERROR(environment_.cancellation->Check());
    rows_.push_back(RowOf(CheckArchiving(store, usable && marker_fits_)));
    if (archiving_.enabled) {
      rows_.push_back(RowOf(CheckTimeout()));
      rows_.push_back(RowOf(CheckIndex()));
    }
    return environment_.cancellation->Check();
  }

  std::vector<CheckResult> CheckStore(const std::shared_ptr<Store>& store) {
    return CheckRepository(store, Options(), environment_, facts_.system_identifier,
                           config_.looks_before_writes, [this](Store& place) {
                             return RequireUnmarkedOrMade(
                                 place, config_.cipher != Cipher::kNone,
                                 {facts_.data_directory, ServiceOf(config_)});
                           });
  }

  CheckResult CheckSecurityOfServer() {
    for (InlineSecret& secret : config_.inline_secrets) {
      for (int i = 0; i < secrets_.count; ++i) {
        if (secret.setting == secrets_.of[i].setting) {
          secret.file = secrets_.of[i].file;
        }
      }
    }
    return CheckSecurity(config_, environment_);
  }

  // Whether identity and key are the ones that this server holds in memory, and were never missing.
  CheckResult CheckKey(const std::shared_ptr<Store>& store) {
    const Result<std::unique_ptr<Repository>> repository =
        Repository::Open(store, Options(), environment_);
    if (!repository) {
      return FailedCheck("key", repository.error());
    }
    const std::string key_id = (*repository)->identities().front().key_id;
    if (const auto failed = CheckMarker(store->location(), key_id)) {
      return *failed;
    }
    if (key_.held && key_.key_id != key_id) {
      return {"key", false,
              fmt::format("the identity names {}, but this server has opened the repository with "
                          "{}",
                          KeyInWords(key_id), KeyInWords(key_.key_id)),
              "What this server stores cannot be read with the key that is there now. Before you "
              "restart the server, see \"When identity or key were deleted\" in docs/backups.md."};
    }
    if (key_.held && key_.failing) {
      return {"key", false, key_.error.message, key_.error.hint};
    }
    const TimePoint put_back(std::chrono::microseconds(key_.put_back_us));
    if (key_.put_back_us != 0 && environment_.clock->Now() - put_back < kPutBackIsNews) {
      return {"key", false,
              fmt::format("objects were deleted, and were put back at {}: {}", FormatUtc(put_back),
                          key_.put_back),
              "Find out what has deleted them. A lifecycle rule or a clean-up script will delete "
              "backups and WAL as well. This check passes again after a day."};
    }
    const std::string what = key_id.empty()
                                 ? "the identity is present"
                                 : fmt::format("identity and key \"{}\" are present", key_id);
    return {"key", true,
            what + (key_.held ? "; this server holds the same in memory"
                              : "; the scheduler has not checked them yet"),
            ""};
  }

  // Whether the marker file lets the archiver go on with this key; on a standby, after a promotion.
  std::optional<CheckResult> CheckMarker(const std::string& location, const std::string& key_id) {
    const Status compared =
        CompareMarker(facts_.data_directory, {location, ServiceOf(config_), key_id});
    if (compared) {
      return std::nullopt;
    }
    marker_fits_ = false;  // so the archiver archives nothing
    CheckResult failed = FailedCheck("key", compared.error());
    if (!archiving_.is_primary && compared.error().code == ErrorCode::kConflict) {
      failed.hint =
          "The scheduler of a standby rewrites the file \"veza-repository\" within five minutes. "
          "If it does not, see the log of this server.";
    }
    return failed;
  }

  // Whether a backup can read the whole data directory.
  CheckResult CheckDataDirectory() const {
    const std::shared_ptr<const SecretScan> secrets =
        MakeSecretScan(config_, facts_.data_directory, facts_.log_directory, facts_.config_file);
    const Result<DirectorySurvey> survey = SurveyDataDirectory(
        MakeWalkOptions(config_, facts_), *environment_.cancellation, secrets.get());
    if (!survey) {
      return FailedCheck("data_directory", survey.error());
    }
    std::string detail =
        fmt::format("{} files with {} bytes can be read", survey->files, survey->bytes);
    if (const std::string notes = DescribeNotes(survey->notes); !notes.empty()) {
      detail += "; " + notes;
    }
    return {"data_directory", true, std::move(detail), ""};
  }

  CheckResult CheckArchiving(const std::shared_ptr<Store>& store, bool usable) {
    if (!archiving_.enabled) {
      return {"archiving", false, "WAL is not archived by veza_backup",
              "Set archive_mode = on, wal_level = replica or logical and archive_library = "
              "'veza_backup', and restart the server."};
    }
    if (!archiving_.is_primary) {
      return {"archiving", true, "not tested: only a primary can switch to a new WAL segment", ""};
    }
    if (!usable) {
      return {"archiving", false, "not tested: the repository cannot be opened",
              "Fix the failed checks above first."};
    }
    const Status arrived = WaitForSegment(store);
    if (!arrived) {
      return FailedCheck("archiving", arrived.error());
    }
    return {"archiving", true, fmt::format("WAL segment \"{}\" reached the repository", Segment()),
            ""};
  }

  // How much work the loss of this server would cost.
  CheckResult CheckTimeout() const {
    if (archiving_.timeout_s == 0) {
      return {"archive_timeout", false,
              "archive_timeout is off: on a server with little activity, committed work can stay "
              "out of the archive for an unlimited time",
              "Set archive_timeout = 60. Then at most about a minute of work can be lost."};
    }
    std::string detail =
        fmt::format("at most about {} s of work can be lost", archiving_.timeout_s);
    if (archiving_.timeout_s > kRecommendedTimeout) {
      detail += fmt::format("; archive_timeout = {} is recommended", kRecommendedTimeout);
    }
    if (archiving_.watch.exposed_since_us != 0) {
      const TimePoint since(std::chrono::microseconds(archiving_.watch.exposed_since_us));
      const auto exposure =
          std::chrono::duration_cast<std::chrono::seconds>(environment_.clock->Now() - since);
      detail +=
          fmt::format("; before this check the oldest work that was not archived was {} s old",
                      std::max<long>(0, exposure.count()));
    }
    return {"archive_timeout", true, std::move(detail), ""};
  }

  // What the scheduler has found at its last look at the index of WAL (index_watch.h).
  CheckResult CheckIndex() const {
    constexpr const char* kName = "wal_index";
    if (!config_.archive.wal_index) {
      return {kName, true, "veza_backup.wal_index is off: a diff compares contents", ""};
    }
    if (!archiving_.is_primary) {
      return {kName, true, "not tested: the primary completes the index of WAL", ""};
    }
    if (archiving_.watch.index_looked_us == 0) {
      return {kName, true, "the scheduler has not looked at the index of WAL yet", ""};
    }
    const TimePoint looked(std::chrono::microseconds(archiving_.watch.index_looked_us));
    if (archiving_.watch.index_unreadable > 0) {
      return {kName, false,
              fmt::format("{} archived WAL segments could not be read at {}",
                          archiving_.watch.index_unreadable, FormatUtc(looked)),
              "The server log names the first. Run vezactl verify --full, and take a full backup."};
    }
    return {kName, true,
            fmt::format("{} archived WAL segments had no index at {}",
                        archiving_.watch.index_missing, FormatUtc(looked)),
            ""};
  }

  std::string Segment() const {
    const std::uint64_t size = MakeIdentity(facts_).wal_segment_size;
    return SegmentName(archiving_.timeline, SegmentBefore(Lsn{archiving_.switched_at}, size), size);
  }

  Status WaitForSegment(const std::shared_ptr<Store>& store) {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     Repository::Open(store, Options(), environment_));
    RETURN_IF_ERROR(repository->RequireSystem(facts_.system_identifier));
    const WalArchive archive(*repository, facts_.system_identifier);
    const SteadyTime deadline = environment_.clock->Steady() + kArchiveCheckTimeout;
    for (;;) {
      ASSIGN_OR_RETURN(const bool arrived, archive.Contains(Segment()));
      if (arrived) {
        return Ok();
      }
      if (environment_.clock->Steady() >= deadline) {
        return MakeError(ErrorCode::kDeadlineExceeded,
                         "WAL segment \"{}\" did not reach the repository within {} s", Segment(),
                         kArchiveCheckTimeout.count())
            .WithHint(
                "Look for warnings of the archiver in the server log. After a change of "
                "archive_library it can take a minute until the server restarts the archiver.");
      }
      if (!environment_.clock->Sleep(kArchivePollPause, environment_.cancellation.get())) {
        return Cancelled();
      }
    }
  }

  ArchivingState archiving_;
  SharedKey key_;
  SecretSources secrets_;
  bool marker_fits_ = true;
};

// Switches to a new WAL segment. The record makes sure that the old segment is not empty, as a
// switch would otherwise do nothing.
void SwitchSegment(ArchivingState* archiving) {
  WriteHarmlessWalRecord();
  archiving->switched_at = RequestXLogSwitch(false);
  archiving->timeline = GetWALInsertionTimeLine();
}

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_check) {
  using namespace veza::pg;
  ArchivingState archiving;
  archiving.enabled = ArchivesWithVeza();
  archiving.is_primary = !RecoveryInProgress();
  archiving.timeout_s = XLogArchiveTimeout;
  archiving.watch = ReadSharedArchiveWatch();
  if (archiving.enabled && archiving.is_primary) {
    SwitchSegment(&archiving);
  }
  SecretSources secrets;
  ReadSecretSources(&secrets);
  auto* const call = NewInContext<CheckCall>(archiving, ReadSharedKey(), secrets);
  ErrorReport report;
  if (!call->Prepare(&report)) {
    // Unusable settings are a result of the check, not an error.
    call->AddSettingsFailure(report);
    return EmitRows(fcinfo, call);
  }
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}
