// The source of an upload (Body) and the destination of a download (Sink).
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

// A source of bytes of known size. It can be read again from the start, because a retried upload
// must do that. Not thread-safe: only one upload may read it at a time.
class Body {
 public:
  virtual ~Body() = default;
  virtual std::uint64_t size() const = 0;
  virtual Status Rewind() = 0;
  // Fills the beginning of `into` and returns the number of bytes. 0 means the end.
  virtual Result<std::size_t> Read(MutableByteView into) = 0;
};

// Reads from memory, which must outlive it.
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

// Reads the same memory over and over until `size` bytes were read. The memory must not be empty,
// and must outlive this.
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

// Reads another body and adds every byte read to `moved`, also those of repeated attempts. Both
// must outlive this.
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

// Opens a temporary file without a name in `directory`, so that a crash leaves nothing behind. Uses
// O_TMPFILE. On a file system without it (NFS), makes a file and removes its name at once.
Result<UniqueFd> OpenUnnamedFile(const std::string& directory);

// Bytes whose number is not known beforehand. They are held in memory up to a limit. Beyond it they
// go to an unnamed temporary file in `directory`, of which a crash leaves nothing behind. This
// bounds the memory for a WAL segment of 1 GiB or for the manifest of a million files. Not
// thread-safe.
class SpillBody final : public Body {
 public:
  SpillBody(std::string directory, std::size_t memory_limit);

  Status Append(ByteView bytes);
  // Announces that so many bytes will be appended. If they fit, memory is allocated once.
  void Reserve(std::size_t bytes);
  // Puts bytes before everything that was appended. May be called once. These bytes are always held
  // in memory.
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

// Receives a download piece by piece, in order. An error stops the transfer, and Get() returns it.
using Sink = std::function<Status(ByteView)>;

}  // namespace veza
