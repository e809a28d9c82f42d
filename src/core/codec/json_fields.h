// Typed reading of a JSON object's members, with the first error kept until the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "core/codec/json.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza {

class JsonFields {
 public:
  // `where` names the object for messages; both are kept by reference.
  JsonFields(const Json& object, const std::string& where);

  void Read(const char* name, std::string& value);
  void Read(const char* name, bool& value);
  void Read(const char* name, TimePoint& value);
  template <typename T>
  requires std::is_integral_v<T>
  void Read(const char* name, T& value) {
    const Json* const member = Find(name);
    if (member != nullptr && !IntegerFrom(*member, value)) {
      FailOf(name, "is not a number in range");
    }
  }

  bool Has(const char* name) const { return object_.contains(name); }

  void Fail(const std::string& what);

  // The first error of all that was read.
  Status status() const { return status_; }

  template <typename T>
  static bool IntegerFrom(const Json& member, T& value) {
    if (const auto number = member.AsUnsigned()) {
      return Fit(*number, value);
    }
    const auto number = member.AsSigned();
    return number && Fit(*number, value);
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

  // Null when it is missing, which is an error, or after another error.
  const Json* Find(const char* name);
  void FailOf(const char* name, const char* what);

  const Json& object_;
  const std::string& where_;
  Status status_;
};

// A file's path: member "path", or "path_base64" when it is not UTF-8.
void PutPath(Json& object, const std::string& path);
void ReadPath(JsonFields& fields, std::string& path);

// Member "lease_seconds": of whoever holds the lock, or something that expiry is not to remove.
// Beyond kLongestLease it is a mistake, and arithmetic with it might overflow.
inline constexpr std::chrono::seconds kLongestLease{86'400};
void ReadLeaseSeconds(JsonFields& fields, std::chrono::seconds& lease);

// Member "system_identifier", a decimal number in a string.
void ReadSystemIdentifier(JsonFields& fields, std::uint64_t& system_identifier);

}  // namespace veza
