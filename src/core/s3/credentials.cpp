#include "core/s3/credentials.h"

#include <utility>

namespace veza {

namespace {

class FixedCredentials final : public CredentialProvider {
 public:
  FixedCredentials(std::string description, S3Credentials credentials)
      : description_(std::move(description)),
        credentials_(std::make_shared<const S3Credentials>(std::move(credentials))) {}

  const std::string& description() const override { return description_; }
  Result<S3CredentialsPtr> Get(const Environment&) override { return credentials_; }
  Result<S3CredentialsPtr> Replace(const S3Credentials&, const Environment&) override {
    return S3CredentialsPtr();
  }
  bool may_change() const override { return false; }

 private:
  const std::string description_;
  const S3CredentialsPtr credentials_;
};

}  // namespace

bool SameKeys(const S3Credentials& a, const S3Credentials& b) {
  return a.keys.access_key == b.keys.access_key && a.keys.secret_key == b.keys.secret_key.text() &&
         a.session_token == b.session_token.text();
}

std::shared_ptr<CredentialProvider> MakeFixedCredentials(std::string description,
                                                         S3Credentials credentials) {
  return std::make_shared<FixedCredentials>(std::move(description), std::move(credentials));
}

}  // namespace veza
