// Collects the extents of several threads into packs, and stores several packs at once.
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

// At most `uploads` + 1 packs exist at a time. Add() waits while all of them are being stored, so
// memory is bounded when the store is slower than the readers.
class PackUploader {
 public:
  // The size of each pack that was stored is added to `stored`. `stored` and `manifest` outlive the
  // uploader. When a thread cannot be started, every call fails.
  PackUploader(const Repository& repository, std::string label, int uploads,
               ManifestWriter& manifest, std::atomic<std::uint64_t>& stored);
  ~PackUploader();  // drops what is not stored yet

  // Seals one extent, which `flags` call compressed or stored. Thread-safe. Fills in all of the
  // result but length and digest.
  Result<Extent> Add(std::uint32_t flags, ByteView content);

  // Stores the rest and waits for it. Afterwards only packs() may be called.
  Status Finish();
  // Makes every call that waits, and every later one, fail with the error. Only the first error
  // counts.
  void Abort(Error error);

  std::uint32_t packs() const { return next_number_ - 1; }

 private:
  struct OpenPack {
    PackBuilder builder;
    int pending = 0;       // places that are reserved and not filled yet
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
