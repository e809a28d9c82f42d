// The inputs that the fuzzers keep (test/fuzz): every input that was once a finding, and some valid
// ones. Each reader gets its own inputs and those of all others.
#include <gtest/gtest.h>

#include "core/test_files.h"
#include "fuzz/readers.h"
#include "source_root.h"

namespace veza {
namespace {

TEST(FuzzCorpus, EveryReaderTakesIt) {
  const std::filesystem::path corpus = std::string(VEZA_SOURCE_ROOT) + "/test/fuzz/corpus";
  std::vector<std::string> inputs;
  for (const fuzz::Reader& reader : fuzz::AllReaders()) {
    ASSERT_TRUE(std::filesystem::is_directory(corpus / reader.name)) << reader.name;
  }
  for (const auto& directory : std::filesystem::directory_iterator(corpus)) {
    EXPECT_NE(fuzz::FindReader(directory.path().filename().string()), nullptr) << directory.path();
    for (const auto& file : std::filesystem::directory_iterator(directory)) {
      EXPECT_LT(file.file_size(), 64U << 10) << file.path();
      inputs.push_back(ReadText(file.path().string()));
    }
  }
  for (const fuzz::Reader& reader : fuzz::AllReaders()) {
    for (const std::string& input : inputs) {
      reader.run(AsBytes(input));
    }
  }
}

}  // namespace
}  // namespace veza
