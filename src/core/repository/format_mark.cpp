#include "core/repository/format_mark.h"

#include <fmt/format.h>

#include "core/codec/document.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr int kVersion = 2;

// What a document says that names no other version than its name does.
Status CheckMark(std::string_view text, const SealPolicy& policy) {
  const std::string name(kFormatMarkName);
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, name));
  JsonFields fields(document, name);
  int version = 0;
  fields.Read("version", version);
  RETURN_IF_ERROR(fields.status());
  if (version != kVersion) {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\" names version {}", name, version);
  }
  return Ok();
}

Error CannotBeUsed(std::string_view problem) {
  return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" cannot be used: {}", kFormatMarkName,
                   problem)
      .WithHint(
          "Until then version 1 is written, which is safe. Delete the object, and run the command "
          "again.");
}

}  // namespace

Result<FormatMark> ReadFormatMark(Store& store, const SealPolicy& policy) {
  if (!policy.encrypts()) {
    return FormatMark{FormatMark::State::kNotNeeded};
  }
  const Result<Bytes> text = GetSmall(store, std::string(kFormatMarkName), limits::kFormatMark);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    return FormatMark{FormatMark::State::kAbsent};
  }
  const Status checked = text ? CheckMark(AsText(*text), policy) : Status(text.error());
  if (checked) {
    return FormatMark{FormatMark::State::kPresent};
  }
  if (!IsUnreadable(checked.error())) {
    return checked.error();
  }
  return FormatMark{FormatMark::State::kUnreadable, checked.error().message};
}

Status CreateFormatMark(Store& store, const SealPolicy& policy, const std::string& node,
                        TimePoint now) {
  const std::string name(kFormatMarkName);
  ASSIGN_OR_RETURN(const std::string text, SignDocument({{"format", 1},
                                                         {"version", kVersion},
                                                         {"node", ValidUtf8(node)},
                                                         {"created", FormatUtc(now)}},
                                                        policy, name));
  return PutSmallOnce(store, name, AsBytes(text));
}

Result<bool> UpgradeFormat(const Repository& repository) {
  Store& store = repository.store();
  const SealPolicy& policy = repository.seal_policy();
  ASSIGN_OR_RETURN(const FormatMark mark, ReadFormatMark(store, policy));
  switch (mark.state) {
    case FormatMark::State::kPresent:
      return false;
    case FormatMark::State::kNotNeeded:
      return MakeError(ErrorCode::kFailedPrecondition,
                       "repository \"{}\" is not encrypted, and there is no newer format for it",
                       store.location())
          .WithHint("Version 2 of the format differs only in repositories with a key.");
    case FormatMark::State::kUnreadable:
      return CannotBeUsed(mark.problem);
    case FormatMark::State::kAbsent:
      break;
  }
  RETURN_IF_ERROR(CreateFormatMark(store, policy, repository.options().node,
                                   repository.environment().clock->Now()));
  ASSIGN_OR_RETURN(const FormatMark written, ReadFormatMark(store, policy));
  return written.state == FormatMark::State::kPresent ? Result<bool>(true)
                                                      : CannotBeUsed(written.problem);
}

}  // namespace veza
