// SPDX-License-Identifier: Apache-2.0
// Claims: holders of their own, that may wait for what others hold.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <registry/trailer.hpp>

#include "core/test_hub.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

struct ClaimReply {
  Statuses statuses;
  std::uint64_t incarnation = 0;
  std::uint64_t token = 0;
  std::chrono::nanoseconds ttl{};
  std::chrono::nanoseconds waited{};
};

ClaimReply read_claim(const Bytes& answer) {
  MessageType type{};
  const auto parts = split_trailer<4>(answer);
  ClaimReply reply;
  if (PlainCodec::decode_type(answer, type) || type != MessageType::claim_response || !parts ||
      PlainCodec::decode_statuses(parts->first, reply.statuses)) {
    throw std::runtime_error{"no answer to a claim: " + std::string{as_text(answer)}};
  }
  const auto& [incarnation, token, ttl, waited] = parts->second;
  reply.incarnation = incarnation;
  reply.token = token;
  reply.ttl = std::chrono::nanoseconds{static_cast<std::int64_t>(ttl)};
  reply.waited = std::chrono::nanoseconds{static_cast<std::int64_t>(waited)};
  return reply;
}

/// A claim of a client's, with the requests that it makes.
struct Claimant {
  Asker asker;
  std::uint64_t number;

  std::vector<Bytes> envelope() {
    std::vector<Bytes> frames(1);
    Envelope{++asker.request, *asker.id, std::nullopt, asker.name_space, number}.encode(frames[0]);
    return frames;
  }

  template <class Hub>
  void send(Hub& hub, const Bytes& message) {
    hub.query(asker.sender, envelope(), message);
  }

  /// Claims, and answers what came back at once; nothing where it waits.
  template <class Hub>
  std::optional<ClaimReply> claim(Hub& hub, const Numbers& keys, std::chrono::nanoseconds wait = 0s) {
    const std::size_t before = hub.replies.size();
    send(hub, claim_message(keys, wait));
    if (hub.replies.size() == before) return std::nullopt;
    return read_claim(hub.replies.back().message);
  }

  template <class Hub>
  std::uint64_t release(Hub& hub, const Numbers& keys) {
    const std::size_t before = hub.replies.size();
    send(hub, TestHub<>::keys(MessageType::release, keys));
    return TestHub<>::read_count(hub.replies.at(before).message, MessageType::release_response);
  }

  template <class Hub>
  std::vector<RenewStatus> renew(Hub& hub, const Numbers& keys, std::uint64_t incarnation) {
    Bytes message = TestHub<>::keys(MessageType::renew, keys);
    append_trailer<1>({incarnation}, message);
    const std::size_t before = hub.replies.size();
    send(hub, message);
    const Bytes answer = hub.replies.at(before).message;
    const auto parts = split_trailer<2>(answer);
    std::vector<RenewStatus> statuses;
    if (!parts || PlainCodec::decode_statuses(parts->first, statuses))
      throw std::runtime_error{"no answer to a renewal"};
    return statuses;
  }

  /// Withdraws the last request.
  template <class Hub>
  void withdraw(Hub& hub, const Numbers& keys) {
    --asker.request;
    send(hub, TestHub<>::keys(MessageType::withdraw, keys));
  }
};

/// Of clients whose claims are nobody else's: see Holder.
Claimant claim_of(std::uint64_t n, std::uint64_t number = 1) {
  return {{"peer" + std::to_string(n), ClientId{100 + n, 7}}, number};
}

/// Alice holds a key, and Bob waits for it.
struct OneWaits {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);

  OneWaits() {
    alice.claim(hub, {1});
    REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  }
};

HubOptions incarnated(std::uint64_t incarnation) {
  HubOptions options;
  options.incarnation = incarnation;
  return options;
}

/// Who was answered since `from`, in order.
std::vector<std::string> answered(const TestHub<>& hub, std::size_t from) {
  std::vector<std::string> who;
  for (std::size_t i = from; i < hub.replies.size(); ++i) who.push_back(hub.replies[i].recipient);
  return who;
}

}  // namespace

