#include "core/postgres/tablespace_map.h"

#include <charconv>

namespace veza {

namespace {

Result<Tablespace> ParseLine(std::string_view line) {
  Tablespace tablespace;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), tablespace.oid);
  const auto digits = static_cast<std::size_t>(end - line.data());
  if (error != std::errc() || digits + 1 >= line.size() || line[digits] != ' ') {
    return MakeError(ErrorCode::kDataCorrupted, "invalid line in tablespace_map: \"{}\"", line);
  }
  tablespace.path = line.substr(digits + 1);
  return tablespace;
}

}  // namespace

Result<std::vector<Tablespace>> ParseTablespaceMap(std::string_view text) {
  std::vector<Tablespace> tablespaces;
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      line.push_back(text[++i]);
    } else if (text[i] == '\n') {
      ASSIGN_OR_RETURN(Tablespace tablespace, ParseLine(line));
      tablespaces.push_back(std::move(tablespace));
      line.clear();
    } else {
      line.push_back(text[i]);
    }
  }
  if (!line.empty()) {
    return MakeError(ErrorCode::kDataCorrupted, "tablespace_map does not end with a line feed");
  }
  return tablespaces;
}

std::string FormatTablespaceMap(const std::vector<Tablespace>& tablespaces) {
  std::string text;
  for (const Tablespace& tablespace : tablespaces) {
    text += fmt::format("{} ", tablespace.oid);
    for (const char c : tablespace.path) {
      if (c == '\\' || c == '\n' || c == '\r') {
        text.push_back('\\');
      }
      text.push_back(c);
    }
    text.push_back('\n');
  }
  return text;
}

}  // namespace veza
