// A value of JSON: reading what somebody else wrote, and writing what may not be UTF-8. This header
// is light on purpose: the library behind it is included by json.cpp alone.
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
// throws: what asks for another type than the value has gets nothing.
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
  // An object. Takes the values out of the members.
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
  // An integer that fits. 1.0 is no integer.
  std::optional<std::int64_t> AsSigned() const;
  std::optional<std::uint64_t> AsUnsigned() const;
  // Any number.
  std::optional<double> AsDouble() const;
  // Null unless it is text.
  const std::string* AsText() const { return is_text() ? value_.text : nullptr; }

  // Of an array or an object; 0 otherwise.
  std::size_t size() const;
  bool empty() const { return size() == 0; }

  // The elements of an array; none otherwise.
  const Json* begin() const { return is_array() ? value_.array->data() : nullptr; }
  const Json* end() const { return is_array() ? begin() + value_.array->size() : nullptr; }
  // Of an array, below size().
  const Json& operator[](std::size_t index) const { return (*value_.array)[index]; }
  // Whatever is no array becomes one. Returns the new element, for as long as no other is added.
  Json& push_back(Json value);
  // Of an array that is not empty.
  Json& back() { return value_.array->back(); }

  // The members of an object; none otherwise.
  const Members& members() const;
  // Null when there is none, or this is no object.
  const Json* Find(std::string_view name) const;
  bool contains(std::string_view name) const { return Find(name) != nullptr; }
  // Added if there is none; whatever is no object becomes one.
  Json& operator[](std::string_view name);
  void erase(std::string_view name);

  // At no depth a floating-point number, which has no canonical text.
  bool HasOnlyIntegers() const;

  // The text of it; members on lines of their own when there is an indent. Escapes only what JSON
  // requires. What is not UTF-8 becomes U+FFFD.
  std::string Print(int indent = -1) const;
  // The same; nothing when there is text that is not UTF-8.
  std::optional<std::string> PrintUtf8(int indent = -1) const;

 private:
  friend class JsonPrinter;

  // From kText on, a value has memory of its own.
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
  mutable Json value;  // the object takes it: an initializer list is constant
};

// An object with its members in the order given, for the two formats that have one. What is not
// UTF-8 becomes U+FFFD.
std::string PrintInOrder(const std::vector<JsonMember>& members, int indent);

// How much a text may make of itself (core/limits.h).
struct JsonLimits {
  std::size_t size = limits::kBackupDocument;
  std::size_t values = limits::kJsonValues;
};

// The only parser of JSON in the program: everything goes through it, whoever wrote the text.
// Nothing when it is not JSON, is longer or holds more values than the limits say, or is nested
// deeper than limits::kJsonDepth. It stops where a limit is passed, so that its memory is bounded
// by the limits. Does not throw. Of members of the same name the last one counts.
std::optional<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// The same, of an object only.
std::optional<Json> ParseJsonObject(std::string_view text, const JsonLimits& limits = {});

// A member of an object, or nothing when it is absent or of another type.
std::optional<std::string> StringMember(const Json& object, std::string_view name);
std::optional<std::uint64_t> UnsignedMember(const Json& object, std::string_view name);

// Names and messages of a server come in its own encoding, and JSON is UTF-8. They are there to be
// read by people, so what is not UTF-8 becomes U+FFFD.
std::string ValidUtf8(const std::string& text);
bool IsUtf8(std::string_view text);

}  // namespace veza
