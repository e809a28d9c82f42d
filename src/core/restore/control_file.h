// global/pg_control of a data directory, as far as it tells whose it is.
#pragma once

#include <cstdint>
#include <string>

namespace veza {

struct ControlFile {
  // kUnreadable: there is something, or nobody can tell. It is no proof that there is none.
  enum class State { kAbsent, kUnreadable, kDamaged, kWhole } state = State::kAbsent;
  std::uint64_t system_identifier = 0;  // when it is whole
  std::string why_unreadable{};
};

// Whole when its checksum is right. That of no version is known to be anywhere else than behind the
// last member, so it is looked for: no version of PostgreSQL needs to be known.
ControlFile ReadControlFile(const std::string& data_directory);

}  // namespace veza
