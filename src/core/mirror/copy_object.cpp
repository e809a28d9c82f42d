#include "core/mirror/copy_object.h"

#include <utility>

#include "core/codec/digest.h"
#include "core/storage/body.h"

namespace veza {

namespace {

// A pack or a WAL segment of 16 MiB fits.
constexpr std::size_t kMemory = 20U << 20;

Result<Sha256Digest> DigestOf(Store& store, const std::string& name) {
  Sha256 digest;
  RETURN_IF_ERROR(store.Get(name, ByteRange{}, [&](ByteView piece) {
    digest.Update(piece);
    return Ok();
  }));
  return digest.Finish();
}

struct Reading {
  Status stored;  // the error of the disk here, which is not one of the object
  std::uint64_t size = 0;
  Sha256 digest;
};

Status Read(Store& from, const ObjectInfo& object, RateLimiter& limiter, SpillBody& body,
            Reading& reading) {
  return from.Get(object.name, ByteRange{}, [&](ByteView piece) -> Status {
    limiter.Pass(piece.size());
    reading.size += piece.size();
    if (reading.size > object.size) {
      return MakeError(ErrorCode::kDataCorrupted, "it is larger than its listing says");
    }
    reading.digest.Update(piece);
    reading.stored = body.Append(piece);
    return reading.stored;
  });
}

}  // namespace

Result<CopiedObject> CopyObject(Store& from, Store& to, const ObjectInfo& object,
                                const CopyOptions& options, RateLimiter& limiter) {
  SpillBody body(options.spill_directory, kMemory);
  Reading reading;
  const Status read = Read(from, object, limiter, body, reading);
  RETURN_IF_ERROR(reading.stored);
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
  const Status put = to.Put(object.name, body, PutMode::kCreate);
  const bool was_there = !put && put.error().code == ErrorCode::kAlreadyExists;
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
