#include "core/codec/stream.h"

#include <fmt/format.h>
#include <zstd.h>

#include <new>
#include <utility>

#include "core/codec/frame_reader.h"
#include "core/codec/zstd.h"
#include "core/limits.h"

namespace veza {
namespace {

struct ContextDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

template <typename Context>
std::unique_ptr<Context, ContextDeleter> Owned(Context* context) {
  if (context == nullptr) {
    throw std::bad_alloc();
  }
  return std::unique_ptr<Context, ContextDeleter>(context);
}

}  // namespace

class SealScratch::State {
 public:
  State() : compressor(Owned(ZSTD_createCCtx())) {}
  std::unique_ptr<ZSTD_CCtx, ContextDeleter> compressor;
  Bytes compressed;
};

SealScratch::SealScratch() : state_(std::make_unique<State>()) {}
SealScratch::~SealScratch() = default;
SealScratch::SealScratch(SealScratch&&) noexcept = default;
SealScratch& SealScratch::operator=(SealScratch&&) noexcept = default;

std::size_t SealScratch::MemoryFor(std::size_t plain_size) {
  return ZSTD_compressBound(plain_size) + (1U << 20);
}

class StreamSealer::State {
 public:
  State(const SealPolicy& policy, StreamOptions options, Random& random)
      : level_(options.compression_level),
        on_digest_(std::move(options.on_digest)),
        origin_(std::move(options.origin)),
        sealer_(policy, ObjectKind::kStream, std::move(options.object_name), random),
        sealed_(sealer_.FrameSize(kStreamFramePlain)),
        body_(std::move(options.spill_directory), options.memory_limit) {
    if (options.description != ContentDescription::kNone) {
      hash_.emplace(options.description == ContentDescription::kSizeAndGmac ? DigestMethod::kGmac
                                                                            : DigestMethod::kSha256,
                    policy.key.get());
    }
  }

  Status Append(ByteView plain) {
    if (finished_) {
      return MakeError(ErrorCode::kInternal, "a sealed stream was appended to");
    }
    if (hash_) {
      hash_->Update(plain);
    }
    plain_size_ += plain.size();
    Begin();
    ZSTD_inBuffer in{plain.data(), plain.size(), 0};
    while (in.pos < in.size) {
      RETURN_IF_ERROR(Compress(in, ZSTD_e_continue));
    }
    return Ok();
  }

  Result<SealedStream> Finish(std::string node, TimePoint created) {
    if (finished_) {
      return MakeError(ErrorCode::kInternal, "a sealed stream was finished twice");
    }
    finished_ = true;
    Begin();
    ZSTD_inBuffer nothing{nullptr, 0, 0};
    for (std::size_t left = 1; left != 0;) {
      ASSIGN_OR_RETURN(left, Compress(nothing, ZSTD_e_end));
    }
    RETURN_IF_ERROR(SealPiece(ByteView(piece_).first(piece_used_), kFrameLast));
    return Describe(std::move(node), created);
  }

  Result<SealedStream> SealWhole(ByteView plain, SealScratch::State& scratch, std::string node,
                                 TimePoint created) {
    if (finished_ || plain_size_ != 0) {
      return MakeError(ErrorCode::kInternal, "a sealed stream was begun twice");
    }
    finished_ = true;
    if (hash_) {
      hash_->Update(plain);
      TellDigest();
    }
    plain_size_ = plain.size();
    Configure(scratch.compressor.get());
    if (scratch.compressed.size() < ZSTD_compressBound(plain.size())) {
      scratch.compressed.resize(ZSTD_compressBound(plain.size()));
    }
    const std::size_t size = ZSTD_compress2(scratch.compressor.get(), scratch.compressed.data(),
                                            scratch.compressed.size(), plain.data(), plain.size());
    if (ZSTD_isError(size) != 0) {
      return MakeError(ErrorCode::kInternal, "could not compress: {}", ZSTD_getErrorName(size));
    }
    ByteView left = ByteView(scratch.compressed).first(size);
    body_.Reserve((size / kStreamFramePlain + 1) * sealed_.size());
    while (left.size() > kStreamFramePlain) {
      RETURN_IF_ERROR(SealPiece(left.first(kStreamFramePlain), 0));
      left = left.subspan(kStreamFramePlain);
    }
    RETURN_IF_ERROR(SealPiece(left, kFrameLast));
    return Describe(std::move(node), created);
  }

