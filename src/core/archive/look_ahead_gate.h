// Whether WAL files may be stored before the archiver asks for them.
//
// A clone of a server, or the second of two standbys that were both promoted, must store nothing
// ahead: it would take names that the right server has yet to use, and the right server would be
// refused then. So the gate is closed
//
//  - until a first file of this server has been stored, or was there with the same content;
//  - while the store is in trouble: from a failure to the next success;
//  - from a conflict (the repository holds other content under the name of a file) until the file
//    that was refused, or a later one, has been stored.
#pragma once

#include <optional>
#include <string>

#include "core/error.h"

namespace veza {

// What is being done with a file, in this order.
enum class ShippingStage {
  kOpening,    // opening the repository
  kSealing,    // reading, compressing and sealing the file
  kPutting,    // storing it
  kAccepting,  // looking whether identity and key are in the repository behind it
};

// An error of such a stage concerns the repository, and says nothing about the file.
inline bool IsOfTheRepository(ShippingStage stage) {
  return stage == ShippingStage::kOpening || stage == ShippingStage::kAccepting;
}

// Pure state. Not thread-safe.
class LookAheadGate {
 public:
  bool is_open() const { return proven_ && !trouble_ && !conflict_; }

  // `file` was stored, or was there with the same content.
  void NoteStored(const std::string& file);
  // `stage` is the one that failed with `code`.
  void NoteFailure(const std::string& file, ErrorCode code, ShippingStage stage, bool is_asked_for);

 private:
  bool proven_ = false;
  bool trouble_ = false;
  std::optional<std::string> conflict_;  // of the files that were refused, the last in order
};

}  // namespace veza
