// Repositories that were written once and are committed (test/core/golden/<kind>). Our reader and
// the second reader must be able to read them for ever, and what we write must stay the same.
//
// After an intended change of the format: VEZA_WRITE_GOLDEN=1 core_tests --gtest_filter='*Golden*'

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <zstd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/archive/wal_archive.h"
#include "core/codec/key_sheet.h"
#include "core/codec/stream_builder.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/damage_record.h"
#include "core/repository/key_wraps.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"
#include "core/restore/restore.h"
#include "core/storage/local_store.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "golden/golden_repository.h"
#include "source_root.h"
#include "storage/temporary_directory.h"

namespace veza {
namespace {

namespace fs = std::filesystem;

const std::string kSourceRoot = VEZA_SOURCE_ROOT;

std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteText(const fs::path& path, std::string_view content) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << content;
  EXPECT_TRUE(file.good()) << path;
}

// Returns the header and the attributes frame.
ByteView HeadOf(const Bytes& object) {
  const auto word = LoadLittleEndian<std::uint32_t>(object.data() + kObjectHeaderSize);
  return ByteView(object).first(kObjectHeaderSize + kFrameWordSize + (word & kFrameLengthMask));
}

class GoldenWith : public testing::TestWithParam<GoldenKind> {
 protected:
  std::string Directory() const { return kSourceRoot + "/test/core/golden/" + NameOf(GetParam()); }

  Result<std::unique_ptr<Repository>> OpenRepository(
      const char* passphrase = kGoldenPassphrase) const {
    ASSIGN_OR_RETURN(std::unique_ptr<Store> store, MakeLocalStore(Directory(), {}));
    return Repository::Open(
        std::move(store),
        {.cipher = GetParam().cipher,
         .passphrase = SecretString(GetParam().cipher == Cipher::kNone ? "" : passphrase),
         .node = "reader",
         .spill_directory = testing::TempDir()},
        {});
  }

