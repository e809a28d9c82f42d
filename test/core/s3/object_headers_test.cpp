#include "core/s3/object_headers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

constexpr const char* kKeyInHex =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr const char* kKeyInBase64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

Error TagError(const std::string& text) {
  const Result<S3Tags> tags = ParseS3Tags(text);
  EXPECT_FALSE(tags) << text;
  return tags ? Error{} : tags.error();
}

TEST(ObjectHeaders, TagsAreRead) {
  EXPECT_THAT(ParseS3Tags("").value(), IsEmpty());
  EXPECT_THAT(ParseS3Tags(" project = shop EU,owner=a+b@c/d:e_f.g-h=i , empty=,").value(),
              ElementsAre(Pair("project", "shop EU"), Pair("owner", "a+b@c/d:e_f.g-h=i"),
                          Pair("empty", "")));
  EXPECT_THAT(ParseS3Tags("Gr\xC3\xB6\xC3\x9F"
                          "e=1")
                  .value(),
              ElementsAre(Pair("Gr\xC3\xB6\xC3\x9F"
                               "e",
                               "1")));
}

TEST(ObjectHeaders, TagsKeepTheLimitsOfS3) {
  std::string ten;
  for (int i = 0; i < 10; ++i) {
    ten += fmt::format("k{}=v,", i);
  }
  EXPECT_EQ(ParseS3Tags(ten).value().size(), 10U);
  EXPECT_THAT(TagError(ten + "one=more").message, HasSubstr("more than 10"));
  EXPECT_TRUE(ParseS3Tags(std::string(128, 'k') + "=" + std::string(256, 'v')));
  EXPECT_THAT(TagError(std::string(129, 'k') + "=v").message, HasSubstr("128"));
  EXPECT_THAT(TagError("k=" + std::string(257, 'v')).message, HasSubstr("256"));
  std::string umlauts;
  for (int i = 0; i < 128; ++i) {
    umlauts += "\xC3\xA4";  // one character of two bytes
  }
  EXPECT_TRUE(ParseS3Tags(umlauts + "=v"));
  EXPECT_THAT(TagError("=v").message, HasSubstr("no key"));
  EXPECT_THAT(TagError("project").message, HasSubstr("\"project\" is not \"key=value\""));
  EXPECT_THAT(TagError("a=1,,b=2").message, HasSubstr("key=value"));
  EXPECT_THAT(TagError("a=1;b=2").message, HasSubstr("does not allow"));
  EXPECT_THAT(TagError("a&b=2").message, HasSubstr("does not allow"));
  EXPECT_THAT(TagError("aws:a=2").message, HasSubstr("aws:"));
  EXPECT_THAT(TagError("a=1,a=2").message, HasSubstr("two tags"));
  EXPECT_THAT(TagError("a=1,a=2").hint, HasSubstr("project=shop"));
}

// What no restore could read at once is refused.
TEST(ObjectHeaders, StorageClasses) {
  for (const char* good : {"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
                           "GLACIER_IR", "REDUCED_REDUNDANCY", "cold-hdd"}) {
    EXPECT_TRUE(CheckS3StorageClass(good)) << good;
  }
  for (const char* archive : {"GLACIER", "DEEP_ARCHIVE"}) {
    const Status status = CheckS3StorageClass(archive);
    ASSERT_FALSE(status) << archive;
    EXPECT_THAT(status.error().message, HasSubstr("cannot be read at once"));
    EXPECT_THAT(status.error().hint, HasSubstr("GLACIER_IR"));
  }
  EXPECT_FALSE(CheckS3StorageClass("two words"));
  EXPECT_FALSE(CheckS3StorageClass(std::string(65, 'A')));
}

TEST(ObjectHeaders, CustomerKeysAreRead) {
  for (const char* text : {kKeyInHex, kKeyInBase64}) {
    const S3CustomerKey key = ParseS3CustomerKey(text).value();
    EXPECT_EQ(key.key, kKeyInBase64);
    EXPECT_EQ(key.md5, "tP/LI3N87DFaSk0aoqYgzg==");
  }
  for (const std::string& wrong :
       {std::string("hunter2"), std::string(kKeyInHex).substr(2), std::string(64, 'g')}) {
    const Result<S3CustomerKey> key = ParseS3CustomerKey(wrong);
    ASSERT_FALSE(key) << wrong;
    EXPECT_THAT(key.error().message, Not(HasSubstr(wrong)));
    EXPECT_THAT(key.error().hint, HasSubstr("openssl rand"));
  }
}

TEST(ObjectHeaders, TheNameDecidesAboutTheStorageClass) {
  S3ObjectOptions options;
  options.checksum = S3Checksum::kNone;
  options.storage_class = "STANDARD_IA";
  options.storage_class_prefixes = {"backup/", "wal/"};
  EXPECT_THAT(WriteHeaders(options, {}, "wal/1/a"),
              ElementsAre(Pair("x-amz-storage-class", "STANDARD_IA")));
  EXPECT_THAT(WriteHeaders(options, {}, "backup/1/a"), testing::SizeIs(1));
  EXPECT_THAT(WriteHeaders(options, {}, "lock/1"), IsEmpty());
  options.storage_class.clear();
  EXPECT_THAT(WriteHeaders(options, {}, "wal/1/a"), IsEmpty());
}

}  // namespace
}  // namespace veza
