// format/2 says that writers may use version 2 of the format (FORMAT.md section 14). An operator
// creates it when every node that reads the repository understands version 2. So does the writer
// that makes a new repository. It cannot know the other nodes, but none of them has read anything
// there yet, and version 0.1 refuses version 2 with an error. Readers do not need it: they go by
// what they read.
#pragma once

#include <string>
#include <string_view>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/storage/store.h"

namespace veza {

struct FormatMark {
  enum class State {
    kAbsent,      // writers use version 1
    kPresent,     // writers use version 2
    kUnreadable,  // damaged or forged; writers use version 1, which every node understands
    kNotNeeded,   // the repository has no key, so version 2 is version 1
  };
  State state = State::kAbsent;
  // With kUnreadable the reason.
  std::string problem{};
};

// The only errors are those of the store.
Result<FormatMark> ReadFormatMark(Store& store, const SealPolicy& policy);

// Writes the mark, "only if absent". Succeeds if something is there already. Call it only with a
// key.
Status CreateFormatMark(Store& store, const SealPolicy& policy, const std::string& node,
                        TimePoint now);

// Writes the mark for an operator. Returns false when it was there. kFailedPrecondition without a
// key. kDataCorrupted, with a hint, when something unreadable is there: it is not overwritten.
Result<bool> UpgradeFormat(const Repository& repository);

}  // namespace veza
