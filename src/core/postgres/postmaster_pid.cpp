#include "core/postgres/postmaster_pid.h"

#include <unistd.h>

#include <charconv>
#include <limits>

#include "core/process_identity.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

// Two lines are paths, of at most MAXPGPATH (1024) bytes each. The others are short.
constexpr std::size_t kLongestFile = 8192;

constexpr int kStateLine = 8;  // LOCK_FILE_LINE_PM_STATUS

// Removes the next line from the text. Nothing when no newline ends it.
std::optional<std::string_view> TakeLine(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

PostmasterPid ParsePostmasterPid(std::string_view text) {
  PostmasterPid result;
  std::optional<std::string_view> line = TakeLine(text);
  if (!line) {
    return result;
  }
  pid_t number = 0;
  const char* const end = line->data() + line->size();
  const auto [rest, error] = std::from_chars(line->data(), end, number);
  if (error == std::errc() && rest == end && number > std::numeric_limits<pid_t>::min()) {
    result.pid = number < 0 ? -number : number;
    result.is_single_user = number < 0;
  }
  for (int at = 2; line && at <= kStateLine; ++at) {
    line = TakeLine(text);
  }
  if (line) {
    result.state = line->substr(0, line->find_last_not_of(' ') + 1);
  }
  return result;
}

Result<std::optional<PostmasterPid>> ReadPostmasterPid(const std::string& data_directory) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text,
                   ReadRegularFile(data_directory + "/" + kPostmasterPidFile, kLongestFile));
  return text ? std::optional(ParsePostmasterPid(*text)) : std::nullopt;
}

std::string IdentifyRecoveringProcess() {
  const Result<std::optional<PostmasterPid>> file = ReadPostmasterPid(".");
  if (!file || !*file || (*file)->pid == 0 || (*file)->is_single_user) {
    return "";
  }
  for (pid_t pid = getppid(); pid > 0;) {
    const std::optional<pid_t> parent = ParentOf(pid);
    if (!parent.has_value()) {
      return "";
    }
    if (*parent == (*file)->pid) {
      return IdentifyProcess(pid);
    }
    pid = *parent;
  }
  return "";
}

}  // namespace veza
