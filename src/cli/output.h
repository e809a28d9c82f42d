// How vezactl speaks: people get aligned text, programs get JSON, errors go to stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/codec/json.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza::cli {

// One line each on stderr; one with a hint has a second one.
void PrintError(const Error& error);
void PrintWarning(const std::string& message, const std::string& hint = {});

// Standard output. PrintJson adds the line end. Text that is not UTF-8 (a file name) does not stop
// it: the bytes are replaced.
void PrintText(const std::string& text);
void PrintJson(const Json& document);
// False when something could not be written, a full disk for example.
bool FlushOutput();

Json ErrorToJson(const Error& error);
// "skipped", "skipped_count", "links" and "links_count", also when there are none.
void AddNotes(const WalkNotes& notes, Json& document);

// Rows under a heading, columns aligned and two blanks apart; numbers to the right.
class Table {
 public:
  struct Column {
    std::string title;
    bool right_aligned = false;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as there are columns.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string Format() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// As an SQL command names a database: quoted, in any case.
std::string QuoteIdentifier(const std::string& name);

// "512 bytes", "14 kB", "2.5 GB": powers of 1024, as pg_size_pretty() names them.
std::string FormatSize(std::uint64_t bytes);
// "850 ms", "12.3 s", "4 min 05 s", "2 h 07 min".
std::string FormatDuration(std::chrono::milliseconds duration);

}  // namespace veza::cli
