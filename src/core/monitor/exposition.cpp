#include "core/monitor/exposition.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "core/codec/json.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

// HELP text knows no escaped quote.
std::string Escape(std::string_view text, bool quotes) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') {
      escaped += "\\\\";
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (c == '"' && quotes) {
      escaped += "\\\"";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string FormatValue(double value) {
  if (std::isnan(value)) {
    return "NaN";
  }
  if (std::isinf(value)) {
    return value > 0 ? "+Inf" : "-Inf";
  }
  return fmt::format("{}", value);
}

}  // namespace

void Exposition::Family(std::string_view name, std::string_view help) {
  name_ = name;
  head_ = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, Escape(help, false),
                      name.ends_with("_total") ? "counter" : "gauge");
}

void Exposition::Sample(double value, const Labels& labels) {
  text_ += head_;
  head_.clear();
  std::string list;
  for (const Labels* part : std::initializer_list<const Labels*>{&common_, &labels}) {
    for (const auto& [name, label] : *part) {
      list +=
          fmt::format("{}{}=\"{}\"", list.empty() ? "" : ",", name, Escape(ValidUtf8(label), true));
    }
  }
  text_ += list.empty() ? fmt::format("{} {}\n", name_, FormatValue(value))
                        : fmt::format("{}{{{}}} {}\n", name_, list, FormatValue(value));
}

void Exposition::Gauge(std::string_view name, std::string_view help, std::optional<double> value,
                       const Labels& labels) {
  if (value) {
    Family(name, help);
    Sample(*value, labels);
  }
}

std::optional<double> FindSample(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t space = line.rfind(' ');
    if (!line.starts_with(name) || space == std::string_view::npos ||
        (line[name.size()] != ' ' && line[name.size()] != '{')) {
      continue;
    }
    const std::string value(line.substr(space + 1));
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (!value.empty() && *end == '\0') {
      return number;
    }
  }
  return std::nullopt;
}

Status ReplaceTextFile(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
  const std::string named = fmt::format("file \"{}\"", temporary);
  const auto remove_and_fail = [&](Error error) {
    unlink(temporary.c_str());
    return error;
  };
  // One of the same name can only be left over from a process that is gone.
  unlink(temporary.c_str());
  const UniqueFd file(
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) {
    return ErrnoError(errno, "could not create " + named)
        .WithHint("Let the account that writes it create files in that directory.");
  }
  Status written = WriteAllAt(file.get(), 0, AsBytes(content), named);
  if (!written) {
    return remove_and_fail(std::move(written.error()));
  }
  if (fchmod(file.get(), 0644) != 0 || fsync(file.get()) != 0) {
    return remove_and_fail(ErrnoError(errno, "could not sync " + named));
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return remove_and_fail(ErrnoError(errno, fmt::format("could not replace file \"{}\"", path)));
  }
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd parent(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid() || fsync(parent.get()) != 0) {
    return ErrnoError(errno, fmt::format("could not sync directory \"{}\"", directory));
  }
  return Ok();
}

}  // namespace veza
