// Sealed streams (FORMAT.md section 3, kind 1). WAL files and manifests are stored as sealed
// streams.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/body.h"

namespace veza {

// What the attributes say about the content. Hashing costs time, so only WAL asks for it.
enum class ContentDescription { kNone, kSizeAndSha256, kSizeAndGmac };

struct SealedStream {
  Body* body = nullptr;  // owned by the sealer
  std::uint64_t plain_size = 0;
  std::optional<ContentDigest> plain_digest{};  // absent with kNone
};

// Memory for SealWhole() that is kept from one content to the next. Allocating and freeing so much
// memory each time would cost as much as a fast level of zstd. Not thread-safe.
class SealScratch {
 public:
  SealScratch();
  ~SealScratch();
  SealScratch(SealScratch&&) noexcept;
  SealScratch& operator=(SealScratch&&) noexcept;

  // How much memory it holds for content of up to `plain_size` bytes: about as much.
  static std::size_t MemoryFor(std::size_t plain_size);

 private:
  friend class StreamSealer;
  class State;
  std::unique_ptr<State> state_;
};

struct StreamOptions {
  std::string object_name;
  int compression_level = 3;
  // What exceeds `memory_limit` bytes goes to a temporary file in `spill_directory`.
  std::string spill_directory;
  std::size_t memory_limit = 0;
  ContentDescription description = ContentDescription::kNone;
  // Told the digest as soon as it is known. May be empty.
  std::function<void(const ContentDigest&)> on_digest{};
  // Asked at the end, for the attributes. May be empty.
  std::function<SegmentOrigin()> origin{};
};

// Takes plain text and makes a sealed stream of it, in a body of bounded memory. Not thread-safe.
class StreamSealer {
 public:
  StreamSealer(const SealPolicy& policy, StreamOptions options, Random& random);
  ~StreamSealer();

  Status Append(ByteView plain);
  // Ends the object. It may be called once, and nothing may be appended afterwards.
  Result<SealedStream> Finish(std::string node, TimePoint created);
  // Seals the whole content at once, in place of Append() and Finish(). This is a tenth (level 3)
  // to a quarter (fast levels) faster, because zstd need not keep a window of its own.
  Result<SealedStream> SealWhole(ByteView plain, SealScratch& scratch, std::string node,
                                 TimePoint created);

 private:
  class State;
  std::unique_ptr<State> state_;
};

// Takes a sealed stream, verifies it, and delivers its plain text to `sink`. Use it as a store's
// Sink: call Feed() for each piece and Finish() at the end. Not thread-safe. Returns the errors of
// ObjectOpener and those of the sink; after an error it must not be fed again.
class StreamOpener {
 public:
  // Content of more than `largest` bytes (core/limits.h) is kDataCorrupted. Pass kAnyLength only
  // when the sink keeps nothing of what it is given.
  StreamOpener(SealPolicy policy, std::string object_name, Sink sink,
               std::uint64_t largest = kAnyLength);
  ~StreamOpener();

  Status Feed(ByteView piece);
  // Checks for truncation, and checks the size and digest. Before it succeeds, nothing that was
  // delivered may be taken for complete. (With every cipher except none, what was delivered is
  // authentic and in order.)
  Status Finish();
  const std::optional<ObjectAttributes>& attributes() const;

  static constexpr std::uint64_t kAnyLength = ~std::uint64_t{0};

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace veza
