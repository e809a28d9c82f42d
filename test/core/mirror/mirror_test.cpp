#include "core/mirror/mirror.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/codec/stream.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/key_wraps.h"
#include "core/repository/restore_lease.h"
#include "core/repository/test_backup.h"
#include "core/storage/forwarding_store.h"

namespace veza {
namespace {

constexpr const char* kDiff = "20261122-020000F_20261122-030000D";

using Objects = std::map<std::string, std::string>;

class Mirror : public testing::TestWithParam<Cipher> {
 protected:
  Mirror() : repository_(GetParam()) {}

  void SetUp() override { Backup(kTestLabel); }

  // A backup of a few small files, with its WAL.
  void Backup(const std::string& label) {
    const SourceTree source;
    source.File("base/5/1259", TestPage(0, kTestStartLsn));
    Sentences sentences;
    BackupWriterOptions options = TestBackupOptions(source, sentences);
    options.label = label;
    ASSERT_OK(MakeBackup(repository_, options));
  }
  // backup.json of a diff without files, and its manifest.
  void DiffWithoutPacks() {
    BackupSummary diff = TestSummary(*repository_, kDiff);
    const BackupSummary full = ReadBackup(*repository_, kTestLabel).value();
    diff.sources = {{kTestLabel, full.manifest_sha256}};
    const Bytes manifest = Sealed(ManifestName(kDiff));
    diff.manifest_size = manifest.size();
    diff.manifest_sha256 = Sha256Of(manifest);
    const std::string text = SerializeSummary(diff, repository_->seal_policy()).value();
    ASSERT_OK(PutSmall(repository_.store(), ManifestName(kDiff), manifest, PutMode::kCreate));
    ASSERT_OK(
        PutSmall(repository_.store(), BackupDocumentName(kDiff), AsBytes(text), PutMode::kCreate));
  }
  // A sealed stream of a few bytes.
  Bytes Sealed(const std::string& name) {
    StreamSealer sealer(repository_->seal_policy(),
                        {.object_name = name, .spill_directory = repository_.Scratch("")},
                        *repository_->environment().random);
    EXPECT_OK(sealer.Append(AsBytes("content")));
    Body& body = *sealer.Finish("node", {}).value().body;
    EXPECT_OK(body.Rewind());
    Bytes content(body.size());
    for (std::size_t at = 0; at < content.size();) {
      at += body.Read(MutableByteView(content).subspan(at)).value();
    }
    return content;
  }

  std::shared_ptr<FaultStore> MakeMirror(const std::string& name = "mirror") const {
    return std::make_shared<FaultStore>(MakeLocalStore(repository_.Scratch(name),
                                                       repository_.environment(),
                                                       repository_.environment().clock)
                                            .value());
  }
  Result<MirrorReport> Run(const std::shared_ptr<Store>& mirror, MirrorOptions options = {}) {
    MirrorProgress progress;
    options.jobs = 2;
    return RunMirror(*repository_, mirror, options, progress);
  }

  // Without what a pass leaves to find the place again.
  static Objects ReadAll(Store& store) {
    Objects objects;
    EXPECT_OK(store.List("", "", [&](const ObjectInfo& object) -> Status {
      if (object.name == "probe/mirror") {
        return Ok();
      }
      ASSIGN_OR_RETURN(const Bytes content, GetListed(store, object, 64U << 20));
      objects[object.name] = std::string(content.begin(), content.end());
      return Ok();
    }));
    return objects;
  }
  Objects First() const { return ReadAll(repository_.store()); }

