#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/output.h"

namespace veza::cli {
namespace {

constexpr std::chrono::milliseconds kBarInterval{200};
constexpr std::chrono::milliseconds kLineInterval{10'000};
constexpr std::size_t kMaxBarWidth = 40;

std::size_t TerminalWidth() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int Percent(const ProgressState& state) {
  // Never 100 before everything is done.
  return state.done >= state.total ? 100
                                   : static_cast<int>(static_cast<double>(state.done) * 100 /
                                                      static_cast<double>(state.total));
}

}  // namespace

ProgressReporter::ProgressReporter(const Clock& clock, bool quiet,
                                   std::function<ProgressState()> state)
    : clock_(clock),
      state_(std::move(state)),
      on_terminal_(isatty(STDERR_FILENO) == 1),
      begin_(clock.Steady()) {
  if (!quiet) {
    thread_ = std::thread([this] { Run(); });
  }
}

ProgressReporter::~ProgressReporter() {
  Stop();
}

void ProgressReporter::Stop() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
  if (on_terminal_) {
    std::fputs("\r\033[K", stderr);
  }
}

void ProgressReporter::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, on_terminal_ ? kBarInterval : kLineInterval,
                             [this] { return stop_; })) {
    const ProgressState state = state_();
    if (state.total == 0) {
      continue;
    }
    if (on_terminal_) {
      DrawBar(state);
    } else {
      PrintLine(state);
    }
  }
}

std::string ProgressReporter::Estimate(const ProgressState& state) const {
  const auto elapsed =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_.Steady() - begin_);
  if (state.done == 0 || state.done >= state.total || elapsed < std::chrono::seconds(2)) {
    return "";
  }
  const double left = static_cast<double>(elapsed.count()) *
                      static_cast<double>(state.total - state.done) /
                      static_cast<double>(state.done);
  return fmt::format(", {} left",
                     FormatDuration(std::chrono::milliseconds(static_cast<std::int64_t>(left))));
}

void ProgressReporter::DrawBar(const ProgressState& state) const {
  const std::string numbers =
      fmt::format("{:3}%  {} of {}{}", Percent(state), FormatSize(state.done),
                  FormatSize(state.total), Estimate(state));
  const std::size_t width = TerminalWidth();
  const std::size_t fixed = state.activity.size() + numbers.size() + 6;
  std::string bar;
  if (width > fixed + 10) {
    const std::size_t cells = std::min(kMaxBarWidth, width - fixed);
    const std::size_t filled = cells * static_cast<std::size_t>(Percent(state)) / 100;
    bar = fmt::format(" [{}{}]", std::string(filled, '#'), std::string(cells - filled, ' '));
  }
  const std::string line = fmt::format("{}{} {}", state.activity, bar, numbers);
  fmt::print(stderr, "\r{}\033[K", line.substr(0, width - 1));
}

void ProgressReporter::PrintLine(const ProgressState& state) const {
  fmt::print(stderr, "vezactl: {}: {}% ({} of {}{})\n", state.activity, Percent(state),
             FormatSize(state.done), FormatSize(state.total), Estimate(state));
}

}  // namespace veza::cli
