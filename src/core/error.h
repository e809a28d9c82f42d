// Errors of the core: one closed set of codes, a message, a hint, and whether trying again can
// help.
//
// Nothing in the core throws on purpose and nothing in it calls PostgreSQL. A function that can
// fail returns Result<T> or Status; ignoring either is a compile error. Messages follow
// PostgreSQL's message style: no capital first letter, no full stop, names in double quotes; the
// hint is a whole sentence that tells the operator what to do. Secrets never go into either.
#pragma once

#include <fmt/core.h>

#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace veza {

enum class ErrorCode {
  kInvalidArgument,     // a setting, label, name, date or argument is wrong
  kNotFound,            // the object, file or bucket does not exist
  kAlreadyExists,       // a conditional write found the name taken
  kConflict,            // the name holds different content, or another cluster owns the repository
  kPermissionDenied,    // credentials or file permissions are not sufficient
  kCredentials,         // there are no valid credentials for the store: not found, expired, refused
  kFailedPrecondition,  // right request, wrong state: not initialised, backup running, not empty
  kUnavailable,         // network or server trouble; trying again can help
  kDeadlineExceeded,    // a deadline passed
  kCancelled,           // somebody asked us to stop
  kDataCorrupted,       // bytes do not match their digest, tag or format
  kWrongKey,            // the passphrase does not open the key
  kUnsupported,         // format version, cipher or server feature that is not known here
  kNoSpace,             // the disk is full, or would be
  kIo,                  // any other failure of a local file operation
  kInternal,            // a bug: should be reported
};

// The code's name as users see it in JSON output, for example "not_found".
const char* ErrorCodeName(ErrorCode code);

// Constructors, destructor and moves are defined in error.cpp. Every RETURN_IF_ERROR and
// ASSIGN_OR_RETURN uses them; inline they made up to half of a source's code, and a third of the
// time to compile it.
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::string hint;        // empty: there is nothing to advise
  bool retryable = false;  // the same call may succeed later without anyone doing anything
  std::optional<std::chrono::milliseconds> retry_after;  // what the server asked for

  Error();
  Error(ErrorCode code, std::string message, std::string hint = {}, bool retryable = false);
  Error(const Error& other);
  Error(Error&& other) noexcept;
  Error& operator=(const Error& other);
  Error& operator=(Error&& other) noexcept;
  ~Error();

  Error&& WithHint(std::string text) &&;
  Error&& Retryable() &&;
  // Puts "<context>: " before the message; code, hint and retryable stay.
  Error&& WithContext(const std::string& context) &&;
};

// tl::expected itself is not [[nodiscard]]; deriving is what makes an ignored result fail the
// build.
template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `return Error{...};` is the point
  Result(Error error) : tl::expected<T, Error>(tl::unexpect, std::move(error)) {}
};

using Status = Result<void>;

// Ok() reads better than `return {}` where a Status is returned.
inline Status Ok() {
  return {};
}

// At most `most` bytes of a text, from 32 on: the beginning, " ... " and the end, where the reason
// stands. No letter of UTF-8 is cut.
std::string Shorten(std::string text, std::size_t most);

// A longer message is shortened: it quotes an argument of any length.
inline constexpr std::size_t kLongestMessage = 4000;

// What MakeError calls: not a template, so that a call adds no more code than its arguments.
Error VMakeError(ErrorCode code, fmt::string_view format, fmt::format_args args);

template <typename... Args>
Error MakeError(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return VMakeError(code, format, fmt::make_format_args(args...));
}

// An error for a failed system call: `what` (for example `could not open file "x"`) and the errno's
// text; ENOSPC and EDQUOT become kNoSpace, ENOENT kNotFound, EACCES, EPERM and EROFS
// kPermissionDenied.
Error ErrnoError(int error_number, const std::string& what);

// Runs `work`, which returns Status, and turns an exception (out of memory above all) into an
// error. The outermost call of every thread, and the boundary to C.
template <typename Work>
Status CatchExceptions(Work&& work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kInternal, "out of memory"};
  } catch (const std::exception& exception) {
    return Error{ErrorCode::kInternal, std::string("unexpected exception: ") + exception.what(),
                 "This is a bug in veza_backup; please report it."};
  } catch (...) {
    return Error{ErrorCode::kInternal, "unexpected exception"};
  }
}

}  // namespace veza

// The only two macros of the core. Both return the error of `expr` from the enclosing function.
#define VEZA_CONCAT_INNER(a, b) a##b
#define VEZA_CONCAT(a, b) VEZA_CONCAT_INNER(a, b)
#define RETURN_IF_ERROR(expr)                                  \
  do {                                                         \
    if (auto veza_status = (expr); !veza_status.has_value()) { \
      return ::veza::Error(std::move(veza_status.error()));    \
    }                                                          \
  } while (false)
// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` may be a declaration
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_INNER(VEZA_CONCAT(veza_result_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_INNER(tmp, lhs, expr)    \
  auto tmp = (expr);                              \
  if (!tmp.has_value()) {                         \
    return ::veza::Error(std::move(tmp.error())); \
  }                                               \
  lhs = std::move(*tmp)
// NOLINTEND(bugprone-macro-parentheses)
