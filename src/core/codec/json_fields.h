// Reads the members of a JSON object into typed variables. The first error is kept; later reads do
// nothing.
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
  // `where` names the object in messages. Both must outlive this.
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
  // The same for a member: `what` is, for example, "is not a string".
  void FailOf(const char* name, const char* what);

  // The first error, if any read failed.
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

  // Returns null when the member is missing, which is an error, and after an earlier error.
  const Json* Find(const char* name);

  const Json& object_;
  const std::string& where_;
  Status status_;
};

// Writes and reads a file's path: in member "path", or in "path_base64" when it is not UTF-8.
void PutPath(Json& object, const std::string& path);
void ReadPath(JsonFields& fields, std::string& path);

// Reads member "lease_seconds", the duration of a lock or lease. A value above kLongestLease is
// refused: it is a mistake, and arithmetic with it might overflow.
inline constexpr std::chrono::seconds kLongestLease{86'400};
void ReadLeaseSeconds(JsonFields& fields, std::chrono::seconds& lease);

// Reads member "system_identifier", a decimal number in a string.
void ReadSystemIdentifier(JsonFields& fields, std::uint64_t& system_identifier);

}  // namespace veza
