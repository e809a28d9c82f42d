#include "core/storage/retrying_store.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace veza {

namespace {

// The pauses of one call. Full jitter spreads the retries of many clients that failed together.
class Attempts {
 public:
  Attempts(const Environment& environment, const RetryPolicy& policy)
      : environment_(environment), policy_(policy), began_(environment.clock->Steady()) {}

  void Restart() {
    began_ = environment_.clock->Steady();
    made_ = 0;
    is_last_ = false;
  }

  // Returns the pause before the next attempt. Nothing when there is no further attempt and `error`
  // is the result.
  std::optional<std::chrono::milliseconds> NextPause(const Error& error) {
    if (!error.retryable || is_last_ || ++made_ >= policy_.max_attempts) {
      return std::nullopt;
    }
    const auto ceiling =
        std::min<std::int64_t>(policy_.longest_pause.count(),
                               policy_.first_pause.count() << std::min(made_ - 1, kMaxDoublings));
    auto pause = std::chrono::milliseconds(
        environment_.random->Below(static_cast<std::uint64_t>(std::max<std::int64_t>(ceiling, 1))));
    const std::chrono::milliseconds asked =
        std::min<std::chrono::milliseconds>(error.retry_after.value_or(pause), kLongestRetryAfter);
    const auto budget = policy_.patience != nullptr ? policy_.patience->load() : policy_.budget;
    const auto left = std::chrono::floor<std::chrono::milliseconds>(began_ + budget -
                                                                    environment_.clock->Steady()) -
                      std::chrono::milliseconds(1);
    if (std::max(pause, asked) <= left) {
      return std::max(pause, asked);
    }
    // The server has asked for more than there is. It gets what there is.
    is_last_ = asked > pause && left.count() > 0;
    return is_last_ ? std::optional(left) : std::nullopt;
  }

 private:
  static constexpr int kMaxDoublings = 20;
  const Environment& environment_;
  const RetryPolicy& policy_;
  SteadyTime began_;
  int made_ = 0;
  bool is_last_ = false;  // the attempt after this pause
};

class RetryingStore final : public Store {
 public:
  RetryingStore(std::unique_ptr<Store> inner, Environment environment, RetryPolicy policy,
                RetryObserver observer)
      : inner_(std::move(inner)),
        environment_(std::move(environment)),
        policy_(policy),
        observer_(std::move(observer)) {}

