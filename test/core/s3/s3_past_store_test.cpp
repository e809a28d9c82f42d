// A bucket with versioning, read as it was. What real servers do is tested in
// test/server/070_as_of.pl.
#include "core/s3/s3_past_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/memory_gauge.h"
#include "core/repository/test_repository.h"
#include "core/s3/loopback_server.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kEnabled =
    "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

// An entry of a listing, whose time is in the minute of 2026-11-22 02:00.
std::string Entry(const char* kind, const std::string& key, const std::string& id,
                  const std::string& seconds, const std::string& more) {
  return fmt::format(
      "<{0}><Key>some/prefix/{1}</Key><VersionId>{2}</VersionId>"
      "<LastModified>2026-11-22T02:00:{3}Z</LastModified>{4}</{0}>",
      kind, key, id, seconds, more);
}
std::string Version(const std::string& key, const std::string& id, const std::string& seconds,
                    int size = 5) {
  return Entry("Version", key, id, seconds, fmt::format("<Size>{}</Size>", size));
}
std::string Marker(const std::string& key, const std::string& id, const std::string& seconds) {
  return Entry("DeleteMarker", key, id, seconds, "");
}
// `next` is empty on the last page.
LoopbackReply Page(const std::string& entries, const std::string& next = {}) {
  return {200,
          {},
          fmt::format("<ListVersionsResult><EncodingType>url</EncodingType><IsTruncated>{}"
                      "</IsTruncated>{}{}</ListVersionsResult>",
                      !next.empty(), next, entries)};
}

// A server of one bucket, whose listings are `page`, and whose time is ten minutes later.
class Bucket {
 public:
  using Lister = std::function<LoopbackReply(const LoopbackRequest&)>;
  // `named_version`: which version answers about objects name; otherwise the one asked for.
  explicit Bucket(Lister page, LoopbackReply versioning = {200, {}, kEnabled},
                  std::optional<std::string> named_version = {})
      : server_([page = std::move(page), versioning = std::move(versioning),
                 named_version = std::move(named_version)](const LoopbackRequest& request) {
          if (request.Query("versioning") != "(none)") {
            return versioning;
          }
          if (request.Query("versions") != "(none)") {
            return page(request);
          }
          if (request.Query("list-type") != "(none)") {
            return LoopbackReply{200,
                                 {{"Date", "Sun, 22 Nov 2026 02:10:00 GMT"}},
                                 "<ListBucketResult><IsTruncated>false</IsTruncated>"
                                 "</ListBucketResult>"};
          }
          return LoopbackReply{
              200,
              {{"Last-Modified", "Sun, 22 Nov 2026 02:00:10 GMT"},
               {"x-amz-version-id", named_version.value_or(request.Query("versionId"))}},
              request.Query("versionId")};
        }) {}
  explicit Bucket(const std::string& entries)
      : Bucket([entries](const LoopbackRequest&) { return Page(entries); }) {}

  std::unique_ptr<Store> At(const std::string& time) const {
    return MakeS3Store(OptionsAt(ParseUtc(time).value()), Environment{}).value();
  }
  Result<bool> HasEverHeld(std::string_view prefix) const {
    return veza::HasEverHeld(OptionsAt(TimePoint()), Environment{}, prefix);
  }
  std::vector<LoopbackRequest> requests() const { return server_.requests(); }

 private:
  S3Options OptionsAt(TimePoint time) const {
    S3Options options;
    options.bucket = "bucket";
    options.prefix = "some/prefix";
    options.endpoint = server_.endpoint();
    options.access_key = "AKIAIOSFODNN7EXAMPLE";
    options.secret_key = "secret";
    options.as_of = time;
    return options;
  }

  LoopbackServer server_;
};

// The names and sizes of all objects.
Result<std::vector<std::string>> Listed(Store& store, std::string_view prefix = {},
                                        std::string_view start_after = {}) {
  std::vector<std::string> names;
  RETURN_IF_ERROR(store.List(prefix, start_after, [&](const ObjectInfo& object) {
    names.push_back(fmt::format("{} {}", object.name, object.size));
    return Ok();
  }));
  return names;
}

Result<std::string> Content(Store& store, std::string_view name) {
  ASSIGN_OR_RETURN(const Bytes content, GetSmall(store, name, 1000));
  return std::string(content.begin(), content.end());
}

constexpr const char* kTime = "2026-11-22T02:00:10Z";

