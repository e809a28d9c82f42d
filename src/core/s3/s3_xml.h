// The XML documents of S3: error documents, pages of ListObjectsV2 and ListObjectVersions, request
// and result of DeleteObjects.
#pragma once

#include <optional>
#include <pugixml.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/storage/store.h"

namespace veza {

// The only XML parser in the program. Returns false when `text` is not XML, is longer than `size`,
// or has more markup or deeper nesting than core/limits.h allows. These limits bound the memory.
bool ParseXml(std::string_view text, std::size_t size, pugi::xml_document& document);

struct S3ErrorDocument {
  std::string code;  // for example "NoSuchKey"
  std::string message;
  std::string region;  // the bucket's region, if the server says it
};

// Returns nothing when `text` is not an error document of S3.
std::optional<S3ErrorDocument> ParseS3Error(std::string_view text);

struct S3ListPage {
  std::vector<ObjectInfo> objects;    // names are whole keys, including the store's prefix
  std::vector<std::string> prefixes;  // common prefixes, ending with '/'
  bool truncated = false;
  std::string continuation_token;  // not empty if truncated
};

// kUnavailable when `text` is not such a page.
Result<S3ListPage> ParseS3ListPage(std::string_view text);

// A version of an object, or a delete marker, which stands for its deletion and has no size.
struct S3Version {
  ObjectInfo info;  // the name is the whole key
  std::string id;   // "null" for what was written before the bucket had versioning
  bool deleted = false;
};

struct S3VersionsPage {
  std::vector<S3Version> versions;    // in the order of the document
  std::vector<std::string> prefixes;  // common prefixes, ending with '/'
  bool truncated = false;
  // Where the next page begins. If truncated, the first is not empty, and the second only behind a
  // common prefix.
  std::string key_marker;
  std::string version_marker;
};

// kUnavailable when `text` is not such a page.
Result<S3VersionsPage> ParseS3VersionsPage(std::string_view text);

// The document that asks for the deletion of these keys, and for an answer that names each of them.
std::string MakeS3DeleteRequest(const std::vector<std::string>& keys);

// Why one key was not deleted.
struct S3DeleteError {
  std::string key;
  std::string code;
  std::string message;
};

struct S3DeleteResult {
  std::set<std::string, std::less<>> deleted;  // keys
  std::vector<S3DeleteError> errors;
};

// kUnsupported when `text` is not the answer to such a request.
Result<S3DeleteResult> ParseS3DeleteResult(std::string_view text);

}  // namespace veza
