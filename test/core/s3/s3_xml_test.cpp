// Responses of S3, and responses of something else (core/limits.h).
#include "core/s3/s3_xml.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"
#include "core/limits.h"
#include "core/memory_gauge.h"

namespace veza {
namespace {

std::string Page(const std::string& members) {
  return "<ListBucketResult><IsTruncated>false</IsTruncated>" + members + "</ListBucketResult>";
}

std::string Repeated(const std::string& text, std::size_t size) {
  std::string repeated;
  repeated.reserve(size + text.size());
  while (repeated.size() < size) {
    repeated += text;
  }
  return repeated;
}

// 1000 keys, each with all elements that any known server sends for a key.
TEST(S3Xml, TakesTheLargestPageThatS3Sends) {
  std::string objects;
  for (int i = 0; i < 1000; ++i) {
    std::string key;
    for (int byte = 0; byte < 1000; ++byte) {
      key += "%C3";
    }
    objects += fmt::format(
        "<Contents><Key>{}{:04}</Key><LastModified>2026-11-22T02:00:00.000Z</LastModified>"
        "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-12&quot;</ETag><ChecksumAlgorithm>CRC64NVME"
        "</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>16777216</Size><Owner>"
        "<ID>0123456789</ID><DisplayName>name</DisplayName></Owner><StorageClass>STANDARD"
        "</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        "</RestoreStatus><Type>Normal</Type></Contents>",
        key, i);
  }
  const auto page = ParseS3ListPage(Page("<EncodingType>url</EncodingType>" + objects));
  ASSERT_OK(page);
  EXPECT_EQ(page->objects.size(), 1000U);
  EXPECT_EQ(page->objects.front().name.size(), 1004U);
}

TEST(S3Xml, RefusesDocumentsBeyondTheLimits) {
  for (const std::string& members :
       {Repeated("<a>", 40), Repeated("<a/>", 7U << 20), Repeated("<a>", 7U << 20),
        "<a" + Repeated(" b=\"\"", 7U << 20) + "/>", std::string(9U << 20, ' '),
        Repeated("<a b=\"/>\">", 200)}) {
    const std::string text = Page(members);
    const MemoryGauge gauge;
    EXPECT_ERROR(ParseS3ListPage(text), ErrorCode::kUnavailable);
    if (MemoryGauge::meaningful()) {
      EXPECT_LT(gauge.grown_bytes(), 16U << 20) << text.substr(0, 100);
    }
  }
  // Deeply nested, and well formed.
  std::string nested = "<Error><Code>NoSuchKey</Code>";
  EXPECT_TRUE(ParseS3Error(nested + "</Error>"));
  std::string deep;
  for (int i = 0; i < 20; ++i) {
    deep = "<a>" + deep + "</a>";
  }
  EXPECT_FALSE(ParseS3Error(nested + deep + "</Error>"));
  EXPECT_FALSE(
      ParseS3Error(nested + "<Message>" + std::string(70'000, 'x') + "</Message></Error>"));
  EXPECT_ERROR(ParseS3ListPage(Page(deep)), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace veza
