#include "core/import/old_settings.h"

#include "core/secret_string.h"

namespace veza {

OldSettings::~OldSettings() {
  for (OldSetting& setting : settings_) {
    Wipe(setting.value);
  }
}

}  // namespace veza