TEST_CASE("a claim is a holder of its own, also among those of one client") {
  TestHub<> hub(incarnated(7));
  Claimant first = claim_of(1, 1);
  Claimant second = claim_of(1, 2);
  Asker alice = client(1);
  const ClaimReply reply = first.claim(hub, {1, 2}).value();
  CHECK(reply.statuses == Statuses{granted, granted});
  CHECK(reply.incarnation == 7);
  CHECK(reply.ttl == 30s);
  CHECK(reply.waited == 0s);
  CHECK(second.claim(hub, {1, 2, 3}).value().statuses == Statuses{leased, leased, granted});
  CHECK(hub.can_offload(alice, {1, 3, 4}) == Statuses{leased, leased, granted});
  CHECK(second.claim(hub, {4}).value().statuses == Statuses{leased});
  // What one gives back is nobody else's business.
  CHECK(second.release(hub, {1, 2}) == 0);
  CHECK(first.release(hub, {1, 2}) == 2);
  CHECK(second.claim(hub, {1}).value().statuses == Statuses{granted});
}

TEST_CASE("a key named twice in a claim is granted once") {
  TestHub<> hub;
  Claimant claim = claim_of(1);
  CHECK(claim.claim(hub, {1, 1}).value().statuses == Statuses{granted, leased});
}

TEST_CASE("tokens only grow, from grant to grant and from hub to hub") {
  Claimant alice = claim_of(1);
  std::uint64_t last = 0;
  {
    TestHub<> hub;
    for (const Number key : {1U, 2U, 1U}) {
      const std::uint64_t token = alice.claim(hub, {key}).value().token;
      CHECK(token > last);
      last = token;
      hub.now.wall -= 1h;
    }
    Claimant bob = claim_of(2);
    CHECK(bob.claim(hub, {1}).value().token == 0);  // granted nothing
  }
  TestHub<> next;
  next.pass(1ms);
  CHECK(alice.claim(next, {1}).value().token > last);
}

TEST_CASE("a claim that is granted something does not wait, nor one for which nobody holds anything") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Asker writer = client(3);
  alice.claim(hub, {1});
  hub.put(writer, {{2, 20, {}}});
  CHECK(bob.claim(hub, {1, 3}, 10s).value().statuses == Statuses{leased, granted});
  CHECK(bob.claim(hub, {2}, 10s).value().statuses == Statuses{already_stored});
  CHECK(bob.claim(hub, {}, 10s).value().statuses.empty());
  CHECK(bob.claim(hub, {1}).value().statuses == Statuses{leased});
  CHECK_FALSE(bob.claim(hub, {1, 2}, 10s));
  CHECK(hub.stats().waiting_claims == 1);
}

TEST_CASE("who waits is told when the key is registered") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Asker writer = client(3);
  alice.claim(hub, {1, 2});
  REQUIRE_FALSE(bob.claim(hub, {1, 2}, 10s));
  hub.pass(1s);
  const std::size_t before = hub.replies.size();
  hub.put(writer, {{1, 10, {}}});
  CHECK(hub.replies.size() == before);  // the other one is still leased
  hub.put(writer, {{2, 20, {}}});
  REQUIRE(hub.replies.size() == before + 1);
  CHECK(hub.replies[before].recipient == "peer2");
  const ClaimReply reply = read_claim(hub.replies[before].message);
  CHECK(reply.statuses == Statuses{already_stored, already_stored});
  CHECK(reply.waited == 1s);
  CHECK(reply.token == 0);
  CHECK(hub.stats().waiting_claims == 0);
}

