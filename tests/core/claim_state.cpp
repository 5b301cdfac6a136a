// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include <registry/core/claim_state.hpp>

#include "core/times.hpp"

using namespace registry;
using namespace std::chrono_literals;
using registry::test::start;

namespace {

using Keys = std::vector<std::uint64_t>;

constexpr std::uint64_t old_hub = 7;
constexpr std::uint64_t new_hub = 8;

ClaimState<std::uint64_t> claim_of(const Keys& keys) {
  ClaimAnswer<std::uint64_t> answer;
  answer.result.can_offload = keys;
  answer.incarnation = old_hub;
  answer.ttl = 30s;
  return {1, answer, start};
}

RenewAnswer all_held_by(std::uint64_t hub) { return {{RenewStatus::held, RenewStatus::held}, hub, 30s}; }

}  // namespace

TEST_CASE("what a new hub gives back counts while the time runs that the old one gave") {
  auto claim = claim_of({1, 2});
  CHECK(claim.renewed(Keys{1, 2}, all_held_by(new_hub), start + 29s, start + 30s - 1ns).empty());
  CHECK((claim.holds(1) && claim.holds(2)));
  CHECK(claim.deadline() == start + 59s);
  CHECK(claim.incarnation() == new_hub);
}

TEST_CASE("what a new hub gives back afterwards is lost, for the old one may have granted it to somebody else") {
  auto claim = claim_of({1, 2});
  CHECK(claim.renewed(Keys{1, 2}, all_held_by(new_hub), start + 29s, start + 30s) == Keys{1, 2});
  CHECK(claim.held().empty());
  CHECK(claim.lost() == Keys{1, 2});
}

TEST_CASE("the hub that granted it may say later that it is still held") {
  auto claim = claim_of({1, 2});
  CHECK(claim.renewed(Keys{1, 2}, all_held_by(old_hub), start + 29s, start + 31s).empty());
  CHECK((claim.holds(1) && claim.holds(2)));
  CHECK(claim.deadline() == start + 59s);
}

TEST_CASE("what is said to be stored, and then confirmed to the claim, is not lost") {
  auto claim = claim_of({1, 2});
  const RenewAnswer answer{{RenewStatus::stored, RenewStatus::stored}, old_hub, 30s};
  CHECK(claim.renewed(Keys{1, 2}, answer, start + 1s, start + 2s) == Keys{1, 2});
  CHECK(claim.stored_meanwhile() == Keys{1, 2});
  // It was said while these were on their way.
  claim.registered(Keys{1, 2}, std::array{RegisterStatus::stored, RegisterStatus::superseded});
  CHECK(claim.lost() == Keys{2});
  CHECK(claim.stored_meanwhile() == Keys{2});
}

TEST_CASE("a registration that finds another value says that the key is stored") {
  auto claim = claim_of({1, 2});
  claim.registered(Keys{1, 2}, std::array{RegisterStatus::superseded, RegisterStatus::lease_conflict});
  CHECK(claim.lost() == Keys{1, 2});
  CHECK(claim.stored_meanwhile() == Keys{1});
}
