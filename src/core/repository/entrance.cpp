#include "core/repository/entrance.h"

#include <algorithm>
#include <utility>

#include "core/codec/key.h"
#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// Behind every object name with that prefix, which ends with '/'.
std::string BehindAll(std::string_view prefix) {
  return std::string(prefix) + "~";
}

// The first object that only a repository has which has been used. Empty: there is none. Asks for a
// page of names or two, whatever lies there.
Result<std::string> FirstUse(Store& store) {
  std::string start_after;
  for (;;) {
    std::string first;
    const Status listed = store.List("", start_after, [&](const ObjectInfo& object) -> Status {
      first = object.name;
      return MakeError(ErrorCode::kAlreadyExists, "one object is enough");
    });
    if (first.empty()) {
      RETURN_IF_ERROR(listed);
      return first;
    }
    if (first.starts_with(kKeyPrefix)) {
      start_after = BehindAll(kKeyPrefix);
    } else if (first.starts_with(kProbePrefix)) {
      start_after = BehindAll(kProbePrefix);
    } else {
      return first;
    }
  }
}

Result<bool> HoldsKeyWraps(Store& store) {
  bool holds = false;
  const Status listed = store.List(kKeyPrefix, "", [&](const ObjectInfo&) -> Status {
    holds = true;
    return MakeError(ErrorCode::kAlreadyExists, "one object is enough");
  });
  if (!holds) {
    RETURN_IF_ERROR(listed);
  }
  return holds;
}

constexpr const char* kHowToPutBack =
    "Something has deleted objects in it: a lifecycle rule or a clean-up script, for example; stop "
    "that first. A server that had it open puts them back by itself within minutes. Otherwise run "
    "\"vezactl key restore\".";

Error LostIdentity(const Store& store, const std::string& first, bool lacks_key) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "repository \"{}\" has lost its identity{}: it holds object \"{}\", but nothing "
                   "below {}",
                   store.location(), lacks_key ? " and its key" : "", first,
                   lacks_key ? "\"identity/\" and \"key/\"" : "\"identity/\"")
      .WithHint(kHowToPutBack);
}

Error OtherKey(const Store& store, const Identity& identity, const EntranceCopy& held) {
  const auto name = [](const std::string& key_id) {
    return key_id.empty() ? std::string("no key") : fmt::format("key \"{}\"", key_id);
  };
  return MakeError(ErrorCode::kConflict,
                   "identity {} of repository \"{}\" names {}, but this server has opened it with "
                   "{}",
                   identity.system_identifier, store.location(), name(identity.key_id),
                   name(held.key_id))
      .WithHint(
          "Another server has made a new key there. What this server has stored cannot be read "
          "with it. Do not restart this server; find out which of the two keys older backups need, "
          "and see the chapter on a lost key in README.md.");
}

Error Ambiguous(const Store& store, const std::string& wrap) {
  return MakeError(
             ErrorCode::kConflict,
             "repository \"{}\" has lost its identity, and holds object \"{}\" of another key "
             "than this server has opened it with",
             store.location(), wrap)
      .WithHint(
          "Nothing is put back, because the other key may be the newer one. Run \"vezactl key "
          "restore\", or SELECT veza_backup_init() on the primary.");
}

// Whether this text is a key wrap that somebody may still open, if not we.
bool IsForAnotherPassphrase(const Result<DataKey>& key) {
  return !key && key.error().code != ErrorCode::kDataCorrupted;
}

// The names of what is missing; they are in the store when it returns.
class PutBack {
 public:
  PutBack(Store& store, const RepositoryOptions& options, const Environment& environment,
          const EntranceCopy& held)
      : store_(store), options_(options), environment_(environment), held_(held) {}

