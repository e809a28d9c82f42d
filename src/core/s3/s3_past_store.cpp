#include "core/s3/s3_past_store.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "core/limits.h"
#include "core/s3/s3_bucket.h"
#include "core/s3/s3_store_base.h"
#include "core/s3/s3_xml.h"

namespace veza {

namespace {

// How many versions are remembered. A restore reads the same packs again and again.
constexpr std::size_t kRememberedVersions = 4096;

// Picks the version that counts out of those of one object.
class Choice {
 public:
  explicit Choice(TimePoint end) : end_(end) {}

  void Look(const S3Version& version) {
    if (version.info.modified < end_ && (!best_ || version.info.modified > best_->info.modified)) {
      best_ = version;
    }
  }
  // Nothing when the object was not there. The next Look() is at another object.
  std::optional<S3Version> Take() {
    std::optional<S3Version> taken = std::exchange(best_, std::nullopt);
    return taken && !taken->deleted ? taken : std::nullopt;
  }

 private:
  TimePoint end_;
  std::optional<S3Version> best_;
};

// Finds out that a listing goes in a circle. The versions of one object have no order by which one
// could tell (their ids are random, and clocks are set back), and there may be millions of them. So
// each place is compared with one that is remembered, the first, second, fourth, eighth and so on
// (Brent's method): a circle is found within three times its length.
class CircleFinder {
 public:
  bool Closes(const std::string& key_marker, const std::string& version_marker) {
    if (pages_ > 0 && key_marker == key_marker_ && version_marker == version_marker_) {
      return true;
    }
    if (++pages_ == next_) {
      key_marker_ = key_marker;
      version_marker_ = version_marker;
      next_ *= 2;
    }
    return false;
  }

 private:
  std::uint64_t pages_ = 0;
  std::uint64_t next_ = 1;
  std::string key_marker_;
  std::string version_marker_;
};

class S3PastStore final : public S3StoreBase {
 public:
  S3PastStore(S3Options options, S3Address address, Environment environment)
      : S3StoreBase(std::move(options), std::move(address), std::move(environment)),
        time_(std::chrono::floor<std::chrono::seconds>(*S3StoreBase::options().as_of)) {}

  Status Put(std::string_view name, Body&, PutMode) override { return Refuse("write", name); }
  Status Delete(std::string_view name) override { return Refuse("delete", name); }

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    ASSIGN_OR_RETURN(const std::string version, Find(name));
    return WithRights(GetVersion(name, version, range, sink));
  }

