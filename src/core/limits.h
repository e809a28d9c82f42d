// How much of what others have written a reader takes in: the limits of untrusted objects, all of
// them, each with its reason. Whoever can write to the bucket must not choose how much memory or
// time a server spends on what lies there. FORMAT.md section 13 repeats the figures.
//
// The rules:
// - Every read of an object into memory names its limit: GetSmall(), GetListed(), ReadObjects(),
//   ListAtMost() (storage/store.h). What is larger is refused before it is fetched where a listing
//   has told the size, and while it is being fetched otherwise: a store may lie.
// - Who holds many of them at once has a limit of all together, too: many times the limit of one is
//   none. What is needed and does not fit counts as damaged, never as absent.
// - JSON is parsed by ParseJson() (codec/json.h) only, XML by s3/s3_xml.cpp only.
//   check_layering.sh finds other calls.
// - A writer refuses to write what these limits would keep from being read.
// - A limit is far above what veza_backup writes: it is no tuning knob, and may grow, but a limit
//   that shrinks could make unreadable what somebody has stored.
#pragma once

#include <cstddef>
#include <cstdint>

namespace veza::limits {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// --- Size of one object, in bytes, as it is stored ----------------------------------------------

// Some 400 bytes, and members that newer versions may add. These are read before there is a key, so
// nothing of them is authentic.
inline constexpr std::size_t kIdentity = 64 * kKiB;
inline constexpr std::size_t kKeyWrap = 64 * kKiB;
// It lists databases and their extensions: 10,000 databases with five extensions each are 5 MiB.
inline constexpr std::size_t kBackupDocument = 16 * kMiB;
// Holds the last error of each schedule.
inline constexpr std::size_t kLock = kMiB;
// Holds the error of a drill, of which nothing depends.
inline constexpr std::size_t kDrillRecord = kMiB;
inline constexpr std::size_t kGapRecord = 64 * kKiB;
inline constexpr std::size_t kLease = 16 * kKiB;
inline constexpr std::size_t kProbe = 4 * kKiB;
// FORMAT.md section 3: packs are closed when they pass 16 MiB.
inline constexpr std::size_t kPack = 32 * kMiB;

// --- Content, once it is decompressed -----------------------------------------------------------

// The window of a zstd stream: what its reader must hold (2^23 bytes).
inline constexpr int kZstdWindowLog = 23;
// PostgreSQL's largest segment. A repository's own size is in its identity, and is what counts.
inline constexpr std::uint64_t kWalSegment = 1024 * kMiB;
// A line of some 100 bytes for each timeline before: 40,000 promotions.
inline constexpr std::uint64_t kTimelineHistory = 4 * kMiB;
// ".backup" files have some 400 bytes, and the backup's name.
inline constexpr std::uint64_t kBackupHistory = 64 * kKiB;

// --- JSON ---------------------------------------------------------------------------------------

// FORMAT.md section 5. Json recurses when it copies and prints.
inline constexpr std::size_t kJsonDepth = 16;
// Values of any kind, at any depth, and names. A value takes 16 to 150 bytes of memory, so that
// size alone bounds little: 16 MiB of "[],[],…" would be half a gigabyte. Documents are indented,
// so that 16 MiB of any that a writer made have fewer.
inline constexpr std::size_t kJsonValues = 1 << 21;

// A line of a manifest is a file, with an extent for each MiB of it. PostgreSQL cuts relations at
// 1 GiB (a line of 80 KiB) unless it was built otherwise. With a key a manifest is authentic, and
// only its writer chose how long its lines are; without one, anybody may have.
struct ManifestLine {
  std::size_t size;
  std::size_t values;
};
inline constexpr ManifestLine kManifestLine{64 * kMiB, 8 << 20};               // a file of 700 GiB
inline constexpr ManifestLine kAuthenticManifestLine{1024 * kMiB, 128 << 20};  // of 10 TiB

// --- What S3 answers ----------------------------------------------------------------------------

// A page of 1000 keys of 1024 bytes, each byte of which may take three, and their attributes.
inline constexpr std::size_t kListPage = 8 * kMiB;
inline constexpr std::size_t kErrorAnswer = 64 * kKiB;
// A bucket may have 1000 lifecycle rules.
inline constexpr std::size_t kBucketConfiguration = kMiB;
inline constexpr std::size_t kXmlDepth = 16;
// Tags, opening and closing, and attributes. An object of a listing has about 20.
inline constexpr std::size_t kXmlMarkup = 100'000;
// Pages without a name that a listing may have behind each other: a versioned bucket has such pages
// where everything was deleted.
inline constexpr int kEmptyPages = 10'000;

// --- How many objects of a kind one operation reads ----------------------------------------------

// Systems that have lived in one repository: each pg_upgrade adds one.
inline constexpr std::size_t kIdentities = 256;
// One for each passphrase; the oldest of them. What is no wrap costs a request, and is passed over.
inline constexpr std::size_t kKeyWraps = 1000;
// Those for which scrypt is run: a tenth of a second to half a second each.
inline constexpr std::size_t kKeyWrapsTried = 32;
// Copies of a wrap in one backup.json. Those that veza_backup writes have one.
inline constexpr std::size_t kKeyWrapsOfABackup = 4;
// Subdirectories: a backup an hour for ten years.
inline constexpr std::size_t kDirectories = 100'000;
// All backup.json of a repository together, as they are stored. With 500 bytes for a database and
// its five extensions: 400 backups of 10,000 databases; or kDirectories of 20 KiB each.
inline constexpr std::uint64_t kCatalogStored = 2048 * kMiB;
// What a reader holds of them: kDirectories of 2.6 KB each. Without the lists of databases,
// extensions and settings, a backup of 10,000 databases takes no more than one of three.
inline constexpr std::size_t kCatalogMemory = 256 * kMiB;
// The same with these lists, for who shows them. A database takes some 100 bytes, an extension 150:
// 100 backups of 5,000 databases with five extensions each are 425 MB. Beyond that it does without.
inline constexpr std::size_t kCatalogLists = 512 * kMiB;
// Stretches of WAL without a hole: retention may leave one for each backup.
inline constexpr std::size_t kWalRanges = kDirectories;
// A backup may be pinned once.
inline constexpr std::size_t kPins = kDirectories;
// Retention leaves 100. Older ones are passed over: nothing depends on them.
inline constexpr std::size_t kDrillRecords = 1000;
// All that are read at once, as they are stored, the newest first: kDrillRecords of 32 KiB, where
// those that veza_backup writes have one. Others hold phases, which take ten times what they are
// stored as: a drill has some six.
inline constexpr std::uint64_t kDrillRecordsStored = 32 * kMiB;
inline constexpr std::size_t kDrillPhases = 100;
// One for each time that WAL was lost, or wal_level was minimal, since the oldest backup.
inline constexpr std::size_t kGapRecords = 10'000;
// Restores and drills at work, as far as their leases may be in force: nobody reads more. Those
// that are over are no obstacle; expiry removes so many at a time.
inline constexpr std::size_t kLeases = 1000;
inline constexpr std::size_t kLapsedLeases = 1000;
// Locks that do not count any more are removed, so many at a time.
inline constexpr std::size_t kOldLocks = 1000;
// Timelines that follow each other: PostgreSQL itself looks at them one by one.
inline constexpr std::uint32_t kTimelines = 10'000;
// Ancestors of all timelines together, where all histories are held at once: 16 bytes each, which
// compressed are less than one. A cluster that was promoted 4,000 times has 8 million.
inline constexpr std::size_t kTimelineSwitches = 10'000'000;

// --- scrypt --------------------------------------------------------------------------------------

// Of a wrap from the store. Ours has n = 2^15, r = 8, p = 1: 32 MiB, and a tenth of a second. Room
// is left for a version that asks for four times as much: half a second, which nothing can cancel,
// is what a server may take to stop.
inline constexpr std::uint64_t kScryptMemory = 128 * kMiB;  // 128 n r
inline constexpr std::uint64_t kScryptWork = 1U << 20;      // n r p
inline constexpr std::uint64_t kScryptBlock = 32;           // r
inline constexpr std::uint64_t kScryptParallelism = 16;     // p

// --- Files of this machine ----------------------------------------------------------------------

// They are the operator's own, but a device or a growing log in their place is no reason to fill
// the memory.
inline constexpr std::size_t kConfigFile = 16 * kMiB;
inline constexpr std::size_t kTextFile = 16 * kMiB;

}  // namespace veza::limits
