// The limits on how much a reader takes in of what others have written. All limits are here, each
// with its reason: a person who can write to the bucket must not be able to choose how much memory
// or time a server spends on what is stored there. FORMAT.md section 13 repeats the figures.
//
// The rules:
// - Every read of an object into memory names its limit: GetSmall(), GetListed(), ListAtMost()
//   (storage/store.h). A larger object is refused before it is fetched if a listing
//   has told its size. Otherwise it is refused while it is being fetched, because a store may
//   report a wrong size.
// - Code that holds many objects at once also has a limit for all of them together: a thousand
//   times the limit of one would be no limit. An object that is needed and does not fit counts as
//   damaged, never as absent.
// - Only ParseJson() (codec/json.h) parses JSON, and only s3/s3_xml.cpp parses XML.
//   check_layering.sh finds other calls.
// - A writer refuses to write what these limits would keep from being read.
// - A limit is far above what veza_backup writes. It is not a tuning knob. It may grow. If it
//   shrank, stored objects could become unreadable.
#pragma once

#include <cstddef>
#include <cstdint>

namespace veza::limits {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// --- Size of one object, in bytes, as it is stored ----------------------------------------------

// About 400 bytes, and members that newer versions may add. These objects are read before the key
// is known, so nothing in them is authentic.
inline constexpr std::size_t kIdentity = 64 * kKiB;
inline constexpr std::size_t kKeyWrap = 64 * kKiB;
// Lists the databases and their extensions: 10,000 databases with five extensions each take 5 MiB.
inline constexpr std::size_t kBackupDocument = 16 * kMiB;
// Holds the last error of each schedule.
inline constexpr std::size_t kLock = kMiB;
// Holds the error message of a drill. Nothing depends on it.
inline constexpr std::size_t kDrillRecord = kMiB;
inline constexpr std::size_t kGapRecord = 64 * kKiB;
// Names a hundred objects: 10 KiB.
inline constexpr std::size_t kDamageRecord = 64 * kKiB;
inline constexpr std::size_t kLease = 16 * kKiB;
inline constexpr std::size_t kFormatMark = 16 * kKiB;
inline constexpr std::size_t kProbe = 4 * kKiB;
// FORMAT.md section 3: a pack is closed when it passes 16 MiB.
inline constexpr std::size_t kPack = 32 * kMiB;
// An index of WAL: one segment may have three parts of 16 MiB (core/wal_index/segment_index.h),
// which compression may not make smaller.
inline constexpr std::size_t kIndexObject = 64 * kMiB;

// --- Content, after decompression ----------------------------------------------------------------

// The window of a zstd stream: the memory that its reader must hold (2^23 bytes).
inline constexpr int kZstdWindowLog = 23;
// PostgreSQL's largest segment. The limit that applies is the repository's own segment size, which
// is stored in its identity.
inline constexpr std::uint64_t kWalSegment = 1024 * kMiB;
// A line of about 100 bytes for each ancestor: 40,000 promotions.
inline constexpr std::uint64_t kTimelineHistory = 4 * kMiB;
// A ".backup" file has about 400 bytes, and the backup's name.
inline constexpr std::uint64_t kBackupHistory = 64 * kKiB;

// --- JSON ---------------------------------------------------------------------------------------

// FORMAT.md section 5. Json recurses when it is copied and printed.
inline constexpr std::size_t kJsonDepth = 16;
// The number of values of any kind and depth, and of names. A limit on size alone would bound
// little, because a value takes 16 to 150 bytes of memory: 16 MiB of "[],[],…" would take half a
// gigabyte. Documents that a writer made are indented, so 16 MiB of them hold fewer values than
// this.
inline constexpr std::size_t kJsonValues = 1 << 21;

// A line of a manifest describes one file, with an extent for each MiB of it. PostgreSQL splits
// relations at 1 GiB (a line of 80 KiB) unless it was built otherwise. With a key, a manifest is
// authentic, and its writer chose how long its lines are. Without a key, anybody may have written
// it.
struct ManifestLine {
  std::size_t size;
  std::size_t values;
};
inline constexpr ManifestLine kManifestLine{64 * kMiB, 8 << 20};               // a file of 700 GiB
inline constexpr ManifestLine kAuthenticManifestLine{1024 * kMiB, 128 << 20};  // of 10 TiB

// --- Responses of S3 -----------------------------------------------------------------------------

// A page of 1000 keys with their attributes. A key has up to 1024 bytes, each of which may be
// encoded in three.
inline constexpr std::size_t kListPage = 8 * kMiB;
inline constexpr std::size_t kErrorAnswer = 64 * kKiB;
// A bucket may have 1000 lifecycle rules.
inline constexpr std::size_t kBucketConfiguration = kMiB;
// What a provider of credentials answers (core/credentials). A session token has a few KiB.
inline constexpr std::size_t kCredentialAnswer = 64 * kKiB;
inline constexpr std::size_t kXmlDepth = 16;
// Opening and closing tags, and attributes. An object of a listing has about 20.
inline constexpr std::size_t kXmlMarkup = 100'000;
// How many pages of a listing may follow each other without a single name. A versioned bucket
// returns such pages where everything was deleted.
inline constexpr int kEmptyPages = 10'000;

// --- How many objects of a kind one operation reads ----------------------------------------------

// The systems that have used one repository: each pg_upgrade adds one.
inline constexpr std::size_t kIdentities = 256;
// Names below identity/ that belong to no system. They are passed over, but a listing must not go
// on for ever.
inline constexpr std::size_t kForeignIdentities = 10'000;
// One for each passphrase, oldest first. An object that is no wrap costs a request and is skipped.
inline constexpr std::size_t kKeyWraps = 1000;
// What a server reads every few minutes, and each backup, to find the wraps of other passphrases.
// No passphrase is added beside more objects.
inline constexpr std::size_t kKeyWrapsLookedAt = 64;
// The wraps for which scrypt is run, which takes a tenth to half a second each.
inline constexpr std::size_t kKeyWrapsTried = 32;
// Copies of wraps in one backup.json, and the passphrases that a repository can have.
inline constexpr std::size_t kKeyWrapsOfABackup = 8;
// Backups whose packs one incr names. All backup.json of a repository are held in memory, so this
// must not grow with the number of incrs since the full.
inline constexpr std::size_t kSources = 250;
// Subdirectories: one backup an hour for ten years.
inline constexpr std::size_t kDirectories = 100'000;
// The stored size of all backup.json of a repository together. At 500 bytes for a database with its
// five extensions, that is 400 backups of 10,000 databases, or kDirectories of 20 KiB each.
inline constexpr std::uint64_t kCatalogStored = 2048 * kMiB;
// The memory that a reader spends on them: kDirectories of 2.6 KB each. Without the lists of
// databases, extensions and settings, a backup of 10,000 databases takes no more than one of three.
inline constexpr std::size_t kCatalogMemory = 256 * kMiB;
// The same for a reader that also shows these lists. A database takes about 100 bytes, an extension
// 150: 100 backups of 5,000 databases with five extensions each take 425 MB. Beyond that, the lists
// are left out.
inline constexpr std::size_t kCatalogLists = 512 * kMiB;
// Ranges of WAL without a gap. Retention may leave one for each backup.
inline constexpr std::size_t kWalRanges = kDirectories;
// A backup has at most one pin, and one mark that incrs name it.
inline constexpr std::size_t kPins = 2 * kDirectories;
// Retention keeps 100. Older ones are skipped, because nothing depends on them.
inline constexpr std::size_t kDrillRecords = 1000;
// The stored size of all drill records that are read at once, newest first: kDrillRecords of 32 KiB
// each. veza_backup writes records of about 1 KiB. A record that somebody else wrote may hold many
// phases, which take ten times their stored size in memory; a drill has about six.
inline constexpr std::uint64_t kDrillRecordsStored = 32 * kMiB;
inline constexpr std::size_t kDrillPhases = 100;
// Records of damage that one operation reads. Of a backup whose record is not read, and if there
// are more names than kDirectories, of all backups, nobody knows whether it is damaged.
inline constexpr std::size_t kDamageRecords = 1000;
// One for each time that WAL was lost, or that wal_level was minimal, since the oldest backup.
inline constexpr std::size_t kGapRecords = 10'000;
// The indexes of WAL of one system: one each ten minutes for five years. A name takes 300 bytes.
inline constexpr std::size_t kIndexObjects = 250'000;
// The leases of restores and drills that may still be alive. A reader that finds more reports an
// error. Leases that have lapsed do not count; expiry removes up to this many at a time.
inline constexpr std::size_t kLeases = 1000;
inline constexpr std::size_t kLapsedLeases = 1000;
// Locks that no longer count are removed, up to this many at a time.
inline constexpr std::size_t kOldLocks = 1000;
// How many timelines may follow each other. PostgreSQL itself checks them one by one.
inline constexpr std::uint32_t kTimelines = 10'000;
// The ancestors of all timelines together, where all histories are held in memory at once. An
// ancestor takes 16 bytes of memory, but less than one byte when compressed. A cluster that was
// promoted 4,000 times has 8 million.
inline constexpr std::size_t kTimelineSwitches = 10'000'000;

// --- scrypt --------------------------------------------------------------------------------------

// The parameters of a wrap that the store returns. veza_backup writes n = 2^15, r = 8, p = 1, which
// takes 32 MiB and a tenth of a second. The limits allow four times as much for later versions:
// half a second. scrypt cannot be cancelled, so this is also how long a server may take to stop.
inline constexpr std::uint64_t kScryptMemory = 128 * kMiB;  // 128 n r
inline constexpr std::uint64_t kScryptWork = 1U << 20;      // n r p
inline constexpr std::uint64_t kScryptBlock = 32;           // r
inline constexpr std::uint64_t kScryptParallelism = 16;     // p

// --- Files of this machine -----------------------------------------------------------------------

// These files belong to the operator. The limits keep a device, or a log that grows in the place of
// such a file, from filling the memory.
inline constexpr std::size_t kConfigFile = 16 * kMiB;
inline constexpr std::size_t kTextFile = 16 * kMiB;
// The configuration of another tool (core/import). Each line of it becomes some hundred bytes.
inline constexpr std::size_t kImportedFile = kMiB;

}  // namespace veza::limits
