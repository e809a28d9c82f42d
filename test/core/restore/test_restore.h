// A backup and restores of it, for the tests of restores.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <set>
#include <string>
#include <utility>

#include "core/repository/test_backup.h"
#include "core/restore/plan.h"
#include "core/restore/restore.h"
#include "source_root.h"

namespace veza {

class RestoreFixture {
 public:
  explicit RestoreFixture(Cipher cipher, DigestMethod writes = DigestMethod::kSha256)
      : repository(cipher, writes) {}

  Result<BackupSummary> Backup() {
    BackupWriterOptions options = TestBackupOptions(source, sentences);
    options.verify_checksums = false;
    options.jobs = jobs;
    BackupProgress progress;
    return MakeBackup(repository, options, progress, &databases);
  }
  // Takes a diff of the present state of `source`. `databases` are those that are still the same.
  Result<BackupSummary> Diff(const BackupSummary& full, std::set<std::uint32_t> databases = {5}) {
    return On(full, DiffLabel(full.label, NextTime()), std::move(databases));
  }
  // Likewise an incr.
  Result<BackupSummary> Incr(const BackupSummary& parent, std::set<std::uint32_t> databases = {5}) {
    return On(parent, IncrLabel(parent.full_label(), NextTime()), std::move(databases));
  }
  std::string Target() const { return source.Beside("restored"); }
  RestoreOptions Options() const {
    RestoreOptions options;
    options.target_directory = Target();
    options.restore_command = "/bin/false %f %p";
    options.jobs = 3;
    return options;
  }
  Result<RestoreReport> Restore(const RestoreOptions& options) {
    ASSIGN_OR_RETURN(const RestorePlan plan, PlanRestore(*repository, options));
    RestoreProgress progress;
    return ExecuteRestore(*repository, plan, progress);
  }
  Result<RestoreReport> Restore() { return Restore(Options()); }
  // Runs the independent reader (test/support/veza_reader.py) and returns its exit status. Its
  // output is in SecondReadersLog().
  int RunSecondReader(const std::string& arguments) const {
    WriteText(repository.Scratch("passphrase"), kTestPassphrase);
    const int status = std::system(
        fmt::format(
            "/usr/bin/python3 '{}/test/support/veza_reader.py' --root '{}' {} {} >'{}' 2>&1",
            VEZA_SOURCE_ROOT, repository.PathOf(""),
            repository.options().cipher == Cipher::kNone
                ? ""
                : fmt::format("--passphrase-file '{}'", repository.Scratch("passphrase")),
            arguments, repository.Scratch("log"))
            .c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string SecondReadersLog() const { return ReadText(repository.Scratch("log")); }
  // False when the machine lacks its libraries.
  static bool HasSecondReader() {
    return std::system("/usr/bin/python3 -c 'import zstandard, cryptography' 2>/dev/null") == 0;
  }
  bool HasControlFile() const { return std::filesystem::exists(Target() + "/global/pg_control"); }

  // What the manifest of the backup says of a file.
  FileRecord Record(const BackupSummary& backup, const std::string& path) {
    FileRecord found;
    EXPECT_OK(ReadManifest(*repository, backup, [&](ManifestRecord&& record) {
      if (auto* file = std::get_if<FileRecord>(&record); file != nullptr && file->path == path) {
        found = std::move(*file);
      }
      return Ok();
    }));
    EXPECT_EQ(found.path, path);
    return found;
  }
  // Expects that the restored data directory equals the source, except for what a restore adds.
  void ExpectRestored() const {
    std::map<std::string, TreeItem> restored = ReadTree(Target());
    EXPECT_EQ(restored["backup_label"].content, "START WAL LOCATION: 0/300028\n");
    EXPECT_EQ(restored["recovery.signal"].type, 'f');
    EXPECT_NE(restored["postgresql.auto.conf"].content.find("restore_command"), std::string::npos);
    for (const char* added :
         {"backup_label", "recovery.signal", "postgresql.auto.conf", kRecoverySettingsFile}) {
      restored.erase(added);
    }
    std::map<std::string, TreeItem> expected = ReadTree(source.path());
    expected.erase("postgresql.auto.conf");
    ExpectSameTree(AsRestored(expected), restored);
  }

  TestRepository repository;
  SourceTree source;
  Sentences sentences;
  std::vector<DatabaseSummary> databases = {{5, "postgres", 731, 0}};  // of the next backup
  bool lsns_tell = true;                                               // of the next diff or incr
  std::shared_ptr<const WalChanges> wal_changes;                       // likewise; may be null
  int jobs = 3;  // of the next full backup; 1: packs hold files in the order of their names

 private:
  TimePoint NextTime() { return kTestTime + std::chrono::hours(24 + later_++); }
  Result<BackupSummary> On(const BackupSummary& parent, const std::string& label,
                           std::set<std::uint32_t> same_databases) {
    BackupWriterOptions options = TestBackupOptions(source, sentences);
    options.verify_checksums = false;
    options.label = label;
    ASSIGN_OR_RETURN(auto index, ParentIndex::Load(*repository, parent));
    options.parent = ParentReference{.index = std::move(index),
                                     .start_lsn = parent.start_lsn,
                                     .changed = wal_changes,
                                     .lsns_tell = lsns_tell,
                                     .first_lsn = Lsn{kTestSegmentSize},
                                     .databases = std::move(same_databases)};
    BackupProgress progress;
    return MakeBackup(repository, options, progress, &databases);
  }

  int later_ = 0;  // diffs and incrs so far
};

}  // namespace veza
