#include "core/import/old_settings.h"

#include <algorithm>

#include "core/ascii.h"
#include "core/secret_string.h"

namespace veza {

OldSettings::~OldSettings() {
  for (OldSetting& setting : settings_) {
    Wipe(setting.value);
  }
}

bool MayHoldASecret(std::string_view value) {
  std::string text = LowerCase(value);
  const WipeAtEnd wipe(text);
  std::erase_if(text, [](char c) { return c == ' ' || c == '\t'; });
  constexpr const char* kBefore[] = {
      "@", "password=", "passwd=", "pass=", "passphrase=", "token=", "secret=", "key="};
  return std::ranges::any_of(
      kBefore, [&](const char* mark) { return text.find(mark) != std::string::npos; });
}

namespace {

// What should be the name of a file and is none may be what was to be in the file.
bool IsMisplaced(const OldSetting& setting) {
  const std::string key = LowerCase(setting.key);
  return (key.ends_with("file") || key.ends_with("path")) && !setting.value.starts_with('/');
}

}  // namespace

std::string ForPeople(const OldSetting& setting, bool known, bool secret) {
  constexpr const char* kHidden = "...";
  const std::string section = setting.section.empty() ? "" : fmt::format("[{}] ", setting.section);
  if (!known && setting.is_of_line) {
    return fmt::format("{}: {}{}", setting.source, section, kHidden);
  }
  const bool is_hidden = !known || secret || MayHoldASecret(setting.value) || IsMisplaced(setting);
  return fmt::format("{}: {}{}={}", setting.source, section, setting.key,
                     is_hidden ? kHidden : setting.value);
}

Status ForEachLine(
    std::string_view text, const std::string& file, std::string_view blanks,
    const std::function<Status(std::string_view line, const std::string& source)>& each) {
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end), blanks);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && !line.starts_with('#')) {
      RETURN_IF_ERROR(each(line, fmt::format("{} line {}", file, number)));
    }
  }
  return Ok();
}

}  // namespace veza
