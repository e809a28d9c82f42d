#include "core/config/placeholder.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/ascii.h"

namespace veza {
namespace {

bool IsLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Returns only the letters, in lower case: "Change-Me_1" becomes "changeme".
std::string Letters(std::string_view value) {
  std::string letters;
  for (const char c : value) {
    if (IsLetter(c)) {
      letters += LowerCase(c);
    }
  }
  return letters;
}

bool Encloses(std::string_view value, std::string_view open, std::string_view close) {
  return value.size() >= open.size() + close.size() && value.starts_with(open) &&
         value.ends_with(close);
}

// True for "YOUR_ACCESS_KEY" and "your-bucket". A real passphrase that begins with "your" has
// blanks or digits.
bool IsYourSomething(std::string_view value) {
  const std::string_view prefix = "your";
  return value.size() > prefix.size() && Letters(value.substr(0, prefix.size())) == prefix &&
         (value[4] == '_' || value[4] == '-') &&
         std::ranges::all_of(value, [](char c) { return IsLetter(c) || c == '_' || c == '-'; });
}

// The first list has names of secrets, the second has words that people put around them. A value
// that consists of such words only, with at least one from the first list, is a placeholder.
constexpr std::array<std::string_view, 4> kNamesOfSecrets = {"passphrase", "password", "passwd",
                                                             "secret"};
constexpr std::array<std::string_view, 18> kFillers = {
    "access", "cipher", "backup", "strong", "super", "token", "very", "long", "your",
    "here",   "test",   "this",   "top",    "the",   "key",   "is",   "my",   "a"};

bool NamesASecretOnly(std::string_view letters) {
  // known[i] describes the first i letters. Bit 0: they are a sequence of words from the lists. Bit
  // 1: they are such a sequence and contain the name of a secret.
  std::vector<unsigned> known(letters.size() + 1, 0);
  known[0] = 1;
  for (std::size_t at = 0; at < letters.size(); ++at) {
    const std::string_view rest = letters.substr(at);
    for (const std::string_view word : kFillers) {
      if (rest.starts_with(word)) {
        known[at + word.size()] |= known[at];
      }
    }
    for (const std::string_view word : kNamesOfSecrets) {
      if (rest.starts_with(word) && known[at] != 0) {
        known[at + word.size()] |= 3U;
      }
    }
  }
  return (known[letters.size()] & 2U) != 0;
}

}  // namespace

bool IsPlaceholder(std::string_view value) {
  if (Encloses(value, "<", ">") || Encloses(value, "${", "}") || Encloses(value, "{{", "}}")) {
    return true;
  }
  const std::string letters = Letters(value);
  if (letters == "changeme" || letters == "changethis" || letters == "changeit" ||
      letters == "replaceme" || letters == "replacethis" || letters == "placeholder" ||
      letters == "fixme" || letters == "todo" || letters == "tbd") {
    return true;
  }
  if (value.size() >= 3 && std::ranges::all_of(value, [](char c) { return LowerCase(c) == 'x'; })) {
    return true;
  }
  return IsYourSomething(value);
}

bool IsPlaceholderSecret(std::string_view value) {
  if (IsPlaceholder(value)) {
    return true;
  }
  const std::string letters = Letters(value);
  for (const std::string_view part : {"changeme", "replaceme", "replacewith", "placeholder"}) {
    if (letters.find(part) != std::string::npos) {
      return true;
    }
  }
  if (value.size() > 1 && value.find_first_not_of(value[0]) == std::string_view::npos) {
    return true;
  }
  return NamesASecretOnly(letters);
}

}  // namespace veza
