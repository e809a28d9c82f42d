// A text that must not outlive its use. It is wiped when it is destroyed, moved from or assigned
// to. It is stored on memory pages of its own. The kernel leaves these pages out of core dumps, and
// does not swap them out as far as the limit for locked memory allows.
//
// This does not protect the copies that the server itself holds: the values of its parameters, and
// the environment.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/bytes.h"

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

  // Valid until the object is changed or destroyed. The caller must wipe every copy that it makes.
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

// Overwrites the content in a way that the compiler keeps, and empties it.
void Wipe(std::string& text);
void Wipe(Bytes& bytes);

// Wipes the text at the end of the scope.
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
