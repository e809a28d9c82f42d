// A JSON value, its parser and its printer. The parser has limits, because others may have written
// the text. The printer accepts text that is not UTF-8. This header is light on purpose: only
// json.cpp includes the library behind it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/limits.h"

namespace veza {

struct JsonMember;

// Null, a boolean, an integer, a floating-point number, text, an array, or an object. Nothing
// throws. An accessor for another type than the value has returns nothing (or null, or an empty
// range).
class Json {
 public:
  // Sorted by the bytes of the names, which is what FORMAT.md calls canonical.
  using Members = std::map<std::string, Json, std::less<>>;

  // NOLINTBEGIN(google-explicit-constructor): a document is written as a list of its members.
  Json() = default;
  Json(std::nullptr_t) {}
  Json(const char* text);
  Json(std::string_view text);
  Json(std::string text);
  Json(std::same_as<bool> auto value) : type_(Type::kBoolean) { value_.boolean = value; }
  Json(std::signed_integral auto value) : type_(Type::kSigned) { value_.signed_number = value; }
  Json(std::unsigned_integral auto value) requires(!std::same_as<decltype(value), bool>)
      : type_(Type::kUnsigned) {
    value_.unsigned_number = value;
  }
  Json(std::floating_point auto value) : type_(Type::kFloat) { value_.floating = value; }
  Json(const std::vector<std::string>& texts);
  Json(const std::map<std::string, std::string>& texts);
  // Makes an object. Moves the values out of the members.
  Json(std::initializer_list<JsonMember> members);
  // NOLINTEND(google-explicit-constructor)

  Json(const Json& other);
  Json(Json&& other) noexcept
      : type_(std::exchange(other.type_, Type::kNull)), value_(other.value_) {}
  // NOLINTNEXTLINE(cppcoreguidelines-c-copy-assignment-signature,misc-unconventional-assign-operator)
  Json& operator=(Json other) noexcept {
    std::swap(type_, other.type_);
    std::swap(value_, other.value_);
    return *this;
  }
  ~Json() {
    if (type_ >= Type::kText) {
      Free();
    }
  }

  static Json Array();
  static Json Object();

  bool is_boolean() const { return type_ == Type::kBoolean; }
  bool is_number() const { return type_ >= Type::kSigned && type_ <= Type::kFloat; }
  bool is_text() const { return type_ == Type::kText; }
  bool is_array() const { return type_ == Type::kArray; }
  bool is_object() const { return type_ == Type::kObject; }

  std::optional<bool> AsBoolean() const;
  // Set when the value is an integer in the range of the type. 1.0 is not an integer.
  std::optional<std::int64_t> AsSigned() const;
  std::optional<std::uint64_t> AsUnsigned() const;
  // Any number.
  std::optional<double> AsDouble() const;
  // Null when the value is not text.
  const std::string* AsText() const { return is_text() ? value_.text : nullptr; }

  // The number of elements or members; 0 for every other type.
  std::size_t size() const;
  bool empty() const { return size() == 0; }

  // The elements of an array. The range is empty for every other type.
  const Json* begin() const { return is_array() ? value_.array->data() : nullptr; }
  const Json* end() const { return is_array() ? begin() + value_.array->size() : nullptr; }
  // The value must be an array, and `index` below size().
  const Json& operator[](std::size_t index) const { return (*value_.array)[index]; }
  // Turns a value of another type into an array first. The reference to the new element is valid
  // until the next one is added.
  Json& push_back(Json value);
  // The value must be an array that is not empty.
  Json& back() { return value_.array->back(); }

  // The members of an object. Empty for every other type.
  const Members& members() const;
  // Null when there is no such member, or when the value is not an object.
  const Json* Find(std::string_view name) const;
  bool contains(std::string_view name) const { return Find(name) != nullptr; }
  // Adds the member when it is missing. Turns a value of another type into an object first.
  Json& operator[](std::string_view name);
  // The same with a value. Cheapest for a name that is sorted behind all others.
  Json& Set(std::string name, Json value);
  void erase(std::string_view name);

  // True when there is no floating-point number at any depth. Such numbers have no canonical text.
  bool HasOnlyIntegers() const;

  // The JSON text. With an `indent` of 0 or more, each member is on a line of its own. Escapes only
  // what JSON requires. Text that is not UTF-8 becomes U+FFFD.
  std::string Print(int indent = -1) const;
  // The same, but returns nothing when some text is not UTF-8.
  std::optional<std::string> PrintUtf8(int indent = -1) const;

 private:
  friend class JsonPrinter;

  // Values from kText on own memory that must be freed.
  enum class Type : std::uint8_t {
    kNull,
    kBoolean,
    kSigned,
    kUnsigned,
    kFloat,
    kText,
    kArray,
    kObject
  };
  union Value {
    bool boolean;
    std::int64_t signed_number;
    std::uint64_t unsigned_number = 0;
    double floating;
    std::string* text;
    std::vector<Json>* array;
    Members* object;
  };

  void Free();

  Type type_ = Type::kNull;
  Value value_;
};

struct JsonMember {
  std::string name;
  mutable Json value;  // mutable, because the object moves it out of a constant initializer list
};

// Prints an object with its members in the order given. Only key wraps and attributes of sealed
// objects need it. Text that is not UTF-8 becomes U+FFFD.
std::string PrintInOrder(const std::vector<JsonMember>& members, int indent);

// The largest text and number of values that ParseJson() accepts (core/limits.h).
struct JsonLimits {
  std::size_t size = limits::kBackupDocument;
  std::size_t values = limits::kJsonValues;
};

// The only JSON parser in the program. Every JSON text goes through it, no matter who wrote it.
// Returns nothing when the text is not JSON, when it is longer or holds more values than the limits
// allow, or when it is nested deeper than limits::kJsonDepth. Parsing stops at the limit, so that
// memory is bounded. Does not throw. When two members have the same name, the last one counts.
std::optional<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// The same, but returns nothing when the value is not an object.
std::optional<Json> ParseJsonObject(std::string_view text, const JsonLimits& limits = {});

// The member's value. Nothing when the member is absent or has another type.
std::optional<std::string> StringMember(const Json& object, std::string_view name);
std::optional<std::uint64_t> UnsignedMember(const Json& object, std::string_view name);

// Replaces what is not UTF-8 by U+FFFD. Names and messages of a server are in the encoding of its
// databases, but JSON is UTF-8. These texts are for people to read, so a replacement does no harm.
std::string ValidUtf8(const std::string& text);
bool IsUtf8(std::string_view text);

}  // namespace veza
