// SPDX-License-Identifier: Apache-2.0
// What is left out when registrations are sent again: what the client itself has registered anew or removed since.
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "client/lossy_hub.hpp"

using namespace client_test;

namespace {

using Entries = std::vector<BlockEntry>;

struct Resends {
  LossyHub hub;
  Entries lost;
  LossyClient alice =
      client<Block, Block>(LossyTransport(hub))
          .log(nullptr)
          .on_undelivered([this](std::span<const BlockEntry> entries, const Error&) {
            lost.insert(lost.end(), entries.begin(), entries.end());
          })
          .build();
  LossyClient bob = client<Block, Block>(LossyTransport(hub)).log(nullptr).build();

  explicit Resends(std::optional<std::size_t> capacity = std::nullopt) : hub({}, capacity) {}

  /// A batch of its own.
  void push(const Entries& entries) {
    alice.register_blocks(entries);
    alice.flush();
  }

  /// Until what was lost has been sent again.
  void go_on() {
    for (int i = 0; i < 50; ++i) hub.advance(100ms);
  }
};

}  // namespace

TEST_CASE("of two registrations of a key that were both lost the later one is stored in the end") {
  Resends world;
  world.hub.loses_registrations = true;
  world.push({{1, 10, {}}, {2, 10, {}}});
  world.push({{1, 20, {}}});
  world.hub.loses_registrations = false;
  world.go_on();
  CHECK(world.bob.match({1, 2}) == Entries{{1, 20, {}}, {2, 10, {}}});
  CHECK(world.lost.empty());
}

TEST_CASE("another hub is told the later of two registrations of a key") {
  Resends world;
  world.push({{1, 10, {}}});
  world.push({{2, 10, {}}});
  world.push({{1, 20, {}}});
  world.hub.restart();
  world.go_on();
  CHECK(world.bob.match({1, 2}) == Entries{{1, 20, {}}, {2, 10, {}}});
  CHECK(world.lost.empty());
}

TEST_CASE("another hub is not told of what was removed before it came") {
  Resends world;
  world.push({{1, 10, {}}, {2, 10, {}}});
  CHECK(world.alice.remove({1}) == 1);
  const bool is_registered_again = GENERATE(false, true);
  if (is_registered_again) world.push({{1, 20, {}}});
  world.hub.restart();
  world.go_on();
  CHECK(world.bob.match({1, 2}) == (is_registered_again ? Entries{{1, 20, {}}, {2, 10, {}}} : Entries{{2, 10, {}}}));
  CHECK(world.lost.empty());
}

TEST_CASE("another hub is not told of values that were removed where they were stored") {
  Resends world;
  world.push({{1, 10, {}}, {2, 10, {}}, {3, 10, {}}});
  // The second has another value than that.
  CHECK(world.alice.remove_if({{1, 10, {}}, {2, 11, {}}, {4, 10, {}}}) == 1);
  world.push({{4, 10, {}}});
  world.hub.restart();
  world.go_on();
  CHECK(world.bob.match({1, 2, 3, 4}) == Entries{{2, 10, {}}, {3, 10, {}}, {4, 10, {}}});
}

TEST_CASE("another hub is not told of what an acknowledged registration has replaced") {
  Resends world;
  world.push({{1, 10, {}}, {2, 10, {}}});
  CHECK(world.alice.register_acknowledged({{1, 20, {}}}).all_stored());
  world.hub.restart();
  world.go_on();
  // What was confirmed is gone with its hub.
  CHECK(world.bob.match({1, 2}) == Entries{{2, 10, {}}});
}

TEST_CASE("a removal that was not answered leaves out nothing") {
  Resends world;
  world.push({{1, 10, {}}});
  world.hub.answers = [](MessageType type) { return type != MessageType::remove; };
  CHECK_THROWS_AS(world.alice.remove({1}), RegistryError);
  world.hub.restart();
  world.go_on();
  CHECK(world.bob.match({1}) == Entries{{1, 10, {}}});
}

TEST_CASE("a batch of which everything is left out still takes its number, and the next one is stored") {
  Resends world;
  world.push({{1, 10, {}}});
  CHECK(world.alice.remove({1}) == 1);
  world.push({{2, 10, {}}});
  world.hub.restart();
  world.go_on();
  CHECK(world.bob.match({1, 2}) == Entries{{2, 10, {}}});
  CHECK(world.alice.close(1s).empty());
}

TEST_CASE("of a value that was removed where it was stored another one before it does not come back") {
  Resends world;
  world.push({{1, 10, {}}, {1, 20, {}}});
  CHECK(world.alice.remove_if({{1, 20, {}}}) == 1);
  world.hub.restart();
  world.go_on();
  CHECK(world.bob.match({1}).empty());
}

TEST_CASE("a removal does not overtake what was sent before it was left out") {
  Resends world;
  world.hub.stalls = true;
  world.push({{1, 10, {}}, {2, 10, {}}});
  CHECK(world.alice.register_acknowledged({{1, 20, {}}}).all_stored());
  world.go_on();
  CHECK_THROWS_AS(world.alice.remove({1}), RegistryError);
  world.hub.end_stall();
  world.go_on();
  CHECK(world.alice.remove({1}) == 1);
  CHECK(world.bob.match({1, 2}) == Entries{{2, 10, {}}});
}

TEST_CASE("what the hub has refused is told, and nothing else, also where something has been left out since") {
  Resends world(2);
  world.push({{1, 10, {}}, {2, 10, {}}, {3, 10, {}}});
  CHECK(world.alice.remove_if({{1, 10, {}}}) == 1);
  world.go_on();
  CHECK(world.lost == Entries{{3, 10, {}}});
  CHECK(world.bob.match({1, 2, 3}) == Entries{{2, 10, {}}});
}

TEST_CASE("what was stored and replaced since is not told as refused because a value beside it was removed") {
  Resends world(2);
  world.push({{1, 10, {}}, {2, 10, {}}, {3, 10, {}}});
  CHECK(world.alice.remove_if({{1, 10, {}}}) == 1);
  CHECK(world.bob.register_acknowledged({{2, 20, {}}}).all_stored());
  world.go_on();
  CHECK(world.lost == Entries{{3, 10, {}}});
  CHECK(world.bob.match({1, 2, 3}) == Entries{{2, 20, {}}});
}
