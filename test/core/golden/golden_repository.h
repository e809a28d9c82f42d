// Makes the repositories in test/core/golden again: one for each kind, with the same bytes every
// time.
//
// It uses only the codec, with fixed random bytes. Records and documents are written out here as
// FORMAT.md describes them. A change in the code above the codec therefore cannot change the
// expected bytes.
#pragma once

#include <map>
#include <string>

#include "core/bytes.h"
#include "core/codec/seal.h"

namespace veza {

struct GoldenRepository {
  std::map<std::string, Bytes> objects;           // by object name
  std::map<std::string, std::string> files;       // the files that a restore makes, by path
  std::map<std::string, std::string> diff_files;  // the same for the diff
  std::map<std::string, std::string> incr_files;  // and for the incr on the diff
  std::map<std::string, std::string> wal;         // content by WAL file name
  std::string index;                              // what the index of WAL says, line by line
};

inline constexpr const char* kGoldenPassphrase = "golden passphrase, known to everyone";
inline constexpr const char* kGoldenRecoveryPassphrase = "golden recovery, known to everyone";
inline constexpr const char* kGoldenLabel = "20261122-020000F";
inline constexpr const char* kGoldenDiffLabel = "20261122-020000F_20261123-020000D";
inline constexpr const char* kGoldenIncrLabel = "20261122-020000F_20261124-020000I";
inline constexpr const char* kGoldenSystem = "7000000000000000001";
inline constexpr const char* kGoldenSegment = "000000010000000000000010";
inline constexpr const char* kGoldenTablespace = "/srv/golden/tablespace";
// The version of zstd that made the segment. Its object and the index, which tells the object's
// size, depend on it.
inline constexpr unsigned kGoldenZstdVersion = 10504;

// Version 1 of the format, or version 2 (keyed digests), which needs a cipher. In version 2 the
// first pack of the full still has digests of version 1: the method belongs to the pack.
struct GoldenKind {
  Cipher cipher = Cipher::kNone;
  int version = 1;
  // With a second passphrase, whose wrap is signed, and copies of both wraps in each backup.json.
  bool has_recovery = false;
};
inline constexpr GoldenKind kGoldenKinds[] = {
    {Cipher::kNone, 1},      {Cipher::kAes256Gcm, 1}, {Cipher::kAes256Cbc, 1},
    {Cipher::kAes256Gcm, 2}, {Cipher::kAes256Cbc, 2}, {Cipher::kAes256Gcm, 2, true}};
// The name of its directory.
std::string NameOf(const GoldenKind& kind);

std::string GoldenSegmentName();
std::string GoldenIndexName();

GoldenRepository MakeGoldenRepository(const GoldenKind& kind);

}  // namespace veza
