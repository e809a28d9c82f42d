// Helpers for tests that use files: read and write whole files, damage them, and list a directory.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"

namespace veza {

// Reads in one piece: byte by byte, the sanitizers would take seconds for a few megabytes.
inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  EXPECT_TRUE(file) << path;
  std::string content(file ? static_cast<std::size_t>(file.tellg()) : 0, '\0');
  file.seekg(0);
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  return content;
}

inline void WriteText(const std::string& path, std::string_view content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  EXPECT_TRUE(file.flush()) << path;
}

inline void WriteBytes(const std::string& path, ByteView content) {
  WriteText(path, AsText(content));
}

inline void FlipByte(const std::string& path, std::size_t offset) {
  std::string content = ReadText(path);
  ASSERT_LT(offset, content.size()) << path;
  content[offset] = static_cast<char>(content[offset] ^ 0x40);
  WriteText(path, content);
}

// The paths of everything below `directory`, relative to it, sorted bytewise.
inline std::vector<std::string> ListTree(const std::string& directory) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    paths.push_back(entry.path().lexically_relative(directory).string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Bytes that do not compress, made at the speed of memory, also where nothing is optimised. The
// same seed gives the same bytes.
inline Bytes NoiseBytes(std::size_t size, std::uint64_t seed = 1) {
  static_assert(std::endian::native == std::endian::little);
  Bytes bytes(size);
  std::uint64_t state = seed * 0x9E3779B97F4A7C15U + 1;
  for (std::size_t i = 0; i < size; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(bytes.data() + i, &state, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

}  // namespace veza
