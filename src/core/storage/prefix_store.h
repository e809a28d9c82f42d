// A part of a store as a store of its own: what lies in one of its directories.
#pragma once

#include <memory>
#include <string>

#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

// Names are relative to `directory`, which is a valid object name, and so shorter by that much.
// Requests go to `inner`, with its connections and retries. Fragments (ListFragments) are those of
// `inner` as a whole, so this store has none.
std::unique_ptr<Store> MakePrefixStore(std::shared_ptr<Store> inner, const std::string& directory);

}  // namespace veza