TEST_CASE("who waits for a key that it names twice is told twice that it is stored") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Asker writer = client(3);
  alice.claim(hub, {1, 2});
  REQUIRE_FALSE(bob.claim(hub, {1, 2, 1}, 10s));
  SECTION("when all is stored") {
    hub.put(writer, {{1, 10, {}}, {2, 20, {}}});
    CHECK(read_claim(hub.replies.back().message).statuses == Statuses{already_stored, already_stored, already_stored});
  }
  SECTION("when another key comes free") {
    hub.put(writer, {{1, 10, {}}});
    alice.release(hub, {2});
    CHECK(read_claim(hub.replies.back().message).statuses == Statuses{already_stored, granted, already_stored});
  }
}

TEST_CASE("who waits is granted the key when it is given back, first come, first served") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  const std::uint64_t token = alice.claim(hub, {1}).value().token;
  std::vector<Claimant> waiting;
  for (std::uint64_t n = 2; n < 5; ++n) {
    waiting.push_back(claim_of(n));
    REQUIRE_FALSE(waiting.back().claim(hub, {1}, 20s));
  }
  // Whoever comes now stands behind them, with or without a wait.
  Asker late = client(9);
  CHECK(hub.can_offload(late, {1}) == Statuses{leased});
  std::size_t before = hub.replies.size();
  CHECK(alice.release(hub, {1}) == 1);
  CHECK(answered(hub, before) == std::vector<std::string>{"peer1", "peer2"});
  const ClaimReply reply = read_claim(hub.replies.back().message);
  CHECK(reply.statuses == Statuses{granted});
  CHECK(reply.token > token);
  CHECK(hub.can_offload(late, {1}) == Statuses{leased});
  before = hub.replies.size();
  CHECK(waiting[0].release(hub, {1}) == 1);
  CHECK(answered(hub, before) == std::vector<std::string>{"peer2", "peer3"});
  CHECK(hub.stats().granted == 3);
}

TEST_CASE("a thousand who wait for one key cost one grant, and nobody is forgotten") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  alice.claim(hub, {1});
  for (std::uint64_t n = 0; n < 1000; ++n) REQUIRE_FALSE(claim_of(100 + n).claim(hub, {1}, 60s));
  const HubStats before = hub.stats();
  alice.release(hub, {1});
  CHECK(hub.stats().granted == before.granted + 1);
  CHECK(hub.stats().waiting_claims == 999);
  Asker writer = client(100);
  const std::size_t replies = hub.replies.size();
  hub.put(writer, {{1, 10, {}}});
  // A slice at a time, so that others get their turn; the rest at once.
  CHECK(hub.replies.size() == replies + 256);
  for (std::size_t answered = 256; answered < 999; answered += 256) {
    REQUIRE(hub.core.next_deadline().value() <= hub.now.lease);
    hub.tick();
    CHECK(hub.replies.size() == replies + std::min<std::size_t>(answered + 256, 999));
  }
  CHECK(hub.stats().granted == before.granted + 1);
  CHECK(hub.stats().queries == before.queries + 1);
  CHECK(hub.stats().waiting_claims == 0);
}

TEST_CASE("who waits is granted the key as soon as its lease is over, and not before whoever asks then") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1});
  hub.tick();
  hub.pass(100ms);
  REQUIRE_FALSE(bob.claim(hub, {1}, 60s));
  CHECK(hub.core.next_deadline().value() <= hub.now.lease + 29'900ms);
  SECTION("by the tick that is asked for") {
    hub.pass(29'899ms);
    const std::size_t before = hub.replies.size();
    hub.tick();
    CHECK(hub.replies.size() == before);
    hub.pass(1ms);
    CHECK(hub.core.next_deadline().value() <= hub.now.lease);
    hub.tick();
    REQUIRE(hub.replies.size() == before + 1);
    CHECK(read_claim(hub.replies.back().message).waited == 29'900ms);
  }
  SECTION("also if somebody asks before the tick") {
    hub.pass(29'900ms);
    Asker late = client(3);
    CHECK(hub.can_offload(late, {1}) == Statuses{leased});
    hub.tick();
  }
  CHECK(hub.replies.back().recipient == "peer2");
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{granted});
}

TEST_CASE("a wait ends at its own time") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Claimant carol = claim_of(3);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 5s));
  REQUIRE_FALSE(carol.claim(hub, {1}, 2s));
  const std::size_t before = hub.replies.size();
  hub.pass(2s);
  CHECK(hub.core.next_deadline().value() <= hub.now.lease);
  hub.tick();
  CHECK(answered(hub, before) == std::vector<std::string>{"peer3"});
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{leased});
  CHECK(read_claim(hub.replies.back().message).waited == 2s);
  hub.pass(3s);
  hub.tick();
  CHECK(answered(hub, before) == std::vector<std::string>{"peer3", "peer2"});
  CHECK(hub.stats().waiting_claims == 0);
  // Nobody waits any more: the key goes to whoever asks.
  alice.release(hub, {1});
  CHECK(carol.claim(hub, {1}).value().statuses == Statuses{granted});
}

