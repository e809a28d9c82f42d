// The contract of an object store: what S3 and a local directory both promise, and everything that
// the repository may rely on. test/core/storage/store_conformance.h states it as tests that every
// implementation passes.
//
// Names are relative. They consist of [A-Za-z0-9._-] and '/', have no empty, "." or ".." parts, and
// never begin or end with '/'. A part has at most 255 bytes and does not begin with ".veza-tmp-". A
// name has at most 700 bytes. No name may be both an object and a "directory" of others ("a" and
// "a/b"), because a local store cannot hold both. All members are thread-safe and may be called at
// the same time. Every call has its own deadline (settings of the implementation), and returns
// kCancelled soon (well within a second) after the environment's Cancellation fires.
//
// Errors: kNotFound, kAlreadyExists, kPermissionDenied, kNoSpace, kInvalidArgument and others are
// final. An error with `retryable` set may go away. A store never retries by itself; only
// RetryingStore (retrying_store.h) does.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
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
  TimePoint modified{};  // by the store's clock
};

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = std::numeric_limits<std::uint64_t>::max();  // default: to the end
  bool whole() const { return offset == 0 && length == std::numeric_limits<std::uint64_t>::max(); }
};

enum class PutMode {
  kCreate,   // fails with kAlreadyExists when the object exists (S3: If-None-Match: *)
  kReplace,  // overwrites; only for locks, leases, probes and damaged identities, never for data
};

// On S3, the times of objects and Store::Now() are rounded down to whole seconds. A comparison of
// two times must allow for this much.
inline constexpr std::chrono::seconds kStoreTimePrecision{1};

class Store {
 public:
  virtual ~Store() = default;

  // The place for messages: "s3://bucket/prefix" or "/directory". Contains no secrets.
  virtual const std::string& location() const = 0;

  // Rewinds `body`, then reads all of it. On success the object is durable. After kAlreadyExists
  // the existing object is durable, too. On any other error the object does not exist, except after
  // a lost connection: then it may exist, and if so it is complete.
  virtual Status Put(std::string_view name, Body& body, PutMode mode) = 0;

  // Delivers the object, or the part that `range` selects, to `sink`. A range of length 0, or one
  // that begins at or past the end, is kInvalidArgument, unless it is the whole of an empty object.
  // A range that reaches past the end delivers what there is. When an error is returned, the sink
  // may have received some bytes.
  virtual Status Get(std::string_view name, ByteRange range, const Sink& sink) = 0;

  virtual Result<ObjectInfo> Head(std::string_view name) = 0;

  // On success the deletion is durable. Deleting an object that does not exist is a success.
  virtual Status Delete(std::string_view name) = 0;

  // Deletes all these objects, in any order. On success all deletions are durable, and objects that
  // did not exist count as deleted. On an error any of them may have been deleted; the message
  // names one that was not, or may not have been.
  virtual Status DeleteAll(std::span<const std::string> names);
  // With how many names DeleteAll() makes do with one request. 1: it sends one request for each.
  // May change, when a server turns out not to know such a request.
  virtual std::size_t NamesPerDelete() const { return 1; }

  // Calls `each` for every object whose name begins with `prefix` (any string; empty: all), in byte
  // order of the names. Holds a bounded number of names in memory. `start_after`, when not empty,
  // skips all names up to and including it. Stops at the first error of `each` and returns it.
  using ObjectVisitor = std::function<Status(const ObjectInfo&)>;
  virtual Status List(std::string_view prefix, std::string_view start_after,
                      const ObjectVisitor& each) = 0;

  // Returns the names of the "directories" one level below `prefix` (empty, or ending with '/'),
  // without the prefix and without a trailing '/', in byte order. Only directories that contain an
  // object are returned. A bucket with versioning may also return directories whose objects were
  // all deleted (MinIO). Call HoldsObject() when the existence of an object matters. More than
  // limits::kDirectories are kDataCorrupted.
  virtual Result<std::vector<std::string>> ListDirectories(std::string_view prefix) = 0;

  // The present by the store's clock, with the precision kStoreTimePrecision.
  virtual Result<TimePoint> Now() = 0;

  // Calls `each` for the fragments that interrupted Puts left behind (after a kill or a crash). A
  // fragment is not an object and appears in no listing. What a running Put has written so far
  // looks the same; only the time of the last write tells them apart. The names are for
  // RemoveFragment() and for people. A store whose Puts leave nothing behind has no fragments.
  virtual Status ListFragments(const ObjectVisitor& each);

  // Removes a fragment, and directories that become empty. If it belongs to a running Put, that Put
  // fails; nothing else happens.
  virtual Status RemoveFragment(std::string_view name);
};

// Head(), but returns nothing when the object does not exist.
Result<std::optional<ObjectInfo>> HeadIfThere(Store& store, std::string_view name);

// Reads a whole small object (a JSON document) into memory. `limit` is one of core/limits.h. A
// larger object is kDataCorrupted, and the transfer stops at the limit.
Result<Bytes> GetSmall(Store& store, std::string_view name, std::size_t limit);
// The same for an object from a listing. If the listed size is too large, the object is not read.
Result<Bytes> GetListed(Store& store, const ObjectInfo& object, std::size_t limit);

// The first `limit` objects whose names begin with `prefix`. `more` is true when there are others.
struct FirstObjects {
  std::vector<ObjectInfo> objects;
  bool more = false;
};
Result<FirstObjects> ListFirst(Store& store, std::string_view prefix, std::size_t limit);

// Returns all objects whose names begin with `prefix`. kDataCorrupted when there are more than
// `limit`.
Result<std::vector<ObjectInfo>> ListAtMost(Store& store, std::string_view prefix,
                                           std::size_t limit);
// The error of ListAtMost() and ListDirectories() for too many names.
Error TooManyObjects(const Store& store, std::string_view prefix, std::size_t limit);

// Whether an error says that the store does not answer, or not us, or that the work was ended.
// Others concern the object or the place that was asked for: it is gone, damaged, not to be read.
bool IsOfTheStore(const Error& error);

Status PutSmall(Store& store, std::string_view name, ByteView content, PutMode mode);

// Creates the object. If it exists already, with any content, that is a success.
Status PutSmallOnce(Store& store, std::string_view name, ByteView content);

// True when there is an object whose name begins with `prefix`.
Result<bool> HoldsObject(Store& store, std::string_view prefix);

// kInvalidArgument unless `name` follows the rules for names above.
Status ValidateObjectName(std::string_view name);

// kInvalidArgument unless `prefix` is empty or a valid name followed by '/'.
Status ValidateDirectoryPrefix(std::string_view prefix);

}  // namespace veza
