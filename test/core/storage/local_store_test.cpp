#include "core/storage/local_store.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <future>
#include <set>

#include "core/codec/codec_fixtures.h"
#include "core/storage/local_directories.h"
#include "core/storage/local_tree.h"
#include "core/storage/store_conformance.h"
#include "core/storage/temporary_directory.h"
#include "core/storage/unique_fd.h"

namespace veza {
namespace {

class LocalBackend {
 public:
  static constexpr int kPageSize = 500;
  std::string Unavailable() { return {}; }
  std::unique_ptr<Store> Make(Environment environment) {
    return MakeLocalStore(directory_.path() + "/new/root", std::move(environment)).value();
  }

 private:
  TemporaryDirectory directory_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Local, StoreConformance, LocalBackend);

class LocalStoreTest : public testing::Test {
 protected:
  LocalStoreTest() { store_ = MakeLocalStore(directory_.path() + "/root", {}).value(); }

  std::string Path(std::string_view name) const {
    return fmt::format("{}/root/{}", directory_.path(), name);
  }
  bool Exists(std::string_view name) const { return access(Path(name).c_str(), F_OK) == 0; }
  Status Create(std::string_view name) {
    return PutSmall(*store_, name, AsBytes("x"), PutMode::kCreate);
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    EXPECT_TRUE(store_->List("", "", [&](const ObjectInfo& info) {
      names.push_back(info.name);
      return Ok();
    }));
    return names;
  }
  void WriteFile(std::string_view name) { std::ofstream(Path(name)) << "y"; }

