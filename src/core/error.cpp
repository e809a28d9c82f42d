#include "core/error.h"

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
