#include "core/repository/cluster_root.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/config/temporary_directory.h"
#include "core/s3/loopback_server.h"
#include "core/test_files.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Config DirectoryConfig(const std::string& root) {
  Config config;
  config.directory = root;
  return ClusterBelow(config, "main");
}

TEST(ClusterRoot, OfADirectoryNamesWhatMayBeAClusterAlsoBehindALink) {
  const TemporaryDirectory directory;
  const std::string root = directory.path() + "/root";
  for (const char* name : {"root/b", "root/.hidden", "root/not a name", "elsewhere/backup"}) {
    std::filesystem::create_directories(directory.path() + "/" + name);
  }
  WriteText(root + "/file", "x");
  WriteText(directory.path() + "/elsewhere/backup/object", "x");
  std::filesystem::create_directory_symlink(directory.path() + "/elsewhere", root + "/a");
  std::filesystem::create_directory_symlink(directory.path() + "/nowhere", root + "/c");
  const ClusterRoot clusters = ClusterRoot::Connect(DirectoryConfig(root), {}, {}).value();
  EXPECT_EQ(clusters.location(), root);
  EXPECT_THAT(clusters.List()->names, ElementsAre("a", "b"));
  EXPECT_THAT(clusters.List()->others, ElementsAre(".hidden", "not a name"));
  const std::shared_ptr<Store> a = clusters.StoreOf("a").value();
  EXPECT_EQ(a->location(), root + "/a");
  EXPECT_THAT(a->ListDirectories("").value(), ElementsAre("backup"));
  EXPECT_THAT(clusters.StoreOf("b").value()->ListDirectories("").value(), IsEmpty());
}

TEST(ClusterRoot, OfADirectoryThatDoesNotExistIsAnError) {
  const TemporaryDirectory directory;
  const ClusterRoot clusters =
      ClusterRoot::Connect(DirectoryConfig(directory.path() + "/absent"), {}, {}).value();
  EXPECT_EQ(clusters.List().error().code, ErrorCode::kNotFound);
}

TEST(ClusterRoot, OnS3ListsOneLevelBelowThePrefixOfTheRepository) {
  const LoopbackServer server([](const LoopbackRequest& request) -> LoopbackReply {
    const bool of_root = request.target.find("prefix=shared%2F&") != std::string::npos ||
                         request.target.ends_with("prefix=shared%2F");
    return {200,
            {},
            of_root ? "<ListBucketResult><IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>"
                      "shared/a/</Prefix></CommonPrefixes></ListBucketResult>"
                    : "<ListBucketResult><IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>"
                      "shared/a/wal/</Prefix></CommonPrefixes></ListBucketResult>"};
  });
  Config config;
  config.kind = RepositoryKind::kS3;
  config.s3.bucket = "bucket";
  config.s3.prefix = "shared";
  config.s3.endpoint = server.endpoint();
  config.s3.access_key = "AKIA7";
  config.s3.secret_key = "k7Jd0";
  const ClusterRoot clusters = ClusterRoot::Connect(ClusterBelow(config, "main"), {}, {}).value();
  EXPECT_EQ(clusters.location(), "s3://bucket/shared");
  EXPECT_THAT(clusters.List()->names, ElementsAre("a"));
  EXPECT_THAT(clusters.StoreOf("a").value()->ListDirectories("").value(), ElementsAre("wal"));
}

}  // namespace
}  // namespace veza
