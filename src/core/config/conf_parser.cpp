#include "core/config/conf_parser.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "core/ascii.h"
#include "core/config/conf_lexer.h"
#include "core/limits.h"
#include "core/secret_string.h"

namespace veza {
namespace {

constexpr int kMaxIncludeDepth = 10;  // CONF_FILE_MAX_DEPTH
constexpr std::size_t kMostListed = 4096;

struct WholeFile {
  std::string text;
  FileWriters writers;
};

Result<WholeFile> ReadWholeFile(const std::string& path) {
  const auto failed = [&] {
    return ErrnoError(errno, fmt::format("could not open configuration file \"{}\"", path))
        .WithHint("Let this account read the file, or name another file with --config.");
  };
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  struct stat status {};
  if (file == nullptr || fstat(fileno(file.get()), &status) != 0) {
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
  return WholeFile{std::move(text), {status.st_uid, (status.st_mode & (S_IWGRP | S_IWOTH)) != 0}};
}

// Files named *.conf that do not begin with a dot, in the byte order of their names.
Result<std::vector<std::string>> ConfFilesIn(const std::string& directory) {
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
  return paths;
}

bool IsInclude(std::string_view name) {
  return name == "include" || name == "include_if_exists" || name == "include_dir";
}

std::string TargetOf(const std::string& value, const std::string& path) {
  return (std::filesystem::path(path).parent_path() / value).lexically_normal().string();
}

std::string ValueOf(ConfToken token, const ConfLexer& lexer) {
  return token == ConfToken::kString ? UnquoteConfString(lexer.token_text())
                                     : std::string(lexer.token_text());
}

class ConfFileReader {
 public:
  // `passes_over_unknown`: an unknown "veza_backup." name is noted and is not an error.
  explicit ConfFileReader(bool passes_over_unknown) : passes_over_unknown_(passes_over_unknown) {}

  Status ReadFile(const std::string& path, int depth);
  SettingValues TakeValues() { return std::move(values_); }
  // The first unknown name that was passed over.
  std::string TakeUnknown() { return std::move(unknown_); }

 private:
  struct Line {
    const std::string& path;
    int number;
    FileWriters writers;
  };
  Status Apply(const std::string& name, const std::string& value, const Line& line, int depth);
  Status Include(const std::string& name, const std::string& value, const std::string& path,
                 int depth);
  Status ReadDirectory(const std::string& directory, int depth);

  const bool passes_over_unknown_;
  SettingValues values_;
  std::string unknown_;
};

std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.string();
}

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
  ASSIGN_OR_RETURN(WholeFile file, ReadWholeFile(path));
  const WipeAtEnd wipe_text(file.text);  // any part of it may be a secret
  ConfLexer lexer(file.text);
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
    const std::string name = LowerCase(lexer.token_text());

    ConfToken token = lexer.Next();
    if (token == ConfToken::kEquals) {
      token = lexer.Next();
    }
    // A qualified identifier is not a value: the server demands quotes around "a.b".
    if (token != ConfToken::kId && token != ConfToken::kString && token != ConfToken::kInteger &&
        token != ConfToken::kReal && token != ConfToken::kUnquotedString) {
      return syntax_error(line);
    }
    std::string value = ValueOf(token, lexer);
    const WipeAtEnd wipe_value(value);
    token = lexer.Next();
    if (token != ConfToken::kEndOfLine && token != ConfToken::kEndOfFile) {
      return syntax_error(line);
    }
    RETURN_IF_ERROR(Apply(name, value, {path, line, file.writers}, depth));
    if (token == ConfToken::kEndOfFile) {
      return Ok();
    }
  }
}

