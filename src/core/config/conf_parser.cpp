#include "core/config/conf_parser.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "core/config/conf_lexer.h"
#include "core/limits.h"
#include "core/secret_string.h"

namespace veza {
namespace {

constexpr int kMaxIncludeDepth = 10;  // CONF_FILE_MAX_DEPTH

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

Result<std::string> ReadWholeFile(const std::string& path) {
  const auto failed = [&] {
    return ErrnoError(errno, fmt::format("could not open configuration file \"{}\"", path))
        .WithHint("Name another with --config, or let this account read it.");
  };
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  if (file == nullptr) {
    return failed();
  }
  std::string text;
  char buffer[8192];
  std::size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof buffer, file.get())) > 0) {
    text.append(buffer, got);
    if (text.size() > limits::kConfigFile) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "configuration file \"{}\" is larger than {} bytes", path,
                       limits::kConfigFile);
    }
  }
  if (std::ferror(file.get()) != 0) {
    return failed();
  }
  return text;
}

class ConfFileReader {
 public:
  Status ReadFile(const std::string& path, int depth);
  SettingValues TakeValues() { return std::move(values_); }

 private:
  Status Apply(const std::string& name, const std::string& value, const std::string& path, int line,
               int depth);
  Status Include(const std::string& name, const std::string& value, const std::string& path,
                 int depth);
  Status ReadDirectory(const std::string& directory, int depth);

  SettingValues values_;
};

std::string Place(const std::string& path, int line) {
  return fmt::format("file \"{}\" line {}", path, line);
}

Status ConfFileReader::ReadFile(const std::string& path, int depth) {
  if (depth > kMaxIncludeDepth) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "could not open configuration file \"{}\": maximum nesting depth exceeded",
                     path)
        .WithHint("Look for files that include each other.");
  }
  ASSIGN_OR_RETURN(std::string text, ReadWholeFile(path));
  const WipeAtEnd wipe_text(text);  // any of it may be a secret
  ConfLexer lexer(text);
  const auto syntax_error = [&](int line) -> Status {
    return MakeError(ErrorCode::kInvalidArgument, "syntax error in {}", Place(path, line))
        .WithHint("Lines have the form name = 'value'.");
  };
  for (int line = 1;; ++line) {
    const ConfToken first = lexer.Next();
    if (first == ConfToken::kEndOfFile) {
      return Ok();
    }
    if (first == ConfToken::kEndOfLine) {
      continue;
    }
    if (first != ConfToken::kId && first != ConfToken::kQualifiedId) {
      return syntax_error(line);
    }
    const std::string name = ToLower(lexer.token_text());

    ConfToken token = lexer.Next();
    if (token == ConfToken::kEquals) {
      token = lexer.Next();
    }
    // A qualified identifier is no value: the server wants quotes around "a.b".
    if (token != ConfToken::kId && token != ConfToken::kString && token != ConfToken::kInteger &&
        token != ConfToken::kReal && token != ConfToken::kUnquotedString) {
      return syntax_error(line);
    }
    std::string value = token == ConfToken::kString ? UnquoteConfString(lexer.token_text())
                                                    : std::string(lexer.token_text());
    const WipeAtEnd wipe_value(value);
    token = lexer.Next();
    if (token != ConfToken::kEndOfLine && token != ConfToken::kEndOfFile) {
      return syntax_error(line);
    }
    RETURN_IF_ERROR(Apply(name, value, path, line, depth));
    if (token == ConfToken::kEndOfFile) {
      return Ok();
    }
  }
}

Status ConfFileReader::Apply(const std::string& name, const std::string& value,
                             const std::string& path, int line, int depth) {
  if (name == "include" || name == "include_if_exists" || name == "include_dir") {
    auto included = Include(name, value, path, depth);
    if (!included.has_value() && depth == 0) {
      return std::move(included.error()).WithContext(Place(path, line));
    }
    return included;
  }
  if (!name.starts_with(kSettingPrefix)) {
    return Ok();
  }
  const SettingSpec* spec = FindSetting(std::string_view(name).substr(kSettingPrefix.size()));
  if (spec == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "unknown setting \"{}\" in {}", name,
                     Place(path, line))
        .WithHint("Correct the name or remove the line.");
  }
  values_.insert_or_assign(spec->name, SettingValue{value, Place(path, line), path});
  return Ok();
}

Status ConfFileReader::Include(const std::string& name, const std::string& value,
                               const std::string& path, int depth) {
  const bool is_directory = name == "include_dir";
  if (value.find_first_not_of(" \t\r\n") == std::string::npos) {
    return MakeError(ErrorCode::kInvalidArgument, "empty configuration {} name in \"{}\"",
                     is_directory ? "directory" : "file", path);
  }
  const std::string target =
      (std::filesystem::path(path).parent_path() / value).lexically_normal().string();
  if (is_directory) {
    return ReadDirectory(target, depth + 1);
  }
  if (name == "include_if_exists") {
    std::error_code error;
    if (!std::filesystem::exists(target, error) && !error) {
      return Ok();
    }
  }
  return ReadFile(target, depth + 1);
}

// Files named *.conf that do not begin with a dot, in the byte order of their names.
Status ConfFileReader::ReadDirectory(const std::string& directory, int depth) {
  std::vector<std::string> paths;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.size() < 6 || name.starts_with('.') || !name.ends_with(".conf")) {
      continue;
    }
    if (entries->is_directory(error)) {
      continue;
    }
    paths.push_back(entries->path().string());
  }
  if (error) {
    return ErrnoError(error.value(),
                      fmt::format("could not read configuration directory \"{}\"", directory));
  }
  std::ranges::sort(paths);
  for (const std::string& path : paths) {
    RETURN_IF_ERROR(ReadFile(path, depth));
  }
  return Ok();
}

}  // namespace

Result<SettingValues> ParseConfFile(const std::string& path) {
  ConfFileReader reader;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  RETURN_IF_ERROR(reader.ReadFile(error ? path : absolute.string(), 0));
  return reader.TakeValues();
}

}  // namespace veza
