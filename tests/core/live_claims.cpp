// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include <registry/core/live_claims.hpp>

#include "core/times.hpp"

using namespace registry;
using namespace std::chrono_literals;
using registry::test::start;

namespace {

using Keys = std::vector<std::uint64_t>;
using enum OffloadStatus;

struct Claims {
  LiveClaims<std::uint64_t> live;
  std::uint64_t last_claim = 0;

  /// What a hub answers that grants these, and says of others that they are leased, one between each two.
  auto granted(std::uint64_t hub, std::uint64_t token, const Keys& keys, const Keys& leased_between = {}) {
    ClaimAnswer<std::uint64_t> answer;
    answer.incarnation = hub;
    answer.token = token;
    answer.ttl = 30s;
    answer.result.can_offload = keys;
    answer.result.leased = leased_between;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      answer.result.statuses.push_back(OffloadStatus::granted);
      if (i < leased_between.size()) answer.result.statuses.push_back(leased);
    }
    return live.make(++last_claim, std::move(answer), start);
  }
};

}  // namespace

TEST_CASE("of two hubs' claims to a key the one with the earlier token loses it") {
  Claims claims;
  const auto first = claims.granted(1, 10, {1, 2});
  const auto second = claims.granted(2, 20, {2, 3});
  CHECK(first->held() == Keys{1});
  CHECK(first->lost() == Keys{2});
  CHECK((second->holds(2) && second->holds(3)));
}

TEST_CASE("an answer of the earlier hub that is read after one of the later does not get the key") {
  Claims claims;
  const auto second = claims.granted(2, 20, {2});
  const auto first = claims.granted(1, 10, {1, 2, 3}, {7, 8});
  CHECK(second->held() == Keys{2});
  CHECK(second->lost().empty());
  CHECK((first->holds(1) && first->holds(3) && !first->holds(2)));
  CHECK(first->result().can_offload == Keys{1, 3});
  CHECK(first->result().leased == Keys{7, 2, 8});
  CHECK(first->result().statuses == std::vector{granted, leased, leased, leased, granted});
}

TEST_CASE("a claim of the hub before the last one loses its key as well") {
  Claims claims;
  const auto of_first = claims.granted(1, 10, {1});
  const auto of_second = claims.granted(2, 20, {2});
  SECTION("at once") {
    const auto of_third = claims.granted(3, 30, {1, 2});
    CHECK(of_third->result().can_offload == Keys{1, 2});
  }
  SECTION("and when that hub has granted something else before") {
    const auto unrelated = claims.granted(3, 30, {9});
    const auto of_third = claims.granted(3, 31, {1, 2});
    CHECK(unrelated->held() == Keys{9});
    CHECK(of_third->result().can_offload == Keys{1, 2});
  }
  CHECK(of_first->lost() == Keys{1});
  CHECK(of_second->lost() == Keys{2});
}

TEST_CASE("what one hub grants it has not granted to another claim: nobody loses, whatever the tokens") {
  Claims claims;
  const auto first = claims.granted(1, 10, {1});
  const auto second = claims.granted(1, 10, {1});
  const auto third = claims.granted(1, 9, {1});
  CHECK(first->held() == Keys{1});
  CHECK(second->held() == Keys{1});
  CHECK(third->held() == Keys{1});
}

TEST_CASE("with equal tokens the one that is held stays") {
  Claims claims;
  const auto first = claims.granted(1, 10, {1});
  const auto second = claims.granted(2, 10, {1});
  CHECK(first->held() == Keys{1});
  CHECK(second->held().empty());
}

TEST_CASE("claims that hold nothing any more are not asked for back, and others of every hub but this") {
  Claims claims;
  const auto kept = claims.granted(1, 10, {1});
  const auto of_second = claims.granted(2, 20, {2});
  const auto given_back = claims.granted(1, 11, {3});
  given_back->give_back_all();
  std::ignore = claims.granted(1, 12, {4});  // its claim is gone
  CHECK(claims.live.any());
  CHECK(claims.live.foreign_to(2) == std::vector{kept});
  CHECK(claims.live.foreign_to(1) == std::vector{of_second});
  CHECK(claims.live.foreign_to(3) == std::vector{kept, of_second});
  kept->give_back_all();
  of_second->give_back_all();
  CHECK_FALSE(claims.live.any());
}
