// Deletes many objects.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

// Deletes objects, in any order, with so many requests at once. A store that deletes many names
// with one request gets them in as few requests as keep all of these places busy. After the first
// error no further request is started, and that error is returned.
Status DeleteObjects(Store& store, const std::vector<std::string>& names, int requests_in_flight);

}  // namespace veza
