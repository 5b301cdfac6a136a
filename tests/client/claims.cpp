// SPDX-License-Identifier: Apache-2.0
// Claims, acknowledged registrations and removals by value, against a hub in this process.
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/claim.hpp>
#include <registry/eviction.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>

#include "client/fake_transport.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace client_test;
using namespace std::chrono_literals;

namespace {

using BlockStorage = HashMapStorage<Block, Block>;
using Keys = std::vector<Block>;

/// A hub that knows when it fails, and two clients of it.
struct World {
  explicit World(HubOptions options = {}, std::optional<std::size_t> capacity = std::nullopt)
      : catalogue(hub<Block, Block>(NoEviction<BlockStorage>(BlockStorage{}, capacity))
                      .options(quiet(std::move(options)))
                      .build()),
        transport(catalogue),
        alice(client<Block, Block>(transport).build()),
        bob(client<Block, Block>(transport).build()) {}

  static HubOptions quiet(HubOptions options) {
    options.log = nullptr;
    return options;
  }

  RegistryHub<NoEviction<BlockStorage>> catalogue;
  InProcessTransport transport;
  RegistryClient<Block, Block, NoMetadata, InProcessTransport> alice;
  RegistryClient<Block, Block, NoMetadata, InProcessTransport> bob;
};

}  // namespace

TEST_CASE("two claims of one client are never granted the same key") {
  World world;
  const auto first = world.alice.claim({1, 2, 2});
  const auto second = world.alice.claim({1, 2, 3});
  CHECK(first.granted() == Keys{1, 2});
  CHECK(second.leased() == Keys{1, 2});
  CHECK(second.granted() == Keys{3});
  CHECK(second.token() > first.token());
}

TEST_CASE("what a claim neither registers nor gives back is given back when it ends") {
  World world;
  {
    auto claim = world.alice.claim({1, 2, 3});
    REQUIRE(claim.register_blocks({{1, 10, {}}}).all_stored());
    CHECK(claim.held().size() == 2);
    CHECK(world.bob.claim({1, 2, 3}).leased() == Keys{2, 3});
  }
  CHECK(world.bob.can_offload({1, 2, 3}).can_offload == Keys{2, 3});
  CHECK(world.catalogue.stats().leases.released == 2);
}