  // What FORMAT.md section 16 promises of a mirror at any moment.
  void ExpectUsable(Store& mirror) {
    const Objects objects = ReadAll(mirror);
    const auto has = [&](const std::string& name) { return objects.contains(name); };
    const bool has_identity = has(IdentityName(kTestSystem));
    for (const auto& [name, content] : objects) {
      const bool is_entrance = name.starts_with("key/") || name.starts_with("identity/");
      EXPECT_TRUE(has_identity || is_entrance) << name;
    }
    const bool has_key = std::ranges::any_of(
        objects, [](const auto& object) { return object.first.starts_with(kKeyPrefix); });
    EXPECT_TRUE(!has_identity || has_key || GetParam() == Cipher::kNone);
    for (const std::string label : {kTestLabel, kDiff}) {
      const auto document = objects.find(BackupDocumentName(label));
      if (document == objects.end()) {
        continue;
      }
      const BackupSummary summary =
          ParseSummary(document->second, label, repository_->seal_policy()).value();
      EXPECT_TRUE(has(ManifestName(label)));
      for (std::uint32_t pack = 1; pack <= summary.packs; ++pack) {
        EXPECT_TRUE(has(PackName(label, pack)));
      }
      for (const std::string& wal : {summary.start_wal, summary.stop_wal}) {
        EXPECT_TRUE(has(WalObjectName(kTestSystem, wal).value()));
      }
      EXPECT_TRUE(has(BackupDocumentName(summary.full_label())));
    }
  }

  TestRepository repository_;
};

TEST_P(Mirror, CopiesEverythingButLocksLeasesAndProbes) {
  DiffWithoutPacks();
  const auto lease =
      RestoreLease::Take(*repository_, ReadBackup(*repository_, kTestLabel).value(), "restore");
  ASSERT_TRUE(lease);
  Objects expected = First();
  for (const char* name : {"lock/0000000001", "probe/x", "backup/20261122-020000F/finished.json",
                           "backup/20261122-040000F/pack/00000001"}) {
    ASSERT_OK(PutSmall(repository_.store(), name, AsBytes("x"), PutMode::kCreate));
  }
  std::erase_if(expected, [](const auto& object) { return object.first.starts_with("lease/"); });
  ASSERT_OK(PutSmall(repository_.store(), PinName(kTestLabel), AsBytes("pin"), PutMode::kCreate));
  expected[PinName(kTestLabel)] = "pin";

  const auto mirror = MakeMirror();
  const auto looked = Run(mirror, {.dry_run = true});
  ASSERT_OK(looked);
  EXPECT_TRUE(ReadAll(*mirror).empty());
  EXPECT_EQ(looked->objects_behind, expected.size());
  EXPECT_EQ(looked->objects_copied, 0U);

  const auto report = Run(mirror, {.reads_back = true});
  ASSERT_OK(report);
  EXPECT_TRUE(report->is_whole());
  EXPECT_EQ(ReadAll(*mirror), expected);
  EXPECT_EQ(report->objects_behind, expected.size());
  EXPECT_EQ(report->objects_copied, expected.size());
  EXPECT_EQ(report->bytes_copied, report->bytes_behind);
  EXPECT_EQ(report->backups_copied, (std::vector<std::string>{kTestLabel, kDiff}));
  ExpectUsable(*mirror);

  const auto again = Run(mirror);
  ASSERT_OK(again);
  EXPECT_EQ(again->objects_behind, 0U);
  EXPECT_EQ(again->objects_copied, 0U);
  EXPECT_EQ(again->objects_there, expected.size());

  // What was lost on the mirror comes back, also of a backup that is there.
  ASSERT_OK(mirror->Delete(PackName(kTestLabel, 1)));
  ASSERT_OK(Run(mirror));
  EXPECT_EQ(ReadAll(*mirror), expected);
}

TEST_P(Mirror, IsUsableWhereverAPassEndsAndTheNextOneGoesOn) {
  DiffWithoutPacks();
  const Objects expected = First();
  for (const bool is_stored : {false, true}) {
    for (int ends_at = 1;; ++ends_at) {
      const auto mirror = MakeMirror(fmt::format("mirror-{}-{}", is_stored, ends_at));
      std::atomic<int> puts = 0;
      mirror->SetHook([&](FaultStore::Operation operation, std::string_view) -> Status {
        // With `is_stored`, the answer to a Put that has been carried out is lost: the next request
        // of any kind fails, as after a kill.
        const bool is_put = operation == FaultStore::Operation::kPut;
        const int number = is_put ? ++puts : puts.load();
        const bool has_ended = number > ends_at || (number == ends_at && !is_put);
        return (is_stored ? has_ended : number >= ends_at)
                   ? Status(MakeError(ErrorCode::kUnavailable, "ended"))
                   : Ok();
      });
      const auto ended = Run(mirror);
      mirror->SetHook({});
      ExpectUsable(*mirror);
      ASSERT_OK(Run(mirror));
      EXPECT_EQ(ReadAll(*mirror), expected);
      if (ended) {
        EXPECT_GT(ends_at, static_cast<int>(expected.size()) / 2);
        break;
      }
    }
  }
}

TEST_P(Mirror, SkipsABackupThatAnExpiryRemovesUnderWay) {
  constexpr const char* kNewer = "20261123-020000F";
  Backup(kNewer);
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kGet && name == PackName(kTestLabel, 1)) {
      std::filesystem::remove(repository_.PathOf(BackupDocumentName(kTestLabel)));
      std::filesystem::remove(repository_.PathOf(PackName(kTestLabel, 1)));
    }
    return Ok();
  });
  const auto mirror = MakeMirror();
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_TRUE(report->is_whole());
  EXPECT_GE(report->objects_gone, 1U);
  EXPECT_EQ(report->backups_copied, std::vector<std::string>{kNewer});
  EXPECT_FALSE(ReadAll(*mirror).contains(BackupDocumentName(kTestLabel)));
}

