// SPDX-License-Identifier: Apache-2.0
// That every option of the builder has its effect, and that none makes nonsense of a hub.
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/fake_transport.hpp"

using namespace hub_test;

namespace {

using enum OffloadStatus;

/// Builds a hub with what `set` does to the builder, and answers which option was refused.
template <class Set>
std::optional<ConfigError> refused(Set set) {
  std::optional<ConfigError> why;
  try {
    set(block_hub()).build();
  } catch (const RegistryError& error) {
    why = error.as<ConfigError>() != nullptr ? *error.as<ConfigError>() : ConfigError{"another error", "", ""};
  }
  return why;
}

constexpr auto a_year = std::chrono::nanoseconds{std::chrono::years{1}};

template <class Hub>
void store(Hub& hub, const Bytes& message, std::chrono::nanoseconds time = 0ns, std::optional<Envelope> envelope = {}) {
  std::optional<Bytes> frame;
  if (envelope) envelope->encode(frame.emplace());
  hub.core().registration("somebody", frame ? std::optional{ByteView{*frame}} : std::nullopt, message,
                          Instant{SteadyTime{1h} + time, WallTime{}}, [](ByteView, Frames, ByteView) { return true; });
}

template <class Hub>
void tick(Hub& hub, std::chrono::nanoseconds time) {
  hub.core().tick(Instant{SteadyTime{1h} + time, WallTime{}}, [](ByteView, Frames, ByteView) { return true; });
}

Envelope envelope(std::uint64_t number, ClientId client, std::optional<std::uint64_t> after = std::nullopt) {
  Envelope made;
  made.number = number;
  made.client = client;
  made.after = after;
  return made;
}

/// Asks with an envelope; the answers go to `out`, now or later.
template <class Hub>
void ask_later(Hub& hub, const Bytes& message, const Envelope& envelope, std::chrono::nanoseconds time,
               std::vector<FakeTransport::Answer>& out) {
  Bytes frame;
  envelope.encode(frame);
  const ByteView view = frame;
  hub.core().query(as_bytes("asker"), Frames{&view, 1}, message, Instant{SteadyTime{1h} + time, WallTime{}},
                   [&](ByteView, Frames, ByteView bytes) {
                     out.push_back({"asker", copy(bytes)});
                     return true;
                   });
}

struct OtherCodec : BlockCodec {
  template <StatusByte S>
  static void encode_statuses(MessageType type, std::span<const S> list, Bytes& out) {
    BlockCodec::encode_statuses(type, list, out);
    out.push_back(std::byte{77});
  }
};
static_assert(registry::Codec<OtherCodec, Block, Block, NoMetadata>);

}  // namespace

TEST_CASE("a hub's duration must be above zero and at most a year") {
  const auto check = [](const char* name, auto option, bool may_be_zero) {
    INFO(name);
    const auto with = [&](std::chrono::nanoseconds time) {
      return refused([&](auto builder) { return option(std::move(builder), time); });
    };
    for (const std::chrono::nanoseconds wrong : {std::chrono::nanoseconds{-1}, a_year + 1ns,
                                                 std::chrono::nanoseconds::max(), std::chrono::nanoseconds::min()}) {
      const auto error = with(wrong);
      REQUIRE(error);
      CHECK(error->variable == name);
      CHECK(error->value == std::to_string(wrong.count()) + " ns");
    }
    CHECK(with(0ns).has_value() != may_be_zero);
    CHECK_FALSE(with(1ns));
    CHECK_FALSE(with(a_year));
  };
  check("lease_ttl", [](auto builder, auto time) { return std::move(builder).lease_ttl(time); }, false);
  check(
      "lease_cleanup_interval", [](auto builder, auto time) { return std::move(builder).lease_cleanup_interval(time); },
      false);
  check("registration_wait", [](auto builder, auto time) { return std::move(builder).registration_wait(time); }, false);
  check("max_claim_wait", [](auto builder, auto time) { return std::move(builder).max_claim_wait(time); }, true);
  check("recovery_time", [](auto builder, auto time) { return std::move(builder).recovery_time(time); }, true);
  check("stall_tolerance", [](auto builder, auto time) { return std::move(builder).stall_tolerance(time); }, true);
}

TEST_CASE("a hub's bounds must be above zero") {
  const auto check = [](const char* name, auto option) {
    INFO(name);
    const auto error = refused([&](auto builder) { return option(std::move(builder), 0); });
    REQUIRE(error);
    CHECK(error->variable == name);
    CHECK(error->value == "0");
    CHECK_FALSE(refused([&](auto builder) { return option(std::move(builder), 1); }));
    CHECK_FALSE(
        refused([&](auto builder) { return option(std::move(builder), std::numeric_limits<std::size_t>::max()); }));
  };
  check("max_leases", [](auto builder, std::size_t n) { return std::move(builder).max_leases(n); });
  check("max_keys_per_query", [](auto builder, std::size_t n) { return std::move(builder).max_keys_per_query(n); });
  check("max_answer_bytes", [](auto builder, std::size_t n) { return std::move(builder).max_answer_bytes(n); });
  check("max_clients", [](auto builder, std::size_t n) { return std::move(builder).max_clients(n); });
  check(
      "max_leases_per_client", [](auto builder, std::size_t n) { return std::move(builder).max_leases_per_client(n); });
}

