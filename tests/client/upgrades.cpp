// SPDX-License-Identifier: Apache-2.0
// A hub that could not say what has come of registrations, and one in its place that can.
#include "support/catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <tuple>
#include <vector>

#include "client/lossy_hub.hpp"

using namespace client_test;

namespace {

/// A client that has met an older hub, and has been told so.
struct Upgrade {
  LossyHub hub;
  std::size_t lost = 0;
  LossyClient alice =
      client<Block, Block>(LossyTransport(hub))
          .log(nullptr)
          .on_undelivered([this](std::span<const BlockEntry> entries, const Error&) { lost += entries.size(); })
          .build();
  LossyClient bob = client<Block, Block>(LossyTransport(hub)).log(nullptr).build();

  explicit Upgrade(HubOptions options = {}) : hub(options) {
    hub.is_old = true;
    push({{1, 10, {}}});
    let_pass(3s);
  }

  void push(const std::vector<BlockEntry>& entries) {
    alice.register_blocks(entries);
    alice.flush();
  }

  void let_pass(std::chrono::milliseconds time) {
    for (; time > 0s; time -= 100ms) hub.advance(100ms);
  }

  void upgrade() {
    hub.is_old = false;
    hub.restart();
  }

  bool sends_again_what_is_lost() {
    hub.loses_registrations = true;
    push({{2, 20, {}}});
    hub.loses_registrations = false;
    let_pass(5s);
    return bob.match({2}).size() == 1;
  }
};

HubOptions insisting() {
  HubOptions options;
  options.insist_on_holder = true;
  return options;
}

}  // namespace

TEST_CASE("a hub that cannot confirm is not sent anything again, and asked no more for a while") {
  Upgrade world;
  CHECK_FALSE(world.sends_again_what_is_lost());
  const auto syncs = std::ranges::count(world.hub.queries, MessageType::sync);
  world.push({{3, 30, {}}});
  world.let_pass(5s);
  CHECK(std::ranges::count(world.hub.queries, MessageType::sync) == syncs);
}

TEST_CASE("a hub that confirms, in the place of one that did not, is known by its answer to a claim") {
  Upgrade world;
  world.upgrade();
  std::ignore = world.alice.claim({7});
  world.let_pass(1s);
  CHECK(world.alice.stats().hubs_met == 1);
  CHECK(world.sends_again_what_is_lost());
}

TEST_CASE("a client that claims nothing asks again some time later") {
  Upgrade world;
  world.upgrade();
  world.push({{3, 30, {}}});
  world.let_pass(11s);
  world.push({{4, 40, {}}});
  CHECK(world.sends_again_what_is_lost());
}

TEST_CASE("a hub that insists, in the place of one that did not, is sent acknowledged registrations") {
  Upgrade world(insisting());
  world.lost = 0;
  world.upgrade();
  std::ignore = world.alice.claim({7});
  CHECK_THROWS_AS(world.alice.register_blocks({{2, 20, {}}}), RegistryError);
  CHECK(world.bob.match({2}).empty());
}

TEST_CASE("a client that has asked again in vain does so once more much later") {
  Upgrade world;
  world.let_pass(11s);
  world.push({{3, 30, {}}});
  world.let_pass(60s);
  world.upgrade();
  world.let_pass(1s);
  CHECK(world.sends_again_what_is_lost());
}

TEST_CASE("a removal does not overtake what was handed over while nothing was kept") {
  Upgrade world;
  world.let_pass(7s);
  world.hub.stalls = true;
  world.push({{5, 50, {}}});
  const bool asks_again = GENERATE(false, true);
  if (asks_again) {
    world.let_pass(2s);
    world.push({{6, 60, {}}});
  }
  CHECK_THROWS_AS(world.alice.remove({5}), RegistryError);
  world.hub.end_stall();
  CHECK(world.alice.remove({5}) == 1);
}

TEST_CASE("what was handed over to a hub that confirmed nothing, no later hub is waited for") {
  Upgrade world;
  world.upgrade();
  std::ignore = world.alice.claim({7});
  world.push({{2, 20, {}}});
  world.let_pass(3s);
  REQUIRE(world.alice.stats().hubs_met == 1);
  world.push({{3, 30, {}}});
  world.let_pass(2s);
  world.hub.restart();
  CHECK(world.alice.remove({3}) == 0);
}