TEST_P(Mirror, CopiesNoBackupWithoutItsWalOrTheBackupThatItBuildsOn) {
  DiffWithoutPacks();
  ASSERT_OK(repository_.store().Delete(
      WalObjectName(kTestSystem, SegmentName(1, 4, kTestSegmentSize)).value()));
  const auto mirror = MakeMirror();
  const auto report = Run(mirror);
  ASSERT_OK(report);
  ASSERT_EQ(report->incomplete.size(), 2U);
  EXPECT_EQ(report->incomplete[0].name, kTestLabel);
  EXPECT_EQ(report->incomplete[0].reason,
            "the mirror does not have WAL segment \"000000010000000000000004\", which it needs");
  EXPECT_EQ(report->incomplete[1].name, kDiff);
  EXPECT_EQ(report->incomplete[1].reason,
            "the mirror does not have full backup \"20261122-020000F\", which it builds on");
  EXPECT_FALSE(report->is_whole());
  ExpectUsable(*mirror);
}

TEST_P(Mirror, NeverReplacesWhatIsThere) {
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  const std::string pack = PackName(kTestLabel, 1);
  const std::string segment =
      WalObjectName(kTestSystem, SegmentName(1, 4, kTestSegmentSize)).value();
  for (const std::string& name : {pack, segment, BackupDocumentName(kTestLabel)}) {
    ASSERT_OK(mirror->Delete(name));
  }
  for (const std::string& name : {pack, segment}) {
    ASSERT_OK(PutSmall(*mirror, name, AsBytes("other"), PutMode::kCreate));
  }
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_EQ(report->conflict_count, 2U);
  ASSERT_EQ(report->conflicts.size(), 2U);
  EXPECT_EQ(report->conflicts[0].name, segment);
  EXPECT_EQ(report->conflicts[1].name, pack);
  EXPECT_FALSE(report->is_whole());
  const Objects objects = ReadAll(*mirror);
  EXPECT_EQ(objects.at(pack), "other");
  EXPECT_EQ(objects.at(segment), "other");
  EXPECT_FALSE(objects.contains(BackupDocumentName(kTestLabel)));

  // The pack alone, and the WAL alone, keep the backup away, too.
  for (const std::string& name : {pack, segment}) {
    ASSERT_OK(mirror->Delete(name));
    ASSERT_OK(PutSmall(*mirror, name, AsBytes(First().at(name)), PutMode::kCreate));
    const auto other = Run(mirror);
    ASSERT_OK(other);
    EXPECT_EQ(other->incomplete.size(), name == pack ? 1U : 0U);
  }
  EXPECT_EQ(ReadAll(*mirror), First());
}

