#include "core/config/secret_string.h"

#include <openssl/crypto.h>

#include <utility>

namespace veza {

void Wipe(std::string& text) {
  // A short string lives inside the object, so a moved-from one still holds its text.
  text.resize(text.capacity());
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

SecretString::~SecretString() {
  Wipe(text_);
}

SecretString::SecretString(SecretString&& other) noexcept : text_(std::move(other.text_)) {
  Wipe(other.text_);
}

SecretString& SecretString::operator=(const SecretString& other) {
  if (this != &other) {
    Wipe(text_);
    text_ = other.text_;
  }
  return *this;
}

SecretString& SecretString::operator=(SecretString&& other) noexcept {
  if (this != &other) {
    Wipe(text_);
    text_ = std::move(other.text_);
    Wipe(other.text_);
  }
  return *this;
}

}  // namespace veza
