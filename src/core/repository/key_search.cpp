#include "core/repository/key_search.h"

#include <algorithm>
#include <utility>

#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/entrance.h"
#include "core/repository/names.h"

namespace veza {

Result<std::vector<std::string>> ListBackupLabels(Store& store) {
  ASSIGN_OR_RETURN(std::vector<std::string> labels, store.ListDirectories(kBackupPrefix));
  std::erase_if(labels, [](const std::string& label) { return !ParseLabel(label); });
  return labels;
}

Result<std::optional<std::string>> ReadBackupText(Store& store, const std::string& label) {
  const Result<Bytes> text = GetSmall(store, BackupDocumentName(label), limits::kBackupDocument);
  if (text) {
    return std::optional(std::string(AsText(*text)));
  }
  switch (text.error().code) {
    case ErrorCode::kNotFound:
      return std::optional<std::string>();
    case ErrorCode::kDataCorrupted:
      return std::optional<std::string>("");
    default:
      return text.error();
  }
}

namespace {

// A source of wraps. Each source has a limit of its own, so that junk in one does not hide the
// wraps of another.
struct WrapSource {
  std::vector<FoundWrap> wraps;
  std::size_t tried = 0;
  std::size_t passed_over = 0;  // not tried, because of a limit
};

class Searcher {
 public:
  Searcher(Store& store, const RepositoryOptions& options, const Environment& environment,
           const KeySearch& search)
      : store_(store), options_(options), environment_(environment), search_(search) {}

  // The wrap that the user has given comes first, and those in the store follow.
  Result<KeysOfWraps> Run() {
    WrapSource file;
    if (search_.wrap) {
      file.wraps.push_back({{"", *search_.wrap}, "the file"});
    }
    ASSIGN_OR_RETURN(WrapSource in_place, WrapsInPlace());
    ASSIGN_OR_RETURN(WrapSource backups, WrapsOfBackups());
    for (WrapSource* const source : {&file, &in_place, &backups}) {
      RETURN_IF_ERROR(TryWraps(*source));
      opened_.passed_over += source->passed_over;
    }
    return std::move(opened_);
  }

 private:
  Result<WrapSource> WrapsInPlace() {
    WrapSource source;
    for (const std::string& key_id : search_.preferred) {
      // These come first, so that others cannot hide them.
      RETURN_IF_ERROR(
          ReadWraps(KeyWrapName(key_id, ""), limits::kKeyWraps / kPreferredKeys, source));
    }
    RETURN_IF_ERROR(ReadWraps(kKeyPrefix, limits::kKeyWraps, source));
    return source;
  }

  Status ReadWraps(std::string_view prefix, std::size_t most, WrapSource& source) {
    ASSIGN_OR_RETURN(FirstObjects first, ListOldestWraps(store_, std::string(prefix)));
    if (first.objects.size() > most) {
      first.objects.resize(most);
      first.more = true;
    }
    source.passed_over += first.more ? 1 : 0;
    for (const ObjectInfo& object : first.objects) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      const bool is_known = std::ranges::any_of(
          source.wraps, [&](const FoundWrap& found) { return found.wrap.name == object.name; });
      if (is_known) {
        continue;
      }
      ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(store_, object));
      if (text) {
        source.wraps.push_back(
            {{object.name, std::string(AsText(*text))}, fmt::format("object \"{}\"", object.name)});
      }
    }
    return Ok();
  }

  Result<WrapSource> WrapsOfBackups() {
    WrapSource source;
    std::set<std::string> known;
    for (auto label = search_.labels.rbegin(); label != search_.labels.rend(); ++label) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadBackupText(store_, *label));
      std::vector<NamedText> wraps = UnverifiedKeyWraps(text.value_or(""));
      std::stable_partition(wraps.begin(), wraps.end(),
                            [&](const auto& wrap) { return IsPreferred(wrap); });
      if (wraps.size() > limits::kKeyWrapsOfABackup) {
        source.passed_over += wraps.size() - limits::kKeyWrapsOfABackup;
        wraps.resize(limits::kKeyWrapsOfABackup);
      }
      for (NamedText& wrap : wraps) {
        // Usually all backups of a repository hold the same copy.
        if (known.contains(wrap.text)) {
          continue;
        }
        if (known.size() == limits::kKeyWraps) {
          ++source.passed_over;
          continue;
        }
        known.insert(wrap.text);
        source.wraps.push_back({std::move(wrap), fmt::format("the copy in backup \"{}\"", *label)});
      }
    }
    return source;
  }

  bool IsPreferred(const NamedText& wrap) const {
    return std::ranges::any_of(search_.preferred, [&](const std::string& key_id) {
      return wrap.name.starts_with(KeyWrapName(key_id, ""));
    });
  }

  Status TryWraps(WrapSource& source) {
    std::stable_partition(source.wraps.begin(), source.wraps.end(),
                          [&](const FoundWrap& found) { return IsPreferred(found.wrap); });
    for (FoundWrap& wrap : source.wraps) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      if (tried_.contains(wrap.wrap.text)) {
        continue;
      }
      if (source.tried == limits::kKeyWrapsTried) {
        ++source.passed_over;
        continue;
      }
      const Result<DataKey> key = UnwrapKey(wrap.wrap.text, options_.passphrase.text());
      source.tried += key || key.error().code == ErrorCode::kWrongKey ? 1 : 0;
      tried_.insert(wrap.wrap.text);
      if (key) {
        opened_.keys.emplace(key->hex_id(),
                             KeyOfWrap{std::make_shared<const DataKey>(*key), std::move(wrap)});
      }
    }
    return Ok();
  }

  Store& store_;
  const RepositoryOptions& options_;
  const Environment& environment_;
  const KeySearch& search_;
  std::set<std::string> tried_;  // the texts of tried wraps
  KeysOfWraps opened_;
};

}  // namespace

Result<KeysOfWraps> SearchKeys(Store& store, const RepositoryOptions& options,
                               const Environment& environment, const KeySearch& search) {
  return Searcher(store, options, environment, search).Run();
}

}  // namespace veza