 private:
  void Configure(ZSTD_CCtx* compressor) const {
    SetCompressionLevel(compressor, level_);
    if (level_ > 19) {
      ZSTD_CCtx_setParameter(compressor, ZSTD_c_windowLog, limits::kZstdWindowLog);
    }
  }

  // Allocates what compression piece by piece needs.
  void Begin() {
    if (!compressor_) {
      compressor_ = Owned(ZSTD_createCCtx());
      Configure(compressor_.get());
      piece_.resize(kStreamFramePlain);
    }
  }

  void TellDigest() {
    if (digest_) {
      return;
    }
    digest_ = hash_->Finish();
    if (on_digest_) {
      on_digest_(*digest_);
    }
  }

  Result<SealedStream> Describe(std::string node, TimePoint created) {
    ObjectAttributes attributes{.node = std::move(node), .created = created};
    SealedStream result{.body = &body_, .plain_size = plain_size_};
    if (hash_) {
      TellDigest();
      result.plain_digest = digest_;
      attributes.plain_size = plain_size_;
      attributes.plain_digest = digest_;
    }
    if (origin_) {
      attributes.origin = origin_();
    }
    ASSIGN_OR_RETURN(Bytes head, sealer_.Head(attributes));
    body_.SetPrefix(std::move(head));
    return result;
  }

  // Compresses into the piece. A full piece is sealed only before the next one begins, because the
  // last piece needs a flag and is known only at the end. Returns what zstd still has to flush.
  Result<std::size_t> Compress(ZSTD_inBuffer& in, ZSTD_EndDirective directive) {
    if (piece_used_ == piece_.size()) {
      RETURN_IF_ERROR(SealPiece(piece_, 0));
      piece_used_ = 0;
    }
    ZSTD_outBuffer out{piece_.data(), piece_.size(), piece_used_};
    const std::size_t left = ZSTD_compressStream2(compressor_.get(), &out, &in, directive);
    if (ZSTD_isError(left) != 0) {
      return MakeError(ErrorCode::kInternal, "could not compress: {}", ZSTD_getErrorName(left));
    }
    piece_used_ = out.pos;
    return left;
  }

  Status SealPiece(ByteView plain, std::uint32_t flags) {
    const MutableByteView sealed = MutableByteView(sealed_).first(sealer_.FrameSize(plain.size()));
    RETURN_IF_ERROR(sealer_.Seal(next_number_, flags, plain, sealed));
    RETURN_IF_ERROR(body_.Append(sealed));
    ++next_number_;
    return Ok();
  }

  const int level_;
  const std::function<void(const ContentDigest&)> on_digest_;
  const std::function<SegmentOrigin()> origin_;
  ObjectSealer sealer_;
  std::unique_ptr<ZSTD_CCtx, ContextDeleter> compressor_;
  std::optional<ContentHash> hash_;
  std::optional<ContentDigest> digest_;
  Bytes piece_;
  std::size_t piece_used_ = 0;
  Bytes sealed_;
  std::uint64_t next_number_ = 0;
  std::uint64_t plain_size_ = 0;
  bool finished_ = false;
  SpillBody body_;
};

StreamSealer::StreamSealer(const SealPolicy& policy, StreamOptions options, Random& random)
    : state_(std::make_unique<State>(policy, std::move(options), random)) {}

StreamSealer::~StreamSealer() = default;

Status StreamSealer::Append(ByteView plain) {
  return state_->Append(plain);
}

Result<SealedStream> StreamSealer::Finish(std::string node, TimePoint created) {
  return state_->Finish(std::move(node), created);
}

Result<SealedStream> StreamSealer::SealWhole(ByteView plain, SealScratch& scratch, std::string node,
                                             TimePoint created) {
  return state_->SealWhole(plain, *scratch.state_, std::move(node), created);
}

class StreamOpener::State {
 public:
  State(SealPolicy policy, std::string object_name, Sink sink, std::uint64_t largest)
      : object_name_(object_name),
        sink_(std::move(sink)),
        largest_(largest),
        key_(policy.key),
        reader_(std::move(policy), ObjectKind::kStream, std::move(object_name)),
        decompressor_(Owned(ZSTD_createDCtx())),
        out_(ZSTD_DStreamOutSize()) {
    // Content from a hostile writer must not decide how much memory we use.
    ZSTD_DCtx_setParameter(decompressor_.get(), ZSTD_d_windowLogMax, limits::kZstdWindowLog);
  }

