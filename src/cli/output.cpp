#include "cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>

namespace veza::cli {
namespace {

// The reader of standard output has closed it, as `head` does.
std::atomic<bool> reader_is_gone = false;

// After writing to standard output.
void NoteIfReaderIsGone(bool written) {
  if (!written && errno == EPIPE) {
    reader_is_gone = true;
  }
}

void Write(const std::string& text) {
  // FlushOutput() reports a failure.
  NoteIfReaderIsGone(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void Tell(const char* severity, const std::string& message, const std::string& hint) {
  std::string text = fmt::format("vezactl: {}: {}\n", severity, message);
  if (!hint.empty()) {
    text += fmt::format("HINT:  {}\n", hint);
  }
  // Otherwise a warning would stand in the middle of a table.
  NoteIfReaderIsGone(std::fflush(stdout) == 0);
  std::fwrite(text.data(), 1, text.size(), stderr);  // a failure cannot be reported anywhere
}

}  // namespace

void PrintError(const Error& error) {
  Tell("error", Printable(error.message), error.hint);
}

void PrintWarning(const std::string& message, const std::string& hint) {
  Tell("warning", Printable(message), hint);
}

void WarnOfLock(const std::optional<Error>& not_released) {
  if (not_released) {
    PrintWarning(
        fmt::format("the lock of the repository was not released: {}", not_released->message),
        "Backups and expiries wait until it is over, after two minutes.");
  }
}

void PrintText(const std::string& text) {
  Write(text);
}

void PrintJson(const Json& document) {
  Write(document.Print(2) + "\n");
}

bool FlushOutput() {
  const bool written = std::fflush(stdout) == 0;
  NoteIfReaderIsGone(written);
  return reader_is_gone || (written && std::ferror(stdout) == 0);
}

void AddNotes(const WalkNotes& notes, Json& document) {
  Json& skipped = document["skipped"] = Json::Array();
  for (const SkippedItem& item : notes.skipped) {
    skipped.push_back({{"path", item.path}, {"reason", item.reason}});
  }
  document["skipped_count"] = notes.skipped_count;
  Json& links = document["links"] = Json::Array();
  for (const FollowedLink& link : notes.links) {
    links.push_back({{"path", link.path}, {"target", link.target}});
  }
  document["links_count"] = notes.links_count;
}

Json ErrorToJson(const Error& error) {
  Json json = {{"code", ErrorCodeName(error.code)}, {"message", error.message}};
  if (!error.hint.empty()) {
    json["hint"] = error.hint;
  }
  return json;
}

std::string Printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
  return text;
}

std::vector<std::size_t> Table::Widths() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = std::max(columns_[i].width, columns_[i].title.size());
    for (const auto& row : rows_) {
      width = std::max(width, row[i].size());
    }
    widths.push_back(width);
  }
  return widths;
}

std::string Table::Line(const std::vector<std::size_t>& widths,
                        const std::function<const std::string&(std::size_t)>& cell_of) const {
  std::string line;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    line += i == 0 ? "" : "  ";
    line += columns_[i].right_aligned ? fmt::format("{:>{}}", cell_of(i), widths[i])
                                      : fmt::format("{:<{}}", cell_of(i), widths[i]);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string Table::Heading() const {
  return Line(Widths(), [&](std::size_t i) -> const std::string& { return columns_[i].title; });
}

std::string Table::Rows() const {
  const std::vector<std::size_t> widths = Widths();
  std::string text;
  for (const auto& row : rows_) {
    text += Line(widths, [&](std::size_t i) -> const std::string& { return row[i]; });
  }
  return text;
}

std::string QuoteIdentifier(const std::string& name) {
  std::string quoted = "\"";
  for (const char c : name) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return quoted + "\"";
}

std::string FormatSize(std::uint64_t bytes) {
  if (bytes < 1024) {
    return fmt::format("{} bytes", bytes);
  }
  auto number = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* larger : {"kB", "MB", "GB", "TB", "PB", "EB"}) {
    if (number < 1023.5) {
      break;
    }
    number /= 1024;
    unit = larger;
  }
  return number < 9.95 ? fmt::format("{:.1f} {}", number, unit)
                       : fmt::format("{:.0f} {}", number, unit);
}

std::string FormatDuration(std::chrono::milliseconds duration) {
  const auto count = duration.count();
  if (count < 1000) {
    return fmt::format("{} ms", count);
  }
  if (count < 60'000) {
    return fmt::format("{:.1f} s", static_cast<double>(count) / 1000);
  }
  const auto seconds = count / 1000;
  if (seconds < 3600) {
    return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  }
  return fmt::format("{} h {:02} min", seconds / 3600, seconds % 3600 / 60);
}

}  // namespace veza::cli
