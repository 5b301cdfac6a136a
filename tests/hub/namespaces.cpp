// SPDX-License-Identifier: Apache-2.0
// A hub over a function that makes storages, as its builder puts it together and its callers see it.
#include "support/catch.hpp"

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/eviction/recency.hpp>

#include "hub/fake_transport.hpp"

using namespace hub_test;

namespace {

using enum OffloadStatus;
using Blocks = HashMapStorage<Block, Block>;
using Names = std::vector<std::string>;

auto many() {
  return hub<Block, Block>([](std::string_view) { return Blocks{}; });
}

Envelope in(std::string_view name, std::uint64_t client = 1, std::uint64_t number = 1) {
  Envelope made;
  made.number = number;
  made.client = {0, client};
  made.name_space = name;
  return made;
}

/// Serves until the transport has nothing left.
template <class Hub, class T>
void serve(Hub& hub, T& transport) {
  hub.stop();
  hub.serve(transport);
}

/// Lets one block leave the namespace `name`.
template <class Hub>
void lose_one(Hub hub, std::string_view name) {
  FakeTransport transport;
  transport.put_registration("somebody", registration({{1, 10, {}}}), in(name));
  transport.put_query("somebody", keys(MessageType::remove, {1}), in(name));
  serve(hub, transport);
}

/// As FakeTransport, but the namespace "theirs" is denied to everyone.
struct Denying : FakeTransport {
  template <HubHandler H>
  void drain(H& handler) {
    struct Gate {
      H& handler;
      void query(ByteView sender, Frames envelope, ByteView message) {
        if (const auto name = denied(envelope)) return handler.denied_query(sender, envelope, as_text(sender), *name);
        handler.query(sender, envelope, message);
      }
      void registration(const PeerName& peer, std::optional<ByteView> second, ByteView message) {
        const auto name = second ? denied(Frames{&*second, 1}) : std::nullopt;
        if (name) return handler.denied_registration(peer, message, *name);
        handler.registration(peer, second, message);
      }
      void malformed(std::string_view sender, std::string_view why) { handler.malformed(sender, why); }
      void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
      void denied_registration(const PeerName&, ByteView, std::string_view) {}

      static std::optional<std::string_view> denied(Frames envelope) {
        const auto ours = envelope.empty() ? std::nullopt : Envelope::decode(envelope.front());
        return ours && ours->name_space == "theirs" ? std::optional{ours->name_space} : std::nullopt;
      }
    } gate{handler};
    FakeTransport::drain(gate);
  }
};

}  // namespace

TEST_CASE("a hub over a function that makes storages serves any namespace, each by itself") {
  auto hub = many().build();
  FakeTransport transport;
  transport.put_query("a", can_offload({1}), in("a", 1));
  transport.put_query("b", can_offload({1}), in("b", 2));
  transport.put_query("c", can_offload({1}), in("a", 3));
  transport.put_query("d", can_offload({1}));
  serve(hub, transport);
  CHECK(transport.answers == std::vector<FakeTransport::Answer>{{"a", statuses({granted})},
                                                                {"b", statuses({granted})},
                                                                {"c", statuses({leased})},
                                                                {"d", statuses({granted})}});
  CHECK(hub.namespaces() == Names{"a", "b", "default"});
  CHECK(hub.stats().queries == 4);
  CHECK(hub.stats("a")->queries == 2);
  CHECK_FALSE(hub.stats("c"));
}

TEST_CASE("the function may make a policy, and need not ask for the name") {
  const auto check = [](auto hub) {
    FakeTransport transport;
    for (const std::string_view name : {"one", "two"}) {
      transport.put_registration("somebody", registration({{1, 10, {}}, {2, 20, {}}, {3, 30, {}}}), in(name));
    }
    serve(hub, transport);
    CHECK(hub.stats("one")->stored == 1);
    CHECK(hub.stats("two")->stored == 2);
  };
  SECTION("told the name") {
    check(hub<Block, Block>([](std::string_view name) {
            return RecencyEviction(Blocks{}, name == "one" ? 1 : 2);
          }).build());
  }
  SECTION("with a state of its own") {
    // `default` is the first.
    check(hub<Block, Block>([n = std::size_t{2}]() mutable {
            return RecencyEviction(Blocks{}, n++ == 3 ? 1 : 2);
          }).build());
  }
}

