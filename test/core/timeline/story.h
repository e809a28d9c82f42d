// WAL that tells of transactions, in segments that are archived, with or without an index.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/repository/test_repository.h"
#include "core/wal/wal_writer.h"
#include "core/wal_index/index_object.h"

namespace veza {

// WAL of one timeline from the beginning of a segment on.
class Story {
 public:
  explicit Story(SegmentNumber first, TimelineId timeline = 1)
      : writer_({.begin = Lsn{first * kTestSegmentSize},
                 .segment_size = kTestSegmentSize,
                 .system_identifier = kTestSystem,
                 .timeline = timeline}) {
    Say();
  }

  static TimePoint Minute(int minute) { return kTestTime + std::chrono::minutes(minute); }

  Lsn Commit(std::uint32_t xid, int minute) { return End(0x00, xid, minute); }
  Lsn Abort(std::uint32_t xid, int minute) { return End(0x20, xid, minute); }
  // COMMIT PREPARED: the record has no xid of its own.
  Lsn CommitPrepared(std::uint32_t xid, int minute, std::uint32_t subtransactions = 0) {
    Bytes data = Stamp(minute);
    // XACT_XINFO_HAS_TWOPHASE, XACT_XINFO_HAS_SUBXACTS
    PutNumber(data, std::uint32_t{1U << 4} | (subtransactions > 0 ? 2U : 0U));
    if (subtransactions > 0) {
      PutNumber(data, subtransactions);
      data.resize(data.size() + std::size_t{4} * subtransactions);
    }
    PutNumber(data, xid);
    return writer_.Add({.manager = kTransactionManager, .info = 0x30 | 0x80, .main_data = data});
  }
  // A commit with a subtransaction.
  Lsn CommitWith(std::uint32_t xid, std::uint32_t subtransaction, int minute) {
    Bytes data = Stamp(minute);
    PutNumber(data, std::uint32_t{1U << 1});  // XACT_XINFO_HAS_SUBXACTS
    PutNumber(data, std::uint32_t{1});
    PutNumber(data, subtransaction);
    return writer_.Add(
        {.manager = kTransactionManager, .info = 0x80, .xid = xid, .main_data = data});
  }
  Lsn RestorePoint(const std::string& name, int minute) {
    Bytes data = Stamp(minute);
    data.insert(data.end(), name.begin(), name.end());
    data.resize(8 + 64);
    return writer_.Add({.manager = kXlogManager, .info = 0x70, .main_data = data});
  }
  // A change of a block of a relation.
  Lsn Touch(std::uint32_t xid, std::uint32_t relation, std::uint32_t block) {
    return writer_.Add({.xid = xid,
                        .blocks = {{.file = {1663, 5, relation}, .block = block}},
                        .main_data = Bytes(8)});
  }
  Lsn Truncate(std::uint32_t relation, std::uint32_t blocks) {
    Bytes data;  // xl_smgr_truncate
    for (const std::uint32_t number : {blocks, 1663U, 5U, relation, 7U}) {
      PutNumber(data, number);
    }
    return writer_.Add({.manager = 2, .info = 0x20 | 0x01, .main_data = data});
  }
  Lsn Create(std::uint32_t xid, const RelationFile& file, std::uint8_t fork) {
    Bytes data;  // xl_smgr_create
    for (const std::uint32_t number :
         {file.tablespace, file.database, file.relation, std::uint32_t{fork}}) {
      PutNumber(data, number);
    }
    return writer_.Add({.manager = 2, .info = 0x10, .xid = xid, .main_data = data});
  }
  // A commit that drops a relation.
  Lsn CommitDropping(std::uint32_t xid, const RelationFile& file, int minute) {
    Bytes data = Stamp(minute);
    PutNumber(data, std::uint32_t{1U << 2});  // XACT_XINFO_HAS_RELFILELOCATORS
    for (const std::uint32_t number : {1U, file.tablespace, file.database, file.relation}) {
      PutNumber(data, number);
    }
    return writer_.Add(
        {.manager = kTransactionManager, .info = 0x80, .xid = xid, .main_data = data});
  }
  Lsn DropDatabase(std::uint32_t database, std::uint32_t tablespace) {
    Bytes data;  // xl_dbase_drop_rec
    for (const std::uint32_t number : {database, 1U, tablespace}) {
      PutNumber(data, number);
    }
    return writer_.Add({.manager = 4, .info = 0x20, .main_data = data});
  }
  // A record that says nothing.
  Lsn Say() { return writer_.Add({.manager = 10, .main_data = Bytes(16)}); }
  // A record of an extension's resource manager.
  Lsn SayOfExtension() { return writer_.Add({.manager = 200, .main_data = Bytes(16)}); }
  // One that PostgreSQL's resource manager for files does not know.
  Lsn SayUnknown() { return writer_.Add({.manager = 2, .info = 0x70, .main_data = Bytes(16)}); }
  void NextSegment() { writer_.Switch(); }
  // Fills the segment, so that the next record goes on in the next segment.
  void FillToTheBorder(std::size_t left) {
    while (writer_.bytes().size() % kTestSegmentSize < kTestSegmentSize - 8192) {
      writer_.FillTo(0);
    }
    writer_.FillTo(left);
  }

