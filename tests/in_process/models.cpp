// SPDX-License-Identifier: Apache-2.0
// Every model of every concept, and a user's own, through client, codec, hub and storage and back.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/key.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>
#include <registry/value.hpp>

#include "in_process/user_types.hpp"

using namespace registry;
using namespace std::chrono_literals;

namespace {

using Block = std::uint64_t;

/// Stores the entries, and finds exactly them again, from another client.
template <class Hub, class K, class V, class M>
void check_round_trip(Hub& hub, const std::vector<Entry<K, V, M>>& entries) {
  const InProcessTransport transport(hub);
  auto one = client<K, V, M>(transport).build();
  auto two = client<K, V, M>(transport).build();
  std::vector<K> keys;
  for (const auto& entry : entries) keys.push_back(entry.key);

  CHECK(one.can_offload(keys).can_offload == keys);
  CHECK(two.can_offload(keys).leased == keys);
  CHECK(two.match(keys).empty());
  one.register_blocks(entries);
  one.flush();
  CHECK(hub.stats().stored == entries.size());
  CHECK(two.can_offload(keys).already_stored == keys);
  CHECK(two.match(keys) == entries);
  CHECK(two.match_prefix(keys) == entries);
  CHECK(two.touch(keys) == keys.size());
  CHECK(one.remove({keys.front()}) == 1);
  CHECK(two.match(keys) == std::vector(entries.begin() + 1, entries.end()));
  CHECK(two.match_prefix(keys).empty());
  CHECK(two.remove(keys) == keys.size() - 1);
  CHECK(hub.stats().stored == 0);
}

template <class K, class V, class M = NoMetadata>
void check_in_hash_map(const std::vector<Entry<K, V, M>>& entries) {
  auto made = hub<K, V, M>(HashMapStorage<K, V, M>{}).build();
  check_round_trip(made, entries);
}

constexpr auto biggest = std::numeric_limits<std::uint64_t>::max();

}  // namespace

TEST_CASE("keys of 64 bits") {
  check_in_hash_map<std::uint64_t, std::uint64_t>({{0, 1, {}}, {1, 2, {}}, {biggest, 3, {}}});
}

TEST_CASE("keys of 128 bits, equal only in both halves") {
  check_in_hash_map<Key128, std::uint64_t>({{{1, 2}, 1, {}}, {{2, 1}, 2, {}}, {{1, 1}, 3, {}}, {{biggest, 0}, 4, {}}});
}

TEST_CASE("composite keys, whose workers do not meet") {
  check_in_hash_map<CompositeKey, std::uint64_t>({{{1, 5}, 1, {}}, {{2, 5}, 2, {}}, {{5, 1}, 3, {}}});
}