TEST_CASE("every bound and duration of a hub is set by the method of its name") {
  const HubOptions options =
      block_hub()
          .lease_ttl(1s)
          .lease_cleanup_interval(2s)
          .max_leases(3)
          .max_leases_per_client(4)
          .max_keys_per_query(5)
          .max_answer_bytes(6)
          .registration_wait(7s)
          .max_waiting(8)
          .max_waiting_claims(9)
          .max_waiting_bytes(10)
          .max_claim_wait(11s)
          .recovery_time(12s)
          .incarnation(13)
          .max_clients(14)
          .stall_tolerance(15s)
          .insist_on_holder(true)
          .build()
          .core()
          .options();
  CHECK(options.lease_ttl == 1s);
  CHECK(options.lease_cleanup_interval == 2s);
  CHECK(options.max_leases == 3);
  CHECK(options.max_leases_per_client == 4);
  CHECK(options.max_keys_per_query == 5);
  CHECK(options.max_answer_bytes == 6);
  CHECK(options.registration_wait == 7s);
  CHECK(options.max_waiting == 8);
  CHECK(options.max_waiting_claims == 9);
  CHECK(options.max_waiting_bytes == 10);
  CHECK(options.max_claim_wait == 11s);
  CHECK(options.recovery_time == 12s);
  CHECK(options.incarnation == 13);
  CHECK(options.max_clients == 14);
  CHECK(options.stall_tolerance == 15s);
  CHECK(options.insist_on_holder);
}