TEST_CASE("a claim whose time is over claims nothing back") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  script->answer = [&](ByteView, ByteView message) -> std::vector<std::vector<Bytes>> {
    Bytes answer;
    if (type_of(message) == MessageType::claim) {
      const std::vector<OffloadStatus> granted{OffloadStatus::granted};
      BlockCodec::encode_statuses(MessageType::claim_response, std::span<const OffloadStatus>{granted}, answer);
      append_trailer<4>({7, 1, 30'000'000'000, 0}, answer);
    } else {
      const std::vector<RenewStatus> held{RenewStatus::held};
      BlockCodec::encode_statuses(MessageType::renew_response, std::span<const RenewStatus>{held}, answer);
      append_trailer<2>({7, 30'000'000'000}, answer);
    }
    return {{script->asked.back().envelope, answer}};
  };
  auto claim = worker.claim({1});
  const auto granted_by = [&] { return split_trailer<1>(script->asked.back().message).value().second[0]; };
  script->now += 29s;
  claim.renew();
  CHECK(granted_by() == 7);
  script->now += 30s;
  claim.renew();
  CHECK(granted_by() == 0);
  claim.release();
}

TEST_CASE("where time stands still a claim does not wait") {
  World world;
  const auto held = world.alice.claim({1});
  CHECK(world.bob.claim({1}, 10s).leased() == Keys{1});
  CHECK(world.catalogue.stats().waiting_claims == 0);
}

TEST_CASE("an exception that passes through gives back as well") {
  World world;
  CHECK_THROWS_AS(
      [&] {
        const auto claim = world.alice.claim({1});
        throw std::runtime_error{"the disk is full"};
      }(),
      std::runtime_error);
  CHECK(world.bob.can_offload({1}).can_offload == Keys{1});
}

TEST_CASE("a claim can be moved, and only the last owner gives back") {
  World world;
  auto first = world.alice.claim({1});
  {
    auto second = std::move(first);
    CHECK(world.bob.claim({1}).leased() == Keys{1});
    auto third = world.alice.claim({2});
    third = std::move(second);  // gives back 2
    CHECK(world.bob.can_offload({1, 2}).can_offload == Keys{2});
    auto& same = third;
    third = std::move(same);
    CHECK(world.bob.claim({1}).leased() == Keys{1});
  }
  CHECK(world.bob.claim({1}).granted() == Keys{1});
}

TEST_CASE("part of a claim is given back at once, and nothing that it does not hold") {
  World world;
  auto claim = world.alice.claim({1, 2});
  claim.release({2, 7});
  CHECK(claim.held() == Keys{1});
  CHECK(world.bob.can_offload({1, 2}).can_offload == Keys{2});
  claim.release();
  CHECK(claim.held().empty());
  CHECK(world.bob.can_offload({1}).can_offload == Keys{1});
}

TEST_CASE("a claim knows until when it holds its keys") {
  World world;
  const SteadyTime sent = world.transport.now();
  auto claim = world.alice.claim({1});
  CHECK(claim.deadline() == sent + 30s);
  world.transport.advance(9s);
  CHECK(claim.progress().empty());
  CHECK(claim.deadline() == sent + 30s);  // it is early yet
  world.transport.advance(1s);
  CHECK(claim.progress().empty());
  CHECK(claim.deadline() == sent + 40s);
  world.transport.advance(1s);
  CHECK(claim.renew().empty());
  CHECK(claim.deadline() == sent + 41s);
  world.transport.advance(29s);
  CHECK(world.bob.claim({1}).leased() == Keys{1});
  // Nobody says any more that he is getting on.
  world.transport.advance(1s);
  CHECK(world.bob.claim({1}).granted() == Keys{1});
}

TEST_CASE("a claim whose time is over hears what it has lost") {
  World world;
  auto claim = world.alice.claim({1, 2, 3});
  world.transport.advance(31s);
  const auto theirs = world.bob.claim({1});
  REQUIRE(world.bob.register_acknowledged({{2, 20, {}}}).all_stored());
  CHECK(claim.renew().size() == 3);
  CHECK(claim.held().empty());
  CHECK(claim.lost().size() == 3);
  CHECK(claim.stored_meanwhile() == Keys{2});
  CHECK(claim.renew().empty());
}

TEST_CASE("a claim is not told by whom a key was stored that it holds no longer: it may be its own client") {
  World world;
  auto claim = world.alice.claim({1});
  REQUIRE(world.alice.register_acknowledged({{1, 10, {}}}).all_stored());
  CHECK(claim.renew() == Keys{1});
  CHECK(claim.lost() == Keys{1});
  CHECK(claim.stored_meanwhile() == Keys{1});
}

TEST_CASE("on a hub that insists a key named twice in a registration is stored with its first value") {
  World world(HubOptions{.insist_on_holder = true});
  auto claim = world.alice.claim({1});
  const auto result = claim.register_blocks({{1, 10, {}}, {1, 11, {}}});
  CHECK(result.statuses == std::vector{RegisterStatus::stored, RegisterStatus::lease_conflict});
  CHECK(world.bob.match({1}) == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(claim.lost().empty());
}

TEST_CASE("on a hub that insists a late writer hears that he is late") {
  World world(HubOptions{.insist_on_holder = true});
  auto claim = world.alice.claim({1, 2});
  REQUIRE(claim.register_blocks({{1, 10, {}}}).all_stored());
  world.transport.advance(31s);
  auto theirs = world.bob.claim({2});
  REQUIRE(theirs.granted() == Keys{2});
  const auto result = claim.register_blocks({{2, 20, {}}});
  CHECK(result.statuses == std::vector{RegisterStatus::lease_conflict});
  CHECK(result.refused == std::vector<BlockEntry>{{2, 20, {}}});
  CHECK(claim.lost() == Keys{2});
  CHECK(theirs.register_blocks({{2, 21, {}}}).all_stored());
  CHECK(world.bob.match({1, 2}) == std::vector<BlockEntry>{{1, 10, {}}, {2, 21, {}}});
  // Nor does a client's own registration count for its claim.
  const auto third = world.alice.claim({3});
  CHECK_FALSE(world.alice.register_acknowledged({{3, 30, {}}}).all_stored());
}

TEST_CASE("a claim keeps what the hub has no room for") {
  World world({}, 1);
  auto claim = world.alice.claim({1, 2});
  const auto result = claim.register_blocks({{1, 10, {}}, {2, 20, {}}});
  CHECK(result.statuses == std::vector{RegisterStatus::stored, RegisterStatus::limit_exceeded});
  CHECK(result.refused == std::vector<BlockEntry>{{2, 20, {}}});
  CHECK(claim.held() == Keys{2});
}

TEST_CASE("what has been acknowledged is seen by every client at once") {
  World world;
  CHECK(world.alice.register_acknowledged({{1, 10, {}}, {2, 20, {}}}).all_stored());
  CHECK(world.bob.match({1, 2}).size() == 2);
  CHECK(world.alice.register_acknowledged({}).all_stored());
}

TEST_CASE("an acknowledged registration follows those before it") {
  World world;
  world.alice.register_blocks({{1, 10, {}}});
  CHECK(world.alice.register_acknowledged({{1, 11, {}}}).all_stored());
  world.transport.advance(1s);
  CHECK(world.bob.match({1}) == std::vector<BlockEntry>{{1, 11, {}}});
}

TEST_CASE("an entry is removed only with the value that is known") {
  World world;
  world.alice.register_blocks({{1, 10, {}}, {2, 20, {}}});
  CHECK(world.alice.remove_if({{1, 10, {}}, {2, 21, {}}}) == 1);
  CHECK(world.bob.match({1, 2}) == std::vector<BlockEntry>{{2, 20, {}}});
}

TEST_CASE("a claim survives its client, and gives nothing back then") {
  World world;
  std::optional<RegistryClient<Block, Block, NoMetadata, InProcessTransport>> carol =
      client<Block, Block>(world.transport).build();
  auto claim = carol->claim({1});
  carol.reset();
  CHECK_THROWS_AS(claim.renew(), RegistryError);
  CHECK_THROWS_AS(claim.register_blocks({{1, 10, {}}}), RegistryError);
  claim.release();
  CHECK(world.bob.claim({1}).leased() == Keys{1});
}

TEST_CASE("a registration is sent again under its number until it is answered") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).resend_interval(1s).register_timeout(3s).build();
  script->answer = [&](ByteView, ByteView message) -> std::vector<std::vector<Bytes>> {
    script->now += 1s;
    if (script->asked.size() < 3 || type_of(message) != MessageType::register_entries) return {};
    Bytes answer;
    const std::vector<RegisterStatus> outcomes{RegisterStatus::stored};
    BlockCodec::encode_statuses(MessageType::register_response, std::span<const RegisterStatus>{outcomes}, answer);
    return {{script->asked.back().envelope, answer}};
  };
  CHECK(worker.register_acknowledged({{1, 10, {}}}).all_stored());
  REQUIRE(script->asked.size() == 3);
  const auto envelope = [&](std::size_t i) { return Envelope::decode(script->asked[i].envelope).value(); };
  for (const std::size_t i : {1U, 2U}) {
    CHECK(envelope(i).sequence == envelope(0).sequence);
    CHECK(envelope(i).number > envelope(i - 1).number);
    CHECK(envelope(i).resent == envelope(0).sequence);
    CHECK(script->asked[i].message == script->asked[0].message);
  }
  CHECK(envelope(0).sequence == 1);
  CHECK_FALSE(envelope(0).resent);
}

TEST_CASE("a registration that nobody answers comes back with its entries") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).resend_interval(1s).register_timeout(2500ms).build();
  script->answer = [&](ByteView, ByteView) -> std::vector<std::vector<Bytes>> {
    script->now += 1s;
    return {};
  };
  try {
    (void)worker.register_acknowledged({{1, 10, {}}});
    FAIL("nothing was thrown");
  } catch (const Undelivered<Block, Block, NoMetadata>& error) {
    CHECK(error.as<Timeout>()->duration == 2500ms);
    CHECK(error.entries() == std::vector<BlockEntry>{{1, 10, {}}});
  }
  CHECK(script->asked.size() == 3);
}