TEST_CASE("waits that end together are ended a slice at a time") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  alice.claim(hub, {1});
  for (std::uint64_t n = 0; n < 300; ++n) REQUIRE_FALSE(claim_of(100 + n).claim(hub, {1}, 5s));
  const std::size_t before = hub.replies.size();
  hub.pass(5s);
  hub.tick();
  CHECK(hub.replies.size() == before + 256);
  CHECK(hub.core.next_deadline().value() <= hub.now.lease);
  hub.tick();
  CHECK(hub.replies.size() == before + 300);
}

TEST_CASE("no wait is longer than the hub allows") {
  HubOptions options;
  options.max_claim_wait = 3s;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, std::chrono::nanoseconds::max()));
  hub.pass(3s);
  const std::size_t before = hub.replies.size();
  hub.tick();
  CHECK(hub.replies.size() == before + 1);
}

TEST_CASE("a grant that cannot be delivered goes to the next who waits") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Claimant carol = claim_of(3);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  REQUIRE_FALSE(carol.claim(hub, {1}, 10s));
  std::vector<std::string> tried;
  Bytes release = TestHub<>::keys(MessageType::release, {1});
  const auto envelope = alice.envelope();
  const ByteView frames[] = {envelope[0]};
  Bytes last;
  hub.core.query(
      as_bytes(alice.asker.sender), frames, release, hub.now, [&](ByteView recipient, Frames, ByteView message) {
        tried.emplace_back(as_text(recipient));
        last.assign(message.begin(), message.end());
        return as_text(recipient) != "peer2";
      });
  CHECK(tried == std::vector<std::string>{"peer1", "peer2", "peer3"});
  CHECK(read_claim(last).statuses == Statuses{granted});
  CHECK(hub.stats().undeliverable == 1);
  CHECK(hub.stats().leases.active == 1);
  CHECK(bob.claim(hub, {1}).value().statuses == Statuses{leased});
}

TEST_CASE("who withdraws waits no longer, and the grant that crossed its way goes to the next") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Claimant carol = claim_of(3);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  REQUIRE_FALSE(carol.claim(hub, {1}, 10s));
  SECTION("before it was granted") {
    bob.withdraw(hub, {1});
    CHECK(hub.stats().waiting_claims == 1);
    alice.release(hub, {1});
  }
  SECTION("after it was granted") {
    alice.release(hub, {1});
    REQUIRE(hub.replies.back().recipient == "peer2");
    bob.withdraw(hub, {1});
  }
  CHECK(hub.replies.back().recipient == "peer3");
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{granted});
}

TEST_CASE("a claim that waits for several keys is granted the first that comes free, and waits for no other then") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1, 2, 3});
  REQUIRE_FALSE(bob.claim(hub, {1, 2, 3, 2}, 10s));
  alice.release(hub, {2});
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{leased, granted, leased, leased});
  const std::size_t before = hub.replies.size();
  alice.release(hub, {1, 3});
  CHECK(hub.replies.size() == before + 1);
  Asker late = client(3);
  CHECK(hub.can_offload(late, {1, 3}) == Statuses{granted, granted});
}

