#include "core/codec/json.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

namespace veza {

namespace {

// True for text that needs no escape and is ASCII.
bool IsPlain(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return static_cast<signed char>(c) >= ' ' && c != '"' && c != '\\'; });
}

// Prints with the library what is not simple: strings with escapes or beyond ASCII, and
// floating-point numbers. Returns nothing when the text is not UTF-8 and `replaces` is false.
std::optional<std::string> PrintByLibrary(const nlohmann::json& value, bool replaces) {
  using Handler = nlohmann::json::error_handler_t;
  try {
    return value.dump(-1, ' ', false, replaces ? Handler::replace : Handler::strict);
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

// Builds the value while the text is read, and stops the parser at a limit. The parser itself keeps
// one bit for each level of nesting. (nlohmann's own callback parser would read on to the end of
// the text, with 70 bytes for each level.)
class LimitedBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit LimitedBuilder(std::size_t values) : left_(values) {}

  Json Take() { return std::move(root_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }  // JSON text has no binary values

  bool start_object(std::size_t) override { return Begin(Json::Object()); }
  bool key(string_t& name) override {
    name_ = std::move(name);
    return Count();
  }
  bool end_object() override { return End(); }
  bool start_array(std::size_t) override { return Begin(Json::Array()); }
  bool end_array() override { return End(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  bool Count() {
    if (left_ == 0) {
      return false;
    }
    --left_;
    return true;
  }

  // Adds the value to the container that is open, or makes it the root. Returns where it is; null
  // when the limit is exceeded.
  Json* Add(Json value) {
    if (!Count()) {
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      return &parent.push_back(std::move(value));
    }
    return &parent.Set(std::move(name_), std::move(value));
  }

  bool Begin(Json container) {
    if (open_.size() == limits::kJsonDepth) {
      return false;
    }
    Json* const begun = Add(std::move(container));
    if (begun != nullptr) {
      open_.push_back(begun);
    }
    return begun != nullptr;
  }

  bool End() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;  // valid: a parent does not grow while its member is open
  std::string name_;
  std::size_t left_;
};

}  // namespace

// Prints the same text as nlohmann::json, without copying the whole value into that type first.
class JsonPrinter {
 public:
  JsonPrinter(int indent, bool replaces) : indent_(indent), replaces_(replaces) {}

  void Print(const Json& value) {
    switch (value.type_) {
      case Json::Type::kNull:
        text_ += "null";
        break;
      case Json::Type::kBoolean:
        text_ += value.value_.boolean ? "true" : "false";
        break;
      case Json::Type::kSigned:
        PrintInteger(value.value_.signed_number);
        break;
      case Json::Type::kUnsigned:
        PrintInteger(value.value_.unsigned_number);
        break;
      case Json::Type::kFloat:
        text_ += PrintByLibrary(value.value_.floating, true).value_or("null");
        break;
      case Json::Type::kText:
        PrintText(*value.value_.text);
        break;
      case Json::Type::kArray:
        PrintList('[', *value.value_.array, ']', [this](const Json& element) { Print(element); });
        break;
      case Json::Type::kObject:
        PrintList('{', *value.value_.object, '}',
                  [this](const auto& member) { PrintMember(member.first, member.second); });
        break;
    }
  }

  void PrintInOrder(const std::vector<JsonMember>& members) {
    PrintList('{', members, '}',
              [this](const JsonMember& member) { PrintMember(member.name, member.value); });
  }

  // Returns nothing when some text was not UTF-8.
  std::optional<std::string> Take() && {
    return is_utf8_ ? std::optional(std::move(text_)) : std::nullopt;
  }

 private:
  template <typename Integer>
  void PrintInteger(Integer value) {
    char digits[24];
    text_.append(digits, std::to_chars(std::begin(digits), std::end(digits), value).ptr);
  }

  void PrintText(const std::string& text) {
    if (IsPlain(text)) {
      text_ += '"';
      text_ += text;
      text_ += '"';
      return;
    }
    const std::optional<std::string> printed = PrintByLibrary(text, replaces_);
    is_utf8_ = is_utf8_ && printed.has_value();
    text_ += printed.value_or("");
  }

  void PrintMember(const std::string& name, const Json& value) {
    PrintText(name);
    text_ += indent_ < 0 ? ":" : ": ";
    Print(value);
  }

  void NewLine() {
    if (indent_ >= 0) {
      text_ += '\n';
      text_.append(depth_ * static_cast<std::size_t>(indent_), ' ');
    }
  }

  template <typename List, typename PrintItem>
  void PrintList(char begin, const List& list, char end, const PrintItem& print_item) {
    text_ += begin;
    ++depth_;
    bool is_first = true;
    for (const auto& item : list) {
      if (!is_first) {
        text_ += ',';
      }
      is_first = false;
      NewLine();
      print_item(item);
    }
    --depth_;
    if (!is_first) {
      NewLine();
    }
    text_ += end;
  }

  const int indent_;
  const bool replaces_;
  std::string text_;
  std::size_t depth_ = 0;
  bool is_utf8_ = true;
};

Json::Json(const char* text) : Json(std::string(text)) {}

Json::Json(std::string_view text) : Json(std::string(text)) {}

Json::Json(std::string text) : type_(Type::kText) {
  value_.text = new std::string(std::move(text));
}

Json::Json(const std::vector<std::string>& texts) : Json(Array()) {
  value_.array->assign(texts.begin(), texts.end());
}

Json::Json(const std::map<std::string, std::string>& texts) : Json(Object()) {
  value_.object->insert(texts.begin(), texts.end());
}

Json::Json(std::initializer_list<JsonMember> members) : Json(Object()) {
  for (const JsonMember& member : members) {
    value_.object->emplace(member.name, std::move(member.value));
  }
}

Json::Json(const Json& other) : value_(other.value_) {
  switch (other.type_) {
    case Type::kText:
      value_.text = new std::string(*other.value_.text);
      break;
    case Type::kArray:
      value_.array = new std::vector<Json>(*other.value_.array);
      break;
    case Type::kObject:
      value_.object = new Members(*other.value_.object);
      break;
    default:
      break;
  }
  type_ = other.type_;
}

void Json::Free() {
  switch (type_) {
    case Type::kText:
      delete value_.text;
      break;
    case Type::kArray:
      delete value_.array;
      break;
    case Type::kObject:
      delete value_.object;
      break;
    default:
      break;
  }
}

Json Json::Array() {
  Json array;
  array.value_.array = new std::vector<Json>;
  array.type_ = Type::kArray;
  return array;
}

Json Json::Object() {
  Json object;
  object.value_.object = new Members;
  object.type_ = Type::kObject;
  return object;
}

std::optional<bool> Json::AsBoolean() const {
  return is_boolean() ? std::optional(value_.boolean) : std::nullopt;
}

std::optional<std::int64_t> Json::AsSigned() const {
  if (type_ == Type::kUnsigned && std::in_range<std::int64_t>(value_.unsigned_number)) {
    return static_cast<std::int64_t>(value_.unsigned_number);
  }
  return type_ == Type::kSigned ? std::optional(value_.signed_number) : std::nullopt;
}

std::optional<std::uint64_t> Json::AsUnsigned() const {
  // A value that we make from a signed literal is kSigned. A value that was parsed is kUnsigned
  // when it is not negative.
  if (type_ == Type::kSigned && value_.signed_number >= 0) {
    return static_cast<std::uint64_t>(value_.signed_number);
  }
  return type_ == Type::kUnsigned ? std::optional(value_.unsigned_number) : std::nullopt;
}

std::optional<double> Json::AsDouble() const {
  switch (type_) {
    case Type::kSigned:
      return static_cast<double>(value_.signed_number);
    case Type::kUnsigned:
      return static_cast<double>(value_.unsigned_number);
    case Type::kFloat:
      return value_.floating;
    default:
      return std::nullopt;
  }
}

std::size_t Json::size() const {
  return is_array() ? value_.array->size() : members().size();
}

Json& Json::push_back(Json value) {
  if (!is_array()) {
    *this = Array();
  }
  return value_.array->emplace_back(std::move(value));
}

const Json::Members& Json::members() const {
  static const Members none;
  return is_object() ? *value_.object : none;
}

const Json* Json::Find(std::string_view name) const {
  const auto found = members().find(name);
  return found == members().end() ? nullptr : &found->second;
}

Json& Json::operator[](std::string_view name) {
  if (!is_object()) {
    *this = Object();
  }
  const auto found = value_.object->find(name);
  return found != value_.object->end()
             ? found->second
             : value_.object->try_emplace(std::string(name)).first->second;
}

Json& Json::Set(std::string name, Json value) {
  if (!is_object()) {
    *this = Object();
  }
  Json& member = value_.object->try_emplace(value_.object->end(), std::move(name))->second;
  return member = std::move(value);
}

void Json::erase(std::string_view name) {
  if (const auto found = members().find(name); found != members().end()) {
    value_.object->erase(found);
  }
}

bool Json::HasOnlyIntegers() const {
  return type_ != Type::kFloat &&
         std::all_of(begin(), end(), [](const Json& item) { return item.HasOnlyIntegers(); }) &&
         std::ranges::all_of(members(),
                             [](const auto& member) { return member.second.HasOnlyIntegers(); });
}

std::string Json::Print(int indent) const {
  JsonPrinter printer(indent, true);
  printer.Print(*this);
  return std::move(printer).Take().value_or("");
}

std::optional<std::string> Json::PrintUtf8(int indent) const {
  JsonPrinter printer(indent, false);
  printer.Print(*this);
  return std::move(printer).Take();
}

std::string PrintInOrder(const std::vector<JsonMember>& members, int indent) {
  JsonPrinter printer(indent, true);
  printer.PrintInOrder(members);
  return std::move(printer).Take().value_or("");
}

std::optional<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.size) {
    return std::nullopt;
  }
  LimitedBuilder builder(limits.values);
  if (!nlohmann::json::sax_parse(text, &builder)) {
    return std::nullopt;
  }
  return builder.Take();
}

std::optional<Json> ParseJsonObject(std::string_view text, const JsonLimits& limits) {
  std::optional<Json> object = ParseJson(text, limits);
  return object && object->is_object() ? std::move(object) : std::nullopt;
}

std::optional<std::string> StringMember(const Json& object, std::string_view name) {
  const Json* const member = object.Find(name);
  return member != nullptr && member->is_text() ? std::optional(*member->AsText()) : std::nullopt;
}

std::optional<std::uint64_t> UnsignedMember(const Json& object, std::string_view name) {
  const Json* const member = object.Find(name);
  return member != nullptr ? member->AsUnsigned() : std::nullopt;
}

std::string ValidUtf8(const std::string& text) {
  if (IsPlain(text)) {
    return text;
  }
  const std::string printed = PrintByLibrary(text, true).value_or("\"\"");
  return nlohmann::json::parse(printed).get<std::string>();
}

bool IsUtf8(std::string_view text) {
  return IsPlain(text) || PrintByLibrary(text, false).has_value();
}

}  // namespace veza
