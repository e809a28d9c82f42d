#include "core/error.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace veza {

const char* ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kAlreadyExists:
      return "already_exists";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kPermissionDenied:
      return "permission_denied";
    case ErrorCode::kFailedPrecondition:
      return "failed_precondition";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kDeadlineExceeded:
      return "deadline_exceeded";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kDataCorrupted:
      return "data_corrupted";
    case ErrorCode::kWrongKey:
      return "wrong_key";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kNoSpace:
      return "no_space";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

Error::Error() = default;
Error::Error(ErrorCode code, std::string message, std::string hint, bool retryable)
    : code(code), message(std::move(message)), hint(std::move(hint)), retryable(retryable) {}
Error::Error(const Error& other) = default;
Error::Error(Error&& other) noexcept = default;
Error& Error::operator=(const Error& other) = default;
Error& Error::operator=(Error&& other) noexcept = default;
Error::~Error() = default;

Error&& Error::WithHint(std::string text) && {
  hint = std::move(text);
  return std::move(*this);
}

Error&& Error::Retryable() && {
  retryable = true;
  return std::move(*this);
}

Error&& Error::WithContext(const std::string& context) && {
  message = context + ": " + message;
  return std::move(*this);
}

Error VMakeError(ErrorCode code, fmt::string_view format, fmt::format_args args) {
  return {code, fmt::vformat(format, args)};
}

Error ErrnoError(int error_number, const std::string& what) {
  // std::generic_category().message() returns what strerror() does, and is thread-safe.
  const std::string text = std::generic_category().message(error_number);
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return MakeError(ErrorCode::kNoSpace, "{}: {}", what, text)
          .WithHint("Free some space on that file system.");
    case ENOENT:
      return MakeError(ErrorCode::kNotFound, "{}: {}", what, text);
    case EACCES:
    case EPERM:
    case EROFS:
      return MakeError(ErrorCode::kPermissionDenied, "{}: {}", what, text);
    default:
      return MakeError(ErrorCode::kIo, "{}: {}", what, text);
  }
}

}  // namespace veza
