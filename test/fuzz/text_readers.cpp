// Reads data that is not an object: responses of S3, local files, and names.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "core/config/conf_lexer.h"
#include "core/config/conf_parser.h"
#include "core/config/config.h"
#include "core/config/repository_url.h"
#include "core/credentials/credential_documents.h"
#include "core/postgres/lsn.h"
#include "core/postgres/relation_names.h"
#include "core/postgres/tablespace_map.h"
#include "core/repository/names.h"
#include "core/restore/recovery_settings.h"
#include "core/restore/target.h"
#include "core/s3/s3_error.h"
#include "core/s3/s3_xml.h"
#include "core/schedule/cron.h"
#include "core/storage/store.h"
#include "fuzz/readers.h"

namespace veza::fuzz {
namespace {

void ReadXml(ByteView input) {
  const Result<S3ListPage> page = ParseS3ListPage(AsText(input));
  if (page) {
    FUZZ_REQUIRE(!page->truncated || !page->continuation_token.empty());
    FUZZ_REQUIRE(std::ranges::none_of(
        page->objects, [](const ObjectInfo& object) { return object.name.empty(); }));
  }
  if (const auto result = ParseS3DeleteResult(AsText(input))) {
    FUZZ_REQUIRE(result->errors.empty() || AsText(input).find("Error") != std::string_view::npos);
  }
  if (const auto error = ParseS3Error(AsText(input))) {
    FUZZ_REQUIRE(!error->code.empty());
  }
  for (const int status : {301, 400, 403, 404, 412, 503}) {
    S3Response response;
    response.status = status;
    response.body = AsText(input);
    const Error error = S3ResponseError(response, "could not read", S3Options(), TimePoint());
    FUZZ_REQUIRE(error.message.find('\n') == std::string::npos);
  }
  [[maybe_unused]] const auto date = ParseHttpDate(AsText(input));
}

// "include" is left out, because it would read local files.
void ReadConfig(ByteView input) {
  ConfLexer lexer(AsText(input));
  for (std::size_t tokens = 0;; ++tokens) {
    FUZZ_REQUIRE(tokens <= input.size() + 1);
    const ConfToken token = lexer.Next();
    if (token == ConfToken::kEndOfFile || token == ConfToken::kError) {
      break;
    }
    if (token == ConfToken::kString) {
      FUZZ_REQUIRE(UnquoteConfString(lexer.token_text()).size() <= lexer.token_text().size());
    }
  }
  std::string lower(AsText(input));
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower.find("include") != std::string::npos || lower.find("_file") != std::string::npos) {
    return;
  }
  static const int file = memfd_create("fuzz", MFD_CLOEXEC);
  FUZZ_REQUIRE(ftruncate(file, 0) == 0);
  FUZZ_REQUIRE(pwrite(file, input.data(), input.size(), 0) == static_cast<ssize_t>(input.size()));
  const Result<SettingValues> values = ParseConfFile("/proc/self/fd/" + std::to_string(file));
  if (values) {
    [[maybe_unused]] const Result<Config> config =
        BuildConfig(*values, [](const char*) { return std::optional<std::string>(); });
  }
}

// backup_label's companion, postgresql.auto.conf, and the list of settings that a restore writes.
void ReadRecoveryFiles(ByteView input) {
  const std::string text(AsText(input));
  const Result<std::vector<Tablespace>> tablespaces = ParseTablespaceMap(text);
  if (tablespaces) {
    const std::string written = FormatTablespaceMap(*tablespaces);
    const auto again = ParseTablespaceMap(written);
    FUZZ_REQUIRE(again && FormatTablespaceMap(*again) == written);
  }
  [[maybe_unused]] const auto found = FindSetting(text, "restore_command");
  const std::size_t middle = text.size() / 2;
  [[maybe_unused]] const std::string removed =
      RemoveListedSettings(text.substr(0, middle), text.substr(middle));
}

void ReadNames(ByteView input) {
  const std::string text(AsText(input));
  if (const auto label = ParseLabel(text)) {
    FUZZ_REQUIRE(ParseLabel(label->full_label));
    [[maybe_unused]] const auto time = ParseLabelTime(text);
  }
  if (const auto number = ParsePackName("20261122-020000F", text)) {
    FUZZ_REQUIRE(PackName("20261122-020000F", *number) == text);
  }
  if (const auto epoch = ParseLockName(text)) {
    FUZZ_REQUIRE(LockName(*epoch) == text);
  }
  [[maybe_unused]] const auto drill = ParseDrillName(text);
  if (ParseWalFileName(text)) {
    const Result<std::string> name = WalObjectName(7, text);
    FUZZ_REQUIRE(name && ValidateObjectName(*name));
    FUZZ_REQUIRE(SegmentNumberOf(text, 1U << 24) <= ~std::uint64_t{0} >> 20);
  }
  if (const Result<Lsn> lsn = ParseLsn(text)) {
    FUZZ_REQUIRE(ParseLsn(FormatLsn(*lsn)).value() == *lsn);
  }
  if (const Result<TimePoint> time = ParseUtc(text)) {
    FUZZ_REQUIRE(ParseUtc(FormatUtc(*time)).value() == *time);
  }
  [[maybe_unused]] const auto relation = ParseRelationName(text);
  [[maybe_unused]] const Result<RepositoryUrl> url = ParseRepositoryUrl(text);
  [[maybe_unused]] const Status endpoint = CheckEndpoint(text);
  if (const Result<CronExpression> cron = ParseCron(text)) {
    FUZZ_REQUIRE(!DescribeCron(*cron).empty());
  }
}

// What is accepted goes into the headers of requests.
void RequireHeaderText(const Result<S3Credentials>& credentials) {
  if (!credentials) {
    FUZZ_REQUIRE(credentials.error().code == ErrorCode::kCredentials);
    return;
  }
  for (const std::string_view text :
       {std::string_view(credentials->keys.access_key), credentials->keys.secret_key.text(),
        credentials->session_token.text()}) {
    FUZZ_REQUIRE(std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; }));
  }
}

void ReadCredentials(ByteView input) {
  const std::string_view text = AsText(input);
  RequireHeaderText(ParseProfile(text, "default"));
  RequireHeaderText(ParseCredentialJson(text));
  RequireHeaderText(ParseStsCredentials(text));
  FUZZ_REQUIRE(ErrorCodeIn(text).find_first_of(" \r\n") == std::string::npos);
}

}  // namespace

std::vector<Reader> TextReaders() {
  return {{"xml", ReadXml},
          {"credentials", ReadCredentials},
          {"config", ReadConfig},
          {"recovery", ReadRecoveryFiles},
          {"name", ReadNames}};
}

}  // namespace veza::fuzz
