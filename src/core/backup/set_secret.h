// Where a text gives one of our secret settings a value: postgresql.conf and old copies of it, SQL,
// JSON and YAML of cluster managers, command lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace veza {

// The first setting with a value, such as "veza_backup.s3_secret_key"; nothing when there is none.
//
// A missed value shows a secret. A false find stops all backups. So: an assignment counts, unless
// its value is left over from a template. In a comment it counts only where the value could be a
// secret: at least eight characters, in quotes or as a single word that nothing follows. Sentences
// that name the setting never count.
//
// The details, for whoever changes this:
// - "TO" needs quotes, or ";" at the end: "set it to a value" is a sentence.
// - A bare word in a comment begins with a letter or a digit, as the server wants it of values
//   without quotes. Without "=" it has a digit: "# veza_backup.s3_secret_key: deprecated".
// - SQL, JSON and YAML quote names, and let a value stand on the next line.
// - To PostgreSQL a carriage return is a blank.
std::optional<std::string> FindSetSecret(std::string_view text);

}  // namespace veza