  const std::string& location() const override { return inner_->location(); }

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    bool outcome_unknown = false;
    Status status = Retry("PUT", name, [&]() -> Status {
      Status put = inner_->Put(name, body, mode);
      outcome_unknown = outcome_unknown || (!put && put.error().retryable);
      return put;
    });
    if (!status && status.error().code == ErrorCode::kAlreadyExists && outcome_unknown) {
      return RequireOwnWrite(name, body, status.error());
    }
    return status;
  }

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    std::uint64_t delivered = 0;
    bool sink_failed = false;
    const Sink counting = [&](ByteView piece) -> Status {
      Status taken = sink(piece);
      sink_failed = !taken;
      delivered += piece.size();
      return taken;
    };
    const auto attempt = [&]() -> Status {
      ByteRange rest{range.offset + delivered, range.length};
      if (range.length != ByteRange{}.length) {
        rest.length -= delivered;
      }
      if (delivered > 0 && rest.length == 0) {
        return Ok();
      }
      Status got = inner_->Get(name, rest, counting);
      if (!got && sink_failed) {
        got.error().retryable = false;  // the sink may have taken a part of the piece
      } else if (!got && delivered > 0 && got.error().code == ErrorCode::kInvalidArgument) {
        return RequireEnd(name, rest.offset, got.error());
      }
      return got;
    };
    return Retry("GET", name, attempt, &delivered);
  }

  Result<ObjectInfo> Head(std::string_view name) override {
    ObjectInfo info;
    RETURN_IF_ERROR(Retry("HEAD", name, [&]() -> Status {
      ASSIGN_OR_RETURN(info, inner_->Head(name));
      return Ok();
    }));
    return info;
  }

  Status Delete(std::string_view name) override {
    return Retry("DELETE", name, [&] { return inner_->Delete(name); });
  }

  // What an attempt has deleted is gone for the next one, which is no error.
  Status DeleteAll(std::span<const std::string> names) override {
    return names.empty() ? Ok()
                         : Retry("DELETE", names.front(), [&] { return inner_->DeleteAll(names); });
  }
  std::size_t NamesPerDelete() const override { return inner_->NamesPerDelete(); }

  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    std::string last(start_after);
    std::uint64_t visited_names = 0;
    bool visitor_failed = false;
    const auto attempt = [&]() -> Status {
      const std::string from = last;  // `last` changes while the inner store uses it
      Status listed = inner_->List(prefix, from, [&](const ObjectInfo& object) -> Status {
        Status visited = each(object);
        visitor_failed = !visited;
        last = object.name;
        ++visited_names;
        return visited;
      });
      if (!listed && visitor_failed) {
        listed.error().retryable = false;
      }
      return listed;
    };
    return Retry("LIST", prefix, attempt, &visited_names);
  }

  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    std::vector<std::string> names;
    RETURN_IF_ERROR(Retry("LIST", prefix, [&]() -> Status {
      ASSIGN_OR_RETURN(names, inner_->ListDirectories(prefix));
      return Ok();
    }));
    return names;
  }

  Result<TimePoint> Now() override {
    TimePoint now;
    RETURN_IF_ERROR(Retry("TIME", "", [&]() -> Status {
      ASSIGN_OR_RETURN(now, inner_->Now());
      return Ok();
    }));
    return now;
  }

  Status ListFragments(const ObjectVisitor& each) override { return inner_->ListFragments(each); }
  Status RemoveFragment(std::string_view name) override { return inner_->RemoveFragment(name); }

 private:
  // `delivered` counts what the attempts have delivered so far, for operations that deliver in
  // pieces.
  template <typename Attempt>
  Status Retry(std::string_view operation, std::string_view name, Attempt attempt,
               const std::uint64_t* delivered = nullptr) {
    Attempts attempts(environment_, policy_);
    for (std::uint64_t before = 0;;) {
      Status status = attempt();
      if (status) {
        return status;
      }
      if (delivered != nullptr && *delivered != before) {
        before = *delivered;
        attempts.Restart();
      }
      const auto pause = attempts.NextPause(status.error());
      if (!pause) {
        return status;
      }
      if (observer_) {
        observer_(operation, name, status.error());
      }
      if (!environment_.clock->Sleep(*pause, environment_.cancellation.get())) {
        return Cancelled();
      }
    }
  }

  // A connection may be lost after the last byte. Then there is nothing left to resume.
  Status RequireEnd(std::string_view name, std::uint64_t offset, const Error& outside) {
    ASSIGN_OR_RETURN(const ObjectInfo info, inner_->Head(name));
    if (info.size != offset) {
      return outside;
    }
    return Ok();
  }

  // An earlier attempt of ours, whose response was lost, may have written the object.
  Status RequireOwnWrite(std::string_view name, Body& body, const Error& taken) {
    RETURN_IF_ERROR(body.Rewind());
    std::uint64_t compared = 0;
    Bytes ours;
    RETURN_IF_ERROR(Get(name, {}, [&](ByteView theirs) -> Status {
      ours.resize(theirs.size());
      ASSIGN_OR_RETURN(const std::size_t filled, Fill(body, ours));
      if (filled != theirs.size() || !std::equal(theirs.begin(), theirs.end(), ours.begin())) {
        return taken;
      }
      compared += filled;
      return Ok();
    }));
    return compared == body.size() ? Ok() : Status(taken);
  }

  // Reads until `into` is full or the body ends.
  static Result<std::size_t> Fill(Body& body, MutableByteView into) {
    std::size_t filled = 0;
    while (filled < into.size()) {
      ASSIGN_OR_RETURN(const std::size_t count, body.Read(into.subspan(filled)));
      if (count == 0) {
        break;
      }
      filled += count;
    }
    return filled;
  }

  std::unique_ptr<Store> inner_;
  Environment environment_;
  RetryPolicy policy_;
  RetryObserver observer_;
};

}  // namespace

RetryPolicy RetryPolicy::WithBudget(std::chrono::milliseconds set) const {
  RetryPolicy policy = *this;
  if (set > budget) {
    policy.max_attempts = std::numeric_limits<int>::max();
  }
  policy.budget = set;
  return policy;
}

std::unique_ptr<Store> MakeRetryingStore(std::unique_ptr<Store> inner, Environment environment,
                                         RetryPolicy policy, RetryObserver observer) {
  return std::make_unique<RetryingStore>(std::move(inner), std::move(environment), policy,
                                         std::move(observer));
}

}  // namespace veza
