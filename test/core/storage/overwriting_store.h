// A store without conditional writes: the last of two writes to a name wins.
#pragma once

#include "core/storage/forwarding_store.h"

namespace veza {

class OverwritingStore : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  Status Put(std::string_view name, Body& body, PutMode) override {
    return inner().Put(name, body, PutMode::kReplace);
  }
};

}  // namespace veza
