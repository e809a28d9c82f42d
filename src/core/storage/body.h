// What a store uploads and where it delivers what it downloads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/bytes.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza {

// A source of bytes of known size that can be read again from the start, because a retried upload
// must. Not thread-safe; one upload reads it at a time.
class Body {
 public:
  virtual ~Body() = default;
  virtual std::uint64_t size() const = 0;
  virtual Status Rewind() = 0;
  // Fills a part of `into` and returns how much; 0 only at the end.
  virtual Result<std::size_t> Read(MutableByteView into) = 0;
};

// A view of memory that the caller keeps alive.
class MemoryBody final : public Body {
 public:
  explicit MemoryBody(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Status Rewind() override {
    position_ = 0;
    return Ok();
  }
  Result<std::size_t> Read(MutableByteView into) override;

 private:
  ByteView bytes_;
  std::size_t position_ = 0;
};

// A view of memory, which the caller keeps alive and which is not empty, over and over again.
class RepeatedBody final : public Body {
 public:
  RepeatedBody(ByteView bytes, std::uint64_t size) : bytes_(bytes), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Status Rewind() override {
    position_ = 0;
    return Ok();
  }
  Result<std::size_t> Read(MutableByteView into) override;

 private:
  ByteView bytes_;
  std::uint64_t size_;
  std::uint64_t position_ = 0;
};

// Another body, and how much of it is read, by whatever attempt: `moved` grows by each byte. Both
// outlive it.
class CountedBody final : public Body {
 public:
  CountedBody(Body& body, std::atomic<std::uint64_t>& moved) : body_(body), moved_(moved) {}
  std::uint64_t size() const override { return body_.size(); }
  Status Rewind() override { return body_.Rewind(); }
  Result<std::size_t> Read(MutableByteView into) override;

 private:
  Body& body_;
  std::atomic<std::uint64_t>& moved_;
};

// A temporary file without a name in `directory`, so that a crash leaves nothing behind: O_TMPFILE,
// or a name that is removed at once on a file system that does not know it (NFS).
Result<UniqueFd> OpenUnnamedFile(const std::string& directory);

// Bytes of a size that is not known beforehand: held in memory up to a limit, beyond it in an
// unnamed temporary file in `directory` (O_TMPFILE: nothing is left behind by a crash). This is
// what keeps memory bounded for a 1 GiB WAL segment or the manifest of a million files.
class SpillBody final : public Body {
 public:
  SpillBody(std::string directory, std::size_t memory_limit);

  Status Append(ByteView bytes);
  // So many bytes will be appended: where they fit, memory is taken once.
  void Reserve(std::size_t bytes);
  // Bytes put before everything appended so far; at most once, and held in memory.
  void SetPrefix(Bytes prefix) { prefix_ = std::move(prefix); }
  bool spilled() const { return fd_.valid(); }

  std::uint64_t size() const override { return prefix_.size() + appended_; }
  Status Rewind() override;
  Result<std::size_t> Read(MutableByteView into) override;

 private:
  Status WriteAt(ByteView bytes, std::uint64_t offset);

  std::string directory_;
  std::size_t memory_limit_;
  Bytes prefix_;
  Bytes memory_;
  UniqueFd fd_;
  std::uint64_t appended_ = 0;
  std::uint64_t position_ = 0;
};

// Receives a download piece by piece, in order. An error stops the transfer and is returned by Get.
using Sink = std::function<Status(ByteView)>;

}  // namespace veza
