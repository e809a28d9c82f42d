// Verifies the index of WAL: that its objects can be read and belong to the WAL that is there, and,
// where that WAL is read, that they say what it holds. An index can always be made again, so damage
// to it makes no backup bad.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/repository/identity.h"
#include "core/verify/session.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/segment_index.h"

namespace veza {

class IndexVerifier {
 public:
  explicit IndexVerifier(VerifySession& session) : session_(session) {}

  // Lists the index objects of the system and opens each, in the session's threads. Call it before
  // the others. Memory: 24 bytes for each WAL segment, and 200 for each index object.
  Status CheckObjects(const Identity& system);

  // Whether an index object, made by this version of the reader, has the segment. Thread-safe.
  bool Describes(const Identity& system, const std::string& segment) const;
  // Compares the index objects that have the segment with `made`, which was made from the archived
  // WAL just now. Thread-safe.
  Status Compare(const Identity& system, const std::string& segment, const SegmentIndex& made);

 private:
  struct System {
    std::uint64_t segment_size = 0;
    std::vector<IndexName> indexes;  // ordered by name
    // Sizes of WAL objects, ordered by timeline and number.
    std::vector<std::pair<std::pair<TimelineId, SegmentNumber>, std::uint64_t>> stored;
  };
  using OpenedObject = std::shared_ptr<const IndexObject>;

  Status ListWal(const Identity& system, System& known);
  Status CheckObject(const System& system, const IndexName& index);
  std::vector<const IndexName*> IndexesOf(const Identity& system, const std::string& segment) const;
  Status CompareWith(const IndexName& index, const std::string& segment, const SegmentIndex& made);
  Result<OpenedObject> Open(const std::string& name);
  Status Judge(const Error& error, const std::string& object);
  void Report(const std::string& object, const std::string& what, const std::string& remedy);

  VerifySession& session_;
  std::map<std::uint64_t, System> systems_;  // by system identifier; not changed while threads read
  std::mutex mutex_;
  std::deque<std::pair<std::string, OpenedObject>> opened_;  // the last few
};

}  // namespace veza
