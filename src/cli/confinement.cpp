#include "cli/confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace veza::cli {
namespace {

// By version of the interface. Older headers lack the last one.
constexpr std::uint64_t kSinceVersion1 =
    LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr std::uint64_t kSinceVersion2 = LANDLOCK_ACCESS_FS_REFER;
constexpr std::uint64_t kSinceVersion3 = 1ULL << 14;  // LANDLOCK_ACCESS_FS_TRUNCATE

// The C library has no functions for these calls.
int CreateRuleset(const landlock_ruleset_attr* attributes, std::size_t size, std::uint32_t flags) {
  return static_cast<int>(syscall(SYS_landlock_create_ruleset, attributes, size, flags));
}

// Before version 3 truncate() is free. PostgreSQL calls it by path only to remove a relation, and
// recovery cannot get so far with one whose creation it had to replay outside.
std::uint64_t AllWrites(int version) {
  return kSinceVersion1 | (version >= 2 ? kSinceVersion2 : 0) | (version >= 3 ? kSinceVersion3 : 0);
}

Status Allow(int ruleset, const char* path, std::uint64_t access) {
  const UniqueFd parent(open(path, O_PATH | O_CLOEXEC));
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = parent.get();
  if (!parent.valid() ||
      syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    return ErrnoError(errno, fmt::format("could not allow writing to \"{}\"", path));
  }
  return Ok();
}

}  // namespace

Result<UniqueFd> ConfineWritesTo(const std::string& directory) {
  const int version = CreateRuleset(nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = AllWrites(version);
  UniqueFd ruleset(version > 0 ? CreateRuleset(&attributes, sizeof attributes, 0) : -1);
  if (!ruleset.valid()) {
    Error error = ErrnoError(errno, "could not use Landlock");
    error.code = ErrorCode::kUnsupported;
    return error;
  }
  RETURN_IF_ERROR(Allow(ruleset.get(), directory.c_str(), attributes.handled_access_fs));
  if (access("/dev/shm", F_OK) == 0) {
    RETURN_IF_ERROR(Allow(ruleset.get(), "/dev/shm", attributes.handled_access_fs));
  }
  // Of these rights the only one that a file has, but for TRUNCATE, which no device needs.
  RETURN_IF_ERROR(Allow(ruleset.get(), "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE));
  return ruleset;
}

bool EnterConfinement(int confinement) {
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, confinement, 0) == 0;
}

}  // namespace veza::cli
