// zstd compression with reused contexts. Each object may be used by one thread at a time.
#pragma once

#include <memory>

#include "core/bytes.h"
#include "core/error.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace veza {

// Resets the context and sets the level. Two kinds of levels get smaller hash tables than zstd's
// own, so that a core's cache also holds the data being compressed (figures: bench/README.md).
// Level 3, the default, gets 256 KiB of tables in place of 768: WAL takes a seventh less time, on a
// busy machine a third, and becomes 1 to 3 percent larger. The negative levels get 16 KiB in place
// of 32.
void SetCompressionLevel(ZSTD_CCtx_s* context, int level);

class Compressor {
 public:
  explicit Compressor(int level);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // Compresses into one whole zstd frame. `out` receives the result; its capacity is reused.
  Status Compress(ByteView plain, Bytes& out);

 private:
  const int level_;
  ZSTD_CCtx_s* context_;
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  // Decompresses one whole zstd frame that holds exactly plain.size() bytes. Anything else is
  // kDataCorrupted.
  Status Decompress(ByteView compressed, MutableByteView plain);
  // The same for content of an unknown size, which the frame must tell: at most `most` bytes.
  Status DecompressAtMost(ByteView compressed, std::size_t most, Bytes& plain);

 private:
  ZSTD_DCtx_s* context_;
};

}  // namespace veza
