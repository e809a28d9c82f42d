#include "core/process_identity.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <fstream>
#include <sstream>

namespace veza {

namespace {

// Also returns an empty string when the process ends between open() and read(): read() then fails
// with ESRCH. A stream iterator would throw; operator<< does not.
std::string ReadFile(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Field `number` of /proc/PID/stat, as proc(5) counts them. Fields are counted from the end of the
// process name, because the name may contain spaces and parentheses. Empty when there is no such
// process or it is hidden.
std::string StatField(pid_t pid, int number) {
  const std::string stat = ReadFile(fmt::format("/proc/{}/stat", pid));
  std::size_t at = stat.rfind(')');
  for (int field = 2; field < number && at != std::string::npos; ++field) {
    at = stat.find(' ', at + 1);
  }
  if (at == std::string::npos) {
    return "";
  }
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

// Whether all threads of the process have ended, and only its parent does not know yet. While other
// threads run, the first one may be a zombie, too.
bool IsZombie(pid_t pid) {
  return StatField(pid, 3) == "Z" && StatField(pid, 20) == "1";
}

}  // namespace

std::string StartOf(pid_t pid) {
  return StatField(pid, 22);
}

std::string IdentifyPlace() {
  std::string boot = ReadFile("/proc/sys/kernel/random/boot_id");
  boot.erase(boot.find_last_not_of('\n') + 1);
  char name[PATH_MAX];
  const ssize_t length = readlink("/proc/self/ns/pid", name, sizeof name);
  if (boot.empty() || length <= 0) {
    return "";
  }
  return fmt::format("{} {}", boot, std::string_view(name, static_cast<std::size_t>(length)));
}

std::string IdentifyProcess(pid_t pid) {
  const std::string place = IdentifyPlace();
  const std::string start = StartOf(pid);
  if (place.empty() || start.empty()) {
    return "";
  }
  return fmt::format("{} {} {}", place, pid, start);
}

std::string IdentifyThisProcess() {
  return IdentifyProcess(getpid());
}

std::optional<pid_t> ParentOf(pid_t pid) {
  const std::string field = StatField(pid, 4);
  pid_t parent = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), parent);
  if (error != std::errc() || field.empty()) {
    return std::nullopt;
  }
  return parent;
}

bool HasEnded(std::string_view process) {
  const std::string place = IdentifyPlace();
  if (place.empty() || !process.starts_with(place + ' ')) {
    return false;
  }
  process.remove_prefix(place.size() + 1);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(process.data(), process.data() + process.size(), pid);
  if (error != std::errc() || pid <= 0 || end == process.data() + process.size() || *end != ' ') {
    return false;
  }
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    return true;
  }
  if (IsZombie(pid)) {
    return true;
  }
  const std::string start = StartOf(pid);
  return !start.empty() &&
         start != std::string_view(
                      end + 1, static_cast<std::size_t>(process.data() + process.size() - end - 1));
}

}  // namespace veza
