// Finds where a text sets one of our secret settings: in postgresql.conf and old copies of it, in
// SQL, in JSON and YAML of cluster managers, and in command lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace veza {

// The name of the first setting with a value, such as "veza_backup.s3_secret_key". Nothing when
// there is none.
//
// A value that is missed shows a secret. A false find stops all backups. So an assignment counts,
// unless its value is a placeholder from a template. In a comment it counts only when the value
// could be a secret: it has at least eight characters, and it is in quotes or is a single word that
// nothing follows. A sentence that names the setting never counts.
//
// Details for those who change this:
// - "TO" needs quotes, or ";" at the end: "set it to a value" is a sentence.
// - A bare word in a comment begins with a letter or a digit, as the server requires of values
//   without quotes. Without "=" it must have a digit: "# veza_backup.s3_secret_key: deprecated".
// - SQL, JSON and YAML quote names, and allow a value on the next line.
// - PostgreSQL takes a carriage return for a blank.
std::optional<std::string> FindSetSecret(std::string_view text);

}  // namespace veza
