#include "core/s3/s3_xml.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/limits.h"

namespace veza {

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Reverses the encoding of encoding-type=url: %XX, and '+' for a blank.
std::string UrlDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low >= 0) {
      decoded.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      decoded.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return decoded;
}

bool IsShallow(const pugi::xml_document& document) {
  std::size_t depth = 1;
  for (pugi::xml_node node = document.first_child(); node;) {
    if (node.first_child()) {
      node = node.first_child();
      if (++depth > limits::kXmlDepth) {
        return false;
      }
      continue;
    }
    while (node && !node.next_sibling()) {
      node = node.parent();
      --depth;
    }
    node = node.next_sibling();
  }
  return true;
}

std::string TextOf(const pugi::xml_node& parent, const char* name, bool encoded) {
  const std::string_view text = parent.child_value(name);
  return encoded ? UrlDecode(text) : std::string(text);
}

// Without the size. Nothing when the key or the time is missing.
std::optional<ObjectInfo> ParseNameAndTime(const pugi::xml_node& node, bool encoded) {
  const auto modified = ParseUtc(node.child_value("LastModified"));
  ObjectInfo info{TextOf(node, "Key", encoded)};
  if (info.name.empty() || !modified) {
    return std::nullopt;
  }
  info.modified = *modified;
  return info;
}

std::optional<ObjectInfo> ParseObject(const pugi::xml_node& contents, bool encoded) {
  const std::string_view size = contents.child_value("Size");
  std::optional<ObjectInfo> info = ParseNameAndTime(contents, encoded);
  if (!info) {
    return std::nullopt;
  }
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), info->size);
  return error != std::errc() || end != size.data() + size.size() ? std::nullopt : info;
}

std::optional<S3Version> ParseVersion(const pugi::xml_node& node, bool encoded) {
  S3Version version;
  version.deleted = std::string_view(node.name()) == "DeleteMarker";
  std::optional<ObjectInfo> info =
      version.deleted ? ParseNameAndTime(node, encoded) : ParseObject(node, encoded);
  version.id = node.child_value("VersionId");
  if (!info || version.id.empty()) {
    return std::nullopt;
  }
  version.info = std::move(*info);
  return version;
}

std::vector<std::string> ParsePrefixes(const pugi::xml_node& root, bool encoded) {
  std::vector<std::string> prefixes;
  for (const pugi::xml_node& common : root.children("CommonPrefixes")) {
    prefixes.push_back(TextOf(common, "Prefix", encoded));
  }
  return prefixes;
}

// What the pages of both kinds of listing have.
struct Listing {
  pugi::xml_node root;
  bool encoded = false;
  bool truncated = false;
};

// Nothing when it is no page. `marker` is the element that says where the next page begins.
std::optional<Listing> OpenListing(std::string_view text, const char* kind, const char* marker,
                                   pugi::xml_document& document) {
  if (!ParseXml(text, limits::kListPage, document)) {
    return std::nullopt;
  }
  const pugi::xml_node root = document.child(kind);
  const std::string_view truncated = root.child_value("IsTruncated");
  const Listing listing{root, std::string_view(root.child_value("EncodingType")) == "url",
                        truncated == "true"};
  // Without this element we could not tell whether the listing is complete.
  if ((truncated != "true" && truncated != "false") ||
      (listing.truncated && *root.child_value(marker) == '\0')) {
    return std::nullopt;
  }
  return listing;
}

Error NotAPage() {
  return MakeError(ErrorCode::kUnavailable, "the response is not an S3 listing")
      .WithHint("Check that veza_backup.s3_endpoint names an S3 server.")
      .Retryable();
}

// Without the prefix of a namespace, which some servers write.
std::string_view LocalName(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  return name.substr(name.find(':') + 1);
}

std::string ValueOf(const pugi::xml_node& parent, std::string_view name) {
  for (const pugi::xml_node& node : parent.children()) {
    if (LocalName(node) == name) {
      return node.child_value();
    }
  }
  return {};
}

}  // namespace

