#include "core/mirror/copy_object.h"

#include <utility>

#include "core/codec/frame_reader.h"
#include "core/codec/stream.h"
#include "core/limits.h"
#include "core/repository/names.h"
#include "core/storage/body.h"

namespace veza {

namespace {

// A pack or a WAL segment of 16 MiB fits.
constexpr std::size_t kMemory = 20U << 20;

// Opens a sealed object as it arrives. Takes any other as it is.
class SealCheck {
 public:
  SealCheck(const SealPolicy& policy, const std::string& name) {
    const bool is_of_backup = name.starts_with(kBackupPrefix);
    if (name.starts_with(kIndexPrefix) ||
        (is_of_backup && name.find("/pack/") != std::string::npos)) {
      pack_.emplace(policy, ObjectKind::kPack, name);
    } else if (name.starts_with(kWalPrefix)) {
      stream_.emplace(policy, name, Drop, limits::kWalSegment);
    } else if (is_of_backup && name.ends_with("/manifest")) {
      stream_.emplace(policy, name, Drop);
    }
  }

  Status Feed(ByteView piece) {
    if (stream_) {
      return stream_->Feed(piece);
    }
    if (!pack_) {
      return Ok();
    }
    return pack_->Feed(piece,
                       [this](std::uint64_t number, std::uint64_t, const ObjectOpener& opener,
                              ByteView frame) -> Status {
                         RETURN_IF_ERROR(opener.Open(number, frame, plain_));
                         return Ok();
                       });
  }
  Status Finish() { return stream_ ? stream_->Finish() : pack_ ? pack_->Finish() : Ok(); }

 private:
  static Status Drop(ByteView) { return Ok(); }

  std::optional<StreamOpener> stream_;
  std::optional<FrameReader> pack_;
  Bytes plain_;
};

struct Reading {
  Status stored;  // the error of the disk here, which is not one of the object
  Status intact;  // what is wrong with the content
  std::uint64_t size = 0;
  Sha256 digest;
};

Status Read(Store& from, const ObjectInfo& object, const CopyOptions& options, RateLimiter& limiter,
            SpillBody& body, Reading& reading) {
  SealCheck check(options.policy, object.name);
  RETURN_IF_ERROR(from.Get(object.name, ByteRange{}, [&](ByteView piece) -> Status {
    limiter.Pass(piece.size());
    reading.size += piece.size();
    if (reading.size > object.size) {
      return MakeError(ErrorCode::kDataCorrupted, "it is larger than its listing says");
    }
    reading.digest.Update(piece);
    reading.intact = check.Feed(piece);
    RETURN_IF_ERROR(reading.intact);
    reading.stored = body.Append(piece);
    return reading.stored;
  }));
  if (reading.size == object.size) {
    reading.intact = check.Finish();
  }
  return Ok();
}

}  // namespace

Result<Sha256Digest> DigestOf(Store& store, const std::string& name) {
  Sha256 digest;
  RETURN_IF_ERROR(store.Get(name, ByteRange{}, [&](ByteView piece) {
    digest.Update(piece);
    return Ok();
  }));
  return digest.Finish();
}

Result<CopiedObject> CopyObject(Store& from, Store& to, const ObjectInfo& object,
                                const CopyOptions& options, RateLimiter& limiter) {
  SpillBody body(options.spill_directory, kMemory);
  Reading reading;
  const Status read = Read(from, object, options, limiter, body, reading);
  RETURN_IF_ERROR(reading.stored);
  if (!reading.intact) {
    return CopiedObject{CopyOutcome::kUnreadable, reading.intact.error().message};
  }
  if (!read) {
    if (read.error().code == ErrorCode::kNotFound) {
      return CopiedObject{CopyOutcome::kGone};
    }
    if (IsOfTheStore(read.error())) {
      return read.error();
    }
    return CopiedObject{CopyOutcome::kUnreadable, read.error().message};
  }
  if (reading.size != object.size) {
    return CopiedObject{
        CopyOutcome::kUnreadable,
        fmt::format("it has {} bytes instead of the {} of its listing", reading.size, object.size)};
  }
  const Sha256Digest digest = reading.digest.Finish();
  if (options.expected && *options.expected != digest) {
    return CopiedObject{CopyOutcome::kUnreadable, "it is not the one that its backup.json names"};
  }
  const Status put = to.Put(object.name, body, PutMode::kCreate);
  const bool was_there = !put && put.error().code == ErrorCode::kAlreadyExists;
  if (!put && put.error().code == ErrorCode::kInvalidArgument) {
    // It is this object that the mirror does not take: its name, or its size.
    return CopiedObject{CopyOutcome::kRefused,
                        fmt::format("the mirror does not take it: {}", put.error().message)};
  }
  if (!put && !was_there) {
    return put.error();
  }
  if (!was_there && !options.reads_back) {
    return CopiedObject{CopyOutcome::kCopied};
  }
  const Result<Sha256Digest> there = DigestOf(to, object.name);
  if (!there && IsOfTheStore(there.error())) {
    return there.error();
  }
  const bool is_same = there && *there == digest;
  if (was_there) {
    return CopiedObject{is_same ? CopyOutcome::kThere : CopyOutcome::kDiffers};
  }
  if (!is_same) {
    // It is ours and nobody relies on it yet. If it stayed, no later pass could mend it.
    RETURN_IF_ERROR(to.Delete(object.name));
    return MakeError(ErrorCode::kDataCorrupted,
                     "mirror \"{}\" gave other bytes back than object \"{}\" was stored with",
                     to.location(), object.name)
        .WithHint("The object was removed again. Look for a fault of the mirror's store.");
  }
  return CopiedObject{CopyOutcome::kCopied};
}

}  // namespace veza
