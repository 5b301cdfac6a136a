// SPDX-License-Identifier: Apache-2.0
// A storage that throws is the hub's own trouble: whoever asked is told, and the hub goes on.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <registry/eviction/tail.hpp>

#include "core/test_hub.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

struct Plan {
  std::optional<Number> find;  // the key for which the call throws
  std::optional<Number> insert;
  std::optional<Number> erase;
  bool is_odd = false;  // it throws what is no std::exception
};

class FailingKeys {
 public:
  using key_type = Number;
  using value_type = Number;
  using metadata_type = TimestampMetadata;
  using StoredType = Stored<Number, TimestampMetadata>;

  explicit FailingKeys(std::shared_ptr<Plan> plan) : plan_(std::move(plan)) {}

  const StoredType* find(const Number& key) const {
    fail(plan_->find, key);
    return storage_.find(key);
  }
  std::optional<StoredType> insert(TimedEntry entry) {
    fail(plan_->insert, entry.key);
    return storage_.insert(std::move(entry));
  }
  std::optional<StoredType> erase(const Number& key) {
    fail(plan_->erase, key);
    return storage_.erase(key);
  }
  std::size_t size() const { return storage_.size(); }

 private:
  void fail(std::optional<Number> plan, Number key) const {
    if (plan != key) return;
    if (plan_->is_odd) throw 42;
    throw std::runtime_error{"disk gone"};
  }
  std::shared_ptr<Plan> plan_;
  HashMapStorage<Number, Number, TimestampMetadata> storage_;
};

using FailingPolicy = NoEviction<FailingKeys>;

}  // namespace

TEST_CASE("when a storage throws in a query the asker is told, and leases granted by then are taken back") {
  const auto plan = std::make_shared<Plan>();
  TestHub<FailingPolicy> hub({}, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1});
  plan->find = 3;
  CHECK(hub.refusal(alice, TestHub<FailingPolicy>::keys(MessageType::can_offload, {1, 2, 3, 4})) ==
        "storage error: disk gone");
  CHECK(hub.stats().malformed == 0);
  CHECK(hub.stats().granted == 1);
  CHECK(hub.stats().leases.active == 1);
  CHECK(hub.can_offload(bob, {1, 2}) == Statuses{leased, granted});
  // Taking back is done once: an undeliverable answer must not do it again to what came since.
  CHECK(hub.refusal(alice, TestHub<FailingPolicy>::keys(MessageType::match, {3})) == "storage error: disk gone");
  plan->find.reset();
  CHECK(hub.can_offload(alice, {3}) == Statuses{granted});
}

