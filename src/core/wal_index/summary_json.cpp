#include "core/wal_index/summary_json.h"

#include <algorithm>
#include <iterator>

#include "core/codec/json_fields.h"

namespace veza {
namespace {

constexpr const char* kEnds[] = {"more", "switch", "unwritten", "damaged"};
constexpr std::size_t kNumbersOfMinute = 6;

std::int64_t Microseconds(TimePoint time) {
  return time.time_since_epoch().count();
}

Json MinutesToJson(const std::vector<MinuteOfWal>& minutes) {
  Json list = Json::Array();
  for (const MinuteOfWal& minute : minutes) {
    Json& numbers = list.push_back(Json::Array());
    numbers.push_back(minute.minute);
    for (const std::uint64_t number :
         {minute.commits, minute.aborts, minute.bytes, minute.images, minute.image_bytes}) {
      numbers.push_back(number);
    }
  }
  return list;
}

Json EndToJson(const IndexedEnd& end) {
  return {{"begin", FormatLsn(end.begin)},  {"end", FormatLsn(end.end)},
          {"time", Microseconds(end.time)}, {"xid", end.xid},
          {"database", end.database},       {"committed", end.committed},
          {"prepared", end.prepared}};
}

Json HeadToJson(const WalHead& head) {
  Json json = {{"begin", FormatLsn(head.begin)},
               {"length", head.length},
               {"taken", head.taken},
               {"kept", ToBase64(head.kept)}};
  if (head.crc) {
    json["crc"] = head.crc->value();
  }
  return json;
}

Json TailToJson(const WalTail& tail) {
  Json json = {{"length", tail.length},
               {"taken", tail.taken},
               {"kept", ToBase64(tail.kept)},
               {"end", FormatLsn(tail.end)}};
  if (tail.overwritten) {
    json["overwritten"] = true;
  }
  if (tail.record_begin) {
    json["record_begin"] = FormatLsn(*tail.record_begin);
  }
  return json;
}

// Reads members of the kinds that JsonFields does not know.
class Fields : public JsonFields {
 public:
  Fields(const Json& json, const std::string& where)
      : JsonFields(json, where), json_(json), where_(where) {}

  using JsonFields::Read;
  void Read(const char* name, Lsn& value) { ReadLsn(*this, name, value); }
  void ReadMicroseconds(const char* name, TimePoint& value) {
    std::int64_t time = 0;
    Read(name, time);
    value = TimePoint(std::chrono::microseconds(time));
  }
  void ReadKept(Bytes& value) {
    std::string text;
    Read("kept", text);
    std::optional<Bytes> kept = FromBase64(text);
    if (!kept || kept->size() > kIndexLargestKept) {
      FailOf("kept", "is not base64 of an allowed size");
      return;
    }
    value = std::move(*kept);
  }
  template <typename Function>
  void ReadObject(const char* name, const Function& read) {
    const Json* const member = json_.Find(name);
    if (member == nullptr) {
      return;
    }
    Fields fields(*member, where_);
    read(fields);
    if (const Status status = fields.status(); !status) {
      FailOf(name, "is invalid");
    }
  }
  const Json* Find(const char* name) const { return json_.Find(name); }