TEST_CASE("a request sent twice waits once") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  --bob.asker.request;
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  CHECK(hub.stats().waiting_claims == 1);
  alice.release(hub, {1});
  CHECK(hub.stats().waiting_claims == 0);
}

TEST_CASE("claims that wait are bounded in number and in memory, and the refusal names the bound") {
  const bool in_number = GENERATE(true, false);
  CAPTURE(in_number);
  HubOptions options;
  (in_number ? options.max_waiting_claims : options.max_waiting_bytes) = in_number ? 1 : 1'200;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Claimant carol = claim_of(3);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  carol.send(hub, claim_message({1}, 10s));
  const std::string refusal = TestHub<>::error_text(hub.replies.back().message);
  CHECK(refusal.starts_with(in_number ? "limit exceeded: max_waiting_claims allows 1, got 2"
                                      : "limit exceeded: max_waiting_bytes allows 1200, got 12"));
  alice.release(hub, {1});
  CHECK(hub.replies.back().recipient == "peer2");
}

TEST_CASE("keys that nobody waits for any more take no memory, however many were asked for while the hub recovers") {
  HubOptions options = incarnated(2);
  options.recovery_time = 10min;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  REQUIRE_FALSE(alice.claim(hub, {1}, 1h));
  std::uint64_t next = 10;
  const auto ask_and_withdraw = [&] {
    for (int i = 0; i < 200; ++i) {
      Numbers keys(1'000);
      std::ranges::generate(keys, [&] { return next++; });
      REQUIRE_FALSE(bob.claim(hub, keys, 1h));
      bob.withdraw(hub, keys);
      hub.replies.clear();
    }
  };
  ask_and_withdraw();
  // What grows is a table that doubles.
  CHECK(allocations_of(ask_and_withdraw).largest < 100'000);
  hub.pass(10min);
  hub.tick();
  REQUIRE(hub.replies.size() == 1);
  CHECK(read_claim(hub.replies[0].message).statuses == Statuses{granted});
}

TEST_CASE("a claim that waits and is asked for again is never refused for the bound of those that wait") {
  HubOptions options;
  options.max_waiting_claims = 1;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1, 2});
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  const bool is_same = GENERATE(true, false);
  if (is_same) --bob.asker.request;
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  REQUIRE_FALSE(bob.claim(hub, {1, 2}, 10s));
  CHECK(hub.stats().waiting_claims == 1);
  alice.release(hub, {2});
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{leased, granted});
}

TEST_CASE("a claim that is asked for again from a new connection keeps its turn, and is answered there") {
  OneWaits one;
  auto& [hub, alice, bob] = one;
  Claimant carol = claim_of(3);
  REQUIRE_FALSE(carol.claim(hub, {1}, 10s));
  hub.pass(4s);
  bob.asker.sender = "a new connection";
  REQUIRE_FALSE(bob.claim(hub, {1}, 6s));
  CHECK(hub.stats().waiting_claims == 2);
  hub.pass(1s);
  alice.release(hub, {1});
  const Reply& reply = hub.replies.back();
  CHECK(reply.recipient == "a new connection");
  CHECK(Envelope::decode(reply.envelope.front())->number == bob.asker.request);
  CHECK(read_claim(reply.message).statuses == Statuses{granted});
  CHECK(read_claim(reply.message).waited == 1s);
  CHECK(hub.stats().waiting_claims == 1);
}

TEST_CASE("the wait of a claim that is asked for again ends when the last request says") {
  OneWaits one;
  auto& [hub, alice, bob] = one;
  REQUIRE_FALSE(bob.claim(hub, {1}, 2s));
  const std::size_t before = hub.replies.size();
  hub.pass(2s);
  hub.tick();
  CHECK(hub.replies.size() == before + 1);
  CHECK(bob.claim(hub, {1}).value().statuses == Statuses{leased});  // and nothing is left of it
  CHECK(hub.stats().waiting_claims == 0);
}