TEST_P(Mirror, ComparesWhatAnotherPassHasStoredMeanwhile) {
  for (const bool is_same : {true, false}) {
    const auto mirror = MakeMirror(is_same ? "same" : "other");
    const std::string pack = PackName(kTestLabel, 1);
    std::atomic<bool> is_stored = false;
    mirror->SetHook([&](FaultStore::Operation operation, std::string_view name) {
      if (operation == FaultStore::Operation::kPut && name == pack && !is_stored.exchange(true)) {
        std::string content = First().at(pack);
        content.back() ^= is_same ? 0 : 1;
        EXPECT_OK(PutSmall(*mirror, pack, AsBytes(content), PutMode::kCreate));
      }
      return Ok();
    });
    const auto report = Run(mirror);
    ASSERT_OK(report);
    EXPECT_EQ(report->conflict_count, is_same ? 0U : 1U);
    EXPECT_EQ(ReadAll(*mirror).contains(BackupDocumentName(kTestLabel)), is_same);
  }
}

TEST_P(Mirror, WritesNothingIntoAnotherRepository) {
  TestRepository other(GetParam());
  if (GetParam() == Cipher::kNone) {
    // Only the identity tells them apart.
    const Identity identity = TestIdentity(kTestSystem + 1);
    ASSERT_OK(other.store().Delete(IdentityName(kTestSystem)));
    ASSERT_OK(Repository::Initialise(other.MakeStore(), other.options(), other.environment(),
                                     identity, false));
  } else {
    const auto fresh = other.Scratch("fresh");
    std::shared_ptr<Store> store = MakeLocalStore(fresh, other.environment()).value();
    ASSERT_OK(
        Repository::Initialise(store, other.options(), other.environment(), TestIdentity(), false));
  }
  const std::shared_ptr<Store> place =
      GetParam() == Cipher::kNone
          ? std::shared_ptr<Store>(other.MakeStore())
          : MakeLocalStore(other.Scratch("fresh"), other.environment()).value();
  const Objects before = ReadAll(*place);
  const auto report = Run(place);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kConflict) << report.error().message;
  EXPECT_NE(report.error().message.find("belongs to another repository"), std::string::npos);
  EXPECT_EQ(ReadAll(*place), before);

  // A place that has lost its identity is not taken for a new one.
  const auto lost = MakeMirror("lost");
  ASSERT_OK(PutSmall(*lost, "wal/x", AsBytes("x"), PutMode::kCreate));
  EXPECT_FALSE(Run(lost));
  EXPECT_EQ(ReadAll(*lost).size(), 1U);
}

TEST_P(Mirror, AcceptsAnIdentityThatWasMadeAnew) {
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  RepositoryOptions options = repository_.options();
  options.node = "another node, with a longer name";
  const std::string name = IdentityName(kTestSystem);
  Json document = ParseJsonObject(First().at(name)).value();
  document.erase("mac");
  document.erase("mac_algorithm");
  document["node"] = options.node;
  const std::string text =
      SignDocument(std::move(document), repository_->seal_policy(), name).value();
  WriteText(repository_.PathOf(name), text);
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_TRUE(report->is_whole());
}