  // Runs the second reader on `root`. Returns its exit status.
  int RunSecondReader(const std::string& root, const std::string& arguments,
                      const std::string& secret = kGoldenPassphrase) const {
    const std::string passphrase = work_.path() + "/passphrase";
    WriteText(passphrase, secret + "\n");
    const std::string command = fmt::format(
        "/usr/bin/python3 '{}/test/support/veza_reader.py' --root '{}' {} {} >'{}/log' 2>&1",
        kSourceRoot, root,
        GetParam().cipher == Cipher::kNone ? "" : fmt::format("--passphrase-file '{}'", passphrase),
        arguments, work_.path());
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string SecondReadersLog() const { return ReadText(work_.path() + "/log"); }

  static void ExpectFiles(const std::string& target,
                          const std::map<std::string, std::string>& files) {
    for (const auto& [path, content] : files) {
      EXPECT_TRUE(ReadText(fs::path(target) / path) == content) << path;
    }
  }
  void ExpectRestored(const std::string& target, const std::string& tablespace) const {
    ExpectFiles(target, golden_.files);
    EXPECT_EQ(fs::read_symlink(fs::path(target) / "pg_tblspc/16384"), tablespace);
    EXPECT_TRUE(fs::is_directory(fs::path(target) / "pg_wal"));
  }

  TemporaryDirectory work_;
  GoldenRepository golden_ = MakeGoldenRepository(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Kinds, GoldenWith, testing::ValuesIn(kGoldenKinds),
                         [](const testing::TestParamInfo<GoldenKind>& info) {
                           std::string name = NameOf(info.param);
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(GoldenWith, WritersStillMakeTheseBytes) {
  if (std::getenv("VEZA_WRITE_GOLDEN") != nullptr) {
    fs::remove_all(Directory());
    for (const auto& [name, content] : golden_.objects) {
      WriteText(fs::path(Directory()) / name, AsText(content));
    }
  }
  for (const auto& [name, content] : golden_.objects) {
    const std::string committed = ReadText(fs::path(Directory()) / name);
    if ((name == GoldenSegmentName() || name == GoldenIndexName()) &&
        ZSTD_versionNumber() != kGoldenZstdVersion) {
      // The compressed content may differ, but what comes before it must be the same.
      EXPECT_TRUE(committed.starts_with(AsText(HeadOf(content)))) << name;
    } else {
      EXPECT_TRUE(committed == AsText(content)) << name;
    }
  }
}

TEST_P(GoldenWith, ReadersKnowWhatIsDamaged) {
  const auto repository = OpenRepository();
  ASSERT_OK(repository);
  const BackupCatalog catalog = ReadBackupCatalog(**repository).value();
  const LostParts known = ReadKnownDamage(**repository, catalog.backups).value();
  ASSERT_EQ(known.size(), 1U);
  EXPECT_TRUE(known.at(kGoldenIncrLabel).by == LostPart::By::kRecord);
}

TEST_P(GoldenWith, ReadersRestoreThem) {
  const auto repository = OpenRepository();
  ASSERT_OK(repository);
  const WalArchive archive(**repository, std::stoull(kGoldenSystem));
  for (const auto& [file, content] : golden_.wal) {
    ASSERT_OK(archive.Fetch(file, work_.path() + "/wal"));
    EXPECT_TRUE(ReadText(work_.path() + "/wal") == content) << file;
  }

  RestoreOptions options;
  options.target_directory = work_.path() + "/restored";
  options.backup_label = kGoldenLabel;
  options.tablespace_map[kGoldenTablespace] = work_.path() + "/tablespace";
  options.restore_command = "true";
  const Result<RestorePlan> plan = PlanRestore(**repository, options);
  ASSERT_OK(plan);
  RestoreProgress progress;
  const Result<RestoreReport> report = ExecuteRestore(**repository, *plan, progress);
  ASSERT_OK(report);
  EXPECT_EQ(report->files, golden_.files.size());
  ExpectRestored(options.target_directory, work_.path() + "/tablespace");

  RestoreOptions diff_options;
  diff_options.target_directory = work_.path() + "/restored-diff";
  diff_options.backup_label = kGoldenDiffLabel;
  diff_options.restore_command = "true";
  const Result<RestorePlan> diff_plan = PlanRestore(**repository, diff_options);
  ASSERT_OK(diff_plan);
  RestoreProgress diff_progress;
  ASSERT_OK(ExecuteRestore(**repository, *diff_plan, diff_progress));
  ExpectFiles(diff_options.target_directory, golden_.diff_files);

  RestoreOptions incr_options = diff_options;
  incr_options.target_directory = work_.path() + "/restored-incr";
  incr_options.backup_label = kGoldenIncrLabel;
  const Result<RestorePlan> incr_plan = PlanRestore(**repository, incr_options);
  ASSERT_OK(incr_plan);
  RestoreProgress incr_progress;
  ASSERT_OK(ExecuteRestore(**repository, *incr_plan, incr_progress));
  ExpectFiles(incr_options.target_directory, golden_.incr_files);
}

TEST_P(GoldenWith, TheSecondReaderRestoresThem) {
  EXPECT_EQ(RunSecondReader(Directory(), "verify"), 0) << SecondReadersLog();
  const std::string target = work_.path() + "/restored";
  const std::string tablespace = work_.path() + "/tablespace";
  ASSERT_EQ(RunSecondReader(Directory(), fmt::format("restore --tablespace '16384={}' {} '{}'",
                                                     tablespace, kGoldenLabel, target)),
            0)
      << SecondReadersLog();
  ExpectRestored(target, tablespace);
  const std::string diff_target = work_.path() + "/restored-diff";
  ASSERT_EQ(
      RunSecondReader(Directory(), fmt::format("restore {} '{}'", kGoldenDiffLabel, diff_target)),
      0)
      << SecondReadersLog();
  ExpectFiles(diff_target, golden_.diff_files);
  const std::string incr_target = work_.path() + "/restored-incr";
  ASSERT_EQ(
      RunSecondReader(Directory(), fmt::format("restore {} '{}'", kGoldenIncrLabel, incr_target)),
      0)
      << SecondReadersLog();
  ExpectFiles(incr_target, golden_.incr_files);
  for (const auto& [file, content] : golden_.wal) {
    const std::string out = work_.path() + "/wal";
    ASSERT_EQ(RunSecondReader(Directory(), fmt::format("wal {} '{}'", file, out)), 0)
        << SecondReadersLog();
    EXPECT_TRUE(ReadText(out) == content) << file;
  }
}

TEST_P(GoldenWith, ASecondPassphraseOpensThem) {
  const auto recovered = OpenRepository(kGoldenRecoveryPassphrase);
  const int status = RunSecondReader(Directory(), "verify", kGoldenRecoveryPassphrase);
  if (!GetParam().has_recovery) {
    EXPECT_EQ(recovered.has_value(), GetParam().cipher == Cipher::kNone);
    EXPECT_EQ(status, GetParam().cipher == Cipher::kNone ? 0 : 1);
    return;
  }
  ASSERT_OK(recovered);
  EXPECT_EQ(status, 0) << SecondReadersLog();
  const auto wraps = ListKeyWraps(**recovered);
  ASSERT_OK(wraps);
  ASSERT_EQ(wraps->size(), 2U);
  for (const KeyWrapInfo& wrap : *wraps) {
    EXPECT_EQ(wrap.backups.size(), 3U) << wrap.id;
    const bool is_recovery = wrap.name == "recovery";
    EXPECT_EQ(wrap.state, is_recovery ? KeyWrapInfo::State::kInUse : KeyWrapInfo::State::kUnsigned);

    // Both readers understand the sheet.
    const std::string sheet = work_.path() + "/sheet";
    WriteText(sheet, "# a comment\n" + PrintKeySheet(wrap.packed));
    EXPECT_EQ(RunSecondReader(Directory(), "sheet " + sheet,
                              is_recovery ? kGoldenRecoveryPassphrase : kGoldenPassphrase),
              0)
        << SecondReadersLog();
    EXPECT_EQ(SecondReadersLog(),
              fmt::format("key {}\n", (*recovered)->seal_policy().key->hex_id()));
  }
}

// All that an index says, as the second reader prints it.
Result<std::string> TextOf(const IndexObject& index) {
  std::string text;
  const auto file_of = [](const RelationFile& file) {
    return fmt::format("{}/{}/{}", file.tablespace, file.database, file.relation);
  };
  constexpr const char* kEnds[] = {"more", "switch", "unwritten", "damaged"};
  for (std::size_t i = 0; i < index.segments().size(); ++i) {
    const SegmentSummary& summary = index.segments()[i];
    text += fmt::format(
        "segment {} stored {} records {} begin {} end {} {} minutes {} head {} tail {} doubts {}\n",
        SegmentName(summary.timeline, summary.number, summary.segment_size), summary.stored,
        summary.records, FormatLsn(summary.begin), FormatLsn(summary.end),
        kEnds[static_cast<int>(summary.ends)], summary.minutes.size(),
        summary.head.has_value() ? 1 : 0, summary.tail.has_value() ? 1 : 0, summary.doubts);
    ASSIGN_OR_RETURN(const Bytes blocks, index.ReadBlocks(i));
    RETURN_IF_ERROR(ReadIndexedBlocks(
        blocks, [&](const RelationFork& fork, std::uint32_t first, std::uint32_t count) {
          text += fmt::format("blocks {} fork {}: {} from {}\n", file_of(fork.file), fork.fork,
                              count, first);
          return Ok();
        }));
    ASSIGN_OR_RETURN(const Bytes part, index.ReadTransactions(i));
    ASSIGN_OR_RETURN(const IndexedTransactions transactions,
                     ReadIndexedTransactions(part, summary));
    for (const IndexedEnd& end : transactions.ends) {
      text += fmt::format("end {} {} {} xid {} database {} {:d} {:d}", FormatLsn(end.begin),
                          FormatLsn(end.end), end.time.time_since_epoch().count(), end.xid,
                          end.database, end.committed, end.prepared);
      for (const std::uint32_t xid : end.subtransactions) {
        text += fmt::format(" {}", xid);
      }
      text += "\n";
    }
    for (const IndexedTouch& touch : transactions.touches) {
      text += fmt::format("touch {} {}: {}\n", touch.xid, file_of(touch.file), touch.blocks);
    }
    ASSIGN_OR_RETURN(const Bytes lines, index.ReadEvents(i));
    ASSIGN_OR_RETURN(const std::vector<IndexedEvent> events, ReadIndexedEvents(lines));
    for (const IndexedEvent& event : events) {
      text +=
          fmt::format("event {} {} {} xid {}\n",
                      std::holds_alternative<RestorePointMade>(event.fact) ? "restore_point"
                                                                           : "transaction_ended",
                      FormatLsn(event.begin), FormatLsn(event.end), event.xid);
    }
  }
  return text;
}

TEST_P(GoldenWith, ReadersReadTheIndexOfWal) {
  const auto repository = OpenRepository();
  ASSERT_OK(repository);
  const auto listed = ListIndexes(**repository, std::stoull(kGoldenSystem));
  ASSERT_OK(listed);
  ASSERT_EQ(listed->size(), 1U);
  const Result<IndexObject> index = IndexObject::Open(**repository, GoldenIndexName());
  ASSERT_OK(index);
  const Result<std::string> text = TextOf(*index);
  ASSERT_OK(text);
  EXPECT_EQ(*text, golden_.index);
  EXPECT_EQ(index->segments()[0].digest,
            DigestContent(GetParam().version == 2 ? DigestMethod::kGmac : DigestMethod::kSha256,
                          (*repository)->seal_policy().key.get(),
                          AsBytes(golden_.wal.at(kGoldenSegment))));
  EXPECT_EQ(RunSecondReader(Directory(), "cat " + GoldenIndexName()), 0);
  EXPECT_EQ(SecondReadersLog(), golden_.index);
}

// A reader that accepts everything would also pass the tests above.
TEST_P(GoldenWith, TheSecondReaderRefusesDamage) {
  const std::string copy = work_.path() + "/copy";
  fs::copy(Directory(), copy, fs::copy_options::recursive);
  ASSERT_EQ(RunSecondReader(copy, "verify"), 0) << SecondReadersLog();
  for (const auto& [name, content] : golden_.objects) {
    if (name.starts_with("key/") || name == GoldenSegmentName()) {
      continue;  // some bytes of a wrap are free; the segment is a stream like the history file
    }
    const fs::path path = fs::path(copy) / name;
    const std::string intact = ReadText(path);
    std::string damaged = intact;
    damaged[damaged.size() * 2 / 3] ^= 1;
    WriteText(path, damaged);
    EXPECT_EQ(RunSecondReader(copy, "verify"), 1) << name;
    // It must refuse the repository, and not crash.
    EXPECT_TRUE(SecondReadersLog().find("\nveza_reader: ") != std::string::npos ||
                SecondReadersLog().starts_with("veza_reader: "))
        << name << "\n"
        << SecondReadersLog();
    WriteText(path, intact);
  }
}

}  // namespace
}  // namespace veza
