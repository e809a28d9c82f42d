// The memory in which sealed WAL files wait until they are stored. The file that the archiver asks
// for has a part of its own; the files ahead of it share another one of the same size. What does
// not fit goes to temporary files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

namespace veza {

// Thread-safe. Must outlive its shares.
class SealedMemory {
 public:
  // `part` bytes for the file that is asked for, and as many for those ahead.
  SealedMemory(std::size_t part, std::uint64_t segment_size);
  SealedMemory(const SealedMemory&) = delete;
  SealedMemory& operator=(const SealedMemory&) = delete;

  // What one file may take, until the share is destroyed. Used by one thread.
  class Share {
   public:
    explicit Share(SealedMemory& memory) : memory_(memory) {}
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Before the file is sealed. How many bytes of it may stay in memory.
    std::size_t ReserveForAskedFile();
    // The same for a file ahead: reserves what the largest one would need, as far as it is free.
    std::size_t ReserveForFileAhead();
    // When the file is sealed: keeps what it takes, and frees the rest. A file with more bytes than
    // were reserved is in a temporary file, and takes nothing.
    void Keep(std::uint64_t sealed_bytes);

   private:
    void KeepOnly(std::size_t bytes);

    SealedMemory& memory_;
    std::size_t limit_ = 0;
    std::size_t reserved_ = 0;  // of what those ahead share
  };

 private:
  const std::size_t for_asked_file_;
  const std::size_t largest_;  // sealed file
  std::mutex mutex_;
  std::size_t free_ahead_;
};

}  // namespace veza
