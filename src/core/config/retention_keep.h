// The setting `retention_keep`: one backup of each of the newest days, weeks, months or years, for
// example "7 daily, 5 weekly, 12 monthly".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

// The greatest number that a setting of retention can have.
inline constexpr int kMaxRetention = 10'000;

enum class KeepPeriod { kDay, kWeek, kMonth, kYear };

struct KeepRule {
  int count = 0;  // 1 to kMaxRetention; periods without a backup do not count
  KeepPeriod period = KeepPeriod::kDay;

  bool operator==(const KeepRule&) const = default;
};

// Each period appears once at most. Empty text is no rule. kInvalidArgument with a reason, without
// the name of the setting, and a hint.
Result<std::vector<KeepRule>> ParseRetentionKeep(std::string_view text);

// "12 monthly", and "7 daily, 12 monthly"
std::string ToText(const KeepRule& rule);
std::string ToText(const std::vector<KeepRule>& rules);

// The period that the time is in, by UTC: "2026-11-30", "week of 2026-11-30" (weeks begin on
// Monday), "2026-11", "2026". The order of the names of one kind is that of the periods.
std::string NamePeriod(KeepPeriod period, TimePoint time);

// Adds to `rules` what keeps all that `others` keep: of each period the greater number counts.
void AddRules(std::vector<KeepRule>& rules, const std::vector<KeepRule>& others);

}  // namespace veza
