// Sealed streams (FORMAT.md section 3, kind 1): what WAL files and manifests are stored as.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/body.h"

namespace veza {

// What the attributes say about the content. Hashing costs time, so that only WAL asks for it.
enum class ContentDescription { kNone, kSizeAndSha256 };

struct SealedStream {
  Body* body = nullptr;  // belongs to the sealer and lives as long as it
  std::uint64_t plain_size = 0;
  std::optional<Sha256Digest> plain_sha256{};  // with kSizeAndSha256
};

// What SealWhole() needs, kept from one content to the next: taking and giving back so much memory
// each time costs as much as a fast level of zstd. Not thread-safe.
class SealScratch {
 public:
  SealScratch();
  ~SealScratch();
  SealScratch(SealScratch&&) noexcept;
  SealScratch& operator=(SealScratch&&) noexcept;

  // For a content of up to so many bytes it holds about as many.
  static std::size_t MemoryFor(std::size_t plain_size);

 private:
  friend class StreamSealer;
  class State;
  std::unique_ptr<State> state_;
};

// Plain text in, sealed stream out into a body of bounded memory. Not thread-safe.
class StreamSealer {
 public:
  // Spills to `spill_directory` beyond `memory_limit` bytes.
  StreamSealer(const SealPolicy& policy, std::string object_name, int compression_level,
               std::string spill_directory, std::size_t memory_limit, Random& random,
               ContentDescription description = ContentDescription::kNone);
  ~StreamSealer();

  Status Append(ByteView plain);
  // Ends the object; once, and nothing may be appended afterwards.
  Result<SealedStream> Finish(std::string node, TimePoint created);
  // Instead of both, the whole content at once: a tenth (level 3) to a quarter (fast levels)
  // faster, because zstd need not keep a window of its own.
  Result<SealedStream> SealWhole(ByteView plain, SealScratch& scratch, std::string node,
                                 TimePoint created);

 private:
  class State;
  std::unique_ptr<State> state_;
};

// Sealed stream in, plain text out to `sink`, verified as it goes. Use it as a store's Sink:
// Feed for each piece, Finish at the end. Not thread-safe. Errors as ObjectOpener's, and the sink's
// own; after one it must not be fed again.
class StreamOpener {
 public:
  // Content of more than `largest` bytes (core/limits.h) is kDataCorrupted. Without it any length
  // is taken: that is for a sink that keeps nothing of what it is given.
  StreamOpener(SealPolicy policy, std::string object_name, Sink sink,
               std::uint64_t largest = kAnyLength);
  ~StreamOpener();

  Status Feed(ByteView piece);
  // Truncation, sizes and digest are checked here: until it succeeded nothing delivered may be
  // trusted as whole. (What was delivered is authentic and in order with every cipher but none.)
  Status Finish();
  const std::optional<ObjectAttributes>& attributes() const;

  static constexpr std::uint64_t kAnyLength = ~std::uint64_t{0};

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace veza
