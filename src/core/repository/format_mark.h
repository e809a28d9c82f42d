// format/2: the word of an operator, or of the writer that made the repository, that writers may
// use version 2 of the format, because every node that reads the repository understands it
// (FORMAT.md section 14). Readers do not need it: they go by what they read.
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
