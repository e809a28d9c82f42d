// Text that must not outlive its use: wiped when it is destroyed, moved from or assigned over. It
// lives on pages of its own, which the kernel leaves out of core dumps and, as far as the limit for
// locked memory goes, does not swap out.
//
// What the server holds by itself cannot be kept so: the strings of its own parameters, and the
// environment.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace veza {

class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string_view text);
  ~SecretString();
  SecretString(const SecretString& other) : SecretString(other.text()) {}
  SecretString(SecretString&& other) noexcept;
  SecretString& operator=(const SecretString& other);
  SecretString& operator=(SecretString&& other) noexcept;
  SecretString& operator=(std::string_view text) { return *this = SecretString(text); }

  // Valid as long as this object is. Whoever copies it has to wipe the copy.
  std::string_view text() const { return {pages_, size_}; }
  bool empty() const { return size_ == 0; }

  friend bool operator==(const SecretString& secret, std::string_view text) {
    return secret.text() == text;
  }

 private:
  void Release();

  char* pages_ = nullptr;
  std::size_t size_ = 0;
};

// Overwrites the content of `text` in a way that the compiler keeps, and empties it.
void Wipe(std::string& text);

// Wipes a text when the scope is left.
class WipeAtEnd {
 public:
  explicit WipeAtEnd(std::string& text) : text_(text) {}
  ~WipeAtEnd() { Wipe(text_); }
  WipeAtEnd(const WipeAtEnd&) = delete;
  WipeAtEnd& operator=(const WipeAtEnd&) = delete;

 private:
  std::string& text_;
};

}  // namespace veza
