#include "core/credentials/credential_documents.h"

#include <algorithm>
#include <pugixml.hpp>
#include <utility>

#include "core/ascii.h"
#include "core/codec/json.h"
#include "core/limits.h"
#include "core/s3/s3_xml.h"

namespace veza {

namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::size_t kLongestKey = 1024;
constexpr std::size_t kLongestToken = 16384;
constexpr std::size_t kMostJsonValues = 1000;
constexpr std::size_t kLongestCode = 64;

bool IsPrintable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

Error NotCredentials(const char* what) {
  return MakeError(ErrorCode::kCredentials, "{}", what);
}

Result<S3Credentials> WithEnd(S3Credentials credentials, std::string_view end) {
  const Result<TimePoint> time = ParseUtc(end);
  if (!time) {
    return NotCredentials("the answer does not say until when its credentials are valid");
  }
  credentials.expires = *time;
  return CheckCredentials(std::move(credentials));
}

constexpr const char* kKeysOnlyHint =
    "Only aws_access_key_id, aws_secret_access_key and aws_session_token are read. For a profile "
    "that names a role, a process or single sign-on, let a program write temporary keys into such "
    "a file.";

// Lines that say that the credentials of the profile are others than its keys.
constexpr std::string_view kOtherWays[] = {"role_arn", "source_profile", "credential_source",
                                           "credential_process", "web_identity_token_file"};

// Takes one line of the profile.
Status TakeLine(std::string_view line, std::string_view profile, S3Credentials& credentials) {
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos) {
    return Ok();
  }
  const std::string_view name = Trim(line.substr(0, equals), kBlanks);
  const std::string_view value = Trim(line.substr(equals + 1), kBlanks);
  if (name == "aws_access_key_id") {
    credentials.keys.access_key = value;
  } else if (name == "aws_secret_access_key") {
    credentials.keys.secret_key = value;
  } else if (name == "aws_session_token") {
    credentials.session_token = value;
  } else if (name.starts_with("sso_") ||
             std::ranges::find(kOtherWays, name) != std::end(kOtherWays)) {
    return MakeError(ErrorCode::kCredentials, "profile \"{}\" sets {}", profile,
                     name.starts_with("sso_") ? "sso_…" : name)
        .WithHint(kKeysOnlyHint);
  }
  return Ok();
}

}  // namespace

Result<S3Credentials> CheckCredentials(S3Credentials credentials) {
  if (credentials.keys.access_key.empty() || credentials.keys.secret_key.empty()) {
    return NotCredentials(credentials.keys.access_key.empty() ? "there is no access key id"
                                                              : "there is no secret access key");
  }
  if (credentials.keys.access_key.size() > kLongestKey ||
      credentials.keys.secret_key.text().size() > kLongestKey ||
      credentials.session_token.text().size() > kLongestToken) {
    return NotCredentials("a key or a session token is too long");
  }
  if (!IsPrintable(credentials.keys.access_key) ||
      !IsPrintable(credentials.keys.secret_key.text()) ||
      !IsPrintable(credentials.session_token.text())) {
    return NotCredentials("a key or a session token contains a blank or a control character");
  }
  return credentials;
}

Result<S3Credentials> ParseProfile(std::string_view text, std::string_view profile) {
  S3Credentials credentials;
  bool found = false;
  bool inside = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end), kBlanks);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#' || line.front() == ';') {
      continue;
    }
    if (line.front() == '[') {
      inside = line.back() == ']' && Trim(line.substr(1, line.size() - 2), kBlanks) == profile;
      found = found || inside;
    } else if (inside) {
      RETURN_IF_ERROR(TakeLine(line, profile, credentials));
    }
  }
  if (!found) {
    return MakeError(ErrorCode::kCredentials, "there is no profile \"{}\"", profile)
        .WithHint("Set veza_backup.s3_profile to a profile of that file, without brackets.");
  }
  if (credentials.keys.access_key.empty() && credentials.keys.secret_key.empty()) {
    return MakeError(ErrorCode::kCredentials, "profile \"{}\" holds no keys", profile)
        .WithHint(kKeysOnlyHint);
  }
  return CheckCredentials(std::move(credentials));
}

Result<S3Credentials> ParseCredentialJson(std::string_view text) {
  const auto object =
      ParseJsonObject(text, {.size = limits::kCredentialAnswer, .values = kMostJsonValues});
  if (!object) {
    return NotCredentials("the answer is not a JSON document with credentials");
  }
  if (const auto code = StringMember(*object, "Code"); code && *code != "Success") {
    return MakeError(ErrorCode::kCredentials, "there are no credentials: {}", ErrorCodeIn(text))
        .Retryable();
  }
  const auto member = [&](const char* name) -> SecretString {
    const Json* const value = object->Find(name);
    return SecretString(value != nullptr && value->is_text() ? *value->AsText() : "");
  };
  S3Credentials credentials;
  credentials.keys.access_key = member("AccessKeyId").text();
  credentials.keys.secret_key = member("SecretAccessKey");
  credentials.session_token = member("Token");
  return WithEnd(std::move(credentials), member("Expiration").text());
}

Result<S3Credentials> ParseStsCredentials(std::string_view text) {
  pugi::xml_document document;
  if (!ParseXml(text, limits::kCredentialAnswer, document)) {
    return NotCredentials("the answer is not XML");
  }
  const pugi::xml_node node = document.child("AssumeRoleWithWebIdentityResponse")
                                  .child("AssumeRoleWithWebIdentityResult")
                                  .child("Credentials");
  if (!node) {
    return NotCredentials("the answer is not one of AssumeRoleWithWebIdentity");
  }
  S3Credentials credentials;
  credentials.keys.access_key = node.child_value("AccessKeyId");
  credentials.keys.secret_key = node.child_value("SecretAccessKey");
  credentials.session_token = node.child_value("SessionToken");
  return WithEnd(std::move(credentials), node.child_value("Expiration"));
}

std::string ErrorCodeIn(std::string_view text) {
  std::string code;
  pugi::xml_document document;
  if (const auto json =
          ParseJsonObject(text, {.size = limits::kCredentialAnswer, .values = kMostJsonValues})) {
    code = StringMember(*json, "Code").value_or(StringMember(*json, "code").value_or(""));
  } else if (ParseXml(text, limits::kCredentialAnswer, document)) {
    code = document.document_element().child("Error").child_value("Code");
    if (code.empty()) {
      code = document.child("Error").child_value("Code");
    }
  }
  const bool plain =
      std::ranges::all_of(code, [](char c) { return IsAlphanumeric(c) || c == '.'; });
  return plain && code.size() <= kLongestCode ? code : "";
}

}  // namespace veza
