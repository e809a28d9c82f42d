#include "core/import/wal_g_file.h"

#include <algorithm>

#include "core/ascii.h"
#include "core/codec/json.h"
#include "core/import/wal_g.h"
#include "core/limits.h"
#include "core/secret_string.h"
#include "core/storage/file_io.h"

namespace veza {
namespace {

constexpr const char* kBlanks = " \t\r";

std::string UpperCase(std::string_view text) {
  std::string upper(text);
  std::ranges::transform(upper, upper.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return upper;
}

Status ParseJsonText(std::string_view text, const std::string& file, OldSettings& settings) {
  const std::optional<Json> document = ParseJsonObject(text);
  if (!document) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not valid JSON", file)
        .WithHint("WAL-G's JSON is one object: {\"WALG_S3_PREFIX\": \"s3://bucket/path\", ...}.");
  }
  for (const auto& [name, value] : document->members()) {
    settings.Add({file, "", UpperCase(name), value.is_text() ? *value.AsText() : value.Print()});
  }
  return Ok();
}

// What may not stand in a value, because a shell and systemd would read it in two ways. In single
// quotes that is the quote itself, and a backslash, which some versions of systemd take away.
// `quote` is what stands around the value, or 0.
const char* NotPlainIn(char quote) {
  switch (quote) {
    case '\'':
      return "'\\";
    case '"':
      return "\"$`\\";
    default:
      return "'\"$`\\ \t;&|<>()";
  }
}

// The value as a shell and systemd both read it.
Result<std::string_view> ParseValue(std::string_view value, const std::string& source) {
  const bool is_quoted = value.size() >= 2 && value.front() == value.back() &&
                         (value.front() == '"' || value.front() == '\'');
  const std::string_view plain = is_quoted ? value.substr(1, value.size() - 2) : value;
  if (plain.find_first_of(NotPlainIn(is_quoted ? value.front() : '\0')) != std::string_view::npos ||
      (!is_quoted && (value.starts_with('~') || value.starts_with('#') ||
                      value.find(":~") != std::string_view::npos))) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "{}: a shell may read this value in another way than it stands there", source)
        .WithHint(
            "Write what WAL-G gets, whole and in single quotes, with nothing behind it. A value "
            "with quotes or backslashes in it can be given as JSON or in the environment.");
  }
  return plain;
}

Status ParseLine(std::string_view line, const std::string& source, OldSettings& settings) {
  constexpr std::string_view kExport = "export ";
  if (line.starts_with(kExport)) {
    line = Trim(line.substr(kExport.size()), kBlanks);
  }
  const std::size_t equals = line.find('=');
  const std::string_view key = Trim(line.substr(0, equals), kBlanks);
  const bool is_name = !key.empty() && std::ranges::all_of(key, [](char c) {
    return IsAlphanumeric(c) || c == '_';
  });
  if (equals == std::string_view::npos || !is_name) {
    return MakeError(ErrorCode::kInvalidArgument, "{}: it is not KEY=VALUE", source)
        .WithHint("Give a file with lines KEY=VALUE, or with JSON. YAML and TOML are not read.");
  }
  ASSIGN_OR_RETURN(const std::string_view value,
                   ParseValue(Trim(line.substr(equals + 1), kBlanks), source));
  settings.Add({source, "", std::string(key), std::string(value), true});
  return Ok();
}

}  // namespace

Status ParseWalGText(std::string_view text, const std::string& file, OldSettings& settings) {
  if (Trim(text, " \t\r\n").starts_with('{')) {
    return ParseJsonText(text, file, settings);
  }
  return ForEachLine(text, file, kBlanks, [&](std::string_view line, const std::string& source) {
    return ParseLine(line, source, settings);
  });
}

Result<OldSettings> ReadWalGFile(const std::string& file) {
  ASSIGN_OR_RETURN(std::optional<std::string> text,
                   ReadRegularFile(file, limits::kImportedFile + 1));
  if (!text) {
    return MakeError(ErrorCode::kNotFound, "there is no file \"{}\"", file)
        .WithHint("Name WAL-G's file of settings, or none to read the environment.");
  }
  const WipeAtEnd wipe(*text);
  if (text->size() > limits::kImportedFile) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is larger than {} bytes", file,
                     limits::kImportedFile);
  }
  OldSettings settings;
  RETURN_IF_ERROR(ParseWalGText(*text, file, settings));
  return settings;
}

OldSettings WalGVariables(const Variables& environment) {
  const std::vector<std::string_view> known = WalGSettingNames();
  OldSettings settings;
  for (const auto& [name, value] : environment) {
    if (name.starts_with("WALG_") || name.starts_with("WALE_") ||
        std::ranges::find(known, name) != known.end()) {
      settings.Add({"environment", "", name, value});
    }
  }
  return settings;
}

}  // namespace veza
