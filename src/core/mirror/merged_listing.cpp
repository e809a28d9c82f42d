#include "core/mirror/merged_listing.h"

#include <deque>
#include <utility>

namespace veza {

namespace {

// As many names as S3 lists with one request.
constexpr std::size_t kPage = 1000;

// A listing whose names are taken one by one.
class Pages {
 public:
  Pages(Store& store, std::string_view prefix) : store_(store), prefix_(prefix) {}

  // The next object; stays the same until Pop(). Null at the end.
  Result<const ObjectInfo*> Front() {
    if (page_.empty() && !ended_) {
      RETURN_IF_ERROR(Fetch());
    }
    return page_.empty() ? nullptr : &page_.front();
  }
  ObjectInfo Pop() {
    ObjectInfo object = std::move(page_.front());
    page_.pop_front();
    return object;
  }

 private:
  Status Fetch() {
    bool is_full = false;
    const Status listed = store_.List(prefix_, last_, [&](const ObjectInfo& object) -> Status {
      page_.push_back(object);
      is_full = page_.size() == kPage;
      return is_full ? Status(MakeError(ErrorCode::kCancelled, "the page is full")) : Ok();
    });
    if (!is_full) {
      RETURN_IF_ERROR(listed);
      ended_ = true;
      return Ok();
    }
    last_ = page_.back().name;
    return Ok();
  }

  Store& store_;
  const std::string prefix_;
  std::string last_;
  std::deque<ObjectInfo> page_;
  bool ended_ = false;
};

}  // namespace

Status ListMerged(Store& first, Store& second, std::string_view prefix,
                  const std::function<Status(const MergedObject&)>& each) {
  Pages others(second, prefix);
  // Hands out what only the second store has, up to `name` (empty: to the end), and returns what it
  // has of that name.
  const auto advance = [&](std::string_view name) -> Result<std::optional<ObjectInfo>> {
    for (;;) {
      ASSIGN_OR_RETURN(const ObjectInfo* const other, others.Front());
      if (other == nullptr || (!name.empty() && other->name > name)) {
        return std::optional<ObjectInfo>();
      }
      ObjectInfo object = others.Pop();
      if (object.name == name) {
        return std::optional(std::move(object));
      }
      const std::string own = object.name;
      RETURN_IF_ERROR(each({own, std::nullopt, std::move(object)}));
    }
  };
  RETURN_IF_ERROR(first.List(prefix, "", [&](const ObjectInfo& object) -> Status {
    ASSIGN_OR_RETURN(std::optional<ObjectInfo> other, advance(object.name));
    return each({object.name, object, std::move(other)});
  }));
  RETURN_IF_ERROR(advance(""));
  return Ok();
}

}  // namespace veza