TEST(S3PastStore, TheNewestVersionUpToTheTimeCounts) {
  const Bucket bucket(Version("a", "3", "11.000", 3) + Version("a", "2", "10.999", 2) +
                      Version("a", "1", "09.000", 1) +                       // overwritten later
                      Marker("b", "2", "12") + Version("b", "1", "09", 4) +  // deleted later
                      Version("c", "3", "10", 7) + Marker("c", "2", "09") +
                      Version("c", "1", "08") +  // deleted and written again
                      Marker("d", "2", "10") + Version("d", "1", "09") +  // deleted before
                      Version("e", "1", "11") +                           // written later
                      Version("f", "null", "01", 6));                     // from before versioning
  const auto store = bucket.At(kTime);
  const auto listed = Listed(*store);
  ASSERT_OK(listed);
  EXPECT_THAT(*listed, ElementsAre("a 2", "b 4", "c 7", "f 6"));
  EXPECT_EQ(store->Now().value(), ParseUtc(kTime).value());
}

// S3 lists the versions of an object from the newest to the oldest; some servers list versions and
// delete markers apart.
TEST(S3PastStore, OfTwoVersionsOfOneSecondTheFirstListedCounts) {
  const Bucket bucket(Marker("a", "2", "10") + Version("a", "1", "10") +
                      Version("b", "2", "10", 2) + Marker("b", "1", "10") +
                      Version("c", "1", "08") + Marker("c", "2", "09"));
  const auto store = bucket.At(kTime);
  EXPECT_THAT(Listed(*store).value(), ElementsAre("b 2"));
}

TEST(S3PastStore, VersionsMayGoOnOnTheNextPage) {
  const Bucket bucket([](const LoopbackRequest& request) {
    if (request.Query("key-marker") == "(none)") {
      return Page(Version("a", "1", "09", 1) + Version("b%2B", "3", "12", 3),
                  "<NextKeyMarker>some/prefix/b%2B</NextKeyMarker>"
                  "<NextVersionIdMarker>3+/=</NextVersionIdMarker>");
    }
    EXPECT_EQ(request.Query("key-marker"), "some/prefix/b+");
    EXPECT_EQ(request.Query("version-id-marker"), "3+/=");
    return Page(Version("b%2B", "2", "10", 2) + Version("b%2B", "1", "09", 1) +
                Version("c", "1", "09", 9));
  });
  // "+" is not in a name of ours, so nothing else may come of it.
  EXPECT_THAT(Listed(*bucket.At(kTime)).value(), ElementsAre("a 1", "c 9"));
}

TEST(S3PastStore, AListingMayBeginLater) {
  const Bucket bucket(Version("a", "1", "09", 1) + Version("b", "1", "09", 2));
  EXPECT_THAT(Listed(*bucket.At(kTime), "", "a").value(), ElementsAre("b 2"));
  EXPECT_EQ(bucket.requests().back().Query("key-marker"), "some/prefix/a");
}

TEST(S3PastStore, ReadsTheVersion) {
  const Bucket bucket(Version("a", "3", "11") + Version("a", "2 +/", "10") +
                      Version("a", "1", "09") + Version("a/b", "9", "09"));
  const auto store = bucket.At(kTime);
  EXPECT_EQ(Content(*store, "a").value(), "2 +/");
  const std::size_t before = bucket.requests().size();
  EXPECT_EQ(Content(*store, "a").value(), "2 +/");
  EXPECT_OK(store->Head("a"));
  EXPECT_EQ(bucket.requests().back().Query("versionId"), "2 +/");
  EXPECT_EQ(bucket.requests().size(), before + 2) << "the version is remembered";
}

TEST(S3PastStore, TheAnswerMustBeOfTheVersion) {
  const auto outcome = [](const char* id, const char* named) {
    const Bucket bucket([id](const LoopbackRequest&) { return Page(Version("a", id, "09")); },
                        {200, {}, kEnabled}, named);
    const auto store = bucket.At(kTime);
    const Result<std::string> content = Content(*store, "a");
    const Result<ObjectInfo> head = store->Head("a");
    EXPECT_EQ(content.has_value(), head.has_value());
    EXPECT_TRUE(content || (content.error().code == ErrorCode::kUnsupported &&
                            head.error().code == ErrorCode::kUnsupported));
    return content.has_value();
  };
  EXPECT_TRUE(outcome("1", "1"));
  EXPECT_FALSE(outcome("1", "2"));
  EXPECT_FALSE(outcome("1", "")) << "the server passes over the id";
  EXPECT_TRUE(outcome("null", "null"));
  EXPECT_TRUE(outcome("null", ""));
  EXPECT_FALSE(outcome("null", "2"));
}

TEST(S3PastStore, AnObjectThatWasNotThereIsNotFound) {
  const Bucket bucket(Marker("a", "2", "10") + Version("a", "1", "09") + Version("ab", "1", "09"));
  const auto store = bucket.At(kTime);
  for (const Error& error : {Content(*store, "a").error(), store->Head("a").error()}) {
    EXPECT_EQ(error.code, ErrorCode::kNotFound);
    EXPECT_THAT(error.message, HasSubstr("/a\" did not exist at 2026-11-22T02:00:10Z"));
  }
}