TEST_CASE("max_namespaces bounds a hub, and zero is none") {
  auto hub = many().max_namespaces(2).log(nullptr).build();
  FakeTransport transport;
  transport.put_query("a", can_offload({1}), in("a"));
  transport.put_query("b", can_offload({1}), in("b"));
  transport.put_registration("b", registration({{1, 10, {}}}), in("b"));
  serve(hub, transport);
  REQUIRE(transport.answers.size() == 2);
  CHECK(transport.answers[0].message == statuses({granted}));
  CHECK(refusal(transport.answers[1]) == "limit exceeded: max_namespaces allows 2, got 3");
  CHECK(hub.namespaces() == Names{"a", "default"});
  CHECK(hub.stats().entries_refused == 1);
  CHECK(many().build().core().options().max_namespaces == 64);
  try {
    many().max_namespaces(0).build();
    FAIL("0 was accepted");
  } catch (const RegistryError& error) {
    REQUIRE(error.as<ConfigError>() != nullptr);
    CHECK(error.as<ConfigError>()->variable == "max_namespaces");
  }
}

TEST_CASE("a storage that cannot be made for default fails the build") {
  auto broken = hub<Block, Block>([](std::string_view) -> Blocks { throw std::runtime_error("no disk"); });
  CHECK_THROWS_WITH(std::move(broken).build(), "no disk");
}

TEST_CASE("on_evict takes hooks with and without the namespace") {
  Names heard;
  const auto note = [&](std::string_view name, Block key) { heard.push_back(std::string{name} + std::to_string(key)); };
  SECTION("four") {
    lose_one(many().on_evict([&](Block key, Block, NoMetadata, EvictionReason) { note("", key); }).build(), "a");
    CHECK(heard == Names{"1"});
  }
  SECTION("four and the departure") {
    const auto hook = [&](Block key, Block, NoMetadata, EvictionReason, const Departure<Block>&) { note("", key); };
    lose_one(many().on_evict(hook).build(), "a");
    CHECK(heard == Names{"1"});
  }
  SECTION("the namespace and four") {
    const auto hook = [&](std::string_view name, Block key, Block, NoMetadata, EvictionReason) { note(name, key); };
    lose_one(many().on_evict(hook).build(), "a");
    CHECK(heard == Names{"a1"});
  }
  SECTION("the namespace, four and the departure") {
    const auto hook = [&](std::string_view name, Block key, Block, NoMetadata, EvictionReason,
                          const Departure<Block>&) { note(name, key); };
    lose_one(many().on_evict(hook).build(), "default");
    CHECK(heard == Names{"default1"});
  }
  SECTION("anything: it gets all there is") {
    std::size_t parameters = 0;
    lose_one(many().on_evict([&](const auto&... all) { parameters = sizeof...(all); }).build(), "a");
    CHECK(parameters == 6);
  }
}

TEST_CASE("another codec keeps the namespaces") {
  struct Other : BlockCodec {};
  auto hub = many().max_namespaces(3).codec<Other>().build();
  FakeTransport transport;
  transport.put_query("a", can_offload({1}), in("a"));
  serve(hub, transport);
  CHECK(hub.namespaces() == Names{"a", "default"});
  CHECK(hub.core().options().max_namespaces == 3);
}