 private:
  const Json& json_;
  const std::string& where_;
};

void ReadMinutes(Fields& fields, std::vector<MinuteOfWal>& minutes) {
  const Json* const list = fields.Find("minutes");
  if (list == nullptr || !list->is_array() || list->size() > kIndexMostMinutes) {
    fields.FailOf("minutes", "is not a list of an allowed length");
    return;
  }
  for (const Json& numbers : *list) {
    MinuteOfWal minute;
    if (!numbers.is_array() || numbers.size() != kNumbersOfMinute ||
        !JsonFields::IntegerFrom(numbers[0], minute.minute) ||
        !JsonFields::IntegerFrom(numbers[1], minute.commits) ||
        !JsonFields::IntegerFrom(numbers[2], minute.aborts) ||
        !JsonFields::IntegerFrom(numbers[3], minute.bytes) ||
        !JsonFields::IntegerFrom(numbers[4], minute.images) ||
        !JsonFields::IntegerFrom(numbers[5], minute.image_bytes) ||
        (!minutes.empty() && minute.minute <= minutes.back().minute)) {
      fields.FailOf("minutes", "is invalid");
      return;
    }
    minutes.push_back(minute);
  }
}

void ReadDigest(Fields& fields, ContentDigest& digest) {
  const bool is_gmac = fields.Has("gmac");
  if (is_gmac == fields.Has("sha256")) {
    fields.Fail("must have one of the members \"gmac\" and \"sha256\"");
    return;
  }
  std::string text;
  fields.Read(is_gmac ? "gmac" : "sha256", text);
  const std::optional<Bytes> bytes = FromHex(text);
  const auto read =
      bytes ? ContentDigest::Of(is_gmac ? DigestMethod::kGmac : DigestMethod::kSha256, *bytes)
            : std::nullopt;
  if (!read) {
    fields.Fail("has an invalid digest");
    return;
  }
  digest = *read;
}

void ReadEnd(Fields& fields, IndexedEnd& end) {
  fields.Read("begin", end.begin);
  fields.Read("end", end.end);
  fields.ReadMicroseconds("time", end.time);
  fields.Read("xid", end.xid);
  fields.Read("database", end.database);
  fields.Read("committed", end.committed);
  fields.Read("prepared", end.prepared);
}

void ReadHead(Fields& fields, WalHead& head) {
  fields.Read("begin", head.begin);
  fields.Read("length", head.length);
  fields.Read("taken", head.taken);
  fields.ReadKept(head.kept);
  if (fields.Has("crc")) {
    std::uint32_t crc = 0;
    fields.Read("crc", crc);
    head.crc = Crc32c::After(crc);
  }
}

void ReadTail(Fields& fields, WalTail& tail) {
  fields.Read("length", tail.length);
  fields.Read("taken", tail.taken);
  fields.ReadKept(tail.kept);
  fields.Read("end", tail.end);
  if (fields.Has("overwritten")) {
    fields.Read("overwritten", tail.overwritten);
  }
  if (fields.Has("record_begin")) {
    fields.Read("record_begin", tail.record_begin.emplace());
  }
}

void ReadPositions(Fields& fields, SegmentSummary& summary) {
  fields.Read("begin", summary.begin);
  fields.Read("end", summary.end);
  std::string ends;
  fields.Read("ends", ends);
  const auto* const known = std::ranges::find(kEnds, ends);
  if (known == std::end(kEnds)) {
    fields.FailOf("ends", "is unknown");
    return;
  }
  summary.ends = static_cast<WalEnd>(known - std::begin(kEnds));
}

// What is there only in some segments.
void ReadOptionals(Fields& fields, SegmentSummary& summary) {
  fields.ReadObject("last_end", [&](Fields& of) { ReadEnd(of, summary.last_end.emplace()); });
  if (fields.Has("earliest_end")) {
    fields.ReadMicroseconds("earliest_end", summary.earliest_end.emplace());
    fields.ReadMicroseconds("latest_end", summary.latest_end.emplace());
  }
  fields.ReadObject("head", [&](Fields& of) { ReadHead(of, summary.head.emplace()); });
  fields.ReadObject("tail", [&](Fields& of) { ReadTail(of, summary.tail.emplace()); });
  if (fields.Has("minutes_each")) {
    fields.Read("minutes_each", summary.minutes_each);
  }
  if (!fields.Has("doubts")) {
    return;
  }
  fields.Read("doubts", summary.doubts);
  fields.ReadObject("doubt", [&](Fields& of) {
    of.Read("lsn", summary.doubt.emplace().lsn);
    of.Read("reason", summary.doubt->reason);
  });
  if ((summary.doubts > 0) != summary.doubt.has_value()) {
    fields.FailOf("doubts", "does not match \"doubt\"");
  }
}

}  // namespace

Json SummaryToJson(const SegmentSummary& summary) {
  Json json = {
      {"segment", SegmentName(summary.timeline, summary.number, summary.segment_size)},
      {summary.digest.method == DigestMethod::kGmac ? "gmac" : "sha256",
       ToHex(summary.digest.used())},
      {"stored", summary.stored},
      {"postgresql", summary.version},
      {"last_page_timeline", summary.last_page_timeline},
      {"begin", FormatLsn(summary.begin)},
      {"end", FormatLsn(summary.end)},
      {"ends", kEnds[static_cast<std::size_t>(summary.ends)]},
      {"records", summary.records},
      {"minutes", MinutesToJson(summary.minutes)},
  };
  if (summary.minutes_each != 1) {
    json["minutes_each"] = summary.minutes_each;
  }
  if (summary.last_end) {
    json["last_end"] = EndToJson(*summary.last_end);
  }
  if (summary.earliest_end && summary.latest_end) {
    json["earliest_end"] = Microseconds(*summary.earliest_end);
    json["latest_end"] = Microseconds(*summary.latest_end);
  }
  if (summary.head) {
    json["head"] = HeadToJson(*summary.head);
  }
  if (summary.tail) {
    json["tail"] = TailToJson(*summary.tail);
  }
  if (summary.doubt) {
    json["doubts"] = summary.doubts;
    json["doubt"] = {{"lsn", FormatLsn(summary.doubt->lsn)}, {"reason", summary.doubt->reason}};
  }
  return json;
}

Status SummaryFromJson(const Json& json, const std::string& where, SegmentSummary& summary) {
  Fields fields(json, where);
  std::string segment;
  fields.Read("segment", segment);
  ReadDigest(fields, summary.digest);
  fields.Read("stored", summary.stored);
  fields.Read("postgresql", summary.version);
  fields.Read("last_page_timeline", summary.last_page_timeline);
  ReadPositions(fields, summary);
  fields.Read("records", summary.records);
  ReadMinutes(fields, summary.minutes);
  ReadOptionals(fields, summary);
  RETURN_IF_ERROR(fields.status());
  summary.number = segment.size() == 24 ? SegmentNumberOf(segment, summary.segment_size) : 0;
  if (SegmentName(summary.timeline, summary.number, summary.segment_size) != segment) {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\": \"{}\" is no segment of the index", where,
                     segment);
  }
  return Ok();
}

}  // namespace veza
