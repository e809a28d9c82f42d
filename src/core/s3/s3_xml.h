// The two XML documents of S3 that are read: errors and pages of ListObjectsV2.
#pragma once

#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/storage/store.h"

namespace veza {

// The only parser of XML in the program. False when `text` is not XML, is longer than `size`, or
// has more markup or deeper nesting than core/limits.h says: memory is bounded by these.
bool ParseXml(std::string_view text, std::size_t size, pugi::xml_document& document);

struct S3ErrorDocument {
  std::string code;  // for example "NoSuchKey"
  std::string message;
  std::string region;  // where the bucket is, if the server says so
};

// Nothing if `text` is not an error document of S3.
std::optional<S3ErrorDocument> ParseS3Error(std::string_view text);

struct S3ListPage {
  std::vector<ObjectInfo> objects;    // names are whole keys
  std::vector<std::string> prefixes;  // common prefixes, with the '/' at their end
  bool truncated = false;
  std::string continuation_token;  // not empty if truncated
};

// kUnavailable if `text` is not such a page.
Result<S3ListPage> ParseS3ListPage(std::string_view text);

}  // namespace veza
