#include "core/import/imported_conf.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "core/config/settings.h"
#include "core/import/old_settings.h"

namespace veza {
namespace {

constexpr std::size_t kWidth = 100;

// Others have written the old file: nothing in it may end the comment, or control a terminal.
std::string OneLine(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; }, '?');
  return text;
}

// As a comment, broken at blanks.
std::string Comment(std::string_view text, std::string_view indent) {
  std::string comment;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    if (column == 0 || column + 1 + word.size() > kWidth) {
      comment += column == 0 ? "#" : "\n#";
      comment += indent;
      column = 1 + indent.size();
    } else {
      comment += ' ';
      ++column;
    }
    comment += word;
    column += word.size();
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return comment + "\n";
}

std::string Quote(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    quoted += c == '\'' ? "''" : c == '\\' ? "\\\\" : std::string(1, c);
  }
  return quoted + "'";
}

bool IsAboutAFile(const Error& error) {
  return error.code != ErrorCode::kInvalidArgument;
}

void Append(std::string_view sentence, std::string& text) {
  text += text.empty() ? "" : " ";
  text += sentence;
}

std::string Sentence(const Error& error) {
  std::string text = error.message;
  return error.hint.empty() ? text + "." : text + ". " + error.hint;
}

// Whether a part of the path is ".", ".." or empty. Such a path may lead anywhere, and a store may
// read it in another way than a file system.
bool HasOddParts(std::string_view path) {
  const std::string text = fmt::format("{}/", path);
  return text.find("//") != std::string::npos || text.find("/./") != std::string::npos ||
         text.find("/../") != std::string::npos;
}

std::string_view WithoutSlashAtEnd(std::string_view path) {
  return path.substr(0, path.find_last_not_of('/') + 1);
}

}  // namespace

void AddRemark(std::string_view sentence, ImportedLine& line) {
  Append(sentence, line.remark);
}

void AddToDo(std::string_view sentence, ImportedLine& line) {
  Append(sentence, line.to_do);
}

void AddSchedules(std::string_view tool, ImportedConf& conf) {
  conf.Add(
      {.origin = fmt::format("not in {}'s configuration: when backups are taken", tool),
       .settings = {{"schedule_full", ""}, {"schedule_diff", ""}},
       .remark = "The defaults are '0 2 * * 0' and '0 2 * * 1-6', in UTC.",
       .to_do = fmt::format("As long as {}'s cron lines or timers run, the server takes none by "
                            "itself. Put their times here when you turn them off.",
                            tool)});
}

bool AddRepositoryBeside(std::string_view tool, std::string_view store, std::string_view path,
                         ImportedLine& line) {
  path = WithoutSlashAtEnd(path);
  if (HasOddParts(path) || (path.empty() && store.empty())) {
    AddToDo(fmt::format("Nothing can be told to lie beside {}'s repository, because of its path. "
                        "Set veza_backup.repository to a place that is not in it.",
                        tool),
            line);
    return false;
  }
  const std::string_view parent = path.substr(0, path.rfind('/') + 1);
  std::string beside = fmt::format("{}veza_backup", parent.empty() ? "/" : parent);
  beside += beside == path ? "-new" : "";
  line.settings.push_back({"repository", fmt::format("{}{}", store, beside)});
  if (path.empty()) {
    AddToDo(fmt::format("{}'s repository is the whole bucket, and this would lie in it. Set "
                        "veza_backup.repository to another bucket.",
                        tool),
            line);
  }
  return true;
}

std::string LastPartOf(std::string_view path) {
  path = WithoutSlashAtEnd(path);
  return std::string(path.substr(path.rfind('/') + 1));
}

std::optional<std::int64_t> ParseCount(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stopped == end && number >= 0 ? std::optional(number)
                                                               : std::nullopt;
}

int ClampToSetting(std::string_view setting, std::int64_t value) {
  const SettingSpec& spec = *FindSetting(setting);
  return static_cast<int>(std::clamp<std::int64_t>(value, spec.min, spec.max));
}

void ImportedConf::Add(ImportedLine line) {
  for (ImportedSetting& setting : line.settings) {
    const bool is_written_later = std::ranges::any_of(
        secrets_, [&](const ImportedSecret& secret) { return secret.file == setting.value; });
    if (!setting.in_force || is_written_later) {
      continue;
    }
    const Status valid = ValidateSetting(*FindSetting(setting.name), setting.value);
    if (!valid) {
      setting.in_force = IsAboutAFile(valid.error());
      if (!setting.in_force && (MayHoldASecret(setting.value) || setting.name.ends_with("_file"))) {
        setting.value = "...";
      }
      AddToDo(Sentence(valid.error()), line);
    }
  }
  for (std::string* const text : {&line.origin, &line.remark, &line.to_do}) {
    *text = OneLine(std::move(*text));
  }
  lines_.push_back(std::move(line));
}

void ImportedConf::AddSecret(std::string_view name, std::string_view secret,
                             const ImportOptions& options, ImportedLine& line) {
  const SettingSpec* const spec = FindSetting(name);
  const Status valid = spec == nullptr ? Ok() : ValidateSetting(*spec, secret);
  const std::string file = fmt::format("{}/{}", options.secrets_directory, name);
  line.settings.push_back({fmt::format("{}_file", name), file, valid.has_value()});
  if (!valid) {
    AddToDo(Sentence(valid.error()), line);
    return;
  }
  secrets_.push_back({file, SecretString(secret)});
  if (!options.writes_secrets) {
    AddToDo(
        "The secret was not copied: put it into this file, as its only line and with mode "
        "0600, or run this command again with --secrets-dir.",
        line);
  }
}

std::size_t ImportedConf::CountToDo() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(lines_, [](const ImportedLine& line) { return !line.to_do.empty(); }));
}

std::string ImportedConf::Format(std::string_view heading) const {
  std::string text(heading);
  for (const ImportedLine& line : lines_) {
    text += "\n# " + line.origin + "\n";
    text += line.to_do.empty() ? "" : Comment("TO DO: " + line.to_do, "   ");
    text += line.remark.empty() ? "" : Comment(line.remark, "   ");
    for (const ImportedSetting& setting : line.settings) {
      text += fmt::format("{}{}{} = {}\n", setting.in_force ? "" : "#", kSettingPrefix,
                          setting.name, OneLine(Quote(setting.value)));
    }
  }
  return text;
}

}  // namespace veza
