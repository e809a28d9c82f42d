// Checks who could read the repository's content, or delete it: the row "security" of
// veza_backup_check() and `vezactl check`.
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

// The account that reads a file for veza_backup.
struct Account {
  uid_t uid = 0;
  std::vector<gid_t> groups;
};
// The account of this process.
Account ThisAccount();

// The other accounts that can read the file, as the subject of "can read": "other accounts", `the
// group "users"`, or "" for none. The mode of the file and those of the directories above its real
// path decide: a symbolic link in a closed directory does not protect a file in an open one. A file
// with hard links counts as lying in an open directory. The file's group may read it if it is the
// primary group of the file's owner, or one of the reader's groups. Root does not know which
// account the server has; for root the group may also be that of any account with the same name.
// nullopt when the file cannot be examined.
std::optional<std::string> OtherReaders(const std::string& path,
                                        const Account& reader = ThisAccount());

// The row "security". It fails when a secret can be read by other accounts, or when a lifecycle
// rule deletes backups: nobody can want that. What may be a choice (no TLS, no certificate
// verification, no encryption, old versions that are kept for ever) is in the detail of a row that
// passes, with a hint. What could not be found out is called unknown. `bucket` is empty for a
// directory.
CheckResult JudgeSecurity(const Config& config, const std::optional<BucketRules>& bucket);

// The same. Reads the bucket's rules by three requests.
CheckResult CheckSecurity(const Config& config, const Environment& environment);

}  // namespace veza