TEST_CASE("statistics and names may be read while namespaces are made") {
  auto hub = many().max_namespaces(500).build();
  FakeTransport transport;
  constexpr std::size_t rounds = 400;
  for (std::size_t i = 0; i < rounds; ++i) {
    transport.waits.push_back([&, i] { transport.put_query("a", can_offload({1}), in("n" + std::to_string(i))); });
  }
  transport.waits.push_back([&] { hub.stop(); });
  std::atomic<bool> watching = true;
  auto watcher = std::async(std::launch::async, [&] {
    bool in_order = true;
    std::size_t names = 0;
    std::uint64_t granted_before = 0;
    while (watching) {
      const std::size_t now = hub.namespaces().size();
      const std::uint64_t granted_now = hub.stats().granted;
      const auto first = hub.stats("n0");
      in_order = in_order && now >= names && granted_now >= granted_before && (!first || first->granted <= 1);
      names = now;
      granted_before = granted_now;
    }
    return in_order;
  });
  hub.serve(transport);
  watching = false;
  CHECK(watcher.get());
  CHECK(hub.namespaces().size() == rounds + 1);
  CHECK(hub.stats().granted == rounds);
  CHECK(hub.stats("n0")->granted == 1);
}

TEST_CASE("what a transport denies is answered or dropped, counted and reported, and reaches no catalogue") {
  Names log;
  auto hub = many().log([&](LogLevel, std::string_view text) { log.emplace_back(text); }).build();
  Denying transport;
  transport.put_query("a", can_offload({1}), in("theirs"));
  transport.put_registration("b", registration({{1, 10, {}}}), in("theirs"));
  transport.put_query("c", can_offload({1}), in("ours"));
  serve(hub, transport);
  REQUIRE(transport.answers.size() == 2);
  CHECK(transport.answers[0].recipient == "a");
  CHECK(refusal(transport.answers[0]) == "this client's key may not use namespace \"theirs\"");
  CHECK(transport.answers[1].message == statuses({granted}));
  CHECK(hub.namespaces() == Names{"default", "ours"});
  CHECK(hub.stats().denied == 2);
  CHECK(hub.stats().queries == 1);
  CHECK(hub.stats().registrations == 0);
  CHECK(log == Names{"a query from a was denied: this client's key may not use namespace \"theirs\"",
                     "a registration from b was denied: this client's key may not use namespace \"theirs\""});
}

TEST_CASE("a transport that denies without end does not flood the log") {
  Names log;
  auto hub = block_hub().log([&](LogLevel, std::string_view text) { log.emplace_back(text); }).build();
  Denying transport;
  for (int i = 0; i < 100; ++i) transport.put_registration("b", registration({{1, 10, {}}}), in("theirs"));
  serve(hub, transport);
  CHECK(log.size() == 10);
  CHECK(hub.stats().denied == 100);
}

TEST_CASE("the hook hears of registrations that the transport denies, with their entries") {
  struct Refused {
    std::string name_space;
    std::vector<BlockEntry> entries;
    Error why;
  };
  std::vector<Refused> refused;
  const auto on_refused = [&](std::string_view name, std::span<const BlockEntry> entries, const Error& why) {
    refused.push_back({std::string{name}, {entries.begin(), entries.end()}, why});
  };
  Denying transport;
  transport.put_registration("a", registration({{1, 10, {}}, {2, 20, {}}}), in("theirs"));
  transport.put_registration("b", Bytes{std::byte{1}}, in("theirs"));
  transport.put_registration("c", can_offload({1}), in("theirs"));
  const bool has_namespaces = GENERATE(true, false);
  if (has_namespaces) {
    auto hub = block_hub().log(nullptr).on_refused(on_refused).build();
    serve(hub, transport);
    CHECK(hub.stats().denied == 3);
  } else {
    auto hub = registry::hub<Block, Block>(HashMapStorage<Block, Block>{}).log(nullptr).on_refused(on_refused).build();
    serve(hub, transport);
    CHECK(hub.stats().denied == 3);
  }
  REQUIRE(refused.size() == 1);
  CHECK(refused.front().name_space == "theirs");
  CHECK(refused.front().entries == std::vector<BlockEntry>{{1, 10, {}}, {2, 20, {}}});
  CHECK(std::get<HubError>(refused.front().why).text == "this client's key may not use namespace \"theirs\"");
}
