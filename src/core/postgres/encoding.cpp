#include "core/postgres/encoding.h"

#include <fmt/format.h>
#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string_view>

#include "core/codec/json.h"

namespace veza {

namespace {

// The names that iconv has for them, by their numbers. Null: it has none.
constexpr std::array<const char*, 35> kNames{
    nullptr,      "EUC-JP",      "EUC-CN",      "EUC-KR",      "EUC-TW",      "EUC-JISX0213",
    "UTF-8",      nullptr,       "ISO-8859-1",  "ISO-8859-2",  "ISO-8859-3",  "ISO-8859-4",
    "ISO-8859-9", "ISO-8859-10", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15", "ISO-8859-16",
    "CP1256",     "CP1258",      "CP866",       "CP874",       "KOI8-R",      "CP1251",
    "CP1252",     "ISO-8859-5",  "ISO-8859-6",  "ISO-8859-7",  "ISO-8859-8",  "CP1250",
    "CP1253",     "CP1254",      "CP1255",      "CP1257",      "KOI8-U"};

const char* NameOf(PgEncoding encoding) {
  const auto index = static_cast<std::size_t>(encoding);
  return encoding >= 0 && index < kNames.size() ? kNames[index] : nullptr;
}

class Converter {
 public:
  Converter(const char* to, const char* from) : handle_(iconv_open(to, from)) {}
  ~Converter() {
    if (valid()) {
      iconv_close(handle_);
    }
  }
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;

  // NOLINTNEXTLINE(performance-no-int-to-ptr): iconv_open says so
  bool valid() const { return handle_ != reinterpret_cast<iconv_t>(-1); }

  // `instead` is called with what begins with something that cannot be converted. It returns how
  // many bytes that are, at least 1, and adds to the result what stands for them.
  template <typename Instead>
  std::string Convert(std::string text, Instead instead) {
    std::string result;
    std::array<char, 256> buffer;
    char* in = text.data();
    std::size_t left = text.size();
    while (left > 0) {
      char* out = buffer.data();
      std::size_t room = buffer.size();
      const std::size_t done = iconv(handle_, &in, &left, &out, &room);
      const int why = done == static_cast<std::size_t>(-1) ? errno : 0;
      result.append(buffer.data(), buffer.size() - room);
      if (left == 0 || (why != 0 && why != E2BIG)) {
        TakeHeldBack(result);
      }
      if (why != 0 && why != E2BIG) {
        const std::size_t skipped = instead(std::string_view(in, left), result);
        in += skipped;
        left -= skipped;
      }
    }
    return result;
  }

 private:
  // In some encodings the last character waits for one that would combine with it.
  void TakeHeldBack(std::string& result) {
    std::array<char, 16> buffer;
    char* out = buffer.data();
    std::size_t room = buffer.size();
    iconv(handle_, nullptr, nullptr, &out, &room);
    result.append(buffer.data(), buffer.size() - room);
  }

  iconv_t handle_;
};

void AddEscaped(char byte, std::string& text) {
  text += fmt::format("\\x{:02X}", static_cast<unsigned char>(byte));
}

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char byte : text) {
    if ((static_cast<unsigned>(byte) & 0x80U) != 0) {
      AddEscaped(byte, escaped);
    } else {
      escaped += byte;
    }
  }
  return escaped;
}

}  // namespace

bool IsAscii(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (static_cast<unsigned>(c) & 0x80U) != 0; });
}

std::string ToUtf8(const std::string& text, PgEncoding encoding) {
  if (IsAscii(text) || ((encoding == kUtf8 || encoding == kSqlAscii) && IsUtf8(text))) {
    return text;
  }
  const char* const name = NameOf(encoding);
  if (name == nullptr) {
    return Escaped(text);
  }
  Converter converter("UTF-8", name);
  if (!converter.valid()) {
    return Escaped(text);
  }
  return converter.Convert(text, [](std::string_view rest, std::string& result) {
    AddEscaped(rest.front(), result);
    return std::size_t{1};
  });
}

std::string FromUtf8(const std::string& text, PgEncoding encoding) {
  if (IsAscii(text) || encoding == kUtf8 || encoding == kSqlAscii) {
    return text;
  }
  const auto replace = [](std::string_view rest, std::string& result) {
    std::size_t length = 1;
    while (length < rest.size() && (static_cast<unsigned>(rest[length]) & 0xC0U) == 0x80U) {
      ++length;
    }
    result += '?';
    return length;
  };
  const char* const name = NameOf(encoding);
  Converter converter(name != nullptr ? name : "ASCII", "UTF-8");
  return converter.valid() ? converter.Convert(text, replace) : Escaped(text);
}

}  // namespace veza
