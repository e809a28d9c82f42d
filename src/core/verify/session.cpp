#include "core/verify/session.h"

#include <memory>

namespace veza {

namespace {

// The most objects that wait for a thread. This limits how far ahead manifests are read.
constexpr std::size_t kQueueLimit = 16;

}  // namespace

VerifySession::VerifySession(const Repository& repository, const VerifyOptions& options,
                             VerifyProgress& progress)
    : repository_(repository),
      full_(options.full),
      rate_(options.max_rate),
      progress_(progress),
      limiter_(repository.environment(), rate_),
      queue_(kQueueLimit) {}

Status VerifySession::Start(int jobs) {
  return queue_.Start(jobs, [this] {
    return [reader = std::make_unique<PackReader>(repository_, [this](std::uint64_t bytes) {
              progress_.bytes_read += bytes;
            })](const VerifyJob& job) { return job(*reader); };
  });
}

Status VerifySession::Judge(const Status& status, const std::string& object,
                            const std::vector<std::string>& labels) {
  if (status) {
    return Ok();
  }
  if (!IsDamage(status.error(), object)) {
    return status;
  }
  for (const std::string& label : labels) {
    findings_.AddProblem({object, label, status.error().message});
  }
  if (labels.empty()) {
    findings_.AddProblem({object, "", status.error().message});
  }
  return Ok();
}

Status VerifySession::NoteDamaged(const std::string& object, const std::string& label,
                                  std::uint64_t size, const std::function<Status()>& read) {
  BeforeReading(size);
  Status again = read();
  if (!again && !IsDamage(again.error(), object)) {
    return again;
  }
  // Others may say that the disk cannot read the object, or that a newer program has written it.
  const bool is_of_content = !again && (again.error().code == ErrorCode::kDataCorrupted ||
                                        again.error().code == ErrorCode::kWrongKey ||
                                        again.error().code == ErrorCode::kPermissionDenied);
  if (!is_of_content) {
    return Ok();
  }
  std::uint64_t bytes = 0;
  BeforeReading(size);
  Status got = repository_.store().Get(object, {}, [&](ByteView piece) -> Status {
    bytes += piece.size();
    return Ok();
  });
  if (!got && IsOfTheStore(got.error())) {
    return got;
  }
  if (got && bytes == size) {
    findings_.AddDamaged(label, object);
  }
  return Ok();
}

bool VerifySession::IsDamage(const Error& error, const std::string& object) const {
  switch (error.code) {
    case ErrorCode::kDataCorrupted:
    case ErrorCode::kUnsupported:
    case ErrorCode::kWrongKey:
    case ErrorCode::kIo:  // for example a disk that cannot read this file
      return true;
    case ErrorCode::kPermissionDenied: {
      // Either the object is not encrypted although it should be (damage), or the store refuses
      // access. Reading one byte tells them apart.
      const Status again =
          repository_.store().Get(object, {0, 1}, [](ByteView) -> Status { return Ok(); });
      return again || again.error().code != ErrorCode::kPermissionDenied;
    }
    default:
      return false;
  }
}

}  // namespace veza
