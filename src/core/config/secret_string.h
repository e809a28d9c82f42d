// Text that must not outlive its use: wiped when it is destroyed, moved from or assigned over.
#pragma once

#include <string>
#include <string_view>

namespace veza {

class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string_view text) : text_(text) {}
  ~SecretString();
  SecretString(const SecretString&) = default;
  SecretString(SecretString&& other) noexcept;
  SecretString& operator=(const SecretString& other);
  SecretString& operator=(SecretString&& other) noexcept;

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

// Overwrites the content of `text` in a way that the compiler keeps, and empties it.
void Wipe(std::string& text);

}  // namespace veza
