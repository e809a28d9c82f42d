#include "core/backup/pack_uploader.h"

#include <algorithm>
#include <utility>

#include "core/repository/names.h"

namespace veza {

PackUploader::PackUploader(const Repository& repository, std::string label, int uploads,
                           ManifestWriter& manifest, std::atomic<std::uint64_t>& stored)
    : repository_(repository),
      label_(std::move(label)),
      manifest_(manifest),
      stored_(stored),
      limit_(static_cast<std::size_t>(std::max(uploads, 1)) + 1) {
  for (std::size_t i = 1; i < limit_; ++i) {
    if (Status started = threads_.Start([this] { UploadLoop(); }); !started) {
      Abort(std::move(started.error()));
      return;
    }
  }
}

PackUploader::~PackUploader() {
  Abort(MakeError(ErrorCode::kCancelled, "backup \"{}\" was abandoned", label_));
  threads_.Join();
}

void PackUploader::Abort(Error error) {
  const std::lock_guard lock(mutex_);
  if (!failure_) {
    failure_ = std::move(error);
  }
  changed_.notify_all();
}

Status PackUploader::CheckFailure() const {
  if (failure_) {
    return *failure_;
  }
  return Ok();
}

PackBuffer PackUploader::TakeBuffer() {
  if (buffers_.empty()) {
    return NewPackBuffer();
  }
  PackBuffer buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

Status PackUploader::StartPack(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return current_ || alive_ < limit_ || failure_; });
  RETURN_IF_ERROR(CheckFailure());
  if (!current_) {
    const std::uint32_t number = next_number_++;
    const Environment& environment = repository_.environment();
    NewPack pack{number, PackName(label_, number), repository_.options().node,
                 environment.clock->Now(), repository_.digest_method()};
    current_ = std::make_shared<OpenPack>(OpenPack{PackBuilder(
        std::move(pack), repository_.seal_policy(), *environment.random, TakeBuffer())});
    ++alive_;
  }
  return Ok();
}

Status PackUploader::Retire(const std::shared_ptr<OpenPack>& pack) {
  RETURN_IF_ERROR(pack->builder.Close());
  queue_.push_back(pack);
  changed_.notify_all();
  return Ok();
}

Result<Extent> PackUploader::Add(std::uint32_t flags, ByteView content) {
  std::unique_lock lock(mutex_);
  RETURN_IF_ERROR(StartPack(lock));
  const std::shared_ptr<OpenPack> pack = current_;
  const PackBuilder::Place place = pack->builder.Reserve(content.size());
  ++pack->pending;
  if (pack->builder.full()) {
    pack->retired = true;
    current_.reset();
    changed_.notify_all();
  }
  lock.unlock();

  const Status filled = pack->builder.Fill(place, flags, content);

  lock.lock();
  --pack->pending;
  if (!filled) {
    // The place stays empty, so the pack and the whole backup are of no use.
    if (!failure_) {
      failure_ = filled.error();
    }
    changed_.notify_all();
    return filled.error();
  }
  if (pack->retired && pack->pending == 0) {
    RETURN_IF_ERROR(Retire(pack));
  }
  Extent extent;
  extent.pack = pack->builder.number();
  extent.frame = place.frame;
  extent.offset = place.offset;
  extent.stored = place.stored;
  return extent;
}

Status PackUploader::Upload(PackBuilder& builder) {
  MemoryBody body(builder.content());
  RETURN_IF_ERROR(repository_.store().Put(builder.object_name(), body, PutMode::kCreate));
  stored_ += body.size();
  return manifest_.Add(builder.record());
}

void PackUploader::UploadLoop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !queue_.empty() || finishing_ || failure_; });
    if (failure_ || queue_.empty()) {
      return;
    }
    std::shared_ptr<OpenPack> pack = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    Status status = CatchExceptions([&] { return Upload(pack->builder); });
    lock.lock();
    buffers_.push_back(pack->builder.TakeBuffer());
    pack.reset();
    --alive_;
    if (!status && !failure_) {
      failure_ = std::move(status.error());
    }
    changed_.notify_all();
  }
}

Status PackUploader::Finish() {
  std::unique_lock lock(mutex_);
  if (current_) {
    current_->retired = true;
    RETURN_IF_ERROR(Retire(std::exchange(current_, nullptr)));
  }
  finishing_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return alive_ == 0 || failure_; });
  return CheckFailure();
}

}  // namespace veza
