#include "core/environment.h"

#include <fmt/format.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>

namespace veza {

Cancellation::Cancellation() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Cancellation::~Cancellation() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

void Cancellation::Cancel() noexcept {
  cancelled_.store(true, std::memory_order_release);
  const std::uint64_t one = 1;
  // The write fails when the counter is full. Then fd_ is readable already, which is all that is
  // needed.
  [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void Cancellation::Reset() noexcept {
  std::uint64_t drained = 0;
  [[maybe_unused]] const ssize_t bytes = read(fd_, &drained, sizeof drained);
  cancelled_.store(false, std::memory_order_release);
}

Status Cancellation::Check() const {
  return cancelled() ? Status(Cancelled()) : Ok();
}

Error Cancelled() {
  return MakeError(ErrorCode::kCancelled, "operation was cancelled");
}

std::uint64_t Random::Below(std::uint64_t bound) {
  std::uint8_t raw[8];
  Fill(raw);
  return LoadLittleEndian<std::uint64_t>(raw) % bound;
}

namespace {

class RealClock : public Clock {
 public:
  TimePoint Now() const override {
    return std::chrono::time_point_cast<std::chrono::microseconds>(
        std::chrono::system_clock::now());
  }
  SteadyTime Steady() const override { return std::chrono::steady_clock::now(); }

  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    const SteadyTime end = Steady() + duration;
    pollfd watched{cancellation != nullptr ? cancellation->fd() : -1, POLLIN, 0};
    for (;;) {
      if (cancellation != nullptr && cancellation->cancelled()) {
        return false;
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Steady());
      if (left.count() <= 0) {
        return true;
      }
      poll(&watched, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
    }
  }
};

class OpenSslRandom : public Random {
 public:
  void Fill(MutableByteView bytes) override {
    // Without random bytes there is no nonce and no key, and nothing safe can follow.
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
      std::abort();
    }
  }
};

}  // namespace

const Clock& SystemClock() {
  static const RealClock clock;
  return clock;
}

Random& SystemRandom() {
  static OpenSslRandom random;
  return random;
}

std::string FormatUtc(TimePoint time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t seconds = whole.time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  const std::int64_t micros = (time - whole).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     micros == 0 ? std::string() : fmt::format(".{:06}", micros));
}

Result<TimePoint> ParseUtc(std::string_view text) {
  const std::string copy(text);
  std::tm parts{};
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::int64_t micros = 0;
  if (rest != nullptr && *rest == '.') {
    std::int64_t unit = 100'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest) {
      micros += unit * (*rest - '0');
      unit /= 10;
    }
  }
  if (rest == nullptr || std::string_view(rest) != "Z") {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a UTC time stamp", copy);
  }
  return TimePoint(std::chrono::seconds(timegm(&parts)) + std::chrono::microseconds(micros));
}

}  // namespace veza
