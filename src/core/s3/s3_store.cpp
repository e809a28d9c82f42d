#include "core/s3/s3_store.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>

#include "core/limits.h"
#include "core/s3/s3_address.h"
#include "core/s3/s3_bucket.h"
#include "core/s3/s3_error.h"
#include "core/s3/s3_past_store.h"
#include "core/s3/s3_store_base.h"
#include "core/s3/s3_xml.h"

namespace veza {

namespace {

// The most that DeleteObjects takes.
constexpr std::size_t kNamesPerDelete = 1000;
// How long a bucket that has not said how it locks objects is not asked again.
constexpr std::chrono::minutes kPauseOfLockMode{1};

class S3Store final : public S3StoreBase {
 public:
  using S3StoreBase::S3StoreBase;

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    RETURN_IF_ERROR(Begin(name));
    S3Call call{"PUT", root() + std::string(name)};
    ASSIGN_OR_RETURN(const S3Payload payload, client().HashPayload(body, Quoted(name)));
    call.payload_hash = payload.sha256;
    call.body = &body;
    call.headers = WriteHeaders(options().objects, payload, name);
    if (mode == PutMode::kCreate) {
      call.headers.emplace_back("if-none-match", "*");
    }
    const std::string what = Failed("write", name);
    S3Headers retention = ShortRetention(name);
    const bool is_short = !retention.empty();
    const std::size_t others = call.headers.size();
    std::ranges::move(retention, std::back_inserter(call.headers));
    ASSIGN_OR_RETURN(S3Response response, client().Send(call, what));
    if (is_short && (response.status == 400 || response.status == 403)) {
      // Perhaps the credentials may not do that (s3:PutObjectRetention). Without it, the object is
      // locked for as long as all others: that takes space, and does no harm.
      call.headers.resize(others);
      RETURN_IF_ERROR(body.Rewind());
      ASSIGN_OR_RETURN(response, client().Send(call, what));
      if (response.status / 100 == 2) {
        NoteLockMode("");
      }
    }
    if (response.status == 200 || response.status == 201 || response.status == 204) {
      return Ok();
    }
    return AnswerError(response, what, name);
  }

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    return GetVersion(name, "", range, sink);
  }
  Result<ObjectInfo> Head(std::string_view name) override { return HeadVersion(name, ""); }

  Status Delete(std::string_view name) override {
    RETURN_IF_ERROR(Begin(name));
    const std::string what = Failed("delete", name);
    ASSIGN_OR_RETURN(const S3Response response,
                     client().Send({"DELETE", root() + std::string(name)}, what));
    if (response.status == 200 || response.status == 204) {
      return Ok();
    }
    Error error = AnswerError(response, what, name);
    if (error.code == ErrorCode::kNotFound) {
      return Ok();
    }
    return error;
  }

  std::size_t NamesPerDelete() const override { return deletes_singly_ ? 1 : kNamesPerDelete; }

