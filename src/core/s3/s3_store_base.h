// What the two stores over S3 have in common: the requests that read, and how they understand the
// responses.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/s3/s3_client.h"
#include "core/s3/s3_store.h"
#include "core/storage/store.h"

namespace veza {

// Thread-safe, like every Store.
class S3StoreBase : public Store {
 public:
  S3StoreBase(S3Options options, S3Address address, Environment environment);

  const std::string& location() const override { return location_; }

 protected:
  const S3Options& options() const { return options_; }
  const Environment& environment() const { return environment_; }
  S3Client& client() { return client_; }
  // The beginning of every key: empty, or ends with '/'.
  const std::string& root() const { return root_; }

  // Get() and Head() of one version of the object; with an empty `version`, of the current one.
  // kUnsupported when the answer names another version.
  Status GetVersion(std::string_view name, const std::string& version, ByteRange range,
                    const Sink& sink);
  Result<ObjectInfo> HeadVersion(std::string_view name, const std::string& version);
  // The time by the clock of the store.
  Result<TimePoint> AskTime();

  // Every call that names an object begins with this.
  Status Begin(std::string_view name) const;

  std::string Quoted(std::string_view name) const;
  std::string Failed(const char* verb, std::string_view name) const;
  // The error for a response about an object, or about the bucket.
  Error AnswerError(const S3Response& response, const std::string& what,
                    std::string_view name) const;
  Error BucketError(const S3Response& response, const std::string& what) const;

  // Parts of a listing.
  // A request for a page; `query` says of what: {"list-type", "2"} or {"versions", ""}, and more.
  static S3Call ListCall(NamedValues query);
  // Whether a valid name may begin with it. Some servers refuse "../" and "//".
  static bool MayBeginObjectName(std::string_view prefix);
  // A server that passes over the prefix, or changes it, would show a repository that is empty, or
  // objects of another one. `keys` are of one page.
  static Status RequirePrefix(const std::vector<std::string_view>& keys, std::string_view prefix,
                              const std::string& what);
  static Error OutOfOrder(const std::string& what);
  // Without this check the listing might never end. `empty_pages` counts those without a name.
  static Status RequireProgress(bool is_same_page, int empty_pages, const std::string& what);
  // Adds the directories one level below `prefix` that a page has named. kDataCorrupted when there
  // are too many.
  Status AddDirectories(std::string_view prefix, const std::vector<std::string>& prefixes,
                        std::vector<std::string>* directories) const;

 private:
  Error ExplainHead(const S3Response& answer, const std::string& what, std::string_view name,
                    const std::string& version);
  S3Call CallOf(const char* method, std::string_view name, const std::string& version) const;

  S3Options options_;
  Environment environment_;
  std::string location_;
  std::string root_;
  S3Client client_;
};

}  // namespace veza