TEST_CASE("what a claim was granted before it is asked for again is granted to it again") {
  OneWaits one;
  auto& [hub, alice, bob] = one;
  alice.release(hub, {1});  // the answer is lost
  const ClaimReply reply = bob.claim(hub, {1}, 5s).value();
  CHECK(reply.statuses == Statuses{granted});
  CHECK(hub.stats().leases.active == 1);
}

TEST_CASE("a claim that is asked for again without a wait waits no longer") {
  OneWaits one;
  auto& [hub, alice, bob] = one;
  CHECK(bob.claim(hub, {1}).value().statuses == Statuses{leased});
  CHECK(hub.stats().waiting_claims == 0);
  const std::size_t before = hub.replies.size();
  alice.release(hub, {1});
  CHECK(hub.replies.size() == before + 1);  // to her alone
}

TEST_CASE("an older request of a claim, read late, does not take the place of the newer one") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1});
  Claimant late = bob;
  late.asker.sender = "an old connection";
  bob.asker.request = 1;
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  CHECK(late.claim(hub, {1}, 10s).value().statuses == Statuses{leased});
  CHECK(hub.stats().waiting_claims == 1);
  alice.release(hub, {1});
  CHECK(hub.replies.back().recipient == bob.asker.sender);
}

TEST_CASE("a client's requests that are no claims of their own wait beside each other") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  alice.claim(hub, {1, 2});
  Asker bob = client(2);
  for (const Number key : {1U, 2U}) hub.query(bob.sender, bob.envelope(), claim_message({key}, 10s));
  CHECK(hub.stats().waiting_claims == 2);
}

TEST_CASE("a claim beyond the limits of queries is refused") {
  HubOptions options;
  options.max_keys_per_query = 2;
  options.max_leases = 1;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  alice.send(hub, claim_message({1, 2, 3}, 0s));
  CHECK(TestHub<>::error_text(hub.replies.back().message) == "limit exceeded: max_keys_per_query allows 2, got 3");
  alice.send(hub, claim_message({1, 2}, 0s));
  CHECK(TestHub<>::error_text(hub.replies.back().message) == "limit exceeded: max_leases allows 1, got 2");
  CHECK(hub.stats().leases.active == 0);
}

TEST_CASE("a claim without an envelope is nobody's") {
  TestHub<> hub;
  Asker rust = anonymous("rust1");
  CHECK(hub.refusal(rust, claim_message({1}, 0s)) == "not supported by the peer: a claim without an envelope");
}

TEST_CASE("those who wait are answered when the hub stops") {
  TestHub<> hub;
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 10s));
  hub.core.end_waiting(hub.now, hub.reply());
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{leased});
  CHECK(hub.stats().waiting_claims == 0);
  CHECK(hub.stats().leases.active == 1);
}

TEST_CASE("who waits for a key whose object is being deleted is granted it afterwards") {
  TestHub<> hub;
  Asker writer = client(3);
  Claimant bob = claim_of(2);
  EvictionHandle handle;
  hub.on_gone = [&](const Departure<Number>& departure) { handle = departure.hold(); };
  hub.put(writer, {{1, 10, {}}});
  hub.remove(writer, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 60s));
  hub.pass(1s);
  const std::size_t before = hub.replies.size();
  hub.tick();
  CHECK(hub.replies.size() == before);
  handle.reset();
  hub.pass(1s);
  CHECK(hub.core.next_deadline().value() <= hub.now.lease);
  hub.tick();
  REQUIRE(hub.replies.size() == before + 1);
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{granted});
}

TEST_CASE("who waits while there is no room for a lease is granted one when there is") {
  HubOptions options;
  options.max_leases = 1;
  TestHub<> hub(options);
  Asker writer = client(1);
  Claimant bob = claim_of(2);
  Claimant carol = claim_of(3);
  EvictionHandle handle;
  hub.on_gone = [&](const Departure<Number>& departure) { handle = departure.hold(); };
  hub.put(writer, {{1, 10, {}}});
  hub.remove(writer, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 60s));
  REQUIRE(carol.claim(hub, {2}).value().statuses == Statuses{granted});
  handle.reset();
  const std::size_t before = hub.replies.size();
  hub.pass(1s);
  hub.tick();
  CHECK(hub.replies.size() == before);  // the key is free, but there is no room
  carol.release(hub, {2});
  CHECK(hub.replies.size() == before + 1);
  hub.pass(1s);
  hub.tick();
  REQUIRE(hub.replies.size() == before + 2);
  CHECK(hub.replies.back().recipient == "peer2");
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{granted});
}