  Result<std::vector<std::string>> Run(std::uint64_t system_identifier) {
    ASSIGN_OR_RETURN(const std::vector<NamedText> objects, ReadIdentityObjects(store_));
    ASSIGN_OR_RETURN(const std::vector<Identity> identities, ParseUnverifiedIdentities(objects));
    bool is_there = false;
    for (const Identity& identity : identities) {
      if (identity.key_id != held_.key_id) {
        return OtherKey(store_, identity, held_);
      }
      is_there = is_there || identity.system_identifier == system_identifier;
    }
    if (identities.empty()) {
      RETURN_IF_ERROR(RefuseBesideOtherKey());
      // An empty place may be another one than we know.
      ASSIGN_OR_RETURN(const std::string first, FirstUse(store_));
      if (first.empty()) {
        return EmptiedRepository(store_);
      }
    }
    // FORMAT.md section 7: the wrap before the identity.
    ASSIGN_OR_RETURN(const bool lacks_wraps, LacksWraps());
    for (const NamedText& wrap : lacks_wraps ? held_.key_wraps : std::vector<NamedText>()) {
      ASSIGN_OR_RETURN(std::string name,
                       PutKeyWrap(store_, held_.key_id, wrap, *environment_.random));
      written_.push_back(std::move(name));
    }
    if (!is_there) {
      RETURN_IF_ERROR(WriteIdentities());
    }
    return written_;
  }

 private:
  // A wrap of another key may be what is left of a repository that was made anew since: then our
  // identity would make what is in it unreadable.
  Status RefuseBesideOtherKey() {
    std::string other;
    RETURN_IF_ERROR(store_.List(kKeyPrefix, "", [&](const ObjectInfo& object) {
      if (held_.key_id.empty() || !object.name.starts_with(KeyWrapName(held_.key_id, ""))) {
        other = object.name;
      }
      return Ok();
    }));
    return other.empty() ? Ok() : Ambiguous(store_, other);
  }

  Result<bool> LacksWraps() {
    if (held_.key_id.empty()) {
      return false;
    }
    // At most one takes the time of scrypt: the others are no wraps.
    ASSIGN_OR_RETURN(const std::vector<ObjectInfo> wraps,
                     ListAtMost(store_, KeyWrapName(held_.key_id, ""), limits::kKeyWraps));
    for (const ObjectInfo& wrap : wraps) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      const Result<Bytes> text = GetListed(store_, wrap, limits::kKeyWrap);
      if (!text && !IsNoWrap(text.error())) {
        return text.error();
      }
      if (!text) {
        continue;
      }
      const Result<DataKey> key = UnwrapKey(AsText(*text), options_.passphrase.text());
      if (key || IsForAnotherPassphrase(key)) {
        return false;
      }
    }
    return true;
  }

  Status WriteIdentities() {
    for (const NamedText& object : held_.identities) {
      const Status put = PutSmall(store_, object.name, AsBytes(object.text), PutMode::kCreate);
      if (!put && put.error().code == ErrorCode::kAlreadyExists) {
        continue;  // that of another system, or another node was quicker
      }
      RETURN_IF_ERROR(put);
      written_.push_back(object.name);
    }
    return Ok();
  }

  Store& store_;
  const RepositoryOptions& options_;
  const Environment& environment_;
  const EntranceCopy& held_;
  std::vector<std::string> written_;
};

Result<EntranceCopy> OpenEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                  const RepositoryOptions& options, const Environment& environment,
                                  std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   Repository::Open(store, options, environment));
  RETURN_IF_ERROR(repository->RequireSystem(system_identifier));
  return CopyEntrance(*repository, service);
}

// The errors of which a part of the entrance that is missing may be the cause.
bool MayBeLost(ErrorCode code) {
  return code == ErrorCode::kDataCorrupted || code == ErrorCode::kFailedPrecondition ||
         code == ErrorCode::kConflict;
}

}  // namespace

Result<std::vector<NamedText>> ReadIdentities(Store& store, bool encrypted) {
  ASSIGN_OR_RETURN(std::vector<NamedText> identities, ReadIdentityObjects(store));
  if (!identities.empty()) {
    return identities;
  }
  ASSIGN_OR_RETURN(const std::string first, FirstUse(store));
  if (first.empty()) {
    return identities;
  }
  // Between the two looks somebody may have made the repository and begun to use it.
  ASSIGN_OR_RETURN(identities, ReadIdentityObjects(store));
  if (!identities.empty()) {
    return identities;
  }
  ASSIGN_OR_RETURN(const bool has_wraps, HoldsKeyWraps(store));
  return LostIdentity(store, first, encrypted && !has_wraps);
}