// Between two passes, all passphrases that the mirror knows may be removed.
TEST_P(Mirror, TakesNewPassphrasesThoughItsOwnOpenNothingAnyMore) {
  if (GetParam() == Cipher::kNone) {
    return;
  }
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  const std::string old = repository_->key_wraps().front().name;
  ASSERT_OK(AddPassphrase(*repository_, "another long passphrase", "next"));
  RepositoryOptions options = repository_->options();
  options.passphrase = SecretString("another long passphrase");
  const auto shared = std::shared_ptr<Store>(&repository_.store(), [](Store*) {});
  auto opened = Repository::Open(shared, options, repository_.environment());
  ASSERT_OK(opened);
  ASSERT_OK(RemovePassphrase(**opened, old));
  MirrorProgress progress;
  ASSERT_OK(RunMirror(**opened, mirror, {.dry_run = true}, progress));
  const auto report = RunMirror(**opened, mirror, {}, progress);
  ASSERT_OK(report);
  EXPECT_EQ(report->objects_copied, 1U);
  EXPECT_OK(Repository::Open(mirror, options, repository_.environment()));
}

TEST_P(Mirror, RefusesTheRepositoryItselfByAnotherName) {
  const std::string link = repository_.Scratch("link");
  std::filesystem::create_directory_symlink(repository_.store().location(), link);
  const std::shared_ptr<Store> same = MakeLocalStore(link, repository_.environment()).value();
  for (int passes = 0; passes < 2; ++passes) {
    const auto report = Run(same);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, ErrorCode::kConflict);
    EXPECT_NE(report.error().message.find("is the repository itself"), std::string::npos);
    // As after a pass that might not delete it.
    ASSERT_OK(PutSmall(*same, "probe/mirror", AsBytes("old"), PutMode::kReplace));
  }
  // The repository was once a mirror, or was copied with all that is in it.
  const auto mirror = MakeMirror();
  ASSERT_OK(PutSmall(*mirror, "probe/mirror", AsBytes("old"), PutMode::kReplace));
  ASSERT_OK(Run(mirror));
  ASSERT_OK(PutSmall(*mirror, "probe/mirror", AsBytes("new"), PutMode::kReplace));
  ASSERT_OK(Run(mirror));
  int probes = 0;
  ASSERT_OK(mirror->List("probe/", "", [&](const ObjectInfo&) {
    ++probes;
    return Ok();
  }));
  EXPECT_EQ(probes, 1);
}

TEST_P(Mirror, StoresNothingThatIsDamaged) {
  // Without a cipher, only the manifest tells what is in a pack.
  std::vector<std::string> names{
      ManifestName(kTestLabel),
      WalObjectName(kTestSystem, SegmentName(1, 4, kTestSegmentSize)).value()};
  if (GetParam() != Cipher::kNone) {
    names.push_back(PackName(kTestLabel, 1));
  }
  for (const std::string& name : names) {
    const auto mirror = MakeMirror(fmt::format("mirror-{}", name.size()));
    const std::string good = First().at(name);
    std::string bad = good;
    bad[bad.size() / 2] ^= 1;
    WriteText(repository_.PathOf(name), bad);
    const auto report = Run(mirror);
    ASSERT_OK(report);
    EXPECT_EQ(report->unreadable_count, 1U) << name;
    EXPECT_EQ(report->incomplete.size(), 1U) << name;
    EXPECT_FALSE(ReadAll(*mirror).contains(name));
    EXPECT_FALSE(ReadAll(*mirror).contains(BackupDocumentName(kTestLabel)));
    WriteText(repository_.PathOf(name), good);
    // It can be mended.
    ASSERT_OK(Run(mirror));
    EXPECT_EQ(ReadAll(*mirror), First());
  }
}

TEST_P(Mirror, OffersNoBackupWithAManifestThatItDoesNotName) {
  DiffWithoutPacks();
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  ASSERT_OK(mirror->Delete(BackupDocumentName(kDiff)));
  ASSERT_OK(mirror->Delete(ManifestName(kDiff)));
  // It is sealed well, and has the same size.
  ASSERT_OK(PutSmall(*mirror, ManifestName(kDiff), Sealed(ManifestName(kDiff)), PutMode::kCreate));
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_FALSE(report->is_whole());
  EXPECT_FALSE(ReadAll(*mirror).contains(BackupDocumentName(kDiff)));
}

