#include "core/s3/s3_store.h"

#include <algorithm>
#include <atomic>
#include <charconv>

#include "core/limits.h"
#include "core/s3/s3_address.h"
#include "core/s3/s3_client.h"
#include "core/s3/s3_error.h"
#include "core/s3/s3_xml.h"

namespace veza {

namespace {

// The most that DeleteObjects takes.
constexpr std::size_t kNamesPerDelete = 1000;

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

// Returns the position of the first byte: 5 for "bytes 5-9/100".
std::optional<std::uint64_t> ContentRangeBegin(std::string_view text) {
  if (!text.starts_with("bytes ")) {
    return std::nullopt;
  }
  text.remove_prefix(6);
  return ParseNumber<std::uint64_t>(text.substr(0, text.find('-')));
}

// Returns the value of the Range header. `range` is not the whole object and not empty.
std::string RangeValue(ByteRange range) {
  if (range.length > std::numeric_limits<std::uint64_t>::max() - range.offset) {
    return fmt::format("bytes={}-", range.offset);
  }
  return fmt::format("bytes={}-{}", range.offset, range.offset + range.length - 1);
}

// Whether a valid name may begin with it. Its last part may be whole, or may go on.
bool MayBeginObjectName(std::string_view prefix) {
  return prefix.empty() || ValidateObjectName(prefix) ||
         ValidateObjectName(fmt::format("{}a", prefix));
}

class S3Store final : public Store {
 public:
  S3Store(S3Options options, S3Address address, Environment environment)
      : options_(std::move(options)),
        environment_(std::move(environment)),
        location_(fmt::format("s3://{}{}{}", options_.bucket, options_.prefix.empty() ? "" : "/",
                              options_.prefix)),
        root_(options_.prefix.empty() ? "" : options_.prefix + '/'),
        client_(options_, std::move(address), environment_) {}

  const std::string& location() const override { return location_; }

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    RETURN_IF_ERROR(Begin(name));
    S3Call call{"PUT", root_ + std::string(name)};
    ASSIGN_OR_RETURN(const S3Payload payload, client_.HashPayload(body, Quoted(name)));
    call.payload_hash = payload.sha256;
    call.body = &body;
    call.headers = WriteHeaders(options_.objects, payload, name);
    if (mode == PutMode::kCreate) {
      call.headers.emplace_back("if-none-match", "*");
    }
    const std::string what = Failed("write", name);
    ASSIGN_OR_RETURN(const S3Response response, client_.Send(call, what));
    if (response.status == 200 || response.status == 201 || response.status == 204) {
      return Ok();
    }
    return AnswerError(response, what, name);
  }

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    RETURN_IF_ERROR(Begin(name));
    if (range.length == 0) {
      return MakeError(ErrorCode::kInvalidArgument, "range {}+0 of object \"{}\" is empty",
                       range.offset, Quoted(name));
    }
    S3Call call{"GET", root_ + std::string(name)};
    call.sink = sink;
    if (!range.whole()) {
      call.headers.emplace_back("range", RangeValue(range));
      call.sink_status = 206;
    }
    const std::string what = Failed("read", name);
    ASSIGN_OR_RETURN(const S3Response response, client_.Send(call, what));
    if (response.status != call.sink_status) {
      return AnswerError(response, what, name);
    }
    return CheckDelivery(response, range, what);
  }

  Result<ObjectInfo> Head(std::string_view name) override {
    RETURN_IF_ERROR(Begin(name));
    const std::string what = Failed("look up", name);
    ASSIGN_OR_RETURN(const S3Response response,
                     client_.Send({"HEAD", root_ + std::string(name)}, what));
    if (response.status != 200) {
      return ExplainHead(response, what, name);
    }
    const auto size = ParseNumber<std::uint64_t>(response.Header("content-length"));
    const auto modified = ParseHttpDate(response.Header("last-modified"));
    if (!size || !modified) {
      return NotS3(what, "without the size or the time of the object");
    }
    return ObjectInfo{std::string(name), *size, *modified};
  }