bool IsNoWrap(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kDataCorrupted;
}

Error LostKey(const Store& store, const std::string& key_id) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "repository \"{}\" has lost its key: there is no object \"{}\"",
                   store.location(), KeyWrapName(key_id, "*"))
      .WithHint(kHowToPutBack);
}

Error EmptiedRepository(const Store& store) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" is empty, but this server has archived to it before",
                   store.location())
      .WithHint(
          "Something has deleted all of it, or this is another place: a file system that is not "
          "mounted, or the credentials of another account. If it is meant, run SELECT "
          "veza_backup_init() and take a full backup.");
}

Result<std::string> PutKeyWrap(Store& store, const std::string& key_id, const NamedText& wrap,
                               Random& random) {
  std::string name = wrap.name;
  if (name.starts_with(KeyWrapName(key_id, ""))) {
    const Status put = PutSmall(store, name, AsBytes(wrap.text), PutMode::kCreate);
    if (put) {
      return name;
    }
    if (put.error().code != ErrorCode::kAlreadyExists) {
      return put.error();
    }
    const Result<Bytes> there = GetSmall(store, name, limits::kKeyWrap);
    // One that is too large is another.
    if (!there && there.error().code != ErrorCode::kDataCorrupted) {
      return there.error();
    }
    if (there && AsText(*there) == wrap.text) {
      return name;
    }
  }
  std::array<std::uint8_t, 8> wrap_id;
  random.Fill(wrap_id);
  name = KeyWrapName(key_id, ToHex(wrap_id));
  RETURN_IF_ERROR(PutSmall(store, name, AsBytes(wrap.text), PutMode::kCreate));
  return name;
}

EntranceCopy CopyEntrance(const Repository& repository, const std::string& service) {
  return {.location = repository.store().location(),
          .service = service,
          .identities = repository.identity_objects(),
          .key_wraps = repository.key_wraps(),
          .key_id = repository.identities().front().key_id};
}

Result<EntranceLook> KeepEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                  const RepositoryOptions& options, const Environment& environment,
                                  std::uint64_t system_identifier,
                                  const std::optional<EntranceCopy>& held) {
  Result<EntranceCopy> copy = OpenEntrance(store, service, options, environment, system_identifier);
  const bool knows_it = held && held->location == store->location() && held->service == service;
  if (copy && (!knows_it || copy->key_id == held->key_id)) {
    return EntranceLook{std::move(*copy), {}};
  }
  if (!knows_it || (!copy && !MayBeLost(copy.error().code))) {
    return copy.error();
  }
  EntranceLook look;
  ASSIGN_OR_RETURN(look.put_back,
                   PutBack(*store, options, environment, *held).Run(system_identifier));
  ASSIGN_OR_RETURN(look.copy,
                   OpenEntrance(store, service, options, environment, system_identifier));
  return look;
}

Status RequireKeyInPlace(const Repository& repository, std::uint64_t system_identifier) {
  const std::string name = IdentityName(system_identifier);
  const Result<Bytes> text = GetSmall(repository.store(), name, limits::kIdentity);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    return Ok();
  }
  RETURN_IF_ERROR(text);
  ASSIGN_OR_RETURN(const std::vector<Identity> now,
                   ParseUnverifiedIdentities({{name, std::string(AsText(*text))}}));
  const std::string& ours = repository.identities().front().key_id;
  if (now.front().key_id == ours) {
    return Ok();
  }
  return MakeError(ErrorCode::kWrongKey,
                   "repository \"{}\" has key \"{}\" now, and was opened with key \"{}\"",
                   repository.store().location(), now.front().key_id, ours)
      .WithHint("The server opens it again, and goes on if the new key is meant.");
}

}  // namespace veza