// A timeline whose number was taken may have left nothing but a segment, or a delete marker whose
// versions a lifecycle rule has removed.
TEST(S3PastStore, WhateverIsKnownOfAPrefixWasHeld) {
  const std::string directory = "wal/1/00000002/";
  for (const std::string& entry :
       {Marker(directory + "00000002.history", "1", "20"),
        Version(directory + "00000002.history", "1", "20"),
        Version(directory + "00000000/000000020000000000000005", "1", "20"),
        Marker(directory + "00000000/000000020000000000000005", "1", "20")}) {
    EXPECT_TRUE(Bucket(entry).HasEverHeld(directory).value()) << entry;
  }
  const Bucket nothing("");
  EXPECT_FALSE(nothing.HasEverHeld(directory).value());
  EXPECT_EQ(nothing.requests().back().Query("prefix"), "some/prefix/" + directory);
  const Bucket later([&](const LoopbackRequest& request) {
    return request.Query("key-marker") == "(none)"
               ? Page("",
                      "<NextKeyMarker>some/prefix/a</NextKeyMarker>"
                      "<NextVersionIdMarker>1</NextVersionIdMarker>")
               : Page(Marker(directory + "00000002.history", "1", "20"));
  });
  const auto held = later.HasEverHeld(directory);
  ASSERT_OK(held);
  EXPECT_TRUE(*held) << "a page may be empty";
}

TEST(S3PastStore, WritesNothing) {
  const Bucket bucket(Version("a", "1", "09"));
  const auto store = bucket.At(kTime);
  const std::vector<std::string> names = {"a"};
  for (const Status& status : {PutSmall(*store, "a", AsBytes("x"), PutMode::kReplace),
                               PutSmall(*store, "b", AsBytes("x"), PutMode::kCreate),
                               store->Delete("a"), store->DeleteAll(names)}) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
    EXPECT_FALSE(status.error().retryable);
    EXPECT_THAT(status.error().message, HasSubstr("as it was at 2026-11-22T02:00:10Z"));
  }
  EXPECT_TRUE(bucket.requests().empty());
}

// Otherwise an object that was overwritten would seem never to have been there.
TEST(S3PastStore, NeedsABucketThatKeepsVersions) {
  const auto nothing = [](const LoopbackRequest&) { return Page(""); };
  const Bucket plain(nothing, {200, {}, "<VersioningConfiguration/>"});
  const Error error = Listed(*plain.At(kTime)).error();
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("bucket \"bucket\" has no versioning"));

  const Bucket denied(nothing, {403, {}, "<Error><Code>AccessDenied</Code></Error>"});
  const Error lacks = Listed(*denied.At(kTime)).error();
  EXPECT_EQ(lacks.code, ErrorCode::kPermissionDenied);
  EXPECT_THAT(lacks.hint, HasSubstr("s3:GetBucketVersioning"));

  const Bucket other(nothing, {200, {}, "<html/>"});
  EXPECT_ERROR(Listed(*other.At(kTime)), ErrorCode::kUnavailable);
}

// In the present, more may come.
TEST(S3PastStore, TheTimeMustHavePassed) {
  const Bucket bucket("");
  EXPECT_OK(Listed(*bucket.At("2026-11-22T02:09:59Z")));
  for (const char* time : {"2026-11-22T02:10:00Z", "2026-11-22T02:10:01Z"}) {
    EXPECT_ERROR(Listed(*bucket.At(time)), ErrorCode::kInvalidArgument);
  }
}

TEST(S3PastStore, ListsTheDirectoriesOfThatTime) {
  const Bucket bucket([](const LoopbackRequest& request) {
    const std::string prefix = request.Query("prefix");
    if (request.Query("delimiter") == "/") {
      EXPECT_EQ(prefix, "some/prefix/x/");
      return Page(
          "<CommonPrefixes><Prefix>some/prefix/x/a-b/</Prefix></CommonPrefixes>"
          "<CommonPrefixes><Prefix>some/prefix/x/a/</Prefix></CommonPrefixes>"
          "<CommonPrefixes><Prefix>some/prefix/x/gone/</Prefix></CommonPrefixes>"
          "<CommonPrefixes><Prefix>some/prefix/x/later/</Prefix></CommonPrefixes>");
    }
    if (prefix == "some/prefix/x/gone/") {
      return Page(Marker("x/gone/1", "2", "09") + Version("x/gone/1", "1", "08"));
    }
    return Page(prefix == "some/prefix/x/later/" ? Version("x/later/1", "1", "11")
                                                 : Version(prefix.substr(12) + "1", "1", "11") +
                                                       Version(prefix.substr(12) + "2", "1", "09"));
  });
  EXPECT_THAT(bucket.At(kTime)->ListDirectories("x/").value(), ElementsAre("a", "a-b"));
}

