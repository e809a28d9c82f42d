// Deleting many objects.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

// Several at once; after the first error nothing new is begun.
Status DeleteObjects(Store& store, const std::vector<std::string>& names, int requests_in_flight);

}  // namespace veza