TEST_CASE("who waits and has his share of leases by then is passed over") {
  HubOptions options;
  options.max_leases_per_client = 1;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Claimant again = claim_of(2, 2);
  Claimant carol = claim_of(3);
  alice.claim(hub, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 60s));
  REQUIRE_FALSE(carol.claim(hub, {1}, 60s));
  REQUIRE(again.claim(hub, {2}).value().statuses == Statuses{granted});
  // All claims of a client count together.
  again.send(hub, claim_message({3}, 0s));
  CHECK(TestHub<>::error_text(hub.replies.back().message) == "limit exceeded: max_leases_per_client allows 1, got 2");
  const std::size_t before = hub.replies.size();
  alice.release(hub, {1});
  CHECK(answered(hub, before) == std::vector<std::string>{"peer1", "peer2", "peer3"});
  CHECK(read_claim(hub.replies[before + 1].message).statuses == Statuses{leased});
  CHECK(read_claim(hub.replies[before + 2].message).statuses == Statuses{granted});
}

TEST_CASE("who was passed over for a key and claims it again waits for it again") {
  HubOptions options;
  options.max_leases_per_client = 1;
  TestHub<> hub(options);
  Claimant alice = claim_of(1);
  Claimant carol = claim_of(3);
  Claimant bob = claim_of(2);
  Claimant other = claim_of(2, 2);
  alice.claim(hub, {1});
  carol.claim(hub, {2});
  REQUIRE_FALSE(bob.claim(hub, {1, 2}, 60s));
  REQUIRE(other.claim(hub, {3}).value().statuses == Statuses{granted});
  alice.release(hub, {1});
  REQUIRE(alice.claim(hub, {1}).value().statuses == Statuses{granted});
  other.release(hub, {3});
  REQUIRE_FALSE(bob.claim(hub, {1, 2}, 60s));
  const std::size_t before = hub.replies.size();
  alice.release(hub, {1});
  REQUIRE(answered(hub, before) == std::vector<std::string>{"peer1", "peer2"});
  CHECK(read_claim(hub.replies[before + 1].message).statuses == Statuses{granted, leased});
}

TEST_CASE("a holder keeps its leases by renewing them, and hears which it has lost") {
  TestHub<> hub(incarnated(7));
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Asker writer = client(3);
  alice.claim(hub, {1, 2, 3});
  hub.pass(20s);
  hub.put(writer, {{2, 20, {}}});
  CHECK(alice.renew(hub, {1, 2}, 7) == std::vector{RenewStatus::held, RenewStatus::stored});
  CHECK(bob.renew(hub, {1}, 7) == std::vector{RenewStatus::lost});
  hub.pass(20s);
  CHECK(bob.claim(hub, {1, 3}).value().statuses == Statuses{leased, granted});
  CHECK(alice.renew(hub, {1, 3, 4}, 7) == std::vector{RenewStatus::held, RenewStatus::lost, RenewStatus::lost});
  hub.pass(30s);
  CHECK(alice.renew(hub, {1}, 7) == std::vector{RenewStatus::lost});
  CHECK(hub.stats().leases.renewed == 2);
}

TEST_CASE("a lease that was renewed outlives the withdrawal of what granted it") {
  TestHub<> hub(incarnated(7));
  Claimant alice = claim_of(1);
  alice.claim(hub, {1});
  alice.renew(hub, {1}, 7);
  --alice.asker.request;
  alice.withdraw(hub, {1});
  CHECK(hub.stats().leases.active == 1);
}

