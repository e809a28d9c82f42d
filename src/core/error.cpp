#include "core/error.h"

#include <fmt/format.h>

#include <cerrno>
#include <string_view>
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
    case ErrorCode::kCredentials:
      return "credentials";
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

std::string Shorten(std::string text, std::size_t most) {
  constexpr std::string_view kGap = " ... ";
  if (text.size() <= most) {
    return text;
  }
  const auto is_within = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
  };
  // Of text that is not UTF-8 every byte may look like the middle of a letter.
  constexpr std::size_t kLongestLetter = 4;
  const std::size_t room = most - kGap.size();
  std::size_t head = room * 2 / 3;
  std::size_t tail = text.size() - (room - head);
  for (std::size_t i = 1; i < kLongestLetter && is_within(head); ++i) {
    --head;
  }
  for (std::size_t i = 1; i < kLongestLetter && tail < text.size() && is_within(tail); ++i) {
    ++tail;
  }
  return text.replace(head, tail - head, kGap);
}

Error VMakeError(ErrorCode code, fmt::string_view format, fmt::format_args args) {
  return {code, Shorten(fmt::vformat(format, args), kLongestMessage)};
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