  TemporaryDirectory directory_;
  std::unique_ptr<Store> store_;
};

// The account that owns the repository could have put links into it.
TEST_F(LocalStoreTest, RootWritesWithTheRightsOfTheOwner) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root has rights to lose";
  }
  constexpr uid_t kNobody = 65534;
  const std::string secret = directory_.path() + "/secret";
  ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir(secret.c_str(), 0700), 0);
  std::ofstream(secret + "/old") << "y";
  ASSERT_EQ(mkdir((directory_.path() + "/root").c_str(), 0700), 0);
  ASSERT_EQ(chown((directory_.path() + "/root").c_str(), kNobody, kNobody), 0);
  ASSERT_EQ(symlink(secret.c_str(), Path("key").c_str()), 0);

  EXPECT_ERROR(Create("key/x"), ErrorCode::kFailedPrecondition);
  EXPECT_NE(access((secret + "/x").c_str(), F_OK), 0);
  EXPECT_FALSE(PutSmall(*store_, "key/old", AsBytes("x"), PutMode::kReplace));
  EXPECT_FALSE(store_->Delete("key/old"));
  EXPECT_EQ(std::ifstream(secret + "/old").get(), 'y');

  ASSERT_TRUE(Create("wal/1"));
  for (const char* const name : {"wal", "wal/1"}) {
    struct stat info {};
    ASSERT_EQ(stat(Path(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, kNobody) << name;
    EXPECT_EQ(info.st_gid, kNobody) << name;
  }
  std::ofstream(secret + "/ours") << "z";
  EXPECT_EQ(access((secret + "/ours").c_str(), F_OK), 0) << "root's rights are back";
  EXPECT_TRUE(store_->Delete("wal/1"));

  // The root of the store may be a link that belongs to that account, too.
  const std::string cluster = Path("cluster");
  ASSERT_EQ(symlink(secret.c_str(), cluster.c_str()), 0);
  ASSERT_EQ(lchown(cluster.c_str(), kNobody, kNobody), 0);
  const std::unique_ptr<Store> linked = MakeLocalStore(cluster, {}).value();
  EXPECT_FALSE(PutSmall(*linked, "x", AsBytes("x"), PutMode::kCreate));
  EXPECT_NE(access((secret + "/x").c_str(), F_OK), 0);

  // A directory that was given away keeps root's group, but the account is not a member of that
  // group.
  ASSERT_EQ(chmod(secret.c_str(), 0770), 0);
  ASSERT_EQ(chown(Path("").c_str(), kNobody, 0), 0);
  EXPECT_FALSE(PutSmall(*linked, "x", AsBytes("x"), PutMode::kCreate));
  EXPECT_NE(access((secret + "/x").c_str(), F_OK), 0);
}

// Regardless of the umask, the setgid bit and the default ACL of the directory above.
TEST_F(LocalStoreTest, NobodyElseMayReadWhatIsStored) {
  ASSERT_EQ(chmod(directory_.path().c_str(), 02777), 0);
  // Version 2; tag, permissions and id of each entry: owner, user 12345, group, mask, others.
  constexpr std::uint16_t kAll = 7;
  std::string acl("\2\0\0\0", 4);
  for (const auto& [tag, id] : {std::pair{0x01, 0xffffffffU},
                                {0x02, 12345U},
                                {0x04, 0xffffffffU},
                                {0x10, 0xffffffffU},
                                {0x20, 0xffffffffU}}) {
    const auto append = [&](const auto& value) {
      acl.append(reinterpret_cast<const char*>(&value), sizeof(value));
    };
    append(static_cast<std::uint16_t>(tag));
    append(kAll);
    append(id);
  }
  const bool has_acl = setxattr(directory_.path().c_str(), "system.posix_acl_default", acl.data(),
                                acl.size(), 0) == 0;
  RecordProperty("has_acl", has_acl ? "yes" : "no");
  const mode_t before = umask(0);
  const Status created = Create("dir/a");
  umask(before);
  ASSERT_OK(created);
  for (const char* const name : {"", "dir", "dir/a"}) {
    struct stat info {};
    ASSERT_EQ(stat(Path(name).c_str(), &info), 0);
    // With an ACL, the group's mode bits are the mask.
    EXPECT_EQ(info.st_mode & 0077U, 0U) << name;
  }
}

TEST_F(LocalStoreTest, TakesAbsoluteDirectoriesOnly) {
  for (const char* root : {"", "relative", "./x", "/", "//"}) {
    EXPECT_EQ(MakeLocalStore(root, {}).error().code, ErrorCode::kInvalidArgument) << root;
  }
  EXPECT_EQ(MakeLocalStore("/x/y//", {}).value()->location(), "/x/y");
}

TEST_F(LocalStoreTest, MakesItsRootWithTheFirstObjectAndForTheOwnerOnly) {
  EXPECT_THAT(Names(), testing::IsEmpty());
  EXPECT_FALSE(Exists(""));
  ASSERT_TRUE(Create("dir/a"));
  struct stat info {};
  ASSERT_EQ(stat(Path("").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  ASSERT_EQ(stat(Path("dir").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  ASSERT_EQ(stat(Path("dir/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  EXPECT_EQ(info.st_nlink, 1U);
}

TEST_F(LocalStoreTest, ForeignFilesAreNotObjects) {
  ASSERT_TRUE(Create("dir/a"));
  WriteFile(".veza-tmp-0123456789abcdef");
  WriteFile("dir/.veza-tmp-0123456789abcdef");
  for (const char* const name : {"dir/with space", "dir/new\nline", "dir/\xff\xfe"}) {
    WriteFile(name);
  }
  ASSERT_EQ(mkdir(Path("lost+found").c_str(), 0700), 0);
  WriteFile("lost+found/b");
  ASSERT_EQ(symlink(".", Path("dir/link here").c_str()), 0);
  EXPECT_THAT(Names(), testing::ElementsAre("dir/a"));
  EXPECT_THAT(store_->ListDirectories("").value(), testing::ElementsAre("dir"));
  ASSERT_OK(store_->Delete("dir/a"));
  EXPECT_TRUE(Exists("dir/with space"));
}

// Something else is in the place of an object. The error names it. It is never followed, and
// reading it never blocks.
TEST_F(LocalStoreTest, OnlyAFileIsAnObject) {
  ASSERT_OK(Create("dir/a"));
  WriteFile("elsewhere");
  ASSERT_EQ(mkdir(Path("beside").c_str(), 0700), 0);
  const auto make_socket = [](const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    return bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  };
  const std::string path = Path("dir/b");
  const std::vector<std::pair<const char*, std::function<int()>>> kinds = {
      {"a symbolic link", [&] { return symlink("../elsewhere", path.c_str()); }},
      {"a symbolic link", [&] { return symlink("../beside", path.c_str()); }},
      {"a symbolic link", [&] { return symlink(".", path.c_str()); }},
      {"a symbolic link", [&] { return symlink("nothing", path.c_str()); }},
      {"a FIFO", [&] { return mkfifo(path.c_str(), 0600); }},
      {"a socket", [&] { return make_socket(path); }}};
  for (const auto& [words, make] : kinds) {
    ASSERT_EQ(make(), 0) << words;
    const auto expect_damage = [&, &words = words](const Status& status) {
      EXPECT_ERROR(status, ErrorCode::kDataCorrupted);
      EXPECT_THAT(status.error().message, testing::HasSubstr(path)) << words;
      EXPECT_THAT(status.error().message, testing::HasSubstr(words));
      EXPECT_NE(status.error().hint, "");
    };
    const auto status_of = [](const auto& result) {
      return result ? Ok() : Status(result.error());
    };
    expect_damage(status_of(store_->Head("dir/b")));
    expect_damage(status_of(GetSmall(*store_, "dir/b", 100)));
    expect_damage(Create("dir/b"));
    expect_damage(store_->List("", "", [](const ObjectInfo&) { return Ok(); }));
    expect_damage(store_->List("dir/", "dir/a", [](const ObjectInfo&) { return Ok(); }));
    expect_damage(status_of(store_->ListDirectories("dir/")));
    EXPECT_OK(store_->List("dir/a", "", [](const ObjectInfo&) { return Ok(); }));
    EXPECT_OK(store_->Delete("dir/b"));
    EXPECT_NE(access(path.c_str(), F_OK), 0) << words;
    ASSERT_EQ(make(), 0) << words;
    EXPECT_OK(PutSmall(*store_, "dir/b", AsBytes("x"), PutMode::kReplace));
    EXPECT_THAT(Names(), testing::ElementsAre("dir/a", "dir/b", "elsewhere"));
    EXPECT_OK(store_->Delete("dir/b"));
  }
  EXPECT_EQ(std::ifstream(Path("elsewhere")).get(), 'y');
}

TEST_F(LocalStoreTest, WritingNamesADirectoryInPlaceOfAnObject) {
  ASSERT_OK(Create("dir/a"));
  ASSERT_EQ(mkdir(Path("dir/b").c_str(), 0700), 0);
  EXPECT_ERROR(store_->Head("dir/b"), ErrorCode::kNotFound);
  EXPECT_ERROR(GetSmall(*store_, "dir/b", 100), ErrorCode::kNotFound);
  for (const PutMode mode : {PutMode::kCreate, PutMode::kReplace}) {
    const Status put = PutSmall(*store_, "dir/b", AsBytes("x"), mode);
    EXPECT_ERROR(put, ErrorCode::kDataCorrupted);
    EXPECT_THAT(put.error().message, testing::HasSubstr(Path("dir/b")));
  }
  EXPECT_OK(store_->Delete("dir/b"));
  EXPECT_TRUE(Exists("dir/b"));
  EXPECT_THAT(Names(), testing::ElementsAre("dir/a"));

  const Status below = Create("dir/a/x");
  EXPECT_ERROR(below, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(below.error().message,
              testing::HasSubstr(Path("dir/a") + "\" in the repository is a"));
  EXPECT_OK(store_->Delete("dir/a/x"));
}

// A link could lead anywhere, or to a file system that is not mounted, where everything seems to be
// missing.
TEST_F(LocalStoreTest, ALinkInPlaceOfADirectoryIsRefused) {
  ASSERT_OK(Create("dir/a"));
  ASSERT_OK(Create("elsewhere/sub/a"));
  WriteFile("elsewhere/sub/.veza-tmp-1");
  for (const char* const to : {"elsewhere", ".", "nothing"}) {
    ASSERT_EQ(symlink(to, Path("wal").c_str()), 0);
    const auto expect_refusal = [&](const auto& result) {
      EXPECT_ERROR(result, ErrorCode::kFailedPrecondition);
      EXPECT_THAT(result.error().message,
                  testing::HasSubstr(Path("wal") + "\" in the repository is a symbolic link"));
      EXPECT_THAT(result.error().hint, testing::HasSubstr("mount"));
    };
    for (const char* const name : {"wal/a", "wal/sub/a"}) {
      expect_refusal(store_->Head(name));
      expect_refusal(GetSmall(*store_, name, 100));
      expect_refusal(Create(name));
      expect_refusal(PutSmall(*store_, name, AsBytes("x"), PutMode::kReplace));
      expect_refusal(store_->Delete(name));
    }
    expect_refusal(store_->RemoveFragment("wal/sub/.veza-tmp-1"));
    expect_refusal(store_->ListDirectories("wal/"));
    expect_refusal(store_->List("wal/sub/", "", [](const ObjectInfo&) { return Ok(); }));
    EXPECT_ERROR(store_->List("", "", [](const ObjectInfo&) { return Ok(); }),
                 ErrorCode::kDataCorrupted);
    EXPECT_ERROR(store_->ListDirectories(""), ErrorCode::kDataCorrupted);
    std::vector<std::string> fragments;
    EXPECT_OK(store_->ListFragments([&](const ObjectInfo& fragment) {
      fragments.push_back(fragment.name);
      return Ok();
    }));
    EXPECT_THAT(fragments, testing::ElementsAre("elsewhere/sub/.veza-tmp-1"));
    ASSERT_EQ(unlink(Path("wal").c_str()), 0);
  }
  EXPECT_TRUE(Exists("elsewhere/sub/a"));
}

TEST_F(LocalStoreTest, TheRootItselfMayBeALink) {
  ASSERT_OK(Create("dir/a"));
  const std::string link = directory_.path() + "/link";
  ASSERT_EQ(symlink("root", link.c_str()), 0);
  const std::unique_ptr<Store> linked = MakeLocalStore(link, {}).value();
  EXPECT_OK(PutSmall(*linked, "dir/b", AsBytes("x"), PutMode::kCreate));
  EXPECT_OK(GetSmall(*linked, "dir/a", 100));
  EXPECT_OK(linked->Delete("dir/a"));
  EXPECT_THAT(linked->ListDirectories("").value(), testing::ElementsAre("dir"));
  EXPECT_THAT(Names(), testing::ElementsAre("dir/b"));
}

class WrongClock final : public Clock {
 public:
  explicit WrongClock(std::chrono::hours by) : by_(by) {}
  TimePoint Now() const override { return SystemClock().Now() + by_; }
  SteadyTime Steady() const override { return SystemClock().Steady(); }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    return SystemClock().Sleep(duration, cancellation);
  }

 private:
  std::chrono::hours by_;
};

// The end of a lock or lease is judged by the times that the store gives to objects. If the nodes'
// clocks counted, a node whose clock is ahead would take a lock from its living holder.
TEST_F(LocalStoreTest, TimesComeFromTheFileSystemAndNotFromTheNodes) {
  for (const int hours : {-30, 30}) {
    const WrongClock clock{std::chrono::hours(hours)};
    Environment environment;
    environment.clock = &clock;
    const std::unique_ptr<Store> node =
        MakeLocalStore(directory_.path() + "/root", environment).value();
    ASSERT_OK(PutSmall(*node, "lock/1", AsBytes("x"), PutMode::kReplace));
    for (Store* const reader : {node.get(), store_.get()}) {
      const TimePoint modified = reader->Head("lock/1").value().modified;
      EXPECT_LT(std::chrono::abs(modified - SystemClock().Now()), std::chrono::minutes(5));
      EXPECT_LT(std::chrono::abs(modified - reader->Now().value()), std::chrono::minutes(5));
    }
    // The temporary file of a living writer does not count as old either.
    WriteFile("lock/.veza-tmp-young");
    ASSERT_OK(node->Delete("lock/1"));
    EXPECT_TRUE(Exists("lock/.veza-tmp-young"));
    EXPECT_THAT(Names(), testing::IsEmpty()) << "telling the time leaves nothing behind";
  }
}

// A crashed writer has left an old temporary file. A living writer owns a young one.
TEST_F(LocalStoreTest, StaleTemporaryFilesAreRemovedWithTheLastObject) {
  ASSERT_TRUE(Create("dir/a"));
  ASSERT_TRUE(Create("dir/b"));
  WriteFile("dir/.veza-tmp-old");
  const timespec two_days_ago[2] = {{time(nullptr) - 2 * 86'400, 0},
                                    {time(nullptr) - 2 * 86'400, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, Path("dir/.veza-tmp-old").c_str(), two_days_ago, 0), 0);
  ASSERT_TRUE(store_->Delete("dir/a"));
  ASSERT_TRUE(store_->Delete("dir/b"));
  EXPECT_FALSE(Exists("dir"));

  ASSERT_TRUE(Create("dir/a"));
  WriteFile("dir/.veza-tmp-young");
  ASSERT_TRUE(store_->Delete("dir/a"));
  EXPECT_TRUE(Exists("dir/.veza-tmp-young"));
  EXPECT_THAT(store_->ListDirectories("").value(), testing::IsEmpty());
}

TEST_F(LocalStoreTest, FragmentsAreListedAndRemoved) {
  const auto fragments = [&] {
    std::set<std::string> names;
    EXPECT_OK(store_->ListFragments([&](const ObjectInfo& fragment) {
      names.insert(fragment.name);
      EXPECT_GT(fragment.modified, SystemClock().Now() - std::chrono::hours(1));
      return Ok();
    }));
    return names;
  };
  EXPECT_THAT(fragments(), testing::IsEmpty()) << "of a root that does not exist";
  ASSERT_TRUE(Create("dir/a"));
  WriteFile(".veza-tmp-1");
  ASSERT_EQ(mkdir(Path("x").c_str(), 0700), 0);
  ASSERT_EQ(mkdir(Path("x/y").c_str(), 0700), 0);
  WriteFile("x/y/.veza-tmp-2");
  WriteFile("dir/other");
  ASSERT_EQ(mkdir(Path("dir/.veza-tmp-3").c_str(), 0700), 0);
  EXPECT_THAT(fragments(), testing::ElementsAre(".veza-tmp-1", "x/y/.veza-tmp-2"));
  EXPECT_OK(store_->RemoveFragment("x/y/.veza-tmp-2"));
  EXPECT_FALSE(Exists("x")) << "the directories that it was alone in";
  EXPECT_OK(store_->RemoveFragment(".veza-tmp-1"));
  EXPECT_OK(store_->RemoveFragment(".veza-tmp-1"));  // it is gone already
  for (const char* name : {"dir/a", "../.veza-tmp-1", "dir/.veza-tmp-3/a", ".veza-tmp-3/../x"}) {
    EXPECT_ERROR(store_->RemoveFragment(name), ErrorCode::kInvalidArgument);
  }
  EXPECT_TRUE(Exists("dir/a"));
}

TEST_F(LocalStoreTest, FailedWritesLeaveNothingBehind) {
  BrokenBody body(10, 5, true);
  EXPECT_FALSE(store_->Put("dir/a", body, PutMode::kCreate));
  EXPECT_FALSE(store_->Put("dir/a", body, PutMode::kReplace));
  ASSERT_TRUE(Create("dir/b"));
  EXPECT_FALSE(Create("dir/b"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(Path("dir")), {}), 1);
}

// Nothing would remove them later: a listing does not show them.
TEST_F(LocalStoreTest, FailedWritesLeaveNoEmptyDirectories) {
  BrokenBody body(10, 5, true);
  const auto fail = [&](const char* name) {
    EXPECT_FALSE(store_->Put(name, body, PutMode::kCreate)) << name;
  };
  fail("backup/label/pack/1");
  EXPECT_FALSE(Exists("backup"));
  EXPECT_TRUE(Exists("")) << "the root stays";
  ASSERT_OK(Create("backup/other/manifest"));
  fail("backup/label/pack/1");
  EXPECT_FALSE(Exists("backup/label"));
  EXPECT_TRUE(Exists("backup/other/manifest"));
  // Another process writes there.
  std::filesystem::create_directories(Path("backup/label/pack"));
  WriteFile("backup/label/.veza-tmp-0123");
  fail("backup/label/pack/1");
  EXPECT_FALSE(Exists("backup/label/pack"));
  EXPECT_TRUE(Exists("backup/label/.veza-tmp-0123"));
}

// The file system may be full when only those above it have been made.
TEST_F(LocalStoreTest, NoParentIsLeftOfADirectoryThatCouldNotBeMade) {
  ASSERT_OK(Create("a/b"));
  std::filesystem::create_directories(Path("new/above"));
  LocalDirectories(Path("")).RemoveEmpty("new/above/not/made");
  EXPECT_FALSE(Exists("new"));
  LocalDirectories(Path("")).RemoveEmpty("a/not/made");
  EXPECT_TRUE(Exists("a/b"));
}

TEST_F(LocalStoreTest, AFifoInPlaceOfAnObjectDoesNotBlock) {
  ASSERT_OK(Create("wal/b"));
  ASSERT_EQ(mkfifo(Path("wal/a").c_str(), 0600), 0);
  auto read = std::async(std::launch::async, [&] { return GetSmall(*store_, "wal/a", 100); });
  const bool is_waited_for = read.wait_for(std::chrono::seconds(20)) == std::future_status::timeout;
  EXPECT_FALSE(is_waited_for);
  if (is_waited_for) {
    close(open(Path("wal/a").c_str(), O_WRONLY | O_CLOEXEC));  // ends the wait, if there is one
  }
  EXPECT_ERROR(read.get(), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(store_->Head("wal/a"), ErrorCode::kDataCorrupted);
}

// Some threads write to a directory, others delete from it or fail to write. The directory vanishes
// all the time while it is written to.
TEST_F(LocalStoreTest, ADirectoryMayVanishUnderAWriter) {
  std::vector<std::thread> threads;
  std::atomic<int> failures = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        const std::string name = fmt::format("x/y/z/{}", i);
        BrokenBody body(10, 5, true);
        failures += store_->Put(name, body, PutMode::kCreate) ? 1 : 0;
        failures += Create(name) && store_->Delete(name) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failures, 0);
  EXPECT_FALSE(Exists("x"));
}

// The file system is no longer mounted. Files written below the bare mount point would be hidden
// when it is mounted again.
TEST_F(LocalStoreTest, ADirectoryThatHasDisappearedIsNotMadeAgain) {
  ASSERT_TRUE(Create("wal/1"));
  const std::unique_ptr<Store> reader = MakeLocalStore(directory_.path() + "/root", {}).value();
  ASSERT_TRUE(GetSmall(*reader, "wal/1", 1U << 20));
  const std::string elsewhere = directory_.path() + "/elsewhere";
  std::filesystem::rename(Path(""), elsewhere);
  for (Store* const store : {store_.get(), reader.get()}) {
    const Status written = PutSmall(*store, "wal/2", AsBytes("x"), PutMode::kCreate);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kFailedPrecondition) << written.error().message;
  }
  EXPECT_FALSE(Exists(""));
  std::filesystem::rename(elsewhere, Path(""));
  EXPECT_TRUE(Create("wal/2"));
}

TEST_F(LocalStoreTest, PermissionErrorsSayWhoseDirectoryItMustBe) {
  if (geteuid() == 0) {
    GTEST_SKIP() << "root may do everything";
  }
  ASSERT_TRUE(Create("dir/a"));
  ASSERT_EQ(chmod(Path("dir").c_str(), 0500), 0);
  const Status put = Create("dir/b");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kPermissionDenied);
  EXPECT_THAT(put.error().hint, testing::HasSubstr("veza_backup.repository"));
  ASSERT_EQ(chmod(Path("dir").c_str(), 0000), 0);
  const Status listed = store_->List("dir/", "", [](const ObjectInfo&) { return Ok(); });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.error().code, ErrorCode::kPermissionDenied);
  EXPECT_THAT(listed.error().hint, testing::HasSubstr("veza_backup.repository"));
  ASSERT_EQ(chmod(Path("dir").c_str(), 0700), 0);
}

// Another writer may have acknowledged the object meanwhile.
TEST_F(LocalStoreTest, AnObjectStaysWhenItsDirectoryCouldNotBeSynced) {
  if (geteuid() == 0) {
    GTEST_SKIP() << "root may do everything";
  }
  ASSERT_TRUE(Create("dir/a"));
  ASSERT_EQ(chmod(Path("dir").c_str(), 0300), 0);  // fsync() needs the right to read it
  const Status put = Create("dir/b");
  ASSERT_EQ(chmod(Path("dir").c_str(), 0700), 0);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kPermissionDenied);
  EXPECT_TRUE(Exists("dir/b"));
  const Status again = Create("dir/b");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kAlreadyExists);
}

// A directory with more names than are held in memory is read several times. The order stays the
// same.
TEST_F(LocalStoreTest, OrderDoesNotDependOnTheBatch) {
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(Create(fmt::format("d{}/{}", i % 7, i)));
    ASSERT_TRUE(Create(fmt::format("d{}-", i)));
  }
  const std::vector<std::string> expected = Names();
  ASSERT_EQ(expected.size(), 80U);
  EXPECT_TRUE(std::is_sorted(expected.begin(), expected.end()));
  for (const std::size_t batch : {1U, 2U, 3U, 47U, 48U}) {
    std::vector<std::string> names;
    ASSERT_TRUE(WalkTree(
        Path(""), "", "", Cancellation(),
        [&](const ObjectInfo& info) {
          names.push_back(info.name);
          return Ok();
        },
        batch));
    EXPECT_EQ(names, expected) << batch;
  }
}

// A restore by root leaves a lease. The server must be able to read and remove it.
TEST_F(LocalStoreTest, WhatRootWritesBelongsToTheOwnerOfTheRepository) {
  constexpr uid_t kServer = 65534;  // user nobody, whose group has the same number
  if (geteuid() != 0) {
    GTEST_SKIP() << "root is needed";
  }
  ASSERT_TRUE(Create("mine"));
  ASSERT_EQ(chown(Path("").c_str(), kServer, kServer), 0);
  ASSERT_TRUE(Create("a/b/c"));
  for (const char* const name : {"a", "a/b", "a/b/c"}) {
    struct stat info {};
    ASSERT_EQ(stat(Path(name).c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, kServer) << name;
    EXPECT_EQ(info.st_gid, kServer) << name;
  }
}

}  // namespace
}  // namespace veza