TEST_CASE("after a restart claims are claimed back, and until then nothing is granted") {
  HubOptions options = incarnated(8);
  options.recovery_time = 10s;
  TestHub<> hub(options);
  hub.tick();
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  Asker carol = client(3);
  hub.pass(1s);
  CHECK(bob.claim(hub, {1, 2}).value().statuses == Statuses{leased, leased});
  CHECK(hub.can_offload(carol, {1}) == Statuses{leased});
  CHECK(alice.renew(hub, {1}, 7) == std::vector{RenewStatus::held});
  CHECK(bob.renew(hub, {1}, 7) == std::vector{RenewStatus::lost});
  hub.put(carol, {{3, 30, {}}});
  CHECK(bob.renew(hub, {3}, 7) == std::vector{RenewStatus::stored});
  // Who waits for what is free only because nobody has claimed it back is granted it when nobody has.
  REQUIRE_FALSE(bob.claim(hub, {1, 2}, 60s));
  hub.pass(9s);
  const std::size_t before = hub.replies.size();
  hub.tick();
  REQUIRE(hub.replies.size() == before + 1);
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{leased, granted});
  CHECK(hub.can_offload(carol, {4}) == Statuses{granted});
}

TEST_CASE("a claim is not had back of a key that was stored meanwhile, whether or not its end has been noticed") {
  TestHub<Timed> hub(incarnated(8));
  hub.tick();
  Claimant alice = claim_of(1);
  Asker writer = client(4);
  hub.put(writer, {timed(1, 2)});
  hub.pass(3s);
  const bool is_noticed = GENERATE(false, true);
  if (is_noticed) hub.tick();
  REQUIRE(hub.stats().stored == (is_noticed ? 0 : 1));
  CHECK(alice.renew(hub, {1}, 7) == std::vector{RenewStatus::lost});
}

TEST_CASE("without a recovery time a claim is had back as long as nothing speaks against it") {
  TestHub<> hub(incarnated(8));
  hub.tick();
  Claimant alice = claim_of(1);
  Claimant bob = claim_of(2);
  CHECK(bob.claim(hub, {2, 3}).value().statuses == Statuses{granted, granted});
  SECTION("what nobody has been granted") {
    CHECK(alice.renew(hub, {1, 2}, 7) == std::vector{RenewStatus::held, RenewStatus::lost});
  }
  SECTION("not when a grant has ended, of which no more is known") {
    bob.release(hub, {2});
    CHECK(alice.renew(hub, {2}, 7) == std::vector{RenewStatus::lost});
  }
  SECTION("not when something that was stored has gone") {
    Asker writer = client(4);
    hub.put(writer, {{2, 20, {}}});
    hub.remove(writer, {2});
    CHECK(alice.renew(hub, {2}, 7) == std::vector{RenewStatus::lost});
  }
  SECTION("not when every lease of the hub before is over anyway") {
    hub.pass(30s);
    CHECK(alice.renew(hub, {1}, 7) == std::vector{RenewStatus::lost});
  }
  SECTION("nor what was over before") { CHECK(alice.renew(hub, {1}, 0) == std::vector{RenewStatus::lost}); }
  SECTION("and not what this hub itself would know of") {
    CHECK(alice.renew(hub, {1}, 8) == std::vector{RenewStatus::lost});
  }
}

TEST_CASE("a claim that waits hears of a key that the hub itself has stored when it is registered") {
  TestHub<> hub;
  Asker alice = client(1);
  Claimant bob = claim_of(2);
  hub.can_offload(alice, {1});
  REQUIRE_FALSE(bob.claim(hub, {1}, 20s));
  std::vector<PlainEntry> evicted;
  hub.core.policy().insert({1, 10, {}}, evicted);
  const std::size_t before = hub.replies.size();
  hub.put(alice, {{1, 11, {}}});
  REQUIRE(hub.replies.size() == before + 1);
  CHECK(read_claim(hub.replies.back().message).statuses == Statuses{already_stored});
}
