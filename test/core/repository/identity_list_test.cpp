#include "core/repository/identity_list.h"

#include <gtest/gtest.h>

#include "core/repository/names.h"

namespace veza {
namespace {

TEST(IdentityListTest, OnlySystemIdentifiersAreNamesOfIdentities) {
  for (const std::uint64_t system :
       {4'294'967'296U, 7'711'348'379'840'072'545U, 18'446'744'073'709'551'615U}) {
    EXPECT_EQ(ParseIdentityName(IdentityName(system)), system);
  }
  for (const char* name :
       {"identity/", "identity/junk", "identity/123", "identity/4294967295",
        "identity/07711348379840072545", "identity/7711348379840072545x",
        "identity/7711348379840072545/x", "identity/-7711348379840072545",
        "identity/18446744073709551616", "key/7711348379840072545", "7711348379840072545"}) {
    EXPECT_EQ(ParseIdentityName(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace veza
