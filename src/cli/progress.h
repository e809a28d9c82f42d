// Shows on stderr how far a long command is: a bar that is redrawn on a terminal, otherwise a plain
// line now and then.
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
  std::uint64_t total = 0;  // bytes; 0: not known yet
  std::string activity;     // "restoring", for example
};

// Runs a thread of its own from construction to Stop(), which the destructor calls too. With
// `quiet` it does nothing at all.
class ProgressReporter {
 public:
  // `state` is called from that thread until Stop() returns.
  ProgressReporter(const Clock& clock, bool quiet, std::function<ProgressState()> state);
  ~ProgressReporter();
  ProgressReporter(const ProgressReporter&) = delete;
  ProgressReporter& operator=(const ProgressReporter&) = delete;

  // Removes the bar from the terminal.
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
