// Shows the progress of a long command on standard error: a bar on a terminal, otherwise a line
// every ten seconds.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "core/environment.h"

namespace veza::cli {

struct ProgressState {
  std::uint64_t done = 0;   // bytes
  std::uint64_t total = 0;  // bytes; 0 while it is not known
  std::string activity;     // for example "restoring"
};

// Runs a thread of its own until Stop(), which the destructor also calls. With `quiet` it does
// nothing.
class ProgressReporter {
 public:
  // `state` is called in that thread, until Stop() returns.
  ProgressReporter(const Clock& clock, bool quiet, std::function<ProgressState()> state);
  ~ProgressReporter();
  ProgressReporter(const ProgressReporter&) = delete;
  ProgressReporter& operator=(const ProgressReporter&) = delete;

  // Ends the thread, and removes the bar from the terminal.
  void Stop();

 private:
  void Run();
  void DrawBar(const ProgressState& state) const;
  void PrintLine(const ProgressState& state) const;
  std::string Estimate(const ProgressState& state) const;

  const Clock& clock_;
  std::function<ProgressState()> state_;
  const bool on_terminal_;
  const SteadyTime begin_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace veza::cli
