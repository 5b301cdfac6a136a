// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace registry {

using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

/// Longer than this nobody waits, and added to a time it might overflow.
inline constexpr std::chrono::nanoseconds longest_wait = std::chrono::years{1};

/// The two times that a hub core is told with every call: the lease clock, which never goes back, and the wall clock,
/// by which entries with a ttl end.
struct Instant {
  SteadyTime lease;
  WallTime wall;
};

/// The clock that leases run on. It follows the steady clock, but in one turn by no more than the hub meant to sleep
/// plus a tolerance: time in which the hub itself could not run is not held against its lease holders.
class LeaseClock {
 public:
  LeaseClock(SteadyTime start, std::chrono::nanoseconds tolerance) noexcept
      : seen_(start), now_(start), tolerance_(tolerance) {}

  /// `now` by the steady clock, after a turn that meant to sleep for at most `asked` (nothing: until something came,
  /// for there was nothing to wait for); answers the lease clock's time.
  SteadyTime advance(SteadyTime now, std::optional<std::chrono::nanoseconds> asked) noexcept {
    const auto elapsed = std::max(now - seen_, SteadyTime::duration::zero());
    now_ += asked ? std::min<SteadyTime::duration>(elapsed, *asked + tolerance_) : elapsed;
    seen_ = std::max(seen_, now);
    return now_;
  }

  SteadyTime now() const noexcept { return now_; }

 private:
  SteadyTime seen_;
  SteadyTime now_;
  std::chrono::nanoseconds tolerance_;
};

}  // namespace registry
