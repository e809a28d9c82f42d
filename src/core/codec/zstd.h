// zstd with reused contexts. Each object belongs to one thread at a time.
#pragma once

#include <memory>

#include "core/bytes.h"
#include "core/error.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace veza {

// Makes the context new, for frames of this level. Two kinds of levels get smaller hash tables than
// zstd's own, so that a core's cache also holds what is being compressed (bench/README.md): level
// 3, the default, 256 KiB of them in place of 768, with which WAL takes a seventh less time, on a
// busy machine a third, and becomes 1 to 3 percent larger; and the negative ones 16 KiB in place
// of 32.
void SetCompressionLevel(ZSTD_CCtx_s* context, int level);

class Compressor {
 public:
  explicit Compressor(int level);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // One whole zstd frame. `out` gets the result; its capacity is reused.
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

  // Opens one whole zstd frame that must hold exactly plain.size() bytes; kDataCorrupted otherwise.
  Status Decompress(ByteView compressed, MutableByteView plain);

 private:
  ZSTD_DCtx_s* context_;
};

}  // namespace veza
