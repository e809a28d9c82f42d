// The contract of an object store: what S3 and a local directory both promise, and all that the
// repository may rely on. test/core/storage/store_conformance.h states it as tests that every
// implementation passes.
//
// Names are relative, of [A-Za-z0-9._-] and '/', without empty, "." or ".." parts, and never begin
// or end with '/'. A part has at most 255 bytes and does not begin with ".veza-tmp-", a name has at
// most 700. No name may be that of an object and of a "directory" of others ("a" and "a/b"): a
// local store cannot hold both. All members are thread-safe and may be called at the same time.
// Every call has a deadline of its own (settings of the implementation) and returns kCancelled soon
// (well within a second) after the environment's Cancellation fires.
//
// Errors: kNotFound, kAlreadyExists, kPermissionDenied, kNoSpace, kInvalidArgument and others are
// final; an error with `retryable` set may go away. A store never retries by itself: RetryingStore
// (retrying_store.h) is the one place that does.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/body.h"

namespace veza {

struct ObjectInfo {
  std::string name;
  std::uint64_t size = 0;
  TimePoint modified{};  // by the store's own clock
};

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = std::numeric_limits<std::uint64_t>::max();  // to the end
  bool whole() const { return offset == 0 && length == std::numeric_limits<std::uint64_t>::max(); }
};

enum class PutMode {
  kCreate,   // fails with kAlreadyExists when the name is taken (S3: If-None-Match: *)
  kReplace,  // overwrites; for locks, leases, probes, damaged identities only, never for data
};

// Times of objects, and Store::Now(), are whole seconds rounded down on S3: what is over by them
// may be over only so much later.
inline constexpr std::chrono::seconds kStoreTimePrecision{1};

class Store {
 public:
  virtual ~Store() = default;

  // For messages: "s3://bucket/prefix" or "/directory". No secrets.
  virtual const std::string& location() const = 0;

  // Rewinds `body`, then reads all of it. Durable when it returns success, and after kAlreadyExists
  // the object that has the name is durable too: the object is there whole, or (on any error) not
  // at all, or (after a lost connection only) whole although an error was returned.
  virtual Status Put(std::string_view name, Body& body, PutMode mode) = 0;

  // Delivers the object, or the part of it that `range` selects, to `sink`. A range of length 0, or
  // one that begins at or past the end, is kInvalidArgument (the whole of an empty object is not);
  // one that reaches past the end delivers what there is. The sink may have been given some bytes
  // when an error is returned.
  virtual Status Get(std::string_view name, ByteRange range, const Sink& sink) = 0;

  virtual Result<ObjectInfo> Head(std::string_view name) = 0;

  // Durable when it returns success. An object that does not exist is a success.
  virtual Status Delete(std::string_view name) = 0;

  // Calls `each` for every object whose name begins with `prefix` (any string; empty: all), in
  // byte order of names, a bounded number held in memory at a time. `start_after`, when not empty,
  // skips names up to and including it. Stops at the first error of `each` and returns it.
  using ObjectVisitor = std::function<Status(const ObjectInfo&)>;
  virtual Status List(std::string_view prefix, std::string_view start_after,
                      const ObjectVisitor& each) = 0;

  // The names one level below `prefix` (which ends with '/' or is empty), without the prefix and
  // without a trailing '/': "directories" only, and only those that hold an object. In byte order.
  // A bucket with versioning may name others, too: those whose objects were all deleted (MinIO).
  // Who takes more from a name than where to look asks HoldsObject(). More than
  // limits::kDirectories are kDataCorrupted.
  virtual Result<std::vector<std::string>> ListDirectories(std::string_view prefix) = 0;

  // The store's own idea of the time, with the precision of kStoreTimePrecision.
  virtual Result<TimePoint> Now() = 0;

  // What Puts leave that were cut off (a kill, a crash): no objects, and in no listing. What a Put
  // in progress has written so far looks the same; only the time of the last write tells them
  // apart. Their names are for RemoveFragment() and for people. Stores whose Puts leave nothing
  // have none.
  virtual Status ListFragments(const ObjectVisitor& each);

  // Tidies up behind it, too. Under a Put in progress that Put fails, and nothing else happens.
  virtual Status RemoveFragment(std::string_view name);
};

// Nothing: there is no object of that name.
Result<std::optional<ObjectInfo>> HeadIfThere(Store& store, std::string_view name);

// Whole objects in memory, for the small ones (JSON documents). `limit` is one of core/limits.h;
// what is larger is kDataCorrupted, and the transfer ends there.
Result<Bytes> GetSmall(Store& store, std::string_view name, std::size_t limit);
// The same, of an object that was listed: what is too large by its listing is not fetched.
Result<Bytes> GetListed(Store& store, const ObjectInfo& object, std::size_t limit);

// The objects whose names begin with `prefix`, the first `limit` of them. `more`: there are others.
struct FirstObjects {
  std::vector<ObjectInfo> objects;
  bool more = false;
};
Result<FirstObjects> ListFirst(Store& store, std::string_view prefix, std::size_t limit);

// All of them; kDataCorrupted when there are more than `limit`.
Result<std::vector<ObjectInfo>> ListAtMost(Store& store, std::string_view prefix,
                                           std::size_t limit);
// What ListAtMost() and ListDirectories() say of too many.
Error TooManyObjects(const Store& store, std::string_view prefix, std::size_t limit);

Status PutSmall(Store& store, std::string_view name, ByteView content, PutMode mode);

// Created unless there is one of that name, whatever it holds.
Status PutSmallOnce(Store& store, std::string_view name, ByteView content);

// Whether there is an object whose name begins with `prefix`.
Result<bool> HoldsObject(Store& store, std::string_view prefix);

// kInvalidArgument unless `name` keeps the rule above.
Status ValidateObjectName(std::string_view name);

// kInvalidArgument unless `prefix` is empty or a valid name followed by '/'.
Status ValidateDirectoryPrefix(std::string_view prefix);

}  // namespace veza