  Result<ObjectInfo> Head(std::string_view name) override {
    ASSIGN_OR_RETURN(const std::string version, Find(name));
    Result<ObjectInfo> info = HeadVersion(name, version);
    return info ? std::move(info) : WithRights(info.error()).error();
  }

  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    if (!MayBeginObjectName(prefix)) {
      return environment().cancellation->Check();
    }
    Choice choice(End());
    std::string key;  // whose versions come
    const auto end_of_object = [&]() -> Status {
      std::optional<S3Version> version = choice.Take();
      if (!version) {
        return Ok();
      }
      version->info.name.erase(0, root().size());
      // A name that is not valid was not made by a Store.
      return version->info.name > start_after && ValidateObjectName(version->info.name)
                 ? each(version->info)
                 : Ok();
    };
    RETURN_IF_ERROR(ListVersions(prefix, start_after, "", [&](const S3VersionsPage& page) {
      return ForEachVersion(page, [&](const S3Version& version) -> Result<bool> {
        if (version.info.name != key) {
          RETURN_IF_ERROR(end_of_object());
          key = version.info.name;
        }
        choice.Look(version);
        return true;
      });
    }));
    return end_of_object();
  }

  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    RETURN_IF_ERROR(ValidateDirectoryPrefix(prefix));
    std::vector<std::string> directories;
    RETURN_IF_ERROR(ListVersions(prefix, "", "/", [&](const S3VersionsPage& page) -> Result<bool> {
      RETURN_IF_ERROR(AddDirectories(prefix, page.prefixes, &directories));
      return true;
    }));
    std::sort(directories.begin(), directories.end());
    // One that had no object then is not of that time. To plan a restore by a timeline that began
    // later would be wrong.
    std::vector<std::string> held;
    for (std::string& directory : directories) {
      ASSIGN_OR_RETURN(const bool had_object,
                       HoldsObject(*this, fmt::format("{}{}/", prefix, directory)));
      if (had_object) {
        held.push_back(std::move(directory));
      }
    }
    return held;
  }

  Result<TimePoint> Now() override {
    RETURN_IF_ERROR(RequireVersions());
    return time_;
  }

  Result<bool> HasEverHeld(std::string_view prefix) {
    bool held = false;
    RETURN_IF_ERROR(ListVersions(prefix, "", "", [&](const S3VersionsPage& page) -> Result<bool> {
      held = !page.versions.empty();
      return !held;
    }));
    return held;
  }

 private:
  // Returns whether to go on.
  using PageVisitor = std::function<Result<bool>(const S3VersionsPage&)>;
  using VersionVisitor = std::function<Result<bool>(const S3Version&)>;

  TimePoint End() const { return time_ + kStoreTimePrecision; }

  static Result<bool> ForEachVersion(const S3VersionsPage& page, const VersionVisitor& each) {
    for (const S3Version& version : page.versions) {
      ASSIGN_OR_RETURN(const bool goes_on, each(version));
      if (!goes_on) {
        return false;
      }
    }
    return true;
  }

  // The versions of one object, those of all times.
  Status ForEachVersionOf(std::string_view name, const VersionVisitor& each) {
    return ListVersions(name, "", "", [&](const S3VersionsPage& page) {
      return ForEachVersion(page, [&](const S3Version& version) -> Result<bool> {
        if (version.info.name.size() != root().size() + name.size()) {
          return false;  // the versions of another object, whose name begins with this one
        }
        return each(version);
      });
    });
  }

  Status Refuse(const char* verb, std::string_view name) const {
    return MakeError(ErrorCode::kUnsupported, "{}: the repository is read as it was at {}",
                     Failed(verb, name), FormatUtc(time_))
        .WithHint("The past can only be read. Leave out --as-of to change what is there now.");
  }

  Status WithRights(Status status) const {
    if (!status && status.error().code == ErrorCode::kPermissionDenied) {
      return std::move(status.error())
          .WithHint(
              "To read the past, the credentials need s3:GetBucketVersioning and "
              "s3:ListBucketVersions on the bucket and s3:GetObjectVersion on its objects.");
    }
    return status;
  }

  // Returns the version of the object that counts.
  Result<std::string> Find(std::string_view name) {
    RETURN_IF_ERROR(Begin(name));
    if (std::optional<std::string> known = Recall(name)) {
      return *std::move(known);
    }
    Choice choice(End());
    RETURN_IF_ERROR(ForEachVersionOf(name, [&](const S3Version& version) -> Result<bool> {
      choice.Look(version);
      return true;
    }));
    const std::optional<S3Version> version = choice.Take();
    if (!version) {
      return MakeError(ErrorCode::kNotFound, "object \"{}\" did not exist at {}", Quoted(name),
                       FormatUtc(time_));
    }
    Remember(name, version->id);
    return version->id;
  }

  std::optional<std::string> Recall(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(name);
    return found == known_.end() ? std::nullopt : std::optional(found->second);
  }
  void Remember(std::string_view name, const std::string& version) {
    const std::lock_guard lock(mutex_);
    if (known_.size() >= kRememberedVersions) {
      known_.clear();
    }
    known_.emplace(name, version);
  }

  // Calls `each` for the pages of versions below `prefix`, in the order of the keys.
  Status ListVersions(std::string_view prefix, std::string_view start_after, const char* delimiter,
                      const PageVisitor& each) {
    RETURN_IF_ERROR(RequireVersions());
    const std::string what = fmt::format("could not list the versions of \"{}\"", Quoted(prefix));
    std::string last;
    std::string key_marker = start_after.empty() ? "" : root() + std::string(start_after);
    std::string version_marker;
    CircleFinder circle;
    for (int empty_pages = 0;;) {
      ASSIGN_OR_RETURN(const S3VersionsPage page,
                       RequestPage(prefix, delimiter, key_marker, version_marker, what));
      RETURN_IF_ERROR(RequirePrefix(KeysOf(page), root() + std::string(prefix), what));
      for (const S3Version& version : page.versions) {
        // The versions of one object must not be torn apart.
        if (version.info.name < last) {
          return OutOfOrder(what);
        }
        last = version.info.name;
      }
      ASSIGN_OR_RETURN(const bool goes_on, each(page));
      if (!goes_on || !page.truncated) {
        return Ok();
      }
      empty_pages = page.versions.empty() && page.prefixes.empty() ? empty_pages + 1 : 0;
      RETURN_IF_ERROR(RequireProgress(
          page.key_marker < key_marker || circle.Closes(page.key_marker, page.version_marker),
          empty_pages, what));
      key_marker = page.key_marker;
      version_marker = page.version_marker;
    }
  }

  Result<S3VersionsPage> RequestPage(std::string_view prefix, const char* delimiter,
                                     const std::string& key_marker,
                                     const std::string& version_marker, const std::string& what) {
    S3Call call = ListCall({{"versions", ""},
                            {"prefix", root() + std::string(prefix)},
                            {"max-keys", std::to_string(options().list_page_size)}});
    for (const auto& [name, value] :
         {std::pair("delimiter", std::string(delimiter)), std::pair("key-marker", key_marker),
          std::pair("version-id-marker", version_marker)}) {
      if (!value.empty()) {
        call.query.emplace_back(name, value);
      }
    }
    ASSIGN_OR_RETURN(const S3Response response, client().Send(call, what));
    if (response.status != 200) {
      return WithRights(BucketError(response, what)).error();
    }
    Result<S3VersionsPage> page = ParseS3VersionsPage(response.body);
    if (!page) {
      return std::move(page.error()).WithContext(what);
    }
    return page;
  }

  static std::vector<std::string_view> KeysOf(const S3VersionsPage& page) {
    std::vector<std::string_view> keys(page.prefixes.begin(), page.prefixes.end());
    for (const S3Version& version : page.versions) {
      keys.push_back(version.info.name);
    }
    return keys;
  }

  // Succeeds at once when it has succeeded before.
  Status RequireVersions() {
    RETURN_IF_ERROR(environment().cancellation->Check());
    const std::lock_guard lock(first_);
    if (has_versions_) {
      return Ok();
    }
    RETURN_IF_ERROR(RequireVersioning());
    ASSIGN_OR_RETURN(const TimePoint now, AskTime());
    if (now < End()) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "\"{}\" cannot be read as it was at {}: it is {} there", location(),
                       FormatUtc(time_), FormatUtc(now))
          .WithHint("Give a time that has passed.");
    }
    has_versions_ = true;
    return Ok();
  }

  // Without versions, an object that was overwritten would seem never to have been there, and the
  // answer would be wrong rather than missing. So this must be known for certain.
  Status RequireVersioning() {
    const Result<Versioning> versioning = ReadVersioning(client(), options(), environment());
    if (!versioning) {
      return WithRights(versioning.error());
    }
    if (*versioning == Versioning::kNever) {
      return MakeError(ErrorCode::kUnsupported,
                       "bucket \"{}\" has no versioning, so nobody knows what was there at {}",
                       options().bucket, FormatUtc(time_))
          .WithHint(
              "A bucket keeps what is overwritten or deleted from when its versioning is enabled. "
              "Without --as-of, what is there now can be restored.");
    }
    return Ok();
  }

  const TimePoint time_;
  std::mutex first_;  // guards has_versions_; the others wait for the first call
  bool has_versions_ = false;
  mutable std::mutex mutex_;  // guards known_
  std::map<std::string, std::string, std::less<>> known_;
};

}  // namespace

std::unique_ptr<Store> MakeS3PastStore(S3Options options, S3Address address,
                                       Environment environment) {
  return std::make_unique<S3PastStore>(std::move(options), std::move(address),
                                       std::move(environment));
}

Result<bool> HasEverHeld(S3Options options, Environment environment, std::string_view prefix) {
  ASSIGN_OR_RETURN(S3Address address, MakeS3Address(options));
  return S3PastStore(std::move(options), std::move(address), std::move(environment))
      .HasEverHeld(prefix);
}

}  // namespace veza