TEST_CASE("the defaults of a hub are those of the documentation") {
  const HubOptions options = block_hub().build().core().options();
  CHECK(options.lease_ttl == 30s);
  CHECK(options.lease_cleanup_interval == 1s);
  CHECK(options.max_leases == 10'000'000);
  CHECK(options.max_leases_per_client >= options.max_leases);
  CHECK(options.max_keys_per_query == 1'000'000);
  CHECK(options.max_answer_bytes == 64 << 20);
  CHECK_FALSE(options.insist_on_holder);
  CHECK(options.registration_wait == 1s);
  CHECK(options.max_waiting == 1'024);
  CHECK(options.max_waiting_claims == 65'536);
  CHECK(options.max_waiting_bytes == 64 << 20);
  CHECK(options.max_claim_wait == 1h);
  CHECK(options.recovery_time == 0s);
  CHECK(options.max_clients == 65'536);
  CHECK(options.max_namespaces == 64);
  CHECK(options.stall_tolerance == 100ms);
  CHECK(options.log);
}

TEST_CASE("options given as a whole replace those before, and are checked") {
  HubOptions options;
  options.lease_ttl = 5s;
  CHECK(block_hub().lease_ttl(1s).options(options).build().core().options().lease_ttl == 5s);
  CHECK(block_hub().options(options).lease_ttl(1s).build().core().options().lease_ttl == 1s);
  options.max_leases = 0;
  CHECK(refused([&](auto builder) { return std::move(builder).options(options); })->variable == "max_leases");
}

TEST_CASE("lease_ttl is the time of a lease") {
  auto hub = block_hub().lease_ttl(3s).build();
  ask(hub, "a", can_offload({1}));
  CHECK(ask(hub, "b", can_offload({1}), 3s - 1ns).message == statuses({leased}));
  CHECK(ask(hub, "b", can_offload({1}), 3s).message == statuses({granted}));
}

TEST_CASE("lease_cleanup_interval is how often leases are collected") {
  auto hub = block_hub().lease_ttl(1s).lease_cleanup_interval(10s).build();
  tick(hub, 0s);
  ask(hub, "a", can_offload({1}));
  tick(hub, 10s - 1ns);
  CHECK(hub.stats().leases.active == 1);
  tick(hub, 10s);
  CHECK(hub.stats().leases.active == 0);
}

TEST_CASE("max_leases bounds leases, and a query beyond it is refused whole") {
  auto hub = block_hub().max_leases(3).build();
  CHECK(ask(hub, "a", can_offload({1, 2})).message == statuses({granted, granted}));
  const std::string why = refusal(ask(hub, "b", can_offload({3, 4})));
  CHECK(why.find("max_leases") != std::string::npos);
  CHECK(ask(hub, "b", can_offload({3})).message == statuses({granted}));
  CHECK(hub.stats().leases.active == 3);
}

TEST_CASE("max_keys_per_query bounds a query") {
  auto hub = block_hub().max_keys_per_query(2).build();
  CHECK(ask(hub, "a", can_offload({1, 2})).message == statuses({granted, granted}));
  const std::string why = refusal(ask(hub, "a", can_offload({3, 4, 5})));
  CHECK(why.find("max_keys_per_query allows 2, got 3") != std::string::npos);
}

TEST_CASE("insist_on_holder lets only the holder register") {
  const bool insist = GENERATE(false, true);
  auto hub = block_hub().insist_on_holder(insist).log(nullptr).build();
  std::vector<FakeTransport::Answer> answers;
  ask_later(hub, can_offload({1}), envelope(1, {0, 1}), 0s, answers);
  store(hub, registration({{1, 10, {}}}), 0s, envelope(1, {0, 2}));
  CHECK(hub.stats().stored == (insist ? 0 : 1));
  CHECK(hub.stats().entries_refused == (insist ? 1 : 0));
  store(hub, registration({{1, 10, {}}}), 0s, envelope(1, {0, 1}));
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("registration_wait is how long a remove waits for what it must not overtake") {
  auto hub = block_hub().registration_wait(2s).log(nullptr).build();
  std::vector<FakeTransport::Answer> answers;
  ask_later(hub, keys(MessageType::remove, {1}), envelope(1, {0, 1}, 1), 0s, answers);
  const auto tick_at = [&](std::chrono::nanoseconds time) {
    hub.core().tick(Instant{SteadyTime{1h} + time, WallTime{}}, [&](ByteView, Frames, ByteView bytes) {
      answers.push_back({"", copy(bytes)});
      return true;
    });
  };
  tick_at(2s - 1ns);
  CHECK(answers.empty());
  tick_at(2s);
  REQUIRE(answers.size() == 1);
  CHECK(refusal(answers[0]) == "the registration that this must follow has not arrived within 2000 ms");
}

TEST_CASE("max_waiting bounds the queries that wait for a registration") {
  auto hub = block_hub().max_waiting(2).build();
  std::vector<FakeTransport::Answer> answers;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ask_later(hub, keys(MessageType::remove, {1}), envelope(i, {0, 1}, 1), 0s, answers);
  }
  REQUIRE(answers.size() == 1);
  CHECK(refusal(answers[0]).find("max_waiting allows 2, got 3") != std::string::npos);
}

TEST_CASE("max_clients bounds the clients whose registrations are kept in order") {
  auto hub = block_hub().max_clients(1).build();
  std::vector<FakeTransport::Answer> answers;
  store(hub, registration({{1, 10, {}}}), 0s, envelope(1, {0, 1}));
  ask_later(hub, keys(MessageType::remove, {1}), envelope(1, {0, 1}, 1), 0s, answers);
  CHECK(answers.size() == 1);
  store(hub, registration({{2, 20, {}}}), 0s, envelope(1, {0, 2}));
  // The first client is forgotten, so that the hub does not know whether its registration has come.
  ask_later(hub, keys(MessageType::remove, {1}), envelope(2, {0, 1}, 1), 0s, answers);
  CHECK(answers.size() == 1);
}

TEST_CASE("log hears of what no caller can be told") {
  std::vector<std::string> lines;
  auto hub = block_hub().log([&](LogLevel, std::string_view text) { lines.emplace_back(text); }).build();
  store(hub, Bytes{std::byte{1}});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("somebody") != std::string::npos);
}

TEST_CASE("on_evict takes a hook of four and of five parameters, the later one replaces the earlier") {
  std::vector<std::pair<Block, EvictionReason>> gone;
  bool is_first_called = false;
  const auto four = [&](const Block& key, const Block&, const NoMetadata&, EvictionReason reason) {
    gone.emplace_back(key, reason);
  };
  const auto five = [&](Block key, Block, NoMetadata, EvictionReason reason, const Departure<Block>&) {
    gone.emplace_back(key, reason);
  };
  const auto never = [&](Block, Block, NoMetadata, EvictionReason) { is_first_called = true; };
  const auto check = [&](auto hub) {
    store(hub, registration({{1, 10, {}}, {2, 20, {}}}));
    store(hub, registration({{2, 21, {}}}));
    ask(hub, "a", keys(MessageType::remove, {1}));
    CHECK(gone ==
          std::vector<std::pair<Block, EvictionReason>>{{2, EvictionReason::superseded}, {1, EvictionReason::removed}});
    CHECK_FALSE(is_first_called);
  };
  SECTION("four") { check(block_hub().on_evict(never).on_evict(four).build()); }
  SECTION("five") { check(block_hub().on_evict(never).on_evict(five).build()); }
}

TEST_CASE("a codec of the user's replaces ours and keeps the options and the hook") {
  int calls = 0;
  auto hub = block_hub()
                 .lease_ttl(2s)
                 .on_evict([&](Block, Block, NoMetadata, EvictionReason) { ++calls; })
                 .codec<OtherCodec>()
                 .build();
  CHECK(hub.core().options().lease_ttl == 2s);
  CHECK(ask(hub, "a", can_offload({1})).message.back() == std::byte{77});
  store(hub, registration({{1, 10, {}}}));
  ask(hub, "a", keys(MessageType::remove, {1}));
  CHECK(calls == 1);
}