Status ConfFileReader::Apply(const std::string& name, const std::string& value, const Line& line,
                             int depth) {
  const std::string place = Place(line.path, line.number);
  if (IsInclude(name)) {
    auto included = Include(name, value, line.path, depth);
    if (!included.has_value() && depth == 0) {
      return std::move(included.error()).WithContext(place);
    }
    return included;
  }
  if (!name.starts_with(kSettingPrefix)) {
    return Ok();
  }
  const SettingSpec* spec = FindSetting(std::string_view(name).substr(kSettingPrefix.size()));
  if (spec == nullptr && passes_over_unknown_) {
    unknown_ = unknown_.empty() ? name : unknown_;
    return Ok();
  }
  if (spec == nullptr) {
    return MakeError(ErrorCode::kInvalidArgument, "unknown setting \"{}\" in {}", name, place)
        .WithHint("Correct the name or remove the line.");
  }
  values_.insert_or_assign(spec->name, SettingValue{value, place, line.path, line.writers});
  return Ok();
}

Status ConfFileReader::Include(const std::string& name, const std::string& value,
                               const std::string& path, int depth) {
  const bool is_directory = name == "include_dir";
  if (value.find_first_not_of(" \t\r\n") == std::string::npos) {
    return MakeError(ErrorCode::kInvalidArgument, "empty configuration {} name in \"{}\"",
                     is_directory ? "directory" : "file", path);
  }
  const std::string target = TargetOf(value, path);
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

Status ConfFileReader::ReadDirectory(const std::string& directory, int depth) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, ConfFilesIn(directory));
  for (const std::string& path : paths) {
    RETURN_IF_ERROR(ReadFile(path, depth));
  }
  return Ok();
}

// --- Listing the files that are included --------------------------------------------------------

struct Directive {
  std::string name;
  std::string target;
};

// Returns the include directives. Every other line is passed over, even when it is malformed.
std::vector<Directive> IncludesOf(std::string_view text, const std::string& path) {
  std::vector<Directive> includes;
  ConfLexer lexer(text);
  ConfToken token = lexer.Next();
  while (token != ConfToken::kEndOfFile) {
    if (token == ConfToken::kId && IsInclude(LowerCase(lexer.token_text()))) {
      const std::string name = LowerCase(lexer.token_text());
      token = lexer.Next();
      token = token == ConfToken::kEquals ? lexer.Next() : token;
      if (token != ConfToken::kEndOfLine && token != ConfToken::kEndOfFile) {
        includes.push_back({name, TargetOf(ValueOf(token, lexer), path)});
      }
    }
    while (token != ConfToken::kEndOfLine && token != ConfToken::kEndOfFile) {
      token = lexer.Next();
    }
    token = token == ConfToken::kEndOfLine ? lexer.Next() : token;
  }
  return includes;
}

class ConfFileLister {
 public:
  void Add(const std::string& path, int depth) {
    std::error_code error;
    if (depth > kMaxIncludeDepth || paths_.size() == kMostListed ||
        std::ranges::find(paths_, path) != paths_.end() ||
        !std::filesystem::is_regular_file(path, error)) {
      return;
    }
    paths_.push_back(path);
    for (const Directive& include : Read(path)) {
      if (include.name != "include_dir") {
        Add(include.target, depth + 1);
        continue;
      }
      const Result<std::vector<std::string>> files = ConfFilesIn(include.target);
      for (const std::string& file : files.value_or(std::vector<std::string>())) {
        Add(file, depth + 1);
      }
    }
  }
  std::vector<std::string> Take() { return std::move(paths_); }

 private:
  static std::vector<Directive> Read(const std::string& path) {
    Result<WholeFile> file = ReadWholeFile(path);
    if (!file) {
      return {};
    }
    const WipeAtEnd wipe(file->text);  // any part of it may be a secret
    return IncludesOf(file->text, path);
  }

  std::vector<std::string> paths_;
};

}  // namespace

Result<SettingValues> ParseConfFile(const std::string& path) {
  ConfFileReader reader(false);
  RETURN_IF_ERROR(reader.ReadFile(Absolute(path), 0));
  return reader.TakeValues();
}

Result<std::string> UnknownNameIn(const std::string& path) {
  ConfFileReader reader(true);
  RETURN_IF_ERROR(reader.ReadFile(Absolute(path), 0));
  SettingValues values = reader.TakeValues();
  WipeSecrets(values);
  return reader.TakeUnknown();
}

std::vector<std::string> ListConfFiles(const std::string& path) {
  ConfFileLister lister;
  lister.Add(path, 0);
  return lister.Take();
}

}  // namespace veza