  Status DeleteAll(std::span<const std::string> names) override {
    for (const std::string& name : names) {
      RETURN_IF_ERROR(Begin(name));
    }
    while (!names.empty() && !deletes_singly_) {
      const auto part = names.first(std::min(names.size(), kNamesPerDelete));
      const Result<Deletion> deletion = DeleteTogether(part);
      if (!deletion &&
          (deletion.error().retryable || deletion.error().code == ErrorCode::kCancelled ||
           deletion.error().code == ErrorCode::kCredentials)) {
        return deletion.error();
      }
      if (!deletion || !TellsOfAll(deletion->result, part)) {
        deletes_singly_ = true;  // if those are refused as well, their errors say why
        break;
      }
      RETURN_IF_ERROR(FirstFailure(*deletion, part));
      names = names.subspan(part.size());
    }
    return Store::DeleteAll(names);
  }

  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    if (!MayBeginObjectName(prefix)) {
      return environment().cancellation->Check();  // some servers refuse "../" and "//"
    }
    return ListPages(prefix, start_after, "", [&](const S3ListPage& page) -> Status {
      for (const ObjectInfo& object : page.objects) {
        ObjectInfo info = object;
        info.name.erase(0, root().size());
        if (!ValidateObjectName(info.name)) {
          continue;  // not made by a Store, for example a "directory" that a web console made
        }
        RETURN_IF_ERROR(each(info));
      }
      return Ok();
    });
  }

  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    RETURN_IF_ERROR(ValidateDirectoryPrefix(prefix));
    std::vector<std::string> directories;
    RETURN_IF_ERROR(ListPages(prefix, "", "/", [&](const S3ListPage& page) -> Status {
      return AddDirectories(prefix, page.prefixes, &directories);
    }));
    // S3 sorts with the trailing '/': "a-b/" comes before "a/", but "a" comes before "a-b".
    std::sort(directories.begin(), directories.end());
    return directories;
  }

  Result<TimePoint> Now() override { return AskTime(); }

 private:
  struct Deletion {
    S3DeleteResult result;
    S3CredentialsPtr signer;  // of the request
  };

  // The headers for an object that is soon replaced, in a bucket that locks each object for long.
  S3Headers ShortRetention(std::string_view name) {
    if (!IsShortLived(options().objects, name)) {
      return {};
    }
    const std::string mode = LockMode();
    return mode.empty() ? S3Headers() : ShortRetentionHeaders(mode, environment().clock->Now());
  }

  // How the bucket locks objects by itself; empty if it does not, or if nobody says so. Asked once.
  // After a failure it is asked again, but only after a pause: the question comes before each
  // renewal of a lock, which must not be late.
  std::string LockMode() {
    {
      const std::lock_guard lock(lock_mutex_);
      if (lock_mode_) {
        return *lock_mode_;
      }
      if (environment().clock->Steady() < ask_again_) {
        return {};
      }
    }
    const auto retention = ReadDefaultRetention(client(), options(), environment());
    if (!retention &&
        (retention.error().retryable || retention.error().code == ErrorCode::kCancelled)) {
      const std::lock_guard lock(lock_mutex_);
      ask_again_ = environment().clock->Steady() + kPauseOfLockMode;
      return {};
    }
    std::string mode = retention && *retention ? (*retention)->mode : "";
    NoteLockMode(mode);
    return mode;
  }
  void NoteLockMode(const std::string& mode) {
    const std::lock_guard lock(lock_mutex_);
    lock_mode_ = mode;
  }

  // Deletes with one request, at most kNamesPerDelete objects.
  Result<Deletion> DeleteTogether(std::span<const std::string> names) {
    std::vector<std::string> keys;
    for (const std::string& name : names) {
      keys.push_back(root() + name);
    }
    const std::string document = MakeS3DeleteRequest(keys);
    MemoryBody body(AsBytes(document));
    const std::string what = fmt::format("could not delete {} objects, \"{}\" being the first",
                                         names.size(), Quoted(names.front()));
    S3Call call{"POST", ""};
    call.query.emplace_back("delete", "");
    ASSIGN_OR_RETURN(const S3Payload payload, client().HashPayload(body, Quoted(names.front())));
    call.payload_hash = payload.sha256;
    call.headers = DocumentHeaders(document);
    call.body = &body;
    call.body_limit = limits::kListPage;
    ASSIGN_OR_RETURN(const S3Response response, client().Send(call, what));
    if (response.status != 200) {
      return BucketError(response, what);
    }
    Result<S3DeleteResult> result = ParseS3DeleteResult(response.body);
    if (!result) {
      return std::move(result.error()).WithContext(what);
    }
    return Deletion{*std::move(result), response.credentials};
  }

  // Silence about a name does not say that it was deleted.
  bool TellsOfAll(const S3DeleteResult& result, std::span<const std::string> names) const {
    return std::ranges::all_of(names, [&](const std::string& name) {
      const std::string key = root() + name;
      return result.deleted.contains(key) ||
             std::ranges::find(result.errors, key, &S3DeleteError::key) != result.errors.end();
    });
  }

  // The first error that trying again cannot mend, or else the first one.
  Status FirstFailure(const Deletion& deletion, std::span<const std::string> names) const {
    Status first;
    for (const S3DeleteError& failed : deletion.result.errors) {
      if (failed.code == "NoSuchKey" || failed.code == "NoSuchVersion") {
        continue;
      }
      // The server's word for a name is not put into a message.
      const auto name = std::ranges::find_if(
          names, [&](const std::string& own) { return failed.key == root() + own; });
      const std::string what = Failed("delete", name != names.end() ? *name : names.front());
      Error error = S3PartError(failed.code, failed.message, what, options(), deletion.signer);
      if (!error.retryable) {
        return error;
      }
      first = first ? Status(std::move(error)) : first;
    }
    return first;
  }

  Status ListPages(std::string_view prefix, std::string_view start_after, const char* delimiter,
                   const std::function<Status(const S3ListPage&)>& each) {
    const std::string what = fmt::format("could not list \"{}\"", Quoted(prefix));
    std::string last;
    std::string token;
    for (int empty_pages = 0;;) {
      S3Call call = ListCall({{"list-type", "2"},
                              {"prefix", root() + std::string(prefix)},
                              {"max-keys", std::to_string(options().list_page_size)}});
      if (*delimiter != '\0') {
        call.query.emplace_back("delimiter", delimiter);
      }
      if (!token.empty()) {
        call.query.emplace_back("continuation-token", token);
      } else if (!start_after.empty()) {
        call.query.emplace_back("start-after", root() + std::string(start_after));
      }
      ASSIGN_OR_RETURN(const S3Response response, client().Send(call, what));
      if (response.status != 200) {
        return BucketError(response, what);
      }
      Result<S3ListPage> page = ParseS3ListPage(response.body);
      if (!page) {
        return std::move(page.error()).WithContext(what);
      }
      RETURN_IF_ERROR(RequirePrefix(KeysOf(*page), root() + std::string(prefix), what));
      for (const ObjectInfo& object : page->objects) {
        // Resuming a listing, and merging two listings, depend on the order.
        if (object.name <= last) {
          return OutOfOrder(what);
        }
        last = object.name;
      }
      RETURN_IF_ERROR(each(*page));
      if (!page->truncated) {
        return Ok();
      }
      empty_pages = page->objects.empty() && page->prefixes.empty() ? empty_pages + 1 : 0;
      RETURN_IF_ERROR(RequireProgress(page->continuation_token == token, empty_pages, what));
      token = page->continuation_token;
    }
  }

  static std::vector<std::string_view> KeysOf(const S3ListPage& page) {
    std::vector<std::string_view> keys(page.prefixes.begin(), page.prefixes.end());
    std::ranges::transform(page.objects, std::back_inserter(keys), &ObjectInfo::name);
    return keys;
  }

  std::mutex lock_mutex_;  // guards these two
  SteadyTime ask_again_{};
  std::optional<std::string> lock_mode_;
  std::atomic<bool> deletes_singly_ = false;  // the server refuses DeleteObjects
};

}  // namespace

Result<std::unique_ptr<Store>> MakeS3Store(S3Options options, Environment environment) {
  if (options.max_connections < 1) {
    return MakeError(ErrorCode::kInvalidArgument, "at least one S3 connection is needed")
        .WithHint("Set veza_backup.s3_connections to 1 or more.");
  }
  ASSIGN_OR_RETURN(S3Address address, MakeS3Address(options));
  if (options.as_of) {
    return MakeS3PastStore(std::move(options), std::move(address), std::move(environment));
  }
  return std::make_unique<S3Store>(std::move(options), std::move(address), std::move(environment));
}

}  // namespace veza
