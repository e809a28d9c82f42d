// There must be only one class of this name, or the linker would choose between two.
#pragma once

#include "core/config/temporary_directory.h"