  SegmentNumber first() const { return writer_.options().begin.value / kTestSegmentSize; }
  SegmentNumber last() const { return first() + writer_.Whole().size() / kTestSegmentSize - 1; }
  std::string Name(SegmentNumber segment) const {
    return SegmentName(writer_.options().timeline, segment, kTestSegmentSize);
  }
  Bytes Segment(SegmentNumber segment) const {
    const Bytes whole = writer_.Whole();
    const auto begin =
        whole.begin() + static_cast<std::ptrdiff_t>((segment - first()) * kTestSegmentSize);
    Bytes bytes(begin, begin + kTestSegmentSize);
    if (SegmentOf(cut_, kTestSegmentSize) == segment) {
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(cut_.value % kTestSegmentSize),
                bytes.end(), Bytes::value_type{0});
    }
    return bytes;
  }
  Lsn position() const { return writer_.position(); }
  // Where the next record may begin.
  Lsn next() const { return Lsn{(position().value + 7) / 8 * 8}; }
  // What follows in this segment will be zeros, as in a copy that was cut off.
  void CutHere() { cut_ = position(); }

  void Archive(const TestRepository& repository) const {
    for (SegmentNumber segment = first(); segment <= last(); ++segment) {
      ASSERT_OK(repository.PushWal(Name(segment), Segment(segment)));
    }
  }
  // One object for so many segments. They must be archived.
  void Index(const TestRepository& repository, SegmentNumber each = kIndexMostSegments) const {
    IndexObjectWriter objects(*repository, kTestSystem);
    SegmentIndexer indexer;
    for (SegmentNumber segment = first(); segment <= last(); ++segment) {
      indexer.Begin({.timeline = writer_.options().timeline,
                     .number = segment,
                     .segment_size = kTestSegmentSize,
                     .system_identifier = kTestSystem});
      indexer.Feed(Segment(segment));
      SegmentIndex index = indexer.Finish();
      const std::string name = WalObjectName(kTestSystem, Name(segment)).value();
      index.summary.stored = repository->store().Head(name).value().size;
      index.summary.digest = DigestContent(repository->digest_method(),
                                           repository->seal_policy().key.get(), Segment(segment));
      ASSERT_TRUE(objects.Fits(index));
      objects.Add(std::move(index));
      if (segment == last() || (segment - first() + 1) % each == 0) {
        ASSERT_OK(objects.Store());
      }
    }
  }

 private:
  static Bytes Stamp(int minute) {
    Bytes data;
    PutNumber(data, static_cast<std::int64_t>(Minute(minute).time_since_epoch().count() -
                                              946'684'800'000'000));
    return data;
  }
  Lsn End(std::uint8_t info, std::uint32_t xid, int minute) {
    return writer_.Add(
        {.manager = kTransactionManager, .info = info, .xid = xid, .main_data = Stamp(minute)});
  }

  WalWriter writer_;
  Lsn cut_;
};

}  // namespace veza
