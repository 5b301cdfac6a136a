// SPDX-License-Identifier: Apache-2.0
// Many catalogues behind one hub: nothing in common, made on demand, and no more than the bound allows.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/core/hub_namespaces.hpp>
#include <registry/eviction/recency.hpp>

#include "core/test_hub.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

using Names = std::vector<std::string>;

Plain unbounded(std::string_view) { return Plain(PlainStorage{}); }

/// The namespaces of a hub with everything around them: as TestHub, which speaks to one core.
template <class P = Plain>
class Hub {
 public:
  using Made = HubNamespaces<P>;
  using Wire = TestHub<P>;

  explicit Hub(typename Made::Factory factory, HubOptions options = {},
               NamespaceEvictionHook<Number, Number, NoMetadata> on_evict = {})
      : namespaces(std::move(factory), logging(std::move(options)), std::move(on_evict)) {}

  Bytes ask(Asker& asker, const Bytes& message, std::optional<std::uint64_t> after = {}) {
    const std::vector<Bytes> envelope = asker.envelope(after);
    const std::vector<ByteView> frames(envelope.begin(), envelope.end());
    const std::size_t before = answers.size();
    namespaces.query(as_bytes(asker.sender), frames, message, now, reply());
    return answers.size() == before ? Bytes{} : answers.back();
  }

  Statuses can_offload(Asker& asker, const Numbers& keys) {
    Statuses statuses;
    const Bytes answer = ask(asker, Wire::keys(MessageType::can_offload, keys));
    if (auto error = BinaryCodec<Number, Number, NoMetadata>::decode_statuses(answer, statuses)) {
      throw RegistryError{*error};
    }
    return statuses;
  }

  std::size_t found(Asker& asker, const Numbers& keys) {
    std::vector<PlainEntry> entries;
    const Bytes answer = ask(asker, Wire::keys(MessageType::match, keys));
    if (auto error = BinaryCodec<Number, Number, NoMetadata>::decode_entries(answer, entries)) {
      throw RegistryError{*error};
    }
    return entries.size();
  }

  std::string refusal(Asker& asker, const Bytes& message) { return Wire::error_text(ask(asker, message)); }

  void put(Asker& asker, const std::vector<PlainEntry>& entries) { put_raw(asker, Wire::registration(entries)); }

  void put_raw(Asker& asker, const Bytes& message) {
    if (!asker.id) return namespaces.registration(asker.sender, std::nullopt, message, now, reply());
    Bytes envelope;
    Envelope{++asker.sequence, *asker.id, {}, asker.name_space}.encode(envelope);
    namespaces.registration(asker.sender, ByteView{envelope}, message, now, reply());
  }

  auto reply() {
    return [this](ByteView, Frames, ByteView message) {
      answers.emplace_back(message.begin(), message.end());
      return reachable;
    };
  }

  void pass(std::chrono::nanoseconds time) { now.lease += time; }
  void tick() { namespaces.tick(now, reply()); }

