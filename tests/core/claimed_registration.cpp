// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

#include <registry/core/claim_state.hpp>
#include <registry/core/claimed_registration.hpp>

#include "core/common.hpp"
#include "core/times.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

/// Keys 1 and 3 are held, and 1 to 4 registered.
struct Registering {
  ClaimState<Number> claim{1, granted(), start};
  std::vector<PlainEntry> entries{{1, 10}, {2, 20}, {3, 30}, {4, 40}};
  ClaimedRegistration<PlainEntry> registration{claim, entries};

  static ClaimAnswer<Number> granted() {
    ClaimAnswer<Number> answer;
    answer.result.can_offload = {1, 3};
    answer.incarnation = 7;
    answer.ttl = 30s;
    return answer;
  }

  void have_back(const std::vector<RenewStatus>& statuses) {
    claim.renewed(Numbers{1, 3}, {statuses, 8, 30s}, start + 1s, start + 1s);
  }
};

}  // namespace

TEST_CASE("what is refused and not held is refused rightly, and so is what is not refused for its holder") {
  const Registering it;
  CHECK_FALSE(it.registration.is_refused_though_held(RegisterStatuses{stored, lease_conflict, stored, lease_conflict}));
  CHECK_FALSE(it.registration.is_refused_though_held(
      RegisterStatuses{limit_exceeded, lease_conflict, RegisterStatus::superseded, lease_conflict}));
  CHECK(
      it.registration.is_refused_though_held(RegisterStatuses{stored, lease_conflict, lease_conflict, lease_conflict}));
}

TEST_CASE("nothing is registered once more at the hub that has granted it") {
  Registering it;
  it.claim.renewed(Numbers{1, 3}, {{RenewStatus::held, RenewStatus::held}, 7, 30s}, start + 1s, start + 1s);
  CHECK_FALSE(it.registration.is_had_back());
  CHECK(it.registration.to_be_repeated(RegisterStatuses(4, lease_conflict)).empty());
}

TEST_CASE("what was had back of another hub is registered once more, and its outcomes take their places") {
  Registering it;
  RegisterStatuses outcomes{lease_conflict, lease_conflict, lease_conflict, stored};
  it.have_back({RenewStatus::held, RenewStatus::held});
  CHECK(it.registration.is_had_back());
  CHECK(it.registration.to_be_repeated(outcomes) == std::vector<PlainEntry>{{1, 10}, {3, 30}});
  it.registration.correct(outcomes, RegisterStatuses{stored, limit_exceeded});
  CHECK(outcomes == RegisterStatuses{stored, lease_conflict, limit_exceeded, stored});
}

TEST_CASE("what could not be had back is not registered once more") {
  Registering it;
  it.have_back({RenewStatus::lost, RenewStatus::held});
  CHECK(it.registration.to_be_repeated(RegisterStatuses(4, lease_conflict)) == std::vector<PlainEntry>{{3, 30}});
}