TEST_P(Mirror, ComparesTheContentOfSmallObjectsOfTheSameSize) {
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  std::string text = First().at(BackupDocumentName(kTestLabel));
  text.back() ^= 1;
  ASSERT_OK(PutSmall(*mirror, BackupDocumentName(kTestLabel), AsBytes(text), PutMode::kReplace));
  const auto report = Run(mirror);
  ASSERT_OK(report);
  ASSERT_EQ(report->conflicts.size(), 1U);
  EXPECT_EQ(report->conflicts[0].name, BackupDocumentName(kTestLabel));
  EXPECT_EQ(ReadAll(*mirror).at(BackupDocumentName(kTestLabel)), text);
}

TEST_P(Mirror, IsNotStoppedByForeignObjects) {
  const Objects expected = First();
  for (const char* name : {"wal/notes.txt", "wal/7/8/9", "pin/x", "gap/x", "key/a/b",
                           "backup/20261122-020000F/notes"}) {
    ASSERT_OK(PutSmall(repository_.store(), name, AsBytes("x"), PutMode::kCreate));
  }
  // A pack more than backup.json names.
  const std::string more = PackName(kTestLabel, 9);
  WriteText(repository_.PathOf(more), "x");
  const auto mirror = MakeMirror();
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_EQ(report->objects_foreign, 6U);
  EXPECT_EQ(report->unreadable_count, 1U) << "the pack is none";
  EXPECT_EQ(ReadAll(*mirror), expected);
}

TEST_P(Mirror, GoesOnAfterAnObjectThatTheMirrorDoesNotTake) {
  const auto mirror = MakeMirror();
  const std::string segment =
      WalObjectName(kTestSystem, SegmentName(1, 4, kTestSegmentSize)).value();
  mirror->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kPut && name == segment
               ? Status(MakeError(ErrorCode::kInvalidArgument, "the object is too large"))
               : Ok();
  });
  const auto report = Run(mirror);
  ASSERT_OK(report);
  ASSERT_EQ(report->unreadable.size(), 1U);
  EXPECT_EQ(report->unreadable[0].name, segment);
  EXPECT_EQ(report->unreadable[0].reason, "the mirror does not take it: the object is too large");
  EXPECT_TRUE(ReadAll(*mirror).contains(PackName(kTestLabel, 1)));
  EXPECT_EQ(report->incomplete.size(), 1U);
}

TEST_P(Mirror, CopiesAHistoryAfterTheWalThatItContinues) {
  repository_.PushSegment(2, 9);
  repository_.PushSegment(3, 9);
  const std::string history = WalObjectName(kTestSystem, "00000002.history").value();
  ASSERT_OK(repository_.PushWal("00000002.history", AsBytes("1\t0/5000000\tno reason\n")));
  const std::string last = WalObjectName(kTestSystem, SegmentName(2, 9, kTestSegmentSize)).value();
  const auto mirror = MakeMirror();
  std::atomic<bool> has_history = false;
  mirror->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with(kWalPrefix)) {
      EXPECT_TRUE(name == history || !has_history) << name;
      has_history = has_history || name == history;
    }
    return Ok();
  });
  ASSERT_OK(Run(mirror));
  mirror->SetHook({});
  EXPECT_TRUE(has_history);
  EXPECT_TRUE(ReadAll(*mirror).contains(last));
}

TEST_P(Mirror, CountsWhatABackupHasFromWhenItWasWhole) {
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  ASSERT_OK(mirror->Delete(PackName(kTestLabel, 1)));
  const auto as_new = Run(mirror, {.dry_run = true});
  ASSERT_OK(as_new);
  const std::string pack = repository_.PathOf(PackName(kTestLabel, 1));
  std::filesystem::last_write_time(pack,
                                   std::filesystem::last_write_time(pack) - std::chrono::hours(5));
  const auto report = Run(mirror, {.dry_run = true});
  ASSERT_OK(report);
  EXPECT_EQ(report->objects_behind, 1U);
  EXPECT_LT(report->lag() - as_new->lag(), std::chrono::hours(1));
}