TEST_CASE("a hub that knows neither envelopes nor claims leaves them unsupported") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  Bytes refusal;
  BlockCodec::encode_text(MessageType::error_response, "unknown type", refusal);
  script->answer = [&](ByteView, ByteView) { return std::vector<std::vector<Bytes>>{{refusal}}; };
  const auto operation = [](auto call) -> std::string {
    try {
      call();
    } catch (const RegistryError& error) {
      if (const auto* unsupported = error.as<Unsupported>()) return unsupported->operation;
    }
    return "";
  };
  CHECK(operation([&] { worker.claim({1}); }) == "claim (the hub says: unknown type)");
  CHECK(operation([&] { (void)worker.register_acknowledged({{1, 10, {}}}); }) ==
        "acknowledged registration (the hub says: unknown type)");
  CHECK(operation([&] { worker.remove_if({{1, 10, {}}}); }) == "remove_if (the hub says: unknown type)");
}

TEST_CASE("a claim that fails to be answered is withdrawn in its own name") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  CHECK_THROWS_AS(worker.claim({1, 2}, 10s), RegistryError);
  REQUIRE(script->withdrawn.size() == 1);
  const auto asked = Envelope::decode(script->asked[0].envelope).value();
  const auto withdrawn = Envelope::decode(script->withdrawn[0].envelope).value();
  CHECK(withdrawn.number == asked.number);
  CHECK(withdrawn.claim == asked.claim);
  CHECK(asked.claim == 1);
  CHECK(type_of(script->withdrawn[0].message) == MessageType::withdraw);
}

TEST_CASE("a wait has a time of its own beside that of the request") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).request_timeout(2s).build();
  try {
    worker.claim({1}, 10s);
    FAIL("nothing was thrown");
  } catch (const RegistryError& error) {
    CHECK(error.as<Timeout>()->duration == 12s);
  }
}
