// Reads global/pg_control of a data directory, as far as it tells which cluster the directory
// belongs to.
#pragma once

#include <cstdint>
#include <string>

namespace veza {

struct ControlFile {
  // kUnreadable: there is such a file, or that cannot be known. It does not prove that there is
  // none.
  enum class State { kAbsent, kUnreadable, kDamaged, kWhole } state = State::kAbsent;
  std::uint64_t system_identifier = 0;  // if the state is kWhole
  std::string why_unreadable{};
};

// kWhole when the checksum is right. In every known version the checksum follows the last member,
// so its place is searched for, and no version has to be known.
ControlFile ReadControlFile(const std::string& data_directory);

}  // namespace veza
