// Index objects: walindex/<system id>/<timeline>/<first>-<last>-<reader version>-<random>, each
// with the indexes of up to 64 consecutive segments of one timeline (FORMAT.md section 15).
//
// The first data frame is the directory: the summaries of all its segments, and where their parts
// are. Whoever needs summaries only reads that and nothing more.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/wal_index/segment_index.h"

namespace veza {

inline constexpr std::size_t kIndexMostSegments = 64;
// Of parts, encoded, in one object; a single segment may have more.
inline constexpr std::size_t kIndexMostBytes = 16U << 20;
// Of the directory, as JSON: what fits into one frame.
inline constexpr std::size_t kIndexMostDirectory = 1U << 20;

// Collects the indexes of consecutive segments and stores them as one object. Not thread-safe.
class IndexObjectWriter {
 public:
  // The repository must outlive it.
  IndexObjectWriter(const Repository& repository, std::uint64_t system_identifier);
  ~IndexObjectWriter();
  IndexObjectWriter(IndexObjectWriter&&) noexcept;
  IndexObjectWriter& operator=(IndexObjectWriter&&) noexcept;

  // Whether the segment may be added: it is the next one of the timeline, and there is room.
  bool Fits(const SegmentIndex& index) const;
  // Only if it fits. `digest` and `stored` of the summary must be set.
  void Add(SegmentIndex index);
  bool empty() const;
  bool full() const;
  std::size_t memory() const;  // bytes
  // Stores the object, and returns its name. The writer is empty afterwards, also after an error.
  // kFailedPrecondition if the repository's identity or key is gone.
  Result<std::string> Store();

 private:
  class State;
  std::unique_ptr<State> state_;
};

// An index object that was opened. Thread-safe: each function reads by a request of its own.
class IndexObject {
 public:
  // The repository must outlive it. Reads the directory, by one ranged read in most cases. Errors:
  // kNotFound, kDataCorrupted, kUnsupported (made by a newer version), those of the store.
  static Result<IndexObject> Open(const Repository& repository, const std::string& name);
  ~IndexObject();
  IndexObject(IndexObject&&) noexcept;
  IndexObject& operator=(IndexObject&&) noexcept;

  const std::string& name() const;
  const std::vector<SegmentSummary>& segments() const;  // consecutive, at least one
  // `index` is one of segments(). Empty if there is no such part.
  Result<Bytes> ReadBlocks(std::size_t index) const;
  Result<Bytes> ReadTransactions(std::size_t index) const;
  Result<Bytes> ReadEvents(std::size_t index) const;

 private:
  IndexObject();
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace veza