TEST_CASE("when a storage throws in a remove, what it had removed by then stays removed") {
  const auto plan = std::make_shared<Plan>();
  TestHub<FailingPolicy> hub({}, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  hub.put(alice, {timed(1), timed(2), timed(3)});
  plan->erase = 2;
  CHECK(hub.refusal(alice, TestHub<FailingPolicy>::keys(MessageType::remove, {1, 2, 3})) == "storage error: disk gone");
  CHECK(hub.stats().removed == 1);
  CHECK(hub.stats().stored == 2);
}

TEST_CASE("an entry that a storage will not take is refused, its lease stays, and the others are stored") {
  const auto plan = std::make_shared<Plan>();
  TestHub<FailingPolicy> hub({}, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  Asker bob = client(2);
  hub.can_offload(alice, {1, 2, 3});
  plan->insert = 2;
  hub.put(alice, {timed(1), timed(2), timed(3)});
  CHECK(hub.stats().entries_registered == 2);
  CHECK(hub.stats().entries_refused == 1);
  CHECK(hub.stats().leases.converted == 2);
  CHECK(hub.log == std::vector<std::string>{"1 of 3 entries from peer1 were refused: storage error: disk gone"});
  CHECK(hub.can_offload(bob, {1, 2, 3}) == Statuses{already_stored, leased, already_stored});
}

TEST_CASE("of a registration that is sent again only those entries are refused at which the storage throws") {
  const auto plan = std::make_shared<Plan>();
  TestHub<FailingPolicy> hub({}, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  hub.put(alice, {timed(1, 5), timed(2)});
  const auto send_again = [&](std::uint64_t sequence, const std::vector<TimedEntry>& entries) {
    Bytes envelope;
    Envelope{sequence, *alice.id, std::nullopt, default_namespace, std::nullopt, std::nullopt, sequence}.encode(
        envelope);
    hub.put_raw("peer1", envelope, TestHub<FailingPolicy>::registration(entries));
  };
  SECTION("when it looks whether the key is stored") {
    plan->find = 2;
    send_again(2, {timed(2), timed(3)});
    CHECK(hub.log == std::vector<std::string>{"1 of 2 entries from peer1 were refused: storage error: disk gone"});
    CHECK(hub.match(alice, {3}) == std::vector<TimedEntry>{timed(3)});
  }
  SECTION("when it lets go what is over") {
    hub.pass(10s);
    plan->erase = 1;
    send_again(2, {timed(1), timed(3)});
    CHECK(hub.stats().entries_refused == 1);
    CHECK(hub.match(alice, {3}) == std::vector<TimedEntry>{timed(3)});
  }
  SECTION("when its first outcome is forgotten and it is to be said whether it is stored") {
    plan->insert = 5;
    for (int i = 0; i < 3; ++i) hub.put(alice, {timed(5)});
    Bytes settle;
    BinaryCodec<Number, Number, TimestampMetadata>::encode_count(MessageType::sync, 5, settle);
    hub.ask(alice, settle);
    plan->find = 2;
    send_again(1, {timed(1, 5), timed(2)});
    CHECK(hub.stats().repeated == 1);
  }
  CHECK(hub.stats().malformed == 0);
}

TEST_CASE("a storage that throws for a key that is waited for keeps only its waiters waiting") {
  const auto plan = std::make_shared<Plan>();
  HubOptions options;
  options.lease_cleanup_interval = 1s;
  TestHub<FailingPolicy> hub(options, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  Asker bob = client(2);
  Asker carol = client(3);
  const auto claim = [&](Asker& asker, Number key) {
    hub.query(asker.sender, asker.envelope(), claim_message({key}, 60s));
  };
  hub.can_offload(alice, {1, 2});
  hub.replies.clear();
  claim(bob, 1);
  claim(carol, 2);
  plan->find = 1;
  hub.pass(30s);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  CHECK(hub.replies[0].recipient == "peer3");
  CHECK(hub.log.size() == 1);
  CHECK(hub.stats().waiting_claims == 1);
  plan->find.reset();
  hub.pass(1s);
  hub.tick();
  REQUIRE(hub.replies.size() == 2);
  CHECK(hub.replies[1].recipient == "peer2");
}

TEST_CASE("whatever a storage throws, the hub goes on") {
  const auto plan = std::make_shared<Plan>();
  plan->is_odd = true;
  HubOptions options;
  options.lease_cleanup_interval = 1s;
  TestHub<FailingPolicy> hub(options, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  Asker bob = client(2);
  const std::string why = "something that is no std::exception was thrown";
  hub.put(alice, {timed(1, 5)});
  plan->find = 2;
  CHECK(hub.refusal(alice, TestHub<FailingPolicy>::keys(MessageType::match, {2})) == "storage error: " + why);
  plan->insert = 3;
  hub.put(alice, {timed(3), timed(4)});
  REQUIRE(hub.refused.size() == 1);
  CHECK(std::get<StorageError>(hub.refused[0].why).reason == why);
  CHECK(hub.match(alice, {3, 4}) == std::vector<TimedEntry>{timed(4)});
  plan->find.reset();
  hub.can_offload(alice, {2});
  hub.query(bob.sender, bob.envelope(), claim_message({2}, 60s));
  plan->find = 2;
  plan->erase = 1;
  hub.pass(30s);
  hub.log.clear();
  hub.tick();
  CHECK(hub.log == std::vector<std::string>{"entries that are over could not be collected: " + why,
                                            "what has become of a key that a claim waits for is not known: " + why});
  CHECK(hub.stats().waiting_claims == 1);
}

TEST_CASE("for want of memory a claim that waits may go without an answer, and then without a lease") {
  for (const MessageType type : {MessageType::release, MessageType::register_entries}) {
    for (std::size_t left = 0; left < 40; ++left) {
      CAPTURE(type, left);
      TestHub<> hub;
      Asker alice = client(1);
      hub.can_offload(alice, {1});
      for (const std::uint64_t n : {2U, 3U}) {
        Asker asker = client(n);
        hub.query(asker.sender, asker.envelope(), claim_message({1}, 60s));
      }
      std::size_t reached = 0;
      const auto reply = [&](ByteView recipient, Frames, ByteView) {
        if (as_text(recipient) != "peer1") ++reached;
        return true;
      };
      Bytes registered;
      Envelope{1, *alice.id, std::nullopt, alice.name_space}.encode(registered);
      const Bytes entries = TestHub<>::registration({{1, 10, {}}});
      const Bytes released = TestHub<>::keys(MessageType::release, {1});
      const std::vector<Bytes> envelope = alice.envelope();
      const ByteView frame = envelope[0];
      allocations().left = left;
      if (type == MessageType::release) {
        hub.core.query(as_bytes(alice.sender), Frames{&frame, 1}, released, hub.now, reply);
      } else {
        hub.core.registration("peer1", ByteView{registered}, entries, hub.now, reply);
      }
      allocations() = {};
      for (int i = 0; i < 3; ++i) hub.core.tick(hub.now, reply);
      const HubStats stats = hub.stats();
      CAPTURE(stats.waiting_claims, stats.stored, stats.entries_refused, reached);
      if (stats.waiting_claims == 2) {
        CHECK(stats.leases.active == 1);  // nothing has happened: it is alice's
      } else if (type == MessageType::release) {
        CHECK(stats.leases.active == reached);
      } else {
        CHECK(stats.leases.active == 0);
        CHECK(stats.waiting_claims == 0);
      }
    }
  }
}

TEST_CASE("an answer for which there is no memory is one that reaches nobody") {
  TestHub<> hub;
  Asker alice = client(1);
  Asker bob = client(2);
  const auto claim = [&](Asker& asker) { hub.query(asker.sender, asker.envelope(), claim_message({1}, 60s)); };
  hub.is_out_of_memory = true;
  hub.query(alice.sender, alice.envelope(), TestHub<>::keys(MessageType::can_offload, {1}));
  CHECK(hub.stats().undeliverable == 1);
  CHECK(hub.stats().leases.active == 0);
  hub.is_out_of_memory = false;
  CHECK(hub.can_offload(bob, {1}) == Statuses{granted});
  claim(alice);
  hub.is_out_of_memory = true;
  hub.pass(30s);
  hub.tick();
  CHECK(hub.stats().undeliverable == 2);
  CHECK(hub.stats().waiting_claims == 0);
  hub.is_out_of_memory = false;
  CHECK(hub.can_offload(bob, {1}) == Statuses{granted});
}

TEST_CASE("an entry that is over and cannot be erased stays as good as absent") {
  const auto plan = std::make_shared<Plan>();
  HubOptions options;
  options.lease_cleanup_interval = 1s;
  TestHub<FailingPolicy> hub(options, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  hub.put(alice, {timed(1, 5), timed(2, 6), timed(3)});
  hub.pass(10s);
  plan->erase = 1;
  CHECK(hub.refusal(alice, TestHub<FailingPolicy>::keys(MessageType::match, {1})) == "storage error: disk gone");
  CHECK(hub.refusal(alice, TestHub<FailingPolicy>::keys(MessageType::can_offload, {3, 1})) ==
        "storage error: disk gone");
  hub.put(alice, {timed(1, 60)});
  CHECK(hub.stats().entries_refused == 1);
  CHECK(hub.match(alice, {2, 3}) == std::vector<TimedEntry>{timed(3)});

  // A tick survives it, says so, and tries again at the next cleanup.
  hub.log.clear();
  hub.tick();
  CHECK(hub.log == std::vector<std::string>{"entries that are over could not be collected: disk gone"});
  CHECK(hub.core.next_deadline() == hub.now.lease + 1s);
  CHECK(hub.stats().expired == 1);
  plan->erase.reset();
  hub.pass(1s);
  hub.tick();
  CHECK(hub.stats().expired == 2);
  CHECK(hub.stats().stored == 1);
  CHECK(hub.core.next_deadline() == std::nullopt);
}

TEST_CASE("leases are collected although entries cannot be") {
  const auto plan = std::make_shared<Plan>();
  HubOptions options;
  options.lease_ttl = 1s;
  TestHub<FailingPolicy> hub(options, FailingPolicy(FailingKeys{plan}));
  Asker alice = client(1);
  hub.put(alice, {timed(1, 5)});
  std::vector<Number> keys;
  for (Number key = 100; key < 400; ++key) keys.push_back(key);
  hub.can_offload(alice, keys);
  hub.pass(10s);
  plan->erase = 1;
  hub.tick();
  CHECK(hub.stats().leases.active == 44);
  CHECK(hub.core.next_deadline() == hub.now.lease);
  hub.tick();
  CHECK(hub.stats().leases.active == 0);
}

TEST_CASE("a hook that throws is counted and logged, and the entry has left all the same") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}});
  hub.on_gone = [&](const Departure<Number>& departure) {
    const EvictionHandle handle = departure.hold();
    if (hub.gone.size() == 1) throw std::runtime_error{"no bucket"};
    throw 42;
  };
  CHECK(hub.remove(alice, {1, 2}) == 2);
  CHECK(hub.stats().hook_failures == 2);
  CHECK(hub.stats().removed == 2);
  CHECK(hub.log == std::vector<std::string>{
                       "on_evict threw for key 0100000000000000: no bucket",
                       "on_evict threw for key 0200000000000000: something that is no std::exception was thrown"});
  // The handles went with the exceptions.
  CHECK(hub.can_offload(alice, {1, 2}) == Statuses{granted, granted});
}

TEST_CASE("a hook that throws for what was evicted or superseded does not keep the new entry out") {
  TestHub<TailEviction<PlainStorage>> hub({}, TailEviction(PlainStorage{}, 1));
  Asker alice = client(1);
  hub.on_gone = [](const Departure<Number>&) { throw std::runtime_error{"no bucket"}; };
  hub.put(alice, {{1, 10, {}}, {2, 20, {}}, {2, 21, {}}});
  CHECK(hub.stats().hook_failures == 2);
  CHECK(hub.stats().evicted == 1);
  CHECK(hub.stats().superseded == 1);
  CHECK(hub.stats().entries_registered == 3);
  CHECK(hub.match(alice, {1, 2}) == std::vector<PlainEntry>{{2, 21, {}}});
}

TEST_CASE("a stored entry that has no wire form cannot be answered with, and says so") {
  TestHub<Timed> hub;
  std::vector<TimedEntry> evicted;
  hub.core.policy().insert({1, 10, {1, 0}}, evicted);
  Asker alice = client(1);
  hub.put(alice, {timed(2)});
  CHECK(hub.refusal(alice, TestHub<Timed>::keys(MessageType::match, {2, 1}))
            .starts_with("storage error: key 0100000000000000: cannot encode: metadata that has no wire form"));
  CHECK(hub.match(alice, {2}).size() == 1);
}

TEST_CASE("a registration for which there is no memory is refused whole, and later ones end no lease but their own") {
  std::size_t failures = 0;
  for (std::size_t left = 0; failures == left; ++left) {
    CAPTURE(left);
    TestHub<Timed> hub;
    Asker alice = client(1);
    Asker bob = client(2);
    Asker carol = client(3);
    hub.put(alice, {timed(1000, 100'000)});
    CHECK(hub.can_offload(alice, {5}) == Statuses{granted});
    const Bytes message = TestHub<Timed>::registration({timed(5, 200'000)});
    REQUIRE_FALSE(fails_with_allocations(left, [&] { hub.put_raw("alice", std::nullopt, message); }));
    const HubStats after = hub.stats();
    if (after.entries_registered == 1) {
      ++failures;
      CHECK(after.stored == 1);
      CHECK(after.leases.active == 1);
      CHECK(hub.can_offload(bob, {5}) == Statuses{leased});
    } else {
      CHECK(after.stored == 2);
      CHECK(after.leases.converted == 1);
    }
    hub.pass(30s);
    hub.tick();
    CHECK(hub.can_offload(bob, {6}) == Statuses{granted});
    hub.put(alice, {timed(1000, 100'000)});
    CHECK(hub.can_offload(carol, {6}) == Statuses{leased});
  }
  CHECK(failures > 3);
}

TEST_CASE("a hook that throws where there is no memory to say so does not keep the new entry out") {
  TestHub<Timed> hub;
  Asker alice = client(1);
  hub.put(alice, {timed(1)});
  hub.on_gone = [](const Departure<Number>&) {
    allocations().left = 0;
    throw std::runtime_error{"gone"};
  };
  hub.put(alice, {{1, 11, {1'700'000'000, {}}}});
  allocations() = {};
  CHECK(hub.stats().entries_refused == 0);
  CHECK(hub.stats().entries_registered == 2);
  CHECK(hub.match(alice, {1}).front().value == 11);
}

TEST_CASE("a denied registration for which there is no memory ends no hub") {
  const Bytes message = TestHub<Timed>::registration({timed(1), timed(2)});
  const Error why = HubError{"theirs is denied"};
  std::size_t left = 0;
  for (bool is_told = false; !is_told; ++left) {
    CAPTURE(left);
    TestHub<Timed> hub;
    REQUIRE_FALSE(fails_with_allocations(left, [&] { hub.core.denied("theirs", message, why, hub.now); }));
    is_told = !hub.refused.empty();
    REQUIRE(left < 100);
  }
  CHECK(left > 1);
}
