// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

#include <registry/core/claim_state.hpp>
#include <registry/core/claimed_registration.hpp>

using namespace registry;
using namespace std::chrono_literals;

namespace {

using Block = Entry<std::uint64_t, std::uint64_t, NoMetadata>;
using Keys = std::vector<std::uint64_t>;
using Statuses = std::vector<RegisterStatus>;

constexpr SteadyTime start{1000s};
constexpr auto stored = RegisterStatus::stored;
constexpr auto conflict = RegisterStatus::lease_conflict;

/// Keys 1 and 3 are held, and 1 to 4 registered.
struct Registering {
  ClaimState<std::uint64_t> claim{1, granted(), start};
  std::vector<Block> entries{{1, 10}, {2, 20}, {3, 30}, {4, 40}};
  ClaimedRegistration<Block> registration{claim, entries};

  static ClaimAnswer<std::uint64_t> granted() {
    ClaimAnswer<std::uint64_t> answer;
    answer.result.can_offload = {1, 3};
    answer.incarnation = 7;
    answer.ttl = 30s;
    return answer;
  }

  void have_back(const std::vector<RenewStatus>& statuses) {
    claim.renewed(Keys{1, 3}, {statuses, 8, 30s}, start + 1s, start + 1s);
  }
};

}  // namespace

TEST_CASE("what is refused and not held is refused rightly, and so is what is not refused for its holder") {
  const Registering it;
  CHECK_FALSE(it.registration.is_refused_though_held(Statuses{stored, conflict, stored, conflict}));
  CHECK_FALSE(it.registration.is_refused_though_held(
      Statuses{RegisterStatus::limit_exceeded, conflict, RegisterStatus::superseded, conflict}));
  CHECK(it.registration.is_refused_though_held(Statuses{stored, conflict, conflict, conflict}));
}

TEST_CASE("nothing is registered once more at the hub that has granted it") {
  Registering it;
  it.claim.renewed(Keys{1, 3}, {{RenewStatus::held, RenewStatus::held}, 7, 30s}, start + 1s, start + 1s);
  CHECK_FALSE(it.registration.is_had_back());
  CHECK(it.registration.to_be_repeated(Statuses{conflict, conflict, conflict, conflict}).empty());
}

TEST_CASE("what was had back of another hub is registered once more, and its outcomes take their places") {
  Registering it;
  Statuses outcomes{conflict, conflict, conflict, stored};
  it.have_back({RenewStatus::held, RenewStatus::held});
  CHECK(it.registration.is_had_back());
  CHECK(it.registration.to_be_repeated(outcomes) == std::vector<Block>{{1, 10}, {3, 30}});
  it.registration.correct(outcomes, Statuses{stored, RegisterStatus::limit_exceeded});
  CHECK(outcomes == Statuses{stored, conflict, RegisterStatus::limit_exceeded, stored});
}

TEST_CASE("what could not be had back is not registered once more") {
  Registering it;
  it.have_back({RenewStatus::lost, RenewStatus::held});
  CHECK(it.registration.to_be_repeated(Statuses{conflict, conflict, conflict, conflict}) ==
        std::vector<Block>{{3, 30}});
}
