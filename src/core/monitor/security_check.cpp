#include "core/monitor/security_check.h"

#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "core/monitor/freed_space.h"

namespace veza {

namespace {

bool IsLoopback(std::string_view endpoint) {
  const std::size_t scheme = endpoint.find("://");
  std::string_view host = scheme == std::string_view::npos ? endpoint : endpoint.substr(scheme + 3);
  host = host.substr(0, host.find('/'));
  if (host.find('@') != std::string_view::npos) {
    return false;  // the host follows the "@"
  }
  if (host.starts_with("[::1]")) {
    const std::string_view rest = host.substr(5);
    return rest.empty() || rest.starts_with(':');
  }
  host = host.substr(0, host.find(':'));
  // A host name may also begin with "127.". Only four numbers are an address.
  in_addr address{};
  return host == "localhost" ||
         (host.starts_with("127.") && inet_pton(AF_INET, std::string(host).c_str(), &address) == 1);
}

// Large enough for an account, and for a group with a few hundred members.
using NameBuffer = std::array<char, 16U << 10>;

std::optional<std::string> GroupName(gid_t group) {
  NameBuffer buffer;
  struct group entry {};
  struct group* found = nullptr;
  if (getgrgid_r(group, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return entry.gr_name;
}

bool IsPrimaryGroup(gid_t group, uid_t account) {
  NameBuffer buffer;
  struct passwd entry {};
  struct passwd* found = nullptr;
  return getpwuid_r(account, &entry, buffer.data(), buffer.size(), &found) == 0 &&
         found != nullptr && entry.pw_gid == group;
}

// Whether the group belongs to the account of the same name, as the group "postgres" does.
bool IsGroupOfOneAccount(const std::string& name, gid_t group) {
  NameBuffer buffer;
  struct passwd entry {};
  struct passwd* found = nullptr;
  return getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
         found != nullptr && entry.pw_gid == group;
}

// The group's name if it is not a group that may read the file.
std::optional<std::string> ForeignGroup(const struct stat& file, const Account& reader) {
  const gid_t group = file.st_gid;
  if (std::ranges::find(reader.groups, group) != reader.groups.end() ||
      IsPrimaryGroup(group, file.st_uid)) {
    return std::nullopt;
  }
  const std::optional<std::string> name = GroupName(group);
  if (name && reader.uid == 0 && IsGroupOfOneAccount(*name, group)) {
    return std::nullopt;
  }
  return name.value_or(fmt::format("{}", group));
}

// Collects findings as sentences. Those that fail the row come first.
class Findings {
 public:
  void Fail(const std::string& what, const std::string& cure) {
    passed_ = false;
    Append(failures_, what, "; ");
    Append(hints_, cure, " ");
  }
  void Warn(const std::string& what, const std::string& cure) {
    Append(notes_, what, "; ");
    Append(hints_, cure, " ");
  }
  void Note(const std::string& what) { Append(notes_, what, "; "); }

  CheckResult Row() const {
    std::string detail = failures_;
    if (!notes_.empty()) {
      Append(detail, notes_, "; ");
    }
    return {"security", passed_, detail, hints_};
  }

 private:
  static void Append(std::string& to, const std::string& text, const char* separator) {
    to += (to.empty() ? "" : separator) + text;
  }

  bool passed_ = true;
  std::string failures_;
  std::string notes_;
  std::string hints_;
};

void JudgeTransport(const Config& config, Findings& findings) {
  const bool has_tls = config.s3.endpoint.starts_with("https://");
  if (!has_tls && IsLoopback(config.s3.endpoint)) {
    findings.Note("no TLS, but the store is on this machine");
  } else if (!has_tls) {
    findings.Warn(
        "no TLS: anybody on the network path to the store can read and change what is sent",
        "Set veza_backup.s3_endpoint to an address that begins with https://.");
  } else if (!config.s3.verify_tls) {
    findings.Warn("the certificate of the store is not verified",
                  "Set veza_backup.s3_verify_tls = on and veza_backup.s3_ca_file.");
  } else {
    findings.Note("TLS with a verified certificate");
  }
}

void JudgeCipher(const Config& config, Findings& findings) {
  if (config.cipher == Cipher::kNone) {
    findings.Warn("nothing is encrypted: anybody who can read the repository can read the database",
                  "Set veza_backup.cipher_passphrase_file with another veza_backup.cluster, and "
                  "take a full backup.");
  } else {
    findings.Note(fmt::format("encrypted with {}", CipherName(config.cipher)));
  }
}

void JudgeSecrets(const Config& config, Findings& findings) {
  for (const InlineSecret& secret : config.inline_secrets) {
    const std::string setting = fmt::format("{}{}", kSettingPrefix, secret.setting);
    if (secret.file.empty()) {
      findings.Warn(
          fmt::format("\"{}\" is set on a command line, which all accounts of this machine can see",
                      setting),
          "Keep secrets in files of their own (s3_secret_key_file, cipher_passphrase_file).");
      continue;
    }
    const std::optional<std::string> others = OtherReaders(secret.file);
    if (others && !others->empty()) {
      findings.Fail(
          fmt::format("{} can read file \"{}\", which sets \"{}\"", *others, secret.file, setting),
          fmt::format("Remove their permission (chmod 0600 '{}', if the server's account owns it), "
                      "or keep the secret in a file of its own (s3_secret_key_file, "
                      "cipher_passphrase_file); then change the secret.",
                      secret.file));
    } else {
      findings.Note(fmt::format("\"{}\" is set in file \"{}\"{}", setting, secret.file,
                                others ? "" : ", whose mode is unknown"));
    }
  }
}

void JudgeBucket(const Config& config, const BucketRules& bucket, Findings& findings) {
  const std::string prefix = config.s3.prefix.empty() ? "" : config.s3.prefix + "/";
  if (!bucket.unknown.empty()) {
    findings.Note(fmt::format("versioning and lifecycle rules of the bucket are unknown ({})",
                              bucket.unknown));
  }
  if (bucket.rules) {
    if (const LifecycleRule* const rule =
            FindExpiring(*bucket.rules, prefix, config.s3.objects.tags)) {
      findings.Fail(fmt::format("lifecycle rule \"{}\" of the bucket deletes objects of this "
                                "repository",
                                rule->id),
                    "Remove the rule: it deletes identity and key first, and backups as well. "
                    "Retention removes what is not kept.");
    }
  }
  if (!bucket.versioning) {
    return;
  }
  if (bucket.versioning == Versioning::kNever) {
    findings.Note("the bucket keeps no old versions: what is deleted is gone");
  } else if (bucket.rules &&
             FindRemovingOldVersions(*bucket.rules, prefix, config.s3.objects.tags) == nullptr) {
    findings.Warn(
        "the bucket keeps old versions, and no lifecycle rule ever removes them: objects that "
        "retention deletes still take space",
        MissingRuleHint(config));
  } else if (bucket.versioning == Versioning::kSuspended) {
    findings.Note("versioning of the bucket is suspended: what is deleted now is gone");
  } else {
    findings.Note("the bucket keeps old versions");
  }
  if (bucket.retention) {
    findings.Note(fmt::format("it locks each object for {} days ({})", bucket.retention->days,
                              bucket.retention->mode));
  }
}

}  // namespace

Account ThisAccount() {
  Account account{geteuid(), {getegid()}};
  if (const int count = getgroups(0, nullptr); count > 0) {
    std::vector<gid_t> more(static_cast<std::size_t>(count));
    more.resize(static_cast<std::size_t>(std::max(getgroups(count, more.data()), 0)));
    account.groups.insert(account.groups.end(), more.begin(), more.end());
  }
  return account;
}

std::optional<std::string> OtherReaders(const std::string& path, const Account& reader) {
  // Every path to the file passes all of these directories, and no others.
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error).string();
  struct stat info {};
  if (error || stat(real.c_str(), &info) != 0) {
    return std::nullopt;
  }
  bool others = (info.st_mode & S_IROTH) != 0;
  std::optional<std::string> group;
  if ((info.st_mode & S_IRGRP) != 0) {
    group = ForeignGroup(info, reader);
  }
  const bool has_other_names = info.st_nlink > 1;  // its other directories are not known
  for (std::size_t slash = has_other_names ? 0 : real.rfind('/'); slash > 0;
       slash = real.rfind('/', slash - 1)) {
    if (stat(real.substr(0, slash).c_str(), &info) != 0) {
      return std::nullopt;
    }
    others = others && (info.st_mode & S_IXOTH) != 0;
    if ((info.st_mode & (S_IXGRP | S_IXOTH)) == 0) {
      group.reset();
    }
  }
  if (others) {
    return "other accounts";
  }
  return group ? fmt::format("the group \"{}\"", *group) : "";
}

CheckResult JudgeSecurity(const Config& config, const std::optional<BucketRules>& bucket) {
  Findings findings;
  JudgeCipher(config, findings);
  if (config.kind == RepositoryKind::kS3) {
    JudgeTransport(config, findings);
  }
  JudgeSecrets(config, findings);
  if (bucket) {
    JudgeBucket(config, *bucket, findings);
  }
  return findings.Row();
}

CheckResult CheckSecurity(const Config& config, const Environment& environment) {
  std::optional<BucketRules> bucket;
  if (config.kind == RepositoryKind::kS3) {
    bucket = ReadBucketRules(config.s3, environment);
  }
  return JudgeSecurity(config, bucket);
}

}  // namespace veza
