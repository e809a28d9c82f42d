// The directory into which `vezactl import-config` writes the secrets of another tool.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/import/imported_conf.h"

namespace veza {

// Writes each secret into a new file of `directory` (empty: "/"), with mode 0600, durably. A file
// is there whole or not at all. One that is there already is left alone: kAlreadyExists, unless it
// holds this secret and others cannot read it. It must be a regular file, and no link.
//
// kPermissionDenied for a directory of another account than this one and root, or in which others
// may write: they could read what is written there, or put something else in its place.
Status WriteSecretFiles(const std::string& directory, const std::vector<ImportedSecret>& secrets);

}  // namespace veza
