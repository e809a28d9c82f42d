#include "core/codec/zstd.h"

#include <zstd.h>

#include <new>

namespace veza {

void SetCompressionLevel(ZSTD_CCtx* context, int level) {
  // Entries of four bytes.
  constexpr int kTableLog = 15;  // of both tables
  constexpr int kFastTableLog = 12;
  ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  if (level == 3) {
    ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, kTableLog);
    ZSTD_CCtx_setParameter(context, ZSTD_c_chainLog, kTableLog);
  } else if (level < 0) {
    ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, kFastTableLog);
  }
}

Compressor::Compressor(int level) : level_(level), context_(ZSTD_createCCtx()) {
  if (context_ == nullptr) {
    throw std::bad_alloc();
  }
}

Compressor::~Compressor() {
  ZSTD_freeCCtx(context_);
}

Status Compressor::Compress(ByteView plain, Bytes& out) {
  out.resize(ZSTD_compressBound(plain.size()));
  SetCompressionLevel(context_, level_);
  const std::size_t size =
      ZSTD_compress2(context_, out.data(), out.size(), plain.data(), plain.size());
  if (ZSTD_isError(size) != 0) {
    return MakeError(ErrorCode::kInternal, "could not compress: {}", ZSTD_getErrorName(size));
  }
  out.resize(size);
  return Ok();
}

Decompressor::Decompressor() : context_(ZSTD_createDCtx()) {
  if (context_ == nullptr) {
    throw std::bad_alloc();
  }
}

Decompressor::~Decompressor() {
  ZSTD_freeDCtx(context_);
}

Status Decompressor::Decompress(ByteView compressed, MutableByteView plain) {
  // ZSTD_decompressDCtx would also accept several frames one after the other.
  if (ZSTD_findFrameCompressedSize(compressed.data(), compressed.size()) != compressed.size()) {
    return MakeError(ErrorCode::kDataCorrupted, "compressed data are not one zstd frame");
  }
  const std::size_t size = ZSTD_decompressDCtx(context_, plain.data(), plain.size(),
                                               compressed.data(), compressed.size());
  if (ZSTD_isError(size) != 0) {
    return MakeError(ErrorCode::kDataCorrupted, "could not decompress: {}",
                     ZSTD_getErrorName(size));
  }
  if (size != plain.size()) {
    return MakeError(ErrorCode::kDataCorrupted, "compressed data hold {} bytes instead of {}", size,
                     plain.size());
  }
  return Ok();
}

Status Decompressor::DecompressAtMost(ByteView compressed, std::size_t most, Bytes& plain) {
  const unsigned long long size = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (size > most) {  // the values for errors are the largest ones
    return MakeError(ErrorCode::kDataCorrupted, "compressed data do not tell an allowed size");
  }
  plain.resize(size);
  return Decompress(compressed, plain);
}

}  // namespace veza
