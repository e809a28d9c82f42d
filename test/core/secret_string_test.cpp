#include "core/secret_string.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include "core/codec/key.h"

namespace veza {
namespace {

// Whether the kernel would write the page at this address into a core dump.
enum class InDump { kYes, kNo, kUnknown };

InDump LooksUp(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    const char* const last = line.data() + line.size();
    const auto first = std::from_chars(line.data(), last, begin, 16);
    if (first.ec == std::errc() && first.ptr != last && *first.ptr == '-') {
      std::from_chars(first.ptr + 1, last, end, 16);
      here = begin <= wanted && wanted < end;
    } else if (here && line.starts_with("VmFlags:")) {
      return line.find(" dd") != std::string::npos ? InDump::kNo : InDump::kYes;
    }
  }
  return InDump::kUnknown;
}

bool IsMapped(const void* page) {
  unsigned char resident = 0;
  return mincore(const_cast<void*>(page), 1, &resident) == 0 || errno != ENOMEM;
}

TEST(SecretString, HoldsItsText) {
  const SecretString empty;
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty, "");
  for (const std::size_t size : {1U, 31U, 4096U, 4097U, 100'000U}) {
    const std::string text(size, 'x');
    EXPECT_EQ(SecretString(text).text(), text);
  }
  SecretString secret("k7Jd0");
  const SecretString copy = secret;
  SecretString moved = std::move(secret);
  EXPECT_EQ(copy, "k7Jd0");
  EXPECT_EQ(moved, "k7Jd0");
  moved = "another";
  EXPECT_EQ(moved, "another");
  moved = copy;
  EXPECT_EQ(moved, "k7Jd0");
  moved = SecretString();
  EXPECT_TRUE(moved.empty());
  EXPECT_EQ(copy, "k7Jd0");
}

TEST(SecretString, IsInNoCoreDump) {
  static const char* const ordinary = "text";
  const SecretString secret("k7Jd0");
  if (LooksUp(ordinary) == InDump::kUnknown) {
    GTEST_SKIP() << "the kernel does not tell";
  }
  EXPECT_EQ(LooksUp(ordinary), InDump::kYes);
  EXPECT_EQ(LooksUp(secret.text().data()), InDump::kNo);
  const SecretString copy = secret;
  EXPECT_EQ(LooksUp(copy.text().data()), InDump::kNo);
  const DataKey key = DataKey::Generate(SystemRandom());
  EXPECT_EQ(LooksUp(key.secret().data()), InDump::kNo);
}

TEST(SecretString, ItsPagesGoWithIt) {
  const char* page = nullptr;
  {
    const SecretString secret("k7Jd0");
    page = secret.text().data();
    EXPECT_TRUE(IsMapped(page));
  }
  EXPECT_FALSE(IsMapped(page));
}

TEST(SecretString, OrdinaryTextsAreWiped) {
  std::string text = "k7Jd0";
  const char* const inside = text.data();
  { const WipeAtEnd wipe(text); }
  EXPECT_TRUE(text.empty());
  EXPECT_EQ(std::string(inside, 5).find_first_not_of('\0'), std::string::npos);
}

TEST(SecretString, OrdinaryBytesAreWiped) {
  Bytes bytes = {7, 8, 9};
  const std::uint8_t* const inside = bytes.data();
  Wipe(bytes);
  EXPECT_TRUE(bytes.empty());
  EXPECT_EQ(inside[0] | inside[1] | inside[2], 0);
  Wipe(bytes);
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace veza