// pugixml needs about 60 bytes for each element and attribute. They are counted before it begins;
// the count is rough and never too low.
bool ParseXml(std::string_view text, std::size_t size, pugi::xml_document& document) {
  const auto markup = std::ranges::count_if(text, [](char c) { return c == '<' || c == '='; });
  return text.size() <= size && static_cast<std::size_t>(markup) <= limits::kXmlMarkup &&
         document.load_buffer(text.data(), text.size()) && IsShallow(document);
}

std::optional<S3ErrorDocument> ParseS3Error(std::string_view text) {
  pugi::xml_document document;
  if (!ParseXml(text, limits::kErrorAnswer, document)) {
    return std::nullopt;
  }
  const pugi::xml_node error = document.child("Error");
  S3ErrorDocument parsed{error.child_value("Code"), error.child_value("Message"),
                         error.child_value("Region")};
  if (parsed.code.empty()) {
    return std::nullopt;
  }
  return parsed;
}

Result<S3ListPage> ParseS3ListPage(std::string_view text) {
  constexpr const char* kMarker = "NextContinuationToken";
  pugi::xml_document document;
  const std::optional<Listing> listing = OpenListing(text, "ListBucketResult", kMarker, document);
  if (!listing) {
    return NotAPage();
  }
  S3ListPage page;
  page.truncated = listing->truncated;
  page.continuation_token = listing->root.child_value(kMarker);
  for (const pugi::xml_node& contents : listing->root.children("Contents")) {
    std::optional<ObjectInfo> info = ParseObject(contents, listing->encoded);
    if (!info) {
      return NotAPage();
    }
    page.objects.push_back(std::move(*info));
  }
  page.prefixes = ParsePrefixes(listing->root, listing->encoded);
  return page;
}

Result<S3VersionsPage> ParseS3VersionsPage(std::string_view text) {
  constexpr const char* kMarker = "NextKeyMarker";
  pugi::xml_document document;
  const std::optional<Listing> listing = OpenListing(text, "ListVersionsResult", kMarker, document);
  if (!listing) {
    return NotAPage();
  }
  S3VersionsPage page;
  page.truncated = listing->truncated;
  page.key_marker = TextOf(listing->root, kMarker, listing->encoded);
  page.version_marker = listing->root.child_value("NextVersionIdMarker");
  for (const pugi::xml_node& node : listing->root.children()) {
    const std::string_view kind = node.name();
    if (kind != "Version" && kind != "DeleteMarker") {
      continue;
    }
    std::optional<S3Version> version = ParseVersion(node, listing->encoded);
    if (!version) {
      return NotAPage();
    }
    page.versions.push_back(std::move(*version));
  }
  page.prefixes = ParsePrefixes(listing->root, listing->encoded);
  // Behind the key alone the next page would begin with the next key, without the versions of this
  // one that are left. Only a common prefix has none.
  if (page.truncated && page.version_marker.empty() &&
      std::ranges::find(page.prefixes, page.key_marker) == page.prefixes.end()) {
    return NotAPage();
  }
  return page;
}

std::string MakeS3DeleteRequest(const std::vector<std::string>& keys) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("Delete");
  root.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  root.append_child("Quiet").text() = "false";
  for (const std::string& key : keys) {
    root.append_child("Object").append_child("Key").text() = key.c_str();
  }
  std::ostringstream text;
  document.save(text, "", pugi::format_raw);
  return text.str();
}

Result<S3DeleteResult> ParseS3DeleteResult(std::string_view text) {
  pugi::xml_document document;
  if (!ParseXml(text, limits::kListPage, document) ||
      LocalName(document.document_element()) != "DeleteResult") {
    return MakeError(ErrorCode::kUnsupported, "the response is not a result of DeleteObjects");
  }
  S3DeleteResult result;
  for (const pugi::xml_node& node : document.document_element().children()) {
    if (LocalName(node) == "Deleted") {
      result.deleted.insert(ValueOf(node, "Key"));
    } else if (LocalName(node) == "Error") {
      result.errors.push_back(
          {ValueOf(node, "Key"), ValueOf(node, "Code"), ValueOf(node, "Message")});
    }
  }
  return result;
}

}  // namespace veza
