// Finds the frames of a sealed object that arrives in pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/codec/seal.h"
#include "core/error.h"

namespace veza {

// Takes pieces of any size and splits them into frames. Holds at most one frame in memory. Not
// thread-safe. Returns the errors of ObjectOpener; after an error the reader must not be fed again.
// StreamOpener and the readers of packs use it.
class FrameReader {
 public:
  FrameReader(SealPolicy policy, ObjectKind kind, std::string object_name);

  // Called once for each data frame, in order. The frame is still sealed: it is verified only when
  // the visitor opens it. `frame` is valid during the call. Not called for the attributes frame,
  // and not for the empty last frame of a pack. FrameReader opens and checks these two itself.
  using FrameVisitor = std::function<Status(std::uint64_t number, std::uint64_t offset,
                                            const ObjectOpener& opener, ByteView frame)>;
  Status Feed(ByteView piece, const FrameVisitor& visit);
  // Returns kDataCorrupted ("is truncated") unless the last frame was seen.
  Status Finish() const;
  // Set as soon as the attributes frame has arrived.
  const std::optional<ObjectAttributes>& attributes() const { return attributes_; }

 private:
  Result<std::size_t> ItemSize(ByteView begin) const;
  Status Take(ByteView item, const FrameVisitor& visit);

  SealPolicy policy_;
  ObjectKind kind_;
  std::string object_name_;
  std::optional<ObjectOpener> opener_;
  std::optional<ObjectAttributes> attributes_;
  Bytes pending_;             // the beginning of a header or frame whose rest is still to come
  std::uint64_t offset_ = 0;  // of the next header or frame in the object
  std::uint64_t next_number_ = 0;
  bool last_seen_ = false;
};

}  // namespace veza
