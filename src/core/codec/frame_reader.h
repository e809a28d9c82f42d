// Finding the frames of a sealed object that arrives in pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/codec/seal.h"
#include "core/error.h"

namespace veza {

// Splits a sealed object that arrives in pieces of any size into its frames; holds at most one
// frame. Not thread-safe. Errors as ObjectOpener's; after one the reader must not be fed again.
// Used by StreamOpener and by readers of packs.
class FrameReader {
 public:
  FrameReader(SealPolicy policy, ObjectKind kind, std::string object_name);

  // Called once for each data frame, in order, with the frame still sealed: who does not open it
  // has verified nothing of it. `frame` is valid during the call. Not called for the attributes
  // frame, nor for the empty last frame of a pack: those are opened and checked here.
  using FrameVisitor = std::function<Status(std::uint64_t number, std::uint64_t offset,
                                            const ObjectOpener& opener, ByteView frame)>;
  Status Feed(ByteView piece, const FrameVisitor& visit);
  // kDataCorrupted ("is truncated") unless the last frame has been seen.
  Status Finish() const;
  // Present as soon as their frame has arrived.
  const std::optional<ObjectAttributes>& attributes() const { return attributes_; }

 private:
  Result<std::size_t> ItemSize(ByteView begin) const;
  Status Take(ByteView item, const FrameVisitor& visit);

  SealPolicy policy_;
  ObjectKind kind_;
  std::string object_name_;
  std::optional<ObjectOpener> opener_;
  std::optional<ObjectAttributes> attributes_;
  Bytes pending_;             // the beginning of an item that a later piece completes
  std::uint64_t offset_ = 0;  // of the next item in the object
  std::uint64_t next_number_ = 0;
  bool last_seen_ = false;
};

}  // namespace veza
