// Collects extents of several threads into packs and stores the packs, several at once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/manifest.h"
#include "core/repository/pack.h"
#include "core/repository/repository.h"
#include "core/thread_group.h"

namespace veza {

// At most `uploads` + 1 packs exist at a time: Add() waits when all are being stored, so memory
// stays bounded when the store is slower than the reading.
class PackUploader {
 public:
  // `stored` is added to with each pack; it and `manifest` outlive the uploader. Threads that
  // cannot be had make every call fail.
  PackUploader(const Repository& repository, std::string label, int uploads,
               ManifestWriter& manifest, std::atomic<std::uint64_t>& stored);
  ~PackUploader();  // gives up what is not stored yet

  // Seals one compressed (or stored, by `flags`) extent. Thread-safe. Fills in everything of the
  // result but length and digest.
  Result<Extent> Add(std::uint32_t flags, ByteView content);

  // Stores the rest and waits. After it only packs() may be called.
  Status Finish();
  // Makes every later and waiting call fail with the error; the first one given stays.
  void Abort(Error error);

  std::uint32_t packs() const { return next_number_ - 1; }

 private:
  struct OpenPack {
    PackBuilder builder;
    int pending = 0;       // places reserved and not yet filled
    bool retired = false;  // takes no more extents
  };

  PackBuffer TakeBuffer();
  Status StartPack(std::unique_lock<std::mutex>& lock);
  Status Retire(const std::shared_ptr<OpenPack>& pack);
  void UploadLoop();
  Status Upload(PackBuilder& builder);
  Status CheckFailure() const;

  const Repository& repository_;
  std::string label_;
  ManifestWriter& manifest_;
  std::atomic<std::uint64_t>& stored_;
  const std::size_t limit_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<OpenPack> current_;
  std::deque<std::shared_ptr<OpenPack>> queue_;  // retired and filled
  std::size_t alive_ = 0;                        // packs in memory
  std::vector<PackBuffer> buffers_;              // of packs that are stored
  std::uint32_t next_number_ = 1;
  bool finishing_ = false;
  std::optional<Error> failure_;
  ThreadGroup threads_;
};

}  // namespace veza
