// Who could read or take away what the repository holds: the row "security" of veza_backup_check()
// and `vezactl check`.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/monitor/check.h"
#include "core/s3/s3_bucket.h"

namespace veza {

// Who reads a file for veza_backup.
struct Account {
  uid_t uid = 0;
  std::vector<gid_t> groups;
};
// That of this process.
Account ThisAccount();

// Who else can read the file, for a message that goes on with "can read": "other accounts", "the
// group "users"", or nobody (""). By its mode, and that of the directories above it where it really
// lies: a symbolic link in a closed directory keeps nobody out of an open one. A file with hard
// links may lie in an open one as well. Its group may read it where that is the primary group of
// its owner, or one of the reader's. Root does not know who the server is: there it may be any
// group that is an account's own (same name). Nothing when the file cannot be looked at.
std::optional<std::string> OtherReaders(const std::string& path,
                                        const Account& reader = ThisAccount());

// The row. It fails on what nobody wants: a secret that other accounts can read, and a lifecycle
// rule that deletes backups. What may be a choice (no TLS, no verification, no encryption, old
// versions that stay for ever) is in the detail of a row that passes, with what to do as its hint.
// What could not be found out is said to be unknown. `bucket`: empty for a directory.
CheckResult JudgeSecurity(const Config& config, const std::optional<BucketRules>& bucket);

// The same, with the bucket's answers: two requests.
CheckResult CheckSecurity(const Config& config, const Environment& environment);

}  // namespace veza
