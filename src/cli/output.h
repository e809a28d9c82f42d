// The output of vezactl: aligned text for people, JSON for programs, errors on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/json.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza::cli {

// Print one line on standard error, and a second one for the hint, if there is one.
void PrintError(const Error& error);
void PrintWarning(const std::string& message, const std::string& hint = {});
// For a command that is done, but could not release the lock of the repository, if that is so.
void WarnOfLock(const std::optional<Error>& not_released);

// Print on standard output. PrintJson() adds a newline. In JSON, bytes that are not UTF-8 (in a
// file name) are replaced.
void PrintText(const std::string& text);
void PrintJson(const Json& document);
// Flushes standard output. Returns false when anything could not be written, for example on a full
// disk. A reader that closes a pipe has what it wants: that is no failure.
bool FlushOutput();

// Text that others have written must not control the terminal.
std::string Printable(std::string text);

Json ErrorToJson(const Error& error);
// Adds the members "skipped", "skipped_count", "links" and "links_count", also when they are empty.
void AddNotes(const WalkNotes& notes, Json& document);

// Formats rows under a heading. Columns are aligned and separated by two spaces. Numbers are
// aligned to the right.
class Table {
 public:
  struct Column {
    std::string title;
    bool right_aligned = false;
    std::size_t width = 0;  // at least
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // `cells` must have one element per column.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Format() const { return Heading() + Rows(); }

  // For a table that is printed piece by piece: columns align as far as `width` of each is enough.
  std::string Heading() const;
  std::string Rows() const;
  void Clear() { rows_.clear(); }

 private:
  std::vector<std::size_t> Widths() const;
  std::string Line(const std::vector<std::size_t>& widths,
                   const std::function<const std::string&(std::size_t)>& cell_of) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// A name as an SQL identifier, always quoted.
std::string QuoteIdentifier(const std::string& name);

// For example "512 bytes", "14 kB", "2.5 GB". Powers of 1024, with the units of pg_size_pretty().
std::string FormatSize(std::uint64_t bytes);
// For example "850 ms", "12.3 s", "4 min 05 s", "2 h 07 min".
std::string FormatDuration(std::chrono::milliseconds duration);

}  // namespace veza::cli
