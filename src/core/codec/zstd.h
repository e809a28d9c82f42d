// zstd with reused contexts. Each object belongs to one thread at a time.
#pragma once

#include <memory>

#include "core/bytes.h"
#include "core/error.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace veza {

class Compressor {
 public:
  explicit Compressor(int level);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  void set_level(int level) { level_ = level; }
  // One whole zstd frame. `out` gets the result; its capacity is reused.
  Status Compress(ByteView plain, Bytes& out);

 private:
  int level_;
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
