// Typed reading of a JSON object's members, with the first error kept until the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

class JsonFields {
 public:
  // `where` names the object for messages; both are kept by reference.
  JsonFields(const nlohmann::json& object, const std::string& where)
      : object_(object), where_(where) {
    if (!object.is_object()) {
      Fail("is not a JSON object");
    }
  }

  void Read(const char* name, std::string& value) {
    if (const auto* member = Find(name)) {
      if (member->is_string()) {
        value = member->get_ref<const std::string&>();
      } else {
        Fail(fmt::format("member \"{}\" is not a string", name));
      }
    }
  }

  void Read(const char* name, bool& value) {
    if (const auto* member = Find(name)) {
      if (member->is_boolean()) {
        value = member->get<bool>();
      } else {
        Fail(fmt::format("member \"{}\" is not a boolean", name));
      }
    }
  }

  template <typename T>
  requires std::is_integral_v<T>
  void Read(const char* name, T& value) {
    if (const auto* member = Find(name)) {
      if (!IntegerFrom(*member, value)) {
        Fail(fmt::format("member \"{}\" is not a number in range", name));
      }
    }
  }

  void Read(const char* name, TimePoint& value) {
    std::string text;
    Read(name, text);
    if (status_.has_value()) {
      if (auto time = ParseUtc(text)) {
        value = *time;
      } else {
        Fail(fmt::format("member \"{}\" is not a time", name));
      }
    }
  }

  bool Has(const char* name) const { return object_.is_object() && object_.contains(name); }

  void Fail(const std::string& what) {
    if (status_.has_value()) {
      status_ = MakeError(ErrorCode::kDataCorrupted, "\"{}\": {}", where_, what);
    }
  }

  // The first error of all that was read.
  Status status() const { return status_; }

  template <typename T>
  static bool IntegerFrom(const nlohmann::json& member, T& value) {
    if (member.is_number_unsigned()) {
      return Fit(member.get<std::uint64_t>(), value);
    }
    return member.is_number_integer() && Fit(member.get<std::int64_t>(), value);
  }

 private:
  template <typename Wide, typename T>
  static bool Fit(Wide wide, T& value) {
    if (!std::in_range<T>(wide)) {
      return false;
    }
    value = static_cast<T>(wide);
    return true;
  }

  const nlohmann::json* Find(const char* name) {
    if (!status_.has_value()) {
      return nullptr;
    }
    const auto found = object_.find(name);
    if (found == object_.end()) {
      Fail(fmt::format("member \"{}\" is missing", name));
      return nullptr;
    }
    return &*found;
  }

  const nlohmann::json& object_;
  const std::string& where_;
  Status status_;
};

// A file's path: member "path", or "path_base64" when it is not UTF-8.
void PutPath(nlohmann::json& object, const std::string& path);
void ReadPath(JsonFields& fields, std::string& path);

// Member "lease_seconds": of whoever holds the lock, or something that expiry is not to remove.
// Beyond kLongestLease it is a mistake, and arithmetic with it might overflow.
inline constexpr std::chrono::seconds kLongestLease{86'400};
void ReadLeaseSeconds(JsonFields& fields, std::chrono::seconds& lease);

// Member "system_identifier", a decimal number in a string.
void ReadSystemIdentifier(JsonFields& fields, std::uint64_t& system_identifier);

}  // namespace veza