  Instant now{SteadyTime{1000s}, std::chrono::sys_seconds{std::chrono::seconds{1'700'000'000}}};
  bool reachable = true;
  std::vector<Bytes> answers;
  Names log;
  Made namespaces;

 private:
  HubOptions logging(HubOptions options) {
    options.log = [this](LogLevel, std::string_view text) { log.emplace_back(text); };
    return options;
  }
};

Asker tenant(std::uint64_t n, std::string name) {
  Asker asker = client(n);
  asker.name_space = std::move(name);
  return asker;
}

HubOptions at_most(std::size_t namespaces) {
  HubOptions options;
  options.max_namespaces = namespaces;
  return options;
}

Bytes offload(Number key) { return TestHub<>::keys(MessageType::can_offload, {key}); }

Bytes hello(const std::string& name) {
  Bytes message;
  BinaryCodec<Number, Number, NoMetadata>::encode_text(MessageType::hello, name, message);
  return message;
}

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("entries of one namespace are invisible in another") {
  Hub<> hub(unbounded);
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  Asker plain = client(3);
  Asker rust = anonymous("rust");
  hub.put(a, {{1, 10, {}}});
  hub.put(rust, {{2, 20, {}}});
  CHECK(hub.found(a, {1, 2}) == 1);
  CHECK(hub.found(b, {1, 2}) == 0);
  CHECK(hub.found(plain, {1, 2}) == 1);
  CHECK(hub.found(rust, {2}) == 1);
  hub.put(b, {{1, 11, {}}});
  CHECK(TestHub<>::read_count(hub.ask(b, TestHub<>::keys(MessageType::remove, {1})), MessageType::remove_response) ==
        1);
  CHECK(hub.found(a, {1}) == 1);
}

TEST_CASE("leases of one namespace are invisible in another") {
  Hub<> hub(unbounded);
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  Asker other = tenant(3, "a");
  CHECK(hub.can_offload(a, {1}) == Statuses{granted});
  CHECK(hub.can_offload(b, {1}) == Statuses{granted});
  CHECK(hub.can_offload(other, {1}) == Statuses{leased});
  hub.put(b, {{1, 10, {}}});
  CHECK(hub.can_offload(other, {1}) == Statuses{leased});
  // The same client in two namespaces is two holders.
  Asker both = tenant(1, "b");
  CHECK(TestHub<>::read_count(
            hub.ask(both, TestHub<>::keys(MessageType::release, {1})), MessageType::release_response) == 0);
  CHECK(hub.can_offload(other, {1}) == Statuses{leased});
}

TEST_CASE("a namespace is made by the first message for it that can be read, default from the start") {
  Names made;
  Hub<> hub([&](std::string_view name) {
    made.emplace_back(name);
    return unbounded(name);
  });
  CHECK(made == Names{"default"});
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  Asker c = tenant(3, "c");
  CHECK(hub.ask(a, hello("a")).size() == 5);
  hub.put(b, {{1, 10, {}}});
  hub.can_offload(c, {1});
  hub.can_offload(a, {1});
  CHECK(made == Names{"default", "a", "b", "c"});
  CHECK(hub.namespaces.namespaces() == Names{"a", "b", "c", "default"});
  CHECK(hub.namespaces.find("b")->policy().size() == 1);
  CHECK(hub.namespaces.find("d") == nullptr);
}

TEST_CASE("bytes that are no message make no namespace, and are malformed") {
  Hub<> hub(unbounded);
  Asker stranger = tenant(1, "x");
  CHECK(holds(hub.refusal(stranger, bytes("\x09\x02")), "version"));
  CHECK(holds(hub.refusal(stranger, bytes("\x01")), "too short"));
  hub.put_raw(stranger, bytes("\x01\x63"));
  CHECK(hub.namespaces.namespaces() == Names{"default"});
  const HubStats stats = hub.namespaces.stats();
  CHECK(stats.malformed == 3);
  CHECK(stats.queries == 2);
  CHECK(stats.registrations == 1);
  REQUIRE(hub.log.size() == 1);
  CHECK(holds(hub.log[0], "a registration from peer1 was dropped: invalid message type: got 99"));
}

TEST_CASE("one namespace more than the bound is refused, naming the limit") {
  Hub<> hub(unbounded, at_most(2));
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  hub.ask(a, hello("a"));
  CHECK(hub.refusal(b, hello("b")) == "limit exceeded: max_namespaces allows 2, got 3");
  CHECK(holds(hub.refusal(b, offload(1)), "max_namespaces allows 2, got 3"));
  hub.put(b, {{1, 10, {}}, {2, 20, {}}});
  REQUIRE(hub.log.size() == 1);
  CHECK(
      hub.log[0] ==
      "a registration from peer2 was dropped: 2 entries for namespace \"b\": limit exceeded: max_namespaces allows 2, "
      "got 3");
  const HubStats stats = hub.namespaces.stats();
  CHECK(stats.queries == 3);
  CHECK(stats.registrations == 1);
  CHECK(stats.entries_refused == 2);
  CHECK(stats.malformed == 0);
  CHECK_FALSE(hub.namespaces.stats("b"));
  // What is there goes on.
  CHECK(hub.can_offload(a, {1}) == Statuses{granted});
  Asker plain = client(3);
  CHECK(hub.can_offload(plain, {1}) == Statuses{granted});
}

TEST_CASE("names without end make no namespaces without end") {
  Hub<> hub(unbounded);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Asker stranger = tenant(i, "n" + std::to_string(i));
    hub.ask(stranger, hello(stranger.name_space));
  }
  CHECK(hub.namespaces.namespaces().size() == 64);
}

TEST_CASE("the bound of 1 leaves default alone") {
  Hub<> hub(unbounded, at_most(1));
  Asker a = tenant(1, "a");
  Asker rust = anonymous("rust");
  CHECK(holds(hub.refusal(a, hello("a")), "max_namespaces allows 1, got 2"));
  CHECK(hub.can_offload(rust, {1}) == Statuses{granted});
}

TEST_CASE("what is refused may find nobody, and registrations may hold nonsense") {
  Hub<> hub(unbounded, at_most(1));
  Asker a = tenant(1, "a");
  hub.reachable = false;
  hub.ask(a, offload(1));
  CHECK(hub.namespaces.stats().undeliverable == 1);
  Bytes broken = TestHub<>::registration({{1, 10, {}}});
  broken.pop_back();
  hub.put_raw(a, broken);
  CHECK(hub.namespaces.stats().malformed == 1);
  CHECK(hub.namespaces.stats().entries_refused == 0);
}

TEST_CASE("a namespace whose storage cannot be made is refused and tried again") {
  bool works = false;
  Hub<> hub([&](std::string_view name) {
    if (name == "a" && !works) throw std::runtime_error("the disk is full");
    return unbounded(name);
  });
  Asker a = tenant(1, "a");
  CHECK(hub.refusal(a, offload(1)) == "storage error: the disk is full");
  CHECK_FALSE(hub.namespaces.stats("a"));
  works = true;
  CHECK(hub.can_offload(a, {1}) == Statuses{granted});
}

TEST_CASE("a namespace whose storage throws what is no std::exception is refused as well") {
  Hub<> hub([&](std::string_view name) {
    if (name == "a") throw 42;
    return unbounded(name);
  });
  Asker a = tenant(1, "a");
  CHECK(hub.refusal(a, offload(1)) == "storage error: something that is no std::exception was thrown");
}

TEST_CASE("a storage that cannot be made for default ends the hub before it begins") {
  CHECK_THROWS_AS(Hub<>([](std::string_view) -> Plain { throw std::runtime_error("no"); }), std::runtime_error);
}

TEST_CASE("capacity and statistics are those of each namespace, and their sum") {
  using Recent = RecencyEviction<PlainStorage>;
  Hub<Recent> hub([](std::string_view name) { return Recent(PlainStorage{}, name == "small" ? 1 : 3); });
  Asker small = tenant(1, "small");
  Asker large = tenant(2, "large");
  for (Asker* asker : {&small, &large}) hub.put(*asker, {{1, 10, {}}, {2, 20, {}}, {3, 30, {}}});
  hub.can_offload(large, {1, 4});
  CHECK(hub.namespaces.stats("small")->stored == 1);
  CHECK(hub.namespaces.stats("small")->evicted == 2);
  CHECK(hub.namespaces.stats("small")->queries == 0);
  CHECK(hub.namespaces.stats("large")->stored == 3);
  CHECK(hub.namespaces.stats("large")->evicted == 0);
  CHECK(hub.namespaces.stats("large")->leases.active == 1);
  CHECK(hub.namespaces.stats("default")->stored == 0);
  const HubStats sum = hub.namespaces.stats();
  CHECK(sum.stored == 4);
  CHECK(sum.evicted == 2);
  CHECK(sum.entries_registered == 6);
  CHECK(sum.registrations == 2);
  CHECK(sum.queries == 1);
  CHECK(sum.granted == 1);
  CHECK(sum.already_stored == 1);
  CHECK(sum.leases.granted == 1);
  CHECK(sum.leases.active == 1);
}

TEST_CASE("the hook hears of the namespace that something leaves") {
  std::vector<std::pair<std::string, Number>> gone;
  std::vector<EvictionHandle> deleting;
  Hub<> hub(unbounded, {},
            [&](std::string_view name, const Number& key, const Number&, const NoMetadata&, EvictionReason,
                const Departure<Number>& departure) {
              gone.emplace_back(name, key);
              deleting.push_back(departure.hold());
            });
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  Asker plain = client(3);
  for (Asker* asker : {&b, &a, &plain}) {
    hub.put(*asker, {{1, 10, {}}});
    hub.ask(*asker, TestHub<>::keys(MessageType::remove, {1}));
    if (asker == &b) CHECK(hub.can_offload(a, {1}) == Statuses{granted});
    CHECK(hub.can_offload(*asker, {1}) == Statuses{leased});
  }
  CHECK(gone == std::vector<std::pair<std::string, Number>>{{"b", 1}, {"a", 1}, {"default", 1}});
}

TEST_CASE("reports name the namespace that they are about") {
  HubOptions options;
  options.insist_on_holder = true;
  Hub<> hub(unbounded, options);
  Asker a = tenant(1, "a");
  hub.put(a, {{1, 10, {}}});
  REQUIRE(hub.log.size() == 1);
  CHECK(holds(hub.log[0], "namespace \"a\": 1 of 1 entries from peer1 were refused"));
}

TEST_CASE("a name neither begins a line of its own in a report nor tells a terminal what to do") {
  HubOptions options = at_most(2);
  options.insist_on_holder = true;
  Hub<> hub(unbounded, options);
  for (const std::uint64_t n : {1U, 2U}) {
    Asker asker = tenant(n, "a\nregistry: error: \x1b[2J" + std::string(n, '\xc3'));
    hub.put(asker, {{1, 10, {}}});
  }
  REQUIRE(hub.log.size() == 2);
  for (const std::string& line : hub.log) {
    CHECK(holds(line, "a\\x0aregistry: error: \\x1b[2J\\xc3"));
    CHECK(line.find_first_of("\n\x1b\xc3") == std::string::npos);
  }
}

TEST_CASE("time passes in every namespace") {
  Hub<> hub(unbounded);
  CHECK_FALSE(hub.namespaces.next_deadline());
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  hub.can_offload(a, {1});
  hub.pass(10s);
  hub.can_offload(b, {1});
  CHECK(hub.namespaces.next_deadline());
  hub.tick();
  const auto due = hub.namespaces.next_deadline();
  REQUIRE(due);
  CHECK(*due == hub.now.lease + 1s);
  hub.pass(20s);
  hub.tick();
  CHECK(hub.namespaces.stats("a")->leases.active == 0);
  CHECK(hub.namespaces.stats("b")->leases.active == 1);
  CHECK(hub.namespaces.next_deadline());
  hub.pass(10s);
  hub.tick();
  CHECK_FALSE(hub.namespaces.next_deadline());
}

TEST_CASE("what waits in any namespace is refused when the hub stops") {
  Hub<> hub(unbounded);
  Asker a = tenant(1, "a");
  Asker b = tenant(2, "b");
  CHECK(hub.ask(a, TestHub<>::keys(MessageType::remove, {1}), 1).empty());
  CHECK(hub.ask(b, TestHub<>::keys(MessageType::remove, {1}), 1).empty());
  // A registration in one namespace releases nothing in another.
  Asker same_client = tenant(1, "b");
  hub.put(same_client, {{1, 10, {}}});
  CHECK(hub.answers.empty());
  hub.namespaces.end_waiting(hub.now, hub.reply());
  REQUIRE(hub.answers.size() == 2);
  for (const Bytes& answer : hub.answers) CHECK(TestHub<>::error_text(answer) == "the hub is stopping");
}

TEST_CASE("a message that is none is counted and reported, in no namespace") {
  Hub<> hub(unbounded);
  Asker a = tenant(1, "a");
  hub.can_offload(a, {1});
  hub.namespaces.malformed("somebody", "9 frames", hub.now);
  CHECK(hub.namespaces.stats().malformed == 1);
  CHECK(hub.namespaces.stats("a")->malformed == 0);
  CHECK(hub.log == Names{"a message from somebody was dropped: 9 frames"});
}

TEST_CASE("to find the namespace of a message allocates nothing") {
  Hub<> hub(unbounded);
  Asker a = tenant(1, "a-name-that-no-small-string-holds-in-itself");
  Asker b = tenant(2, "b");
  const Bytes message = offload(1);
  std::vector<Bytes> frames{a.envelope()[0], b.envelope()[0]};
  const auto ask_both = [&] {
    for (const Bytes& frame : frames) {
      const ByteView view = frame;
      hub.namespaces.query(
          as_bytes("peer"), Frames{&view, 1}, message, hub.now, [](ByteView, Frames, ByteView) { return true; });
    }
  };
  ask_both();
  CHECK(allocated_by(ask_both) == 0);
}

TEST_CASE("the recovery time of a namespace runs from the start of the hub, not from its first message") {
  HubOptions options;
  options.recovery_time = 10s;
  Hub hub(unbounded, options);
  hub.namespaces.tick(hub.now, hub.reply());
  Asker early{"peer1", ClientId{7, 1}, "early"};
  CHECK(hub.can_offload(early, {1}) == Statuses{leased});
  hub.now.lease += 10s;
  Asker late{"peer2", ClientId{7, 2}, "late"};
  CHECK(hub.can_offload(late, {1}) == Statuses{granted});
  CHECK(hub.can_offload(early, {1}) == Statuses{granted});
}
