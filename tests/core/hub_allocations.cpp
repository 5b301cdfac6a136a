// SPDX-License-Identifier: Apache-2.0
// Once everything has grown, a message costs the hub no allocation, however many keys it has.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <registry/eviction/tail.hpp>

#include "core/test_hub.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

constexpr Instant beginning{start, wall_start};
constexpr Number many = 5'000;

Numbers keys(Number first, Number count) {
  Numbers all;
  for (Number key = first; key < first + count; ++key) all.push_back(key);
  return all;
}

/// What is kept ready outside, so that only the hub's own allocations are counted.
template <class P>
struct Prepared {
  using M = typename P::metadata_type;
  using C = BinaryCodec<Number, Number, M>;

  explicit Prepared(P policy) : core(std::move(policy), HubOptions{}) {
    Envelope{1, {7, 1}, std::nullopt, default_namespace}.encode(envelope);
  }

  void query(MessageType type, const Numbers& which, std::uint64_t number) {
    Bytes message;
    C::encode_keys(type, which, message);
    Envelope{number, {7, 1}, std::nullopt, default_namespace}.encode(envelope);
    ask(message);
  }

  std::size_t allocated_by_query(MessageType type, const Numbers& which, std::uint64_t number) {
    Bytes message;
    C::encode_keys(type, which, message);
    Envelope{number, {7, 1}, std::nullopt, default_namespace}.encode(envelope);
    return allocated_by([&] { ask(message); });
  }

  std::size_t allocated_by_registration(Number first, Number count, std::uint64_t number) {
    Bytes message;
    C::begin_entries(MessageType::register_entries, message);
    for (const Number key : keys(first, count)) {
      M metadata{};
      if constexpr (ExpiringMetadata<M>) metadata = {1'700'000'000, 3600};
      C::append_entry(key, key, metadata, message);
    }
    Envelope{number, {7, 1}, std::nullopt, default_namespace}.encode(envelope);
    return allocated_by([&] { core.registration("peer1", envelope, message, beginning, reply); });
  }

  void ask(const Bytes& message) {
    const ByteView frame = envelope;
    core.query(as_bytes("peer1"), Frames{&frame, 1}, message, beginning, reply);
  }

  static bool reply(ByteView, Frames, ByteView) { return true; }

  HubCore<P> core;
  Bytes envelope;
};

template <class P>
void check_hot_path(P policy) {
  Prepared<P> hub(std::move(policy));
  hub.query(MessageType::can_offload, keys(0, many), 1);
  hub.allocated_by_registration(0, many, 1);
  hub.query(MessageType::can_offload, keys(many, many), 2);
  hub.query(MessageType::can_offload, keys(many, many), 13);  // again: leases of two requests at a time
  hub.query(MessageType::release, keys(many, many), 3);
  hub.query(MessageType::match, keys(0, many), 4);
  hub.query(MessageType::match, keys(0, many), 5);

  // Few of those for which there is room: the table rebuilds itself now and then when it is nearly full.
  CHECK(hub.allocated_by_query(MessageType::can_offload, keys(many, 500), 6) == 0);
  CHECK(hub.core.stats().granted == 3 * many + 500);
  CHECK(hub.allocated_by_query(MessageType::can_offload, keys(many, 500), 7) == 0);
  CHECK(hub.core.stats().leases.renewed == many + 500);
  CHECK(hub.allocated_by_query(MessageType::can_offload, keys(0, many), 8) == 0);
  CHECK(hub.core.stats().already_stored == many);
  CHECK(hub.allocated_by_query(MessageType::match, keys(0, many), 9) == 0);
  CHECK(hub.allocated_by_query(MessageType::touch, keys(0, many), 10) == 0);
  CHECK(hub.allocated_by_query(MessageType::release, keys(many, 500), 11) == 0);
  CHECK(hub.allocated_by_query(MessageType::remove, keys(many, many), 12) == 0);
}

}  // namespace

TEST_CASE("on the hot path nothing is allocated per key") {
  check_hot_path(Plain(PlainStorage{}));
  check_hot_path(TailEviction(PlainStorage{}, 2 * many));
  check_hot_path(Timed(HashMapStorage<Number, Number, TimestampMetadata>{}));
}

TEST_CASE("registering what is stored already allocates nothing") {
  Prepared<Plain> plain{Plain(PlainStorage{})};
  plain.allocated_by_registration(0, many, 1);
  CHECK(plain.allocated_by_registration(0, many, 2) == 0);
  Prepared<TailEviction<PlainStorage>> tail{TailEviction(PlainStorage{}, 2 * many)};
  tail.allocated_by_registration(0, many, 1);
  CHECK(tail.allocated_by_registration(0, many, 2) == 0);
  CHECK(tail.core.stats().entries_registered == 2 * many);
}

TEST_CASE("registering with a ttl allocates for a second, not for a key") {
  using P = NoEviction<HashMapStorage<Number, Number, TimestampMetadata>>;
  Prepared<P> timed{P(HashMapStorage<Number, Number, TimestampMetadata>{})};
  timed.allocated_by_registration(0, 10 * many, 1);
  timed.allocated_by_registration(0, many, 2);
  CHECK(timed.allocated_by_registration(0, many, 3) < 1000);
}

TEST_CASE("the memory of a query or a registration that is larger than any may be is given back") {
  Prepared<Plain> hub{Plain(PlainStorage{})};
  const Numbers large(1'100'000, 0);
  hub.query(MessageType::match, large, 1);
  CHECK(hub.allocated_by_query(MessageType::match, large, 2) >= large.size() * sizeof(Number));
  hub.allocated_by_registration(0, large.size(), 1);
  CHECK(hub.allocated_by_registration(0, large.size(), 2) >= large.size() * sizeof(PlainEntry));
}

TEST_CASE("an awaited key that is registered over and over takes no memory each time") {
  TestHub<> hub;
  Asker alice = client(1);
  hub.can_offload(alice, {1});
  for (std::uint64_t n = 2; n < 5'000; ++n) {
    Asker asker = client(n);
    hub.query(asker.sender, asker.envelope(), claim_message({1}, 60s));
  }
  const Bytes message = TestHub<>::registration(std::vector<PlainEntry>(100'000, PlainEntry{1, 10, {}}));
  const auto reply = [](ByteView, Frames, ByteView) { return true; };
  const auto register_again = [&] { hub.core.registration("peer1", std::nullopt, message, hub.now, reply); };
  register_again();
  CHECK(allocated_by(register_again) < 100'000);
  REQUIRE(hub.stats().waiting_claims > 1'000);
}

TEST_CASE("the memory of a large answer is given back") {
  Prepared<Plain> hub{Plain(PlainStorage{})};
  hub.allocated_by_registration(0, 1, 1);
  constexpr std::size_t entry = 22;
  const Numbers small((std::size_t{1} << 20U) / entry, 0);
  const Numbers large((std::size_t{5} << 20U) / entry, 0);
  hub.query(MessageType::match, large, 2);
  hub.query(MessageType::match, large, 3);
  CHECK(hub.allocated_by_query(MessageType::match, large, 4) > large.size() * entry);
  hub.query(MessageType::match, small, 5);
  CHECK(hub.allocated_by_query(MessageType::match, small, 6) == 0);
}