TEST(S3PastStore, HostileListings) {
  const auto code_of = [](const LoopbackReply& reply) {
    return Listed(*Bucket([&](const LoopbackRequest&) { return reply; }).At(kTime)).error().code;
  };
  EXPECT_EQ(code_of(Page(Version("b", "1", "09") + Version("a", "1", "09"))),
            ErrorCode::kUnsupported);
  EXPECT_EQ(
      code_of({200, {}, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"}),
      ErrorCode::kUnavailable);
  EXPECT_EQ(code_of(Page("",
                         "<NextKeyMarker>some/prefix/a</NextKeyMarker>"
                         "<NextVersionIdMarker>1</NextVersionIdMarker>")),
            ErrorCode::kUnavailable)
      << "no version marker: versions of this object would be passed over";
  EXPECT_EQ(code_of(Page(Version("a", "1", "09"), "<NextKeyMarker>some/prefix/a</NextKeyMarker>")),
            ErrorCode::kUnavailable);
  EXPECT_EQ(code_of(Page(Version("a", "1", "09"),
                         "<NextKeyMarker>some/prefix/a</NextKeyMarker>"
                         "<NextVersionIdMarker>1</NextVersionIdMarker>")),
            ErrorCode::kUnavailable)
      << "the same page for ever";
  EXPECT_EQ(code_of(Page(Version("a", "", "09"))), ErrorCode::kUnavailable);
  EXPECT_EQ(code_of(Page("<Version><Key>other/a</Key><VersionId>1</VersionId><LastModified>"
                         "2026-11-22T02:00:00Z</LastModified><Size>1</Size></Version>")),
            ErrorCode::kUnsupported);
}

// A server whose pages follow each other in a circle, behind some that do not come again.
TEST(S3PastStore, AListingThatGoesInACircleEnds) {
  for (const int length : {1, 2, 3, 7}) {
    const Bucket bucket([length](const LoopbackRequest& request) {
      const std::string marker = request.Query("version-id-marker");
      const int page = marker == "(none)" ? 0 : std::stoi(marker);
      return Page(Version("a", std::to_string(page), "11"),
                  fmt::format("<NextKeyMarker>some/prefix/a</NextKeyMarker>"
                              "<NextVersionIdMarker>{}</NextVersionIdMarker>",
                              page < 4 + length ? page + 1 : 5));
    });
    EXPECT_ERROR(Listed(*bucket.At(kTime)), ErrorCode::kUnavailable);
    EXPECT_LT(bucket.requests().size(), 40U) << length;
  }
}

// With a delimiter, a page may end behind a directory.
TEST(S3PastStore, APageMayEndBehindADirectory) {
  const Bucket bucket([](const LoopbackRequest& request) {
    const std::string prefix = request.Query("prefix");
    if (request.Query("delimiter") == "(none)") {
      return Page(Version(prefix.substr(12) + "1", "1", "09"));
    }
    return request.Query("key-marker") == "(none)"
               ? Page("<CommonPrefixes><Prefix>some/prefix/a/</Prefix></CommonPrefixes>",
                      "<NextKeyMarker>some/prefix/a/</NextKeyMarker>")
               : Page("<CommonPrefixes><Prefix>some/prefix/b/</Prefix></CommonPrefixes>");
  });
  EXPECT_THAT(bucket.At(kTime)->ListDirectories("").value(), ElementsAre("a", "b"));
}

TEST(S3PastStore, HoldsOnePageInMemory) {
  constexpr int kPages = 100;
  const Bucket bucket([](const LoopbackRequest& request) {
    const std::string marker = request.Query("version-id-marker");
    const int page = marker == "(none)" ? 0 : std::stoi(marker);
    std::string entries;
    for (int i = 0; i < 1000; ++i) {
      entries += Version(fmt::format("{:06}", page * 100 + i / 10), std::to_string(i), "09");
    }
    return Page(entries, page + 1 == kPages
                             ? ""
                             : fmt::format("<NextKeyMarker>some/prefix/{:06}</NextKeyMarker>"
                                           "<NextVersionIdMarker>{}</NextVersionIdMarker>",
                                           page * 100 + 99, page + 1));
  });
  const auto store = bucket.At(kTime);
  const MemoryGauge gauge;
  int objects = 0;
  EXPECT_OK(store->List("", "", [&](const ObjectInfo&) {
    ++objects;
    return Ok();
  }));
  EXPECT_EQ(objects, kPages * 100);
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), 16U << 20);
  }
}

}  // namespace
}  // namespace veza
