#include "core/codec/json.h"

#include <utility>
#include <vector>

namespace veza {

namespace {

using nlohmann::json;

// Builds the value while the text is read, and has the parser stop where a limit is passed. The
// parser itself keeps a bit for each level. (nlohmann's own callback parser goes on to the end of
// the text, with 70 bytes for each level.)
class LimitedBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit LimitedBuilder(std::size_t values) : left_(values) {}

  json Take() { return std::move(root_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }  // no JSON text has one

  bool start_object(std::size_t) override { return Begin(json::object()); }
  bool key(string_t& name) override {
    name_ = std::move(name);
    return Count();
  }
  bool end_object() override { return End(); }
  bool start_array(std::size_t) override { return Begin(json::array()); }
  bool end_array() override { return End(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
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

  // The value in its place; null: one too many.
  template <typename Value>
  json* Add(Value&& value) {
    if (!Count()) {
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::forward<Value>(value);
      return &root_;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      return &parent.emplace_back(std::forward<Value>(value));
    }
    return &(parent[name_] = std::forward<Value>(value));
  }

  bool Begin(json&& container) {
    if (open_.size() == limits::kJsonDepth) {
      return false;
    }
    json* const begun = Add(std::move(container));
    if (begun != nullptr) {
      open_.push_back(begun);
    }
    return begun != nullptr;
  }

  bool End() {
    open_.pop_back();
    return true;
  }

  json root_;
  std::vector<json*> open_;  // a parent does not grow while one of its members is open
  std::string name_;
  std::size_t left_;
};

}  // namespace

std::optional<json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.size) {
    return std::nullopt;
  }
  LimitedBuilder builder(limits.values);
  if (!json::sax_parse(text, &builder)) {
    return std::nullopt;
  }
  return builder.Take();
}

std::optional<json> ParseJsonObject(std::string_view text, const JsonLimits& limits) {
  std::optional<json> object = ParseJson(text, limits);
  return object && object->is_object() ? std::move(object) : std::nullopt;
}

std::optional<std::string> StringMember(const json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || !member->is_string()) {
    return std::nullopt;
  }
  return member->get<std::string>();
}

std::optional<std::uint64_t> UnsignedMember(const json& object, const char* name) {
  const auto member = object.find(name);
  // A document made by us holds signed numbers where a literal was signed; only parsed ones do not.
  if (member == object.end() || !member->is_number_integer() ||
      (!member->is_number_unsigned() && member->get<std::int64_t>() < 0)) {
    return std::nullopt;
  }
  return member->get<std::uint64_t>();
}

std::string ValidUtf8(const std::string& text) {
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace))
      .get<std::string>();
}

}  // namespace veza