  Status Feed(ByteView piece) {
    // zstd has blocks without content, so an object may grow without end while its content does
    // not.
    fed_ += piece.size();
    if (fed_ / 2 > largest_ && fed_ / 2 - largest_ > kOverhead) {
      return TooLong();
    }
    return reader_.Feed(
        piece,
        [this](std::uint64_t number, std::uint64_t /*offset*/, const ObjectOpener& opener,
               ByteView frame) -> Status {
          if (reader_.attributes()->plain_size.value_or(0) > largest_) {
            return TooLong();
          }
          ASSIGN_OR_RETURN(const std::uint32_t flags, opener.Open(number, frame, plain_));
          if ((flags & kFrameLast) == 0 && plain_.size() != kStreamFramePlain) {
            return DamagedObject(object_name_, "a frame before the last is not full");
          }
          return Decompress();
        });
  }

  Status Finish() {
    RETURN_IF_ERROR(reader_.Finish());
    if (!content_ended_) {
      return DamagedObject(object_name_, "its compressed content is incomplete");
    }
    const ObjectAttributes& attributes = *reader_.attributes();
    if (attributes.plain_size && *attributes.plain_size != delivered_) {
      return DamagedObject(object_name_, "its content is shorter than its attributes say");
    }
    if (attributes.plain_digest && *attributes.plain_digest != Hash().Finish()) {
      return DamagedObject(object_name_, "its content does not match its digest");
    }
    return Ok();
  }

  const std::optional<ObjectAttributes>& attributes() const { return reader_.attributes(); }

 private:
  Status Decompress() {
    ZSTD_inBuffer in{plain_.data(), plain_.size(), 0};
    bool more = !plain_.empty();
    while (more) {
      if (content_ended_) {
        return DamagedObject(object_name_, "bytes follow its compressed content");
      }
      ZSTD_outBuffer out{out_.data(), out_.size(), 0};
      const std::size_t left = ZSTD_decompressStream(decompressor_.get(), &out, &in);
      if (ZSTD_isError(left) != 0) {
        return DamagedObject(object_name_, ZSTD_getErrorName(left));
      }
      content_ended_ = left == 0;
      RETURN_IF_ERROR(Deliver(ByteView(out_).first(out.pos)));
      // When the output buffer is full, zstd may hold more output.
      more = in.pos < in.size || (out.pos == out.size && !content_ended_);
    }
    return Ok();
  }

  Status Deliver(ByteView content) {
    if (content.empty()) {
      return Ok();
    }
    delivered_ += content.size();
    if (delivered_ > largest_) {
      return TooLong();
    }
    const ObjectAttributes& attributes = *reader_.attributes();
    if (attributes.plain_size && delivered_ > *attributes.plain_size) {
      return DamagedObject(object_name_, "its content is longer than its attributes say");
    }
    if (attributes.plain_digest) {
      Hash().Update(content);
    }
    return sink_(content);
  }

  // The attributes have a digest, and say by which method it was computed.
  ContentHash& Hash() {
    if (!hash_) {
      hash_.emplace(reader_.attributes()->plain_digest->method, key_.get());
    }
    return *hash_;
  }

  Error TooLong() const {
    return DamagedObject(object_name_, fmt::format("its content has more than {} bytes", largest_));
  }

  // Half of what headers, attributes and frames may add.
  static constexpr std::uint64_t kOverhead = 512U << 10;

  std::string object_name_;
  Sink sink_;
  const std::uint64_t largest_;
  const std::shared_ptr<const DataKey> key_;
  std::uint64_t fed_ = 0;
  FrameReader reader_;
  std::unique_ptr<ZSTD_DCtx, ContextDeleter> decompressor_;
  Bytes plain_;
  Bytes out_;
  std::optional<ContentHash> hash_;
  std::uint64_t delivered_ = 0;
  bool content_ended_ = false;
};

StreamOpener::StreamOpener(SealPolicy policy, std::string object_name, Sink sink,
                           std::uint64_t largest)
    : state_(std::make_unique<State>(std::move(policy), std::move(object_name), std::move(sink),
                                     largest)) {}

StreamOpener::~StreamOpener() = default;

Status StreamOpener::Feed(ByteView piece) {
  return state_->Feed(piece);
}

Status StreamOpener::Finish() {
  return state_->Finish();
}

const std::optional<ObjectAttributes>& StreamOpener::attributes() const {
  return state_->attributes();
}

}  // namespace veza
