#include "core/wal_index/index_catalog.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <tuple>
#include <utility>

#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {
namespace {

constexpr std::size_t kSegmentDigits = 24;
constexpr std::size_t kIdDigits = 16;

bool IsLowerHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsSegment(std::string_view text) {
  return text.size() == kSegmentDigits && ParseWalFileName(text).has_value();
}

template <typename Number>
std::optional<Number> ParseDecimal(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number)
                                                                  : std::nullopt;
}

// Takes the text up to `separator` from the front.
std::string_view TakePart(std::string_view& text, char separator) {
  const std::size_t at = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

// A name that is before those of all objects that may hold a segment behind `from`. An object
// begins less than 64 segments before it. How many segments have the same second eight digits
// depends on their size: 4 of 1 GiB.
std::string BeforeObjectsFrom(const std::string& prefix, const std::string& from) {
  constexpr std::uint32_t kFewest = 4;
  constexpr std::uint32_t kBack = kIndexMostSegments / kFewest + 1;
  std::uint32_t log = 0;
  std::from_chars(from.data() + 8, from.data() + 16, log, 16);
  return fmt::format("{}{}{:08X}", prefix, from.substr(0, 8), log - std::min(log, kBack));
}

}  // namespace

std::optional<IndexName> ParseIndexName(std::string_view name) {
  if (!name.starts_with(kIndexPrefix)) {
    return std::nullopt;
  }
  std::string_view rest = name.substr(kIndexPrefix.size());
  const auto system = ParseDecimal<std::uint64_t>(TakePart(rest, '/'));
  TakePart(rest, '/');
  const std::string_view first = TakePart(rest, '-');
  const std::string_view last = TakePart(rest, '-');
  const auto version = ParseDecimal<std::uint32_t>(TakePart(rest, '-'));
  if (!system || !version || !IsSegment(first) || !IsSegment(last) || rest.size() != kIdDigits ||
      !IsLowerHex(rest) || first.substr(0, 8) != last.substr(0, 8) || last < first ||
      IndexObjectName(*system, first, last, *version, rest) != name) {
    return std::nullopt;
  }
  IndexName parsed{.name = std::string(name),
                   .system_identifier = *system,
                   .first = std::string(first),
                   .last = std::string(last),
                   .reader_version = *version};
  std::from_chars(first.data(), first.data() + 8, parsed.timeline, 16);
  return parsed;
}

Result<std::vector<IndexName>> ListIndexes(const Repository& repository,
                                           std::uint64_t system_identifier,
                                           std::optional<TimelineId> timeline,
                                           const std::string& from) {
  const std::string prefix = timeline ? IndexTimelinePrefix(system_identifier, *timeline)
                                      : IndexSystemPrefix(system_identifier);
  const bool has_from = IsSegment(from);
  const std::string after = has_from && timeline ? BeforeObjectsFrom(prefix, from) : "";
  std::vector<IndexName> indexes;
  RETURN_IF_ERROR(repository.store().List(prefix, after, [&](const ObjectInfo& object) -> Status {
    std::optional<IndexName> index = ParseIndexName(object.name);
    if (!index || (has_from && index->last.substr(8) < from.substr(8))) {
      return Ok();
    }
    if (indexes.size() == limits::kIndexObjects) {
      return TooManyObjects(repository.store(), prefix, limits::kIndexObjects)
          .WithHint(
              "They are of no use then, and WAL itself is read. veza_backup writes one for ten "
              "minutes or 64 segments. An expiry removes those of WAL that no backup needs. All "
              "others can be removed, too: \"vezactl index\" makes anew what is needed.");
    }
    indexes.push_back(std::move(*index));
    return Ok();
  }));
  return indexes;
}

bool IsOfTheObject(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kDataCorrupted ||
         error.code == ErrorCode::kUnsupported || error.code == ErrorCode::kWrongKey ||
         error.code == ErrorCode::kPermissionDenied || error.code == ErrorCode::kIo ||
         error.code == ErrorCode::kFailedPrecondition;
}

IndexCover CoverSegments(std::span<const IndexName> indexes, SegmentNumber first,
                         SegmentNumber last, std::uint64_t segment_size) {
  struct Edge {
    SegmentNumber at;
    bool begins;
    std::size_t index;
  };
  std::vector<Edge> edges;
  std::vector<SegmentNumber> lengths(indexes.size());
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const SegmentNumber begin = SegmentNumberOf(indexes[i].first, segment_size);
    const SegmentNumber end = SegmentNumberOf(indexes[i].last, segment_size);
    // An object of more segments than one can have holds nothing, and would hide good ones.
    if (indexes[i].reader_version > kWalIndexVersion || end < first || begin > last ||
        end - begin >= kIndexMostSegments) {
      continue;
    }
    lengths[i] = end - begin;
    edges.push_back({std::max(begin, first), true, i});
    edges.push_back({end + 1, false, i});
  }
  std::ranges::sort(edges, {}, &Edge::at);

  const auto better = [&](std::size_t a, std::size_t b) {
    return std::tuple(indexes[a].reader_version, lengths[a], indexes[a].name, a) >
           std::tuple(indexes[b].reader_version, lengths[b], indexes[b].name, b);
  };
  std::set<std::size_t, decltype(better)> open(better);
  IndexCover cover;
  std::optional<std::size_t> chosen;
  std::size_t edge = 0;
  for (SegmentNumber at = first; at <= last;) {
    for (; edge < edges.size() && edges[edge].at <= at; ++edge) {
      if (edges[edge].begins) {
        open.insert(edges[edge].index);
      } else {
        open.erase(edges[edge].index);
      }
    }
    const SegmentNumber until = edge < edges.size() ? std::min(edges[edge].at - 1, last) : last;
    if (open.empty()) {
      chosen.reset();
      cover.missing.emplace_back(at, until);
    } else if (chosen == *open.begin()) {
      cover.parts.back().last = until;
    } else {
      chosen = *open.begin();
      cover.parts.push_back({indexes[*chosen], at, until});
    }
    at = until + 1;
  }
  return cover;
}

}  // namespace veza