  Status Delete(std::string_view name) override {
    RETURN_IF_ERROR(Begin(name));
    const std::string what = Failed("delete", name);
    ASSIGN_OR_RETURN(const S3Response response,
                     client_.Send({"DELETE", root_ + std::string(name)}, what));
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
      return environment_.cancellation->Check();  // some servers refuse "../" and "//"
    }
    return ListPages(prefix, start_after, "", [&](const S3ListPage& page) -> Status {
      for (const ObjectInfo& object : page.objects) {
        ObjectInfo info = object;
        info.name.erase(0, root_.size());
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
      for (std::string name : page.prefixes) {
        name.erase(0, root_.size() + prefix.size());
        if (name.ends_with('/')) {
          name.pop_back();
          if (ValidateObjectName(name)) {
            directories.push_back(std::move(name));
          }
        }
      }
      if (directories.size() > limits::kDirectories) {
        return TooManyObjects(*this, prefix, limits::kDirectories);
      }
      return Ok();
    }));
    // S3 sorts with the trailing '/': "a-b/" comes before "a/", but "a" comes before "a-b".
    std::sort(directories.begin(), directories.end());
    return directories;
  }

  Result<TimePoint> Now() override {
    const std::string what = fmt::format("could not ask \"{}\" for the time", location_);
    ASSIGN_OR_RETURN(const S3Response response,
                     client_.Send(ListCall({{"max-keys", "1"}, {"prefix", root_}}), what));
    if (response.status != 200) {
      return S3ResponseError(response, what, options_, environment_.clock->Now());
    }
    const auto date = ParseHttpDate(response.Header("date"));
    if (!date) {
      return NotS3(what, "without a date");
    }
    return *date;
  }

 private:
  struct Deletion {
    S3DeleteResult result;
    S3CredentialsPtr signer;  // of the request
  };

  // Deletes with one request, at most kNamesPerDelete objects.
  Result<Deletion> DeleteTogether(std::span<const std::string> names) {
    std::vector<std::string> keys;
    for (const std::string& name : names) {
      keys.push_back(root_ + name);
    }
    const std::string document = MakeS3DeleteRequest(keys);
    MemoryBody body(AsBytes(document));
    const std::string what = fmt::format("could not delete {} objects, \"{}\" being the first",
                                         names.size(), Quoted(names.front()));
    S3Call call{"POST", ""};
    call.query.emplace_back("delete", "");
    ASSIGN_OR_RETURN(const S3Payload payload, client_.HashPayload(body, Quoted(names.front())));
    call.payload_hash = payload.sha256;
    call.headers = DocumentHeaders(document);
    call.body = &body;
    call.body_limit = limits::kListPage;
    ASSIGN_OR_RETURN(const S3Response response, client_.Send(call, what));
    if (response.status != 200) {
      return S3ResponseError(response, what, options_, environment_.clock->Now());
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
      const std::string key = root_ + name;
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
          names, [&](const std::string& own) { return failed.key == root_ + own; });
      const std::string what = Failed("delete", name != names.end() ? *name : names.front());
      Error error = S3PartError(failed.code, failed.message, what, options_, deletion.signer);
      if (!error.retryable) {
        return error;
      }
      first = first ? Status(std::move(error)) : first;
    }
    return first;
  }

  Status Begin(std::string_view name) const {
    RETURN_IF_ERROR(ValidateObjectName(name));
    return environment_.cancellation->Check();
  }

  std::string Quoted(std::string_view name) const { return fmt::format("{}/{}", location_, name); }
  std::string Failed(const char* verb, std::string_view name) const {
    return fmt::format("could not {} object \"{}\"", verb, Quoted(name));
  }

  static Error NotS3(const std::string& what, const char* lack) {
    return MakeError(ErrorCode::kUnavailable, "{}: server answered {}", what, lack)
        .WithHint("Check that veza_backup.s3_endpoint names an S3 server.")
        .Retryable();
  }

  Error AnswerError(const S3Response& response, const std::string& what,
                    std::string_view name) const {
    Error error = S3ResponseError(response, what, options_, environment_.clock->Now());
    if (error.code == ErrorCode::kNotFound) {
      error.message = fmt::format("object \"{}\" does not exist", Quoted(name));
    } else if (error.code == ErrorCode::kAlreadyExists) {
      error.message = fmt::format("object \"{}\" already exists", Quoted(name));
    }
    return error;
  }

  // libcurl has already checked that the body is as long as its Content-Length.
  static Status CheckDelivery(const HttpResponse& response, ByteRange range,
                              const std::string& what) {
    if (response.Header("content-length").empty() && response.Header("transfer-encoding").empty()) {
      return NotS3(what, "without a length, so that the end may be missing");
    }
    if (!range.whole() && ContentRangeBegin(response.Header("content-range")) != range.offset) {
      return NotS3(what, "with a range other than the requested one");
    }
    return Ok();
  }

  // A response to HEAD has no body and therefore no reason. A GET returns the reason. The
  // difference matters, because a proxy's 404 does not mean that the object is missing.
  Error ExplainHead(const S3Response& answer, const std::string& what, std::string_view name) {
    S3Call call{"GET", root_ + std::string(name)};
    call.headers.emplace_back("range", "bytes=0-0");
    Result<S3Response> response = client_.Send(call, what);
    if (!response) {
      return std::move(response.error());
    }
    const bool appeared = response->status < 300 || response->status == 416;
    if (appeared) {
      return MakeError(ErrorCode::kUnavailable, "{}: server answered {}, then {}", what,
                       answer.status, response->status)
          .Retryable();
    }
    return AnswerError(*response, what, name);
  }

  S3Call ListCall(NamedValues query) const {
    S3Call call{"GET", ""};
    call.query = std::move(query);
    call.query.emplace_back("list-type", "2");
    call.query.emplace_back("encoding-type", "url");
    call.body_limit = limits::kListPage;
    return call;
  }

  Status ListPages(std::string_view prefix, std::string_view start_after, const char* delimiter,
                   const std::function<Status(const S3ListPage&)>& each) {
    const std::string what = fmt::format("could not list \"{}\"", Quoted(prefix));
    std::string last;
    std::string token;
    for (int empty_pages = 0;;) {
      S3Call call = ListCall({{"prefix", root_ + std::string(prefix)},
                              {"max-keys", std::to_string(options_.list_page_size)}});
      if (*delimiter != '\0') {
        call.query.emplace_back("delimiter", delimiter);
      }
      if (!token.empty()) {
        call.query.emplace_back("continuation-token", token);
      } else if (!start_after.empty()) {
        call.query.emplace_back("start-after", root_ + std::string(start_after));
      }
      ASSIGN_OR_RETURN(const S3Response response, client_.Send(call, what));
      if (response.status != 200) {
        return S3ResponseError(response, what, options_, environment_.clock->Now());
      }
      Result<S3ListPage> page = ParseS3ListPage(response.body);
      if (!page) {
        return std::move(page.error()).WithContext(what);
      }
      RETURN_IF_ERROR(RequirePrefix(*page, root_ + std::string(prefix), what));
      for (const ObjectInfo& object : page->objects) {
        // Resuming a listing, and merging two listings, depend on the order.
        if (object.name <= last) {
          return MakeError(ErrorCode::kUnsupported, "{}: server lists names out of order", what)
              .WithHint("Use an S3 server that lists objects in the byte order of their names.");
        }
        last = object.name;
      }
      RETURN_IF_ERROR(each(*page));
      if (!page->truncated) {
        return Ok();
      }
      // Without this check the listing might never end.
      empty_pages = page->objects.empty() && page->prefixes.empty() ? empty_pages + 1 : 0;
      if (page->continuation_token == token || empty_pages > limits::kEmptyPages) {
        return MakeError(ErrorCode::kUnavailable,
                         "{}: server returns the same page of a listing again and again", what)
            .WithHint("Check that veza_backup.s3_endpoint names an S3 server.");
      }
      token = page->continuation_token;
    }
  }

  // A server that passes over the prefix, or changes it, would show a repository that is empty, or
  // objects of another one.
  static Status RequirePrefix(const S3ListPage& page, std::string_view prefix,
                              const std::string& what) {
    const auto is_right = [&](std::string_view key) { return key.starts_with(prefix); };
    if (std::ranges::all_of(page.objects, is_right, &ObjectInfo::name) &&
        std::ranges::all_of(page.prefixes, is_right)) {
      return Ok();
    }
    return MakeError(ErrorCode::kUnsupported,
                     "{}: server lists names that do not begin with the prefix", what)
        .WithHint("Use an S3 server, and a proxy before it, that list only what was asked for.");
  }

  S3Options options_;
  Environment environment_;
  std::string location_;
  std::string root_;  // the beginning of every key: empty, or ends with '/'
  S3Client client_;
  std::atomic<bool> deletes_singly_ = false;  // the server refuses DeleteObjects
};

}  // namespace

Result<std::unique_ptr<Store>> MakeS3Store(S3Options options, Environment environment) {
  if (options.max_connections < 1) {
    return MakeError(ErrorCode::kInvalidArgument, "at least one S3 connection is needed")
        .WithHint("Set veza_backup.s3_connections to 1 or more.");
  }
  ASSIGN_OR_RETURN(S3Address address, MakeS3Address(options));
  return std::make_unique<S3Store>(std::move(options), std::move(address), std::move(environment));
}

}  // namespace veza
