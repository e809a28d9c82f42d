#include "core/import/pgbackrest_file.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "core/ascii.h"
#include "core/limits.h"
#include "core/secret_string.h"
#include "core/storage/file_io.h"

namespace veza {
namespace {

constexpr const char* kDefaultFiles[] = {"/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"};
constexpr std::string_view kVariablePrefix = "PGBACKREST_";
constexpr const char* kBlanks = " \t\n\v\f\r";

// One line of the file. `section` is the one that it stands in, and changes.
Status ParseLine(std::string_view line, const std::string& source, std::string& section,
                 OldSettings& settings) {
  const auto refuse = [&](const char* why) -> Status {
    return MakeError(ErrorCode::kInvalidArgument, "{}: {}", source, why)
        .WithHint("Is it pgBackRest's configuration? Correct the line.");
  };
  if (std::ranges::any_of(line, [](char c) {
        return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7F;
      })) {
    return refuse("it contains a control character");
  }
  if (line.starts_with('[') && line.ends_with(']')) {
    section = line.substr(1, line.size() - 2);
    return section.empty() ? refuse("the section has no name") : Ok();
  }
  if (section.empty()) {
    return refuse("it stands before the first section");
  }
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) {
    return refuse("it has no \"=\"");
  }
  const std::string_view key = Trim(line.substr(0, equals), kBlanks);
  const std::string_view value = Trim(line.substr(equals + 1), kBlanks);
  if (key.empty()) {
    return refuse("nothing stands before the \"=\"");
  }
  if (value.empty()) {
    return refuse("nothing stands after the \"=\"");
  }
  settings.Add({source, section, std::string(key), std::string(value), true});
  return Ok();
}

// Nothing when the file is not there.
Result<bool> ReadFile(const std::string& file, PgBackRestFiles& read) {
  ASSIGN_OR_RETURN(std::optional<std::string> text,
                   ReadRegularFile(file, limits::kImportedFile + 1));
  if (!text) {
    return false;
  }
  const WipeAtEnd wipe(*text);
  read.bytes += text->size();
  if (read.bytes > limits::kImportedFile) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the configuration is larger than {} bytes with \"{}\"", limits::kImportedFile,
                     file);
  }
  RETURN_IF_ERROR(ParsePgBackRestText(*text, file, read.settings));
  read.files.push_back(file);
  return true;
}

// The value of an option in the environment.
std::optional<std::string> VariableOf(std::string_view option, const OldSettings& settings) {
  for (const OldSetting& setting : settings.all()) {
    if (setting.section.empty() && setting.key == option) {
      return setting.value;
    }
  }
  return std::nullopt;
}

struct Places {
  std::optional<std::string> file{};       // none: the defaults
  std::optional<std::string> directory{};  // which must be there; none: the one beside `beside`
  std::optional<std::string> beside{};     // none: beside the file
  bool only_file = false;                  // no directory at all
};

// Where pgBackRest looks in this environment (config/load.c).
Places PlacesFrom(const OldSettings& settings) {
  Places places{.file = VariableOf("config", settings),
                .directory = VariableOf("config-include-path", settings)};
  const std::optional<std::string> folder = VariableOf("config-path", settings);
  places.only_file = places.file.has_value() && !folder;
  if (folder) {
    places.beside = *folder + "/pgbackrest.conf";
    places.file = places.file ? places.file : places.beside;
  }
  return places;
}

Status ReadMainFile(const std::optional<std::string>& file, PgBackRestFiles& read) {
  const auto missing = [](const std::string& name) -> Status {
    return MakeError(ErrorCode::kNotFound, "there is no file \"{}\"", name)
        .WithHint("Name pgBackRest's configuration file: vezactl import-config FILE.");
  };
  if (file) {
    ASSIGN_OR_RETURN(const bool found, ReadFile(*file, read));
    return found ? Ok() : missing(*file);
  }
  for (const char* const name : kDefaultFiles) {
    ASSIGN_OR_RETURN(const bool found, ReadFile(name, read));
    if (found) {
      return Ok();
    }
  }
  return missing(kDefaultFiles[0]);
}

// pgBackRest's own place for more files goes with both of its default files.
std::string DirectoryBeside(const std::string& file) {
  const std::string beside = file == kDefaultFiles[1] ? kDefaultFiles[0] : file;
  return (std::filesystem::path(beside).parent_path() / "conf.d").string();
}

Status ReadDirectory(const std::string& directory, bool is_required, PgBackRestFiles& read) {
  std::vector<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.size() > 5 && name.ends_with(".conf")) {
      files.push_back(entry->path().string());
    }
  }
  if (error && (is_required || error != std::errc::no_such_file_or_directory)) {
    return ErrnoError(error.value(), fmt::format("could not read directory \"{}\"", directory));
  }
  std::ranges::sort(files);
  for (const std::string& file : files) {
    RETURN_IF_ERROR(ReadFile(file, read));
  }
  return Ok();
}

}  // namespace

Status ParsePgBackRestText(std::string_view text, const std::string& file, OldSettings& settings) {
  std::string section;
  return ForEachLine(text, file, kBlanks, [&](std::string_view line, const std::string& source) {
    return ParseLine(line, source, section, settings);
  });
}

Result<PgBackRestFiles> ReadPgBackRest(const std::optional<std::string>& file,
                                       const std::optional<std::string>& include_directory,
                                       const Variables& environment) {
  PgBackRestFiles read;
  for (const auto& [name, value] : environment) {
    if (name.starts_with(kVariablePrefix)) {
      std::string key = LowerCase(std::string_view(name).substr(kVariablePrefix.size()));
      std::ranges::replace(key, '_', '-');
      read.settings.Add({"environment", "", std::move(key), value});
    }
  }
  const Places places = file ? Places{.file = file} : PlacesFrom(read.settings);
  RETURN_IF_ERROR(ReadMainFile(places.file, read));
  const std::optional<std::string> directory =
      include_directory ? include_directory : places.directory;
  if (directory || !places.only_file) {
    const std::string beside = DirectoryBeside(places.beside.value_or(read.files.front()));
    RETURN_IF_ERROR(ReadDirectory(directory.value_or(beside), directory.has_value(), read));
  }
  return read;
}

}  // namespace veza
