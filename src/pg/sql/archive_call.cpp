#include "pg/sql/archive_call.h"

namespace veza::pg {

Result<std::unique_ptr<Repository>> ArchiveCall::OpenOwn() {
  ASSIGN_OR_RETURN(std::unique_ptr<Repository> repository, Open());
  RETURN_IF_ERROR(repository->RequireSystem(facts_.system_identifier));
  return repository;
}

Result<Identity> ArchiveCall::OwnIdentity(const Repository& repository) {
  return repository.IdentityOf(facts_.system_identifier);
}

Result<ArchiveMap> ArchiveCall::ReadArchive(const Repository& repository) {
  ASSIGN_OR_RETURN(const Identity identity, OwnIdentity(repository));
  return ReadArchiveMap(repository, identity);
}

}  // namespace veza::pg
