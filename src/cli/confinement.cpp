#include "cli/confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string_view>
#include <system_error>

namespace veza::cli {
namespace {

namespace fs = std::filesystem;

// The rights that each version of the Landlock interface knows. Older headers lack names that came
// with later versions.
constexpr std::uint64_t kSinceVersion1 =
    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr std::uint64_t kSinceVersion2 = LANDLOCK_ACCESS_FS_REFER;
constexpr std::uint64_t kSinceVersion3 = 1ULL << 14;  // LANDLOCK_ACCESS_FS_TRUNCATE
constexpr std::uint64_t kReadFiles = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t kReads = kReadFiles | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr int kFirstWithNetwork = 4;
constexpr std::uint64_t kAllTcp = 3;  // LANDLOCK_ACCESS_NET_BIND_TCP, …_CONNECT_TCP
constexpr int kFirstWithScopes = 6;
constexpr std::uint64_t kAllScopes = 3;  // LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, …_SIGNAL

// landlock_ruleset_attr of newer headers. An older kernel accepts it as long as the members that it
// does not know are zero.
struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

// What PostgreSQL, the libraries of extensions, shells and interpreters must read. Nothing in which
// others keep secrets: not all of /etc, not /run, and not all of /dev (which has /dev/shm). Debian
// keeps dictionaries for text search in /var/cache/postgresql.
constexpr const char* kSystem[] = {"/usr",
                                   "/bin",
                                   "/sbin",
                                   "/lib",
                                   "/lib32",
                                   "/lib64",
                                   "/libx32",
                                   "/nix/store",
                                   "/gnu/store",
                                   "/proc",
                                   "/sys/devices/system",
                                   "/var/cache/postgresql",
                                   "/etc/alternatives",
                                   "/etc/group",
                                   "/etc/ld.so.cache",
                                   "/etc/ld.so.conf",
                                   "/etc/ld.so.conf.d",
                                   "/etc/locale.alias",
                                   "/etc/localtime",
                                   "/etc/nsswitch.conf",
                                   "/etc/passwd",
                                   "/etc/perl",
                                   "/etc/ssl/openssl.cnf",
                                   "/etc/timezone",
                                   "/dev/full",
                                   "/dev/null",
                                   "/dev/random",
                                   "/dev/urandom",
                                   "/dev/zero"};

// Calls that are refused whatever their arguments are.
constexpr const char* kRefusedCalls[] = {
    "connect", "sendmsg", "sendmmsg",
    // Calls on other processes.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    "perf_event_open", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    // Message queues and SysV semaphores. (PostgreSQL uses POSIX semaphores in memory of its own.)
    // Every call is refused, not only the one that opens: the others need only an id, which is a
    // small number.
    "msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend",
    "mq_timedreceive", "mq_notify", "mq_getsetattr", "semget", "semop", "semtimedop", "semctl",
    // Landlock does not govern extended attributes. PostgreSQL sets none.
    "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr",
    "fremovexattr", "removexattrat", "file_setattr",
    // Ways around a filter, and ways to get more rights.
    "io_uring_setup", "io_uring_enter", "io_uring_register", "unshare", "setns", "bpf",
    "userfaultfd", "add_key", "request_key", "keyctl"};

// Landlock does not govern these calls either, and the account owns the files of its other servers.
// The filter makes them do nothing and report success, because PostgreSQL does not start when it
// cannot set the permissions of its socket. (The socket's directory keeps others out.) The calls by
// descriptor are included, because a descriptor may be of a file that may only be read.
constexpr const char* kIdleCalls[] = {"chmod", "fchmod", "fchmodat",  "fchmodat2",
                                      "chown", "fchown", "lchown",    "fchownat",
                                      "utime", "utimes", "futimesat", "utimensat"};

// Landlock does not govern these before version 3. The filter makes them do nothing and report
// success, too: PostgreSQL truncates a relation's file by path only before it removes the file
// (mdunlink), and would leave segments behind if the call failed.
constexpr const char* kIdleBeforeTruncate[] = {"truncate", "truncate64"};
constexpr int kFirstWithTruncate = 3;

// Calls that are refused unless they are for the calling process itself (0). `argument` is the
// number of the argument that names the process.
struct OfProcess {
  const char* call;
  unsigned argument;
};
constexpr OfProcess kOwnOnly[] = {
    {"prlimit64", 0},     {"sched_setaffinity", 0}, {"sched_setscheduler", 0},
    {"sched_setattr", 0}, {"sched_setparam", 0},    {"migrate_pages", 0},
    {"move_pages", 0},    {"setpriority", 1},       {"ioprio_set", 1}};
constexpr std::uint64_t kIoPriorityOfUser = 3;  // IOPRIO_WHO_USER of linux/ioprio.h
// Values of linux/shm.h and linux/ipc.h.
constexpr int kIpcInfo = 3;
constexpr int kShmStat = 13;
constexpr int kShmInfo = 14;
constexpr int kShmStatAny = 15;
constexpr std::uint64_t kInt = 0xffffffff;  // the bits of an int argument that the kernel uses

// Calls that an older libseccomp may not know. They have the same number on every architecture.
struct NewCall {
  std::string_view name;
  int number;
};
constexpr NewCall kNewCalls[] = {
    {"fchmodat2", 452}, {"setxattrat", 463}, {"removexattrat", 466}, {"file_setattr", 469}};

constexpr std::uint64_t kNamespaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                         CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

// The C library has no function for this call.
int CreateRuleset(const RulesetAttributes* attributes, std::size_t size, std::uint32_t flags) {
  return static_cast<int>(syscall(SYS_landlock_create_ruleset, attributes, size, flags));
}

// The rights to write that this version knows. Before version 3 the filter stands in for the right
// to truncate.
std::uint64_t AllWrites(int version) {
  return kSinceVersion1 | (version >= 2 ? kSinceVersion2 : 0) |
         (version >= kFirstWithTruncate ? kSinceVersion3 : 0);
}

int LandlockVersion() {
  return CreateRuleset(nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

Result<UniqueFd> MakeRuleset(const RulesetAttributes& attributes) {
  UniqueFd ruleset(CreateRuleset(&attributes, sizeof attributes, 0));
  if (!ruleset.valid()) {
    Error error = ErrnoError(errno, "could not use Landlock");
    error.code = ErrorCode::kUnsupported;
    return error;
  }
  return ruleset;
}

// Allows `access` to the path and what is below it. For a file, only the rights that apply to
// files. A path that does not exist is skipped.
Status Allow(const UniqueFd& ruleset, const std::string& path, std::uint64_t access) {
  const UniqueFd parent(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!parent.valid() && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) {
    return Ok();
  }
  struct stat info {};
  landlock_path_beneath_attr rule{};
  rule.parent_fd = parent.get();
  const bool known = parent.valid() && fstat(parent.get(), &info) == 0;
  rule.allowed_access =
      S_ISDIR(info.st_mode) ? access : access & (kReadFiles | LANDLOCK_ACCESS_FS_WRITE_FILE);
  if (!known ||
      syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    return ErrnoError(errno, fmt::format("could not allow access to \"{}\"", path));
  }
  return Ok();
}

using CallContext = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

int NumberOf(std::string_view call) {
  const int number = seccomp_syscall_resolve_name(std::string(call).c_str());
  const auto* const known = std::ranges::find(kNewCalls, call, &NewCall::name);
  return number == __NR_SCMP_ERROR && known != std::end(kNewCalls) ? known->number : number;
}

// Adds a rule: `action` for the call when all of `conditions` hold.
bool AddRule(const CallContext& context, std::uint32_t action, const char* call,
             const std::vector<scmp_arg_cmp>& conditions = {}) {
  const int number = NumberOf(call);
  return number != __NR_SCMP_ERROR &&
         seccomp_rule_add_array(context.get(), action, number,
                                static_cast<unsigned>(conditions.size()), conditions.data()) == 0;
}

bool AddNetworkRules(const CallContext& context) {
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EACCES);
  return AddRule(context, refuse, "socket", {SCMP_A0_64(SCMP_CMP_NE, AF_UNIX, 0)}) &&
         AddRule(context, refuse, "sendto", {SCMP_A4_64(SCMP_CMP_NE, 0, 0)});
}

bool AddProcessRules(const CallContext& context) {
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  // The arguments of clone3 are in memory, which no filter can see. After ENOSYS the C library uses
  // clone.
  bool added = AddRule(context, SCMP_ACT_ERRNO(ENOSYS), "clone3");
  for (const std::uint64_t flag : kNamespaces) {
    added =
        added && AddRule(context, refuse, "clone", {SCMP_A0_64(SCMP_CMP_MASKED_EQ, flag, flag)});
  }
  for (const OfProcess& call : kOwnOnly) {
    added = added &&
            AddRule(context, refuse, call.call, {SCMP_CMP64(call.argument, SCMP_CMP_NE, 0, 0)});
  }
  // PRIO_USER, IOPRIO_WHO_USER and kill(-1) mean all processes of the account.
  return added &&
         AddRule(context, refuse, "setpriority",
                 {SCMP_A0_64(SCMP_CMP_MASKED_EQ, kInt, PRIO_USER)}) &&
         AddRule(context, refuse, "ioprio_set",
                 {SCMP_A0_64(SCMP_CMP_MASKED_EQ, kInt, kIoPriorityOfUser)}) &&
         AddRule(context, refuse, "kill", {SCMP_A0_64(SCMP_CMP_MASKED_EQ, kInt, kInt)});
}

// PostgreSQL's interlock against a second postmaster is a segment of SysV shared memory, and no
// setting disables it. PostgreSQL creates a new segment (InternalIpcMemoryCreate), attaches it, and
// removes it at the end. It also looks up an existing segment by key (PGSharedMemoryCreate), and
// takes the next key when it may not. So only creating is allowed. The filter cannot see whose
// segment an id belongs to, so attaching and removing remain possible.
bool AddSharedMemoryRules(const CallContext& context) {
  constexpr std::uint64_t kNew = IPC_CREAT | IPC_EXCL;
  constexpr std::uint64_t kOldForm = 0x100;  // IPC_64, which the kernel ignores
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EACCES);
  bool added = true;
  for (const std::uint64_t flags : {0, IPC_CREAT, IPC_EXCL}) {
    added =
        added && AddRule(context, refuse, "shmget", {SCMP_A2_64(SCMP_CMP_MASKED_EQ, kNew, flags)});
  }
  for (const std::uint64_t command :
       {IPC_SET, kIpcInfo, SHM_LOCK, SHM_UNLOCK, kShmStat, kShmInfo, kShmStatAny}) {
    added = added && AddRule(context, refuse, "shmctl",
                             {SCMP_A1_64(SCMP_CMP_MASKED_EQ, kInt & ~kOldForm, command)});
  }
  return added;
}

// Two ways of opening are refused. Opening read-only with O_TRUNC truncates the file; Landlock
// forbids that from version 3 on. Opening with both access bits set is neither reading nor writing,
// so Landlock asks for no right at all, but the descriptor is good for ioctl(), fchmod() and the
// like.
bool AddOpenRules(const CallContext& context) {
  constexpr std::uint64_t kTruncates = O_ACCMODE | O_TRUNC;
  const std::uint32_t refuse = SCMP_ACT_ERRNO(EACCES);
  return AddRule(context, refuse, "open",
                 {SCMP_A1_64(SCMP_CMP_MASKED_EQ, kTruncates, O_TRUNC | O_RDONLY)}) &&
         AddRule(context, refuse, "openat",
                 {SCMP_A2_64(SCMP_CMP_MASKED_EQ, kTruncates, O_TRUNC | O_RDONLY)}) &&
         AddRule(context, refuse, "open", {SCMP_A1_64(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_ACCMODE)}) &&
         AddRule(context, refuse, "openat",
                 {SCMP_A2_64(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_ACCMODE)}) &&
         // As with clone3: programs then use openat.
         AddRule(context, SCMP_ACT_ERRNO(ENOSYS), "openat2");
}

bool AddRules(const CallContext& context, int landlock) {
  bool added = AddNetworkRules(context) && AddProcessRules(context) &&
               AddSharedMemoryRules(context) && AddOpenRules(context);
  for (const char* call : kRefusedCalls) {
    added = added && AddRule(context, SCMP_ACT_ERRNO(EPERM), call);
  }
  for (const char* call : kIdleCalls) {
    added = added && AddRule(context, SCMP_ACT_ERRNO(0), call);
  }
  for (const char* call : kIdleBeforeTruncate) {
    added = added && (landlock >= kFirstWithTruncate || AddRule(context, SCMP_ACT_ERRNO(0), call));
  }
  return added;
}

Result<CallFilter> Export(const CallContext& context) {
  const UniqueFd file(memfd_create("veza-calls", MFD_CLOEXEC));
  struct stat info {};
  if (!file.valid() || seccomp_export_bpf(context.get(), file.get()) != 0 ||
      fstat(file.get(), &info) != 0) {
    return MakeError(ErrorCode::kInternal, "could not export the seccomp filter");
  }
  CallFilter filter(static_cast<std::size_t>(info.st_size) / sizeof(sock_filter));
  const ssize_t size = info.st_size;
  if (filter.empty() ||
      pread(file.get(), filter.data(), filter.size() * sizeof(sock_filter), 0) != size) {
    return MakeError(ErrorCode::kInternal, "could not read the seccomp filter");
  }
  return filter;
}

}  // namespace

Result<UniqueFd> ConfineWritesTo(const std::string& directory) {
  RulesetAttributes attributes;
  attributes.handled_access_fs = AllWrites(LandlockVersion());
  ASSIGN_OR_RETURN(UniqueFd ruleset, MakeRuleset(attributes));
  RETURN_IF_ERROR(Allow(ruleset, directory, attributes.handled_access_fs));
  RETURN_IF_ERROR(Allow(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE));
  return ruleset;
}

Result<UniqueFd> ConfineFilesTo(const std::string& directory,
                                const std::vector<std::string>& readable) {
  const int version = LandlockVersion();
  RulesetAttributes attributes;
  attributes.handled_access_fs = AllWrites(version) | kReads;
  attributes.handled_access_net = version >= kFirstWithNetwork ? kAllTcp : 0;
  attributes.scoped = version >= kFirstWithScopes ? kAllScopes : 0;
  ASSIGN_OR_RETURN(UniqueFd ruleset, MakeRuleset(attributes));
  RETURN_IF_ERROR(Allow(ruleset, directory, attributes.handled_access_fs));
  RETURN_IF_ERROR(Allow(ruleset, "/dev/null", kReadFiles | LANDLOCK_ACCESS_FS_WRITE_FILE));
  for (const char* path : kSystem) {
    RETURN_IF_ERROR(Allow(ruleset, path, kReads));
  }
  for (const std::string& path : readable) {
    RETURN_IF_ERROR(Allow(ruleset, path, kReads));
  }
  return ruleset;
}

std::string InstallationOf(const std::string& programs) {
  std::error_code error;
  const fs::path real = fs::canonical(programs, error);
  if (error) {
    return programs;
  }
  for (fs::path above = real.parent_path(); above.has_relative_path();
       above = above.parent_path()) {
    if (fs::is_directory(above / "share", error)) {
      return above.string();
    }
  }
  return real.string();
}

bool EnterConfinement(int confinement) {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, confinement, 0) == 0;
}

Result<CallFilter> MakeCallFilter(int landlock) {
  const CallContext context(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (context == nullptr || !AddRules(context, landlock)) {
    return MakeError(ErrorCode::kUnsupported, "libseccomp could not make the filter");
  }
  return Export(context);
}

Result<CallFilter> RefuseCalls() {
  // The filter is missing on purpose: a kernel that knows filters answers EFAULT.
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, nullptr) == 0 || errno != EFAULT) {
    Error error = ErrnoError(errno, "could not use seccomp");
    error.code = ErrorCode::kUnsupported;
    return error;
  }
  return MakeCallFilter(LandlockVersion());
}

bool EnterCallFilter(const CallFilter& filter) {
  sock_fprog program{};
  program.len = static_cast<unsigned short>(filter.size());  // NOLINT(google-runtime-int)
  program.filter = const_cast<sock_filter*>(filter.data());  // NOLINT: it is only read
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace veza::cli
