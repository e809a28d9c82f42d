#include "core/config/repository_url.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

TEST(RepositoryUrl, Directory) {
  const auto url = ParseRepositoryUrl("/srv/backup//").value();
  EXPECT_EQ(url.kind, RepositoryKind::kDirectory);
  EXPECT_EQ(url.directory, "/srv/backup");
}

TEST(RepositoryUrl, BucketAndPrefix) {
  const auto bare = ParseRepositoryUrl("s3://my.bucket-1").value();
  EXPECT_EQ(bare.kind, RepositoryKind::kS3);
  EXPECT_EQ(bare.bucket, "my.bucket-1");
  EXPECT_EQ(bare.prefix, "");
  EXPECT_EQ(ParseRepositoryUrl("s3://bucket/").value().prefix, "");
  EXPECT_EQ(ParseRepositoryUrl("s3://bucket/a").value().prefix, "a");
  EXPECT_EQ(ParseRepositoryUrl("s3://bucket/a/B_c.d-e/").value().prefix, "a/B_c.d-e");
}

TEST(RepositoryUrl, RefusesWithAHint) {
  for (const std::string& text :
       std::initializer_list<std::string>{"backup",
                                          "./backup",
                                          "",
                                          "/",
                                          "//",
                                          "gs://bucket/x",
                                          "file:///srv",
                                          "S3://bucket",
                                          "s3:bucket",
                                          "s3://",
                                          "s3:///prefix",
                                          "s3://ab",
                                          "s3://" + std::string(64, 'a'),
                                          "s3://Bucket",
                                          "s3://buc_ket",
                                          "s3://-bucket",
                                          "s3://bucket.",
                                          "s3://buc..ket",
                                          "s3://10.0.0.1",
                                          "s3://bucket:9000/x",
                                          "s3://bucket//a",
                                          "s3://bucket/a//b",
                                          "s3://bucket/../x",
                                          "s3://bucket/.",
                                          "s3://bucket/a b",
                                          "s3://bucket/a?b",
                                          "s3://bucket/a//",
                                          "s3://bucket/" + std::string(513, 'a')}) {
    const auto url = ParseRepositoryUrl(text);
    ASSERT_FALSE(url.has_value()) << text;
    EXPECT_EQ(url.error().code, ErrorCode::kInvalidArgument) << text;
    EXPECT_FALSE(url.error().hint.empty()) << text;
  }
}

TEST(RepositoryUrl, KeysInItAreNotRepeated) {
  for (const char* text : {"s3://AKIA:hunter2@bucket/x", "s3://AKIA:hun/hunter2@bucket/x",
                           "s3://hunter2/hunter2@bucket", "AKIA:hunter2@bucket",
                           "hunter2@s3://bucket", "https://AKIA:hunter2@s3.example.com/bucket"}) {
    const auto error = ParseRepositoryUrl(text).error();
    EXPECT_EQ(error.message, "it contains a user name or a password") << text;
    EXPECT_EQ(error.hint.find("hun"), std::string::npos);
  }
  EXPECT_TRUE(ParseRepositoryUrl("/srv/me@here"));
}

TEST(Endpoint, Accepts) {
  for (const char* text : {"https://s3.example.com", "http://127.0.0.1:9000", "https://minio:65535",
                           "https://[::1]:9000", "https://[fe80::1]"}) {
    EXPECT_TRUE(CheckEndpoint(text).has_value()) << text;
  }
}

TEST(Endpoint, Refuses) {
  for (const char* text :
       {"", "s3.example.com", "ftp://s3.example.com", "HTTPS//x", "https://", "https:///x",
        "https://host/", "https://host/path", "https://host?x", "https://host#x", "https://host:0",
        "https://host:65536", "https://host:", "https://host:x", "https://ho st", "https://[::1",
        "https://::1", "https://-x"}) {
    const auto status = CheckEndpoint(text);
    ASSERT_FALSE(status.has_value()) << text;
    EXPECT_FALSE(status.error().hint.empty()) << text;
  }
  const auto error = CheckEndpoint("https://user:hunter2@host").error();
  EXPECT_EQ(error.message.find("hunter2"), std::string::npos) << error.message;
}

TEST(Endpoint, OfAws) {
  EXPECT_EQ(AwsEndpoint("eu-central-1"), "https://s3.eu-central-1.amazonaws.com");
  EXPECT_EQ(AwsEndpoint("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn");
}

}  // namespace
}  // namespace veza