TEST_CASE("positional keys") {
  check_in_hash_map<PositionalKey, std::uint64_t>(
      {{{1, 5, 0}, 1, {}}, {{1, 5, 1}, 2, {}}, {{1, 5, 4'294'967'295}, 3, {}}, {{2, 5, 0}, 4, {}}});
}

TEST_CASE("a user's own key") {
  check_in_hash_map<TenantKey, std::uint64_t>({{{1, 5}, 1, {}}, {{2, 5}, 2, {}}, {{5, 1}, 3, {}}});
}

TEST_CASE("locations of objects and of files") {
  using enum StorageBackend;
  check_in_hash_map<std::uint64_t, StorageLocation>(
      {{1, {object, "s3://bucket/a", 4'096}, {}},
       {2, {disk, "/var/cache/b", biggest}, {}},
       {3, {object, "", 0}, {}},
       {4, {disk, std::string(60'000, 'p'), 1}, {}},
       {5, {object, "wege/über/straße", 1}, {}}});
}

TEST_CASE("a user's value of variable length") {
  check_in_hash_map<Key128, Replicas>(
      {{{0, 1}, {{"http://a/1", "http://b/1"}}, {}}, {{0, 2}, {}, {}}, {{0, 3}, {{std::string(5'000, 'u')}}, {}}});
}

TEST_CASE("a user's metadata") { check_in_hash_map<std::uint64_t, std::uint64_t, Tag>({{1, 10, {0}}, {2, 20, {255}}}); }

TEST_CASE("a user's storage, below a policy and without one") {
  using Tree = TreeStorage<TenantKey, Replicas, Tag>;
  const std::vector<Entry<TenantKey, Replicas, Tag>> entries{{{1, 5}, {{"a"}}, {1}}, {{2, 5}, {{"b", "c"}}, {2}}};
  auto plain = hub<TenantKey, Replicas, Tag>(Tree{}).build();
  check_round_trip(plain, entries);
  auto bounded = hub<TenantKey, Replicas, Tag>(RecencyEviction(Tree{}, 2)).build();
  check_round_trip(bounded, entries);
}

TEST_CASE("a user's codec on both sides") {
  using Codec = InvertedCodec<std::uint64_t, Replicas>;
  auto made =
      hub<std::uint64_t, Replicas>(HashMapStorage<std::uint64_t, Replicas>{}).codec<Codec>().log(nullptr).build();
  const InProcessTransport transport(made);
  auto worker = client<std::uint64_t, Replicas>(transport).codec<Codec>().build();
  CHECK(worker.can_offload({1, 2}).can_offload.size() == 2);
  worker.register_blocks({{1, {{"a", "b"}}, {}}});
  CHECK(worker.remove({2}) == 0);
  worker.flush();
  CHECK(worker.match({1, 2}) == std::vector<Entry<std::uint64_t, Replicas, NoMetadata>>{{1, {{"a", "b"}}, {}}});
  CHECK(worker.touch({1, 2}) == 1);
  CHECK(worker.release({2}) == 1);

  // Who speaks ours is not understood, and harms nothing.
  auto stranger = client<std::uint64_t, Replicas>(transport).build();
  CHECK_THROWS_AS(stranger.can_offload({3}), RegistryError);
  stranger.register_blocks({{3, {}, {}}});
  stranger.flush();
  CHECK(made.stats().malformed == 3);  // also when it asks what kind of hub it is
  CHECK(made.stats().stored == 1);
}

TEST_CASE("positions in a chain come back with every match") {
  check_in_hash_map<std::uint64_t, std::uint64_t, PositionMetadata>(
      {{1, 10, {0, std::nullopt, 3, 1'700'000'000}},
       {2, 20, {1, 1, std::nullopt, 0}},
       {3, 30, {4'294'967'295, biggest, 1, biggest}}});
}

TEST_CASE("timestamps come back with every match") {
  check_in_hash_map<std::uint64_t, std::uint64_t, TimestampMetadata>(
      {{1, 10, {1'700'000'000, std::nullopt}}, {2, 20, {1'700'000'000, 60}}, {3, 30, {biggest, 4'294'967'295}}});
}

TEST_CASE("an entry whose ttl is over is as good as absent") {
  constexpr std::uint64_t start = 1'700'000'000;
  using Entries = std::vector<Entry<Block, Block, TimestampMetadata>>;
  std::vector<std::pair<Block, EvictionReason>> gone;
  auto made = hub<Block, Block, TimestampMetadata>(HashMapStorage<Block, Block, TimestampMetadata>{})
                  .lease_cleanup_interval(10s)
                  .on_evict([&](Block key, Block, const TimestampMetadata& metadata, EvictionReason reason) {
                    CHECK(metadata.ttl_secs.has_value());
                    gone.emplace_back(key, reason);
                  })
                  .build();
  InProcessTransport transport(made, WallTime{std::chrono::seconds{start}});
  auto worker = client<Block, Block, TimestampMetadata>(transport).build();
  auto other = client<Block, Block, TimestampMetadata>(transport).build();
  const Entry<Block, Block, TimestampMetadata> lasting{1, 10, {start, std::nullopt}};
  const Entry<Block, Block, TimestampMetadata> short_lived{2, 20, {start, 60}};
  // Made before it came, and by a clock that runs ahead.
  const Entry<Block, Block, TimestampMetadata> older{3, 30, {start - 50, 60}};
  const Entry<Block, Block, TimestampMetadata> ahead{4, 40, {start + 1'000, 60}};
  worker.register_blocks({lasting, short_lived, older, ahead});
  worker.flush();
  CHECK(other.match({1, 2, 3, 4}) == Entries{lasting, short_lived, older, ahead});

  transport.advance(10s - 1ns);
  CHECK(other.match({3}).size() == 1);
  transport.advance(1ns);
  CHECK(other.match({1, 2, 3, 4}) == Entries{lasting, short_lived, ahead});
  CHECK(other.can_offload({3}).can_offload == std::vector<Block>{3});

  transport.advance(50s - 1ns);
  CHECK(other.touch({2, 4}) == 2);
  transport.advance(1ns);
  CHECK(other.match_prefix({1, 2, 4}) == Entries{lasting});
  CHECK(other.touch({2, 4}) == 0);
  CHECK(other.remove({2, 4}) == 0);
  CHECK(made.stats().expired == 3);
  CHECK(gone == std::vector<std::pair<Block, EvictionReason>>{
                    {3, EvictionReason::expired}, {2, EvictionReason::expired}, {4, EvictionReason::expired}});
}

TEST_CASE("entries that end leave within a cleanup interval, also if nobody asks for them") {
  auto made = hub<Block, Block, TimestampMetadata>(HashMapStorage<Block, Block, TimestampMetadata>{})
                  .lease_cleanup_interval(10s)
                  .build();
  InProcessTransport transport(made, WallTime{std::chrono::seconds{1'000}});
  auto worker = client<Block, Block, TimestampMetadata>(transport).build();
  for (Block key = 0; key < 1'000; ++key) worker.register_blocks({{key, key, {1'000, 60}}});
  worker.flush();
  transport.advance(60s - 1ns);
  CHECK(made.stats().stored == 1'000);
  transport.advance(10s + 1ns);
  CHECK(made.stats().stored == 0);
  CHECK(made.stats().expired == 1'000);
}

TEST_CASE("registering again gives an entry a new life") {
  auto made = hub<Block, Block, TimestampMetadata>(HashMapStorage<Block, Block, TimestampMetadata>{}).build();
  InProcessTransport transport(made, WallTime{std::chrono::seconds{1'000}});
  auto worker = client<Block, Block, TimestampMetadata>(transport).build();
  worker.register_blocks({{1, 10, {1'000, 60}}});
  worker.flush();
  transport.advance(40s);
  worker.register_blocks({{1, 10, {1'040, 60}}});
  worker.flush();
  transport.advance(59s);
  CHECK(worker.match({1}).size() == 1);
  transport.advance(1s);
  CHECK(worker.match({1}).empty());
  CHECK(made.stats().superseded == 0);
}