TEST_P(Mirror, FailsWhenTheRepositoryGoesAwayUnderWay) {
  std::atomic<bool> is_gone = false;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kGet && name == PackName(kTestLabel, 1) &&
        !is_gone.exchange(true)) {
      const std::string place = repository_.store().location();
      std::filesystem::rename(place, place + ".moved");
      std::filesystem::create_directory(place);
    }
    return Ok();
  });
  const auto report = Run(MakeMirror());
  ASSERT_TRUE(is_gone);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kFailedPrecondition) << report.error().message;
}

TEST_P(Mirror, IsNotWholeWhenTheRepositoryHasLostItsBackups) {
  const auto mirror = MakeMirror();
  ASSERT_OK(Run(mirror));
  for (const char* kind : {"backup", "wal"}) {
    std::filesystem::remove_all(repository_.PathOf(kind));
  }
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_TRUE(report->has_lost_backups);
  EXPECT_FALSE(report->is_whole());
  EXPECT_EQ(report->objects_behind, 0U);
  EXPECT_GT(report->objects_only_there, 0U);
  EXPECT_TRUE(ReadAll(*mirror).contains(BackupDocumentName(kTestLabel)));
}

TEST_P(Mirror, ReportsWhatTheRepositoryDoesNotGiveOut) {
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kGet && name == PackName(kTestLabel, 1)
               ? Status(MakeError(ErrorCode::kPermissionDenied, "it is archived"))
               : Ok();
  });
  WriteText(repository_.PathOf(WalObjectName(kTestSystem, "000000010000000000000009").value()), "");
  const auto mirror = MakeMirror();
  const auto report = Run(mirror);
  ASSERT_OK(report);
  EXPECT_EQ(report->unreadable_count, 2U);
  ASSERT_EQ(report->unreadable.size(), 2U);
  EXPECT_EQ(report->unreadable[0].reason, "it has 0 bytes");
  EXPECT_EQ(report->unreadable[1].reason, "it is archived");
  EXPECT_EQ(report->incomplete.size(), 1U);
  ExpectUsable(*mirror);
}

// Stores a pack with a wrong byte.
class DamagingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  Status Put(std::string_view name, Body& body, PutMode mode) override {
    if (!name.starts_with("backup/")) {
      return inner().Put(name, body, mode);
    }
    Bytes content(body.size());
    RETURN_IF_ERROR(body.Rewind());
    for (std::size_t at = 0; at < content.size();) {
      ASSIGN_OR_RETURN(const std::size_t read, body.Read(MutableByteView(content).subspan(at)));
      at += read;
    }
    content.back() ^= 1;
    return PutSmall(inner(), name, content, mode);
  }
};

TEST_P(Mirror, RemovesAnObjectThatComesBackWithOtherBytes) {
  const auto inner = MakeMirror();
  const auto report = Run(std::make_shared<DamagingStore>(inner), {.reads_back = true});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kDataCorrupted);
  EXPECT_NE(report.error().message.find("gave other bytes back"), std::string::npos);
  for (const auto& [name, content] : ReadAll(*inner)) {
    EXPECT_FALSE(name.starts_with("backup/")) << name;
  }
  ASSERT_OK(Run(inner));
  EXPECT_EQ(ReadAll(*inner), First());
}

TEST_P(Mirror, KeepsToTheRate) {
  const SteadyTime begin = repository_.clock().Steady();
  const auto report = Run(MakeMirror(), {.rate = 100});
  ASSERT_OK(report);
  const auto passed = std::chrono::duration<double>(repository_.clock().Steady() - begin);
  // The last objects pass on credit.
  EXPECT_GT(passed.count(), static_cast<double>(report->bytes_copied) / 100 / 3);
}

INSTANTIATE_TEST_SUITE_P(Ciphers, Mirror, testing::Values(Cipher::kNone, Cipher::kAes256Gcm),
                         CipherTestName);

}  // namespace
}  // namespace veza
