#include "core/secret_string.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

namespace veza {

namespace {

std::size_t PagesFor(std::size_t size) {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

}  // namespace

void Wipe(std::string& text) {
  // A short string is stored inside the object itself, so even a moved-from string may still hold
  // its text.
  text.resize(text.capacity());
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

void Wipe(Bytes& bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
  bytes.clear();
}

SecretString::SecretString(std::string_view text) {
  if (text.empty()) {
    return;
  }
  const std::size_t length = PagesFor(text.size());
  void* const pages =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) {
    throw std::bad_alloc();
  }
  madvise(pages, length, MADV_DONTDUMP);
  // munmap() unlocks the pages. Beyond the limit for locked memory mlock() fails, and the pages
  // stay unlocked.
  (void)mlock(pages, length);
  pages_ = static_cast<char*>(pages);
  size_ = text.size();
  std::memcpy(pages_, text.data(), size_);
}

SecretString::~SecretString() {
  Release();
}

void SecretString::Release() {
  if (pages_ != nullptr) {
    OPENSSL_cleanse(pages_, size_);
    munmap(pages_, PagesFor(size_));
  }
  pages_ = nullptr;
  size_ = 0;
}

SecretString::SecretString(SecretString&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretString& SecretString::operator=(const SecretString& other) {
  if (this != &other) {
    *this = SecretString(other);
  }
  return *this;
}

SecretString& SecretString::operator=(SecretString&& other) noexcept {
  if (this != &other) {
    Release();
    pages_ = std::exchange(other.pages_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

}  // namespace veza
