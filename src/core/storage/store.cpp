#include "core/storage/store.h"

#include <algorithm>

namespace veza {

namespace {

constexpr std::size_t kLongestName = 700;  // S3 allows 1024 bytes, the prefix included
constexpr std::size_t kLongestPart = 255;  // NAME_MAX of the usual file systems
constexpr std::string_view kReservedPart = ".veza-tmp-";

bool ValidCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

bool ValidPart(std::string_view part) {
  return !part.empty() && part.size() <= kLongestPart && part != "." && part != ".." &&
         !part.starts_with(kReservedPart) && std::all_of(part.begin(), part.end(), ValidCharacter);
}

Error TooLarge(const Store& store, std::string_view name, std::size_t limit) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "object \"{}/{}\" is larger than the limit of {} bytes", store.location(), name,
                   limit)
      .WithHint(
          "The object is not as veza_backup wrote it. If the store keeps old versions, put an "
          "older one back. Otherwise use another backup.");
}

}  // namespace

Status Store::DeleteAll(std::span<const std::string> names) {
  for (const std::string& name : names) {
    RETURN_IF_ERROR(Delete(name));
  }
  return Ok();
}

Status Store::ListFragments(const ObjectVisitor&) {
  return Ok();
}

Status Store::RemoveFragment(std::string_view) {
  return Ok();
}

Result<bool> HoldsObject(Store& store, std::string_view prefix) {
  bool found = false;
  const Status listed = store.List(prefix, "", [&](const ObjectInfo&) -> Status {
    found = true;
    return MakeError(ErrorCode::kCancelled, "seen enough");
  });
  if (!found) {
    RETURN_IF_ERROR(listed);
  }
  return found;
}

Status ValidateObjectName(std::string_view name) {
  bool valid = name.size() <= kLongestName;
  for (std::string_view rest = name; valid;) {
    const std::size_t slash = rest.find('/');
    valid = ValidPart(rest.substr(0, slash));
    if (slash == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(slash + 1);
  }
  if (!valid) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a valid object name", name);
  }
  return Ok();
}

Status ValidateDirectoryPrefix(std::string_view prefix) {
  if (prefix.empty()) {
    return Ok();
  }
  if (!prefix.ends_with('/')) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a directory prefix", prefix);
  }
  return ValidateObjectName(prefix.substr(0, prefix.size() - 1));
}

Result<std::optional<ObjectInfo>> HeadIfThere(Store& store, std::string_view name) {
  Result<ObjectInfo> info = store.Head(name);
  if (!info && info.error().code == ErrorCode::kNotFound) {
    return std::optional<ObjectInfo>();
  }
  RETURN_IF_ERROR(info);
  return std::optional(*std::move(info));
}

Result<FirstObjects> ListFirst(Store& store, std::string_view prefix, std::size_t limit) {
  FirstObjects first;
  const Status listed = store.List(prefix, "", [&](const ObjectInfo& object) -> Status {
    if (first.objects.size() == limit) {
      first.more = true;
      return MakeError(ErrorCode::kCancelled, "seen enough");
    }
    first.objects.push_back(object);
    return Ok();
  });
  if (!first.more) {
    RETURN_IF_ERROR(listed);
  }
  return first;
}

Result<std::vector<ObjectInfo>> ListAtMost(Store& store, std::string_view prefix,
                                           std::size_t limit) {
  ASSIGN_OR_RETURN(FirstObjects first, ListFirst(store, prefix, limit));
  if (first.more) {
    return TooManyObjects(store, prefix, limit);
  }
  return std::move(first.objects);
}

Error TooManyObjects(const Store& store, std::string_view prefix, std::size_t limit) {
  return MakeError(ErrorCode::kDataCorrupted, "repository \"{}\" holds more than {} names \"{}*\"",
                   store.location(), limit, prefix)
      .WithHint(
          "veza_backup itself writes far fewer. Find out who wrote the others, and remove them.");
}

Result<Bytes> GetListed(Store& store, const ObjectInfo& object, std::size_t limit) {
  if (object.size > limit) {
    return TooLarge(store, object.name, limit);
  }
  return GetSmall(store, object.name, limit);
}

Result<Bytes> GetSmall(Store& store, std::string_view name, std::size_t limit) {
  Bytes content;
  RETURN_IF_ERROR(store.Get(name, ByteRange{}, [&](ByteView piece) -> Status {
    if (piece.size() > limit - content.size()) {
      return TooLarge(store, name, limit);
    }
    content.insert(content.end(), piece.begin(), piece.end());
    return Ok();
  }));
  return content;
}

bool IsOfTheStore(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded ||
         error.code == ErrorCode::kCredentials || error.code == ErrorCode::kCancelled ||
         error.code == ErrorCode::kInternal;
}

Status PutSmall(Store& store, std::string_view name, ByteView content, PutMode mode) {
  MemoryBody body(content);
  return store.Put(name, body, mode);
}

Status PutSmallOnce(Store& store, std::string_view name, ByteView content) {
  Status put = PutSmall(store, name, content, PutMode::kCreate);
  return !put && put.error().code == ErrorCode::kAlreadyExists ? Ok() : put;
}

}  // namespace veza
