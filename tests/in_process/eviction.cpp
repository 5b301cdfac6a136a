// SPDX-License-Identifier: Apache-2.0
// What bounds a hub, what leaves it, and who hears of it.
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/eviction.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/transport/in_process.hpp>

using namespace registry;
using namespace std::chrono_literals;

namespace {

using Block = std::uint64_t;
using Plain = HashMapStorage<Block, Block>;
using Chain = HashMapStorage<Block, Block, PositionMetadata>;

struct Gone {
  Block key;
  Block value;
  EvictionReason reason;
  friend bool operator==(const Gone&, const Gone&) = default;
};

template <class Client>
std::vector<Block> stored(Client& worker, Block first, Block last) {
  std::vector<Block> keys;
  for (Block key = first; key <= last; ++key) keys.push_back(key);
  std::vector<Block> found;
  for (const auto& entry : worker.match(keys)) found.push_back(entry.key);
  return found;
}

template <class Client>
void store(Client& worker, Block key) {
  worker.register_blocks({{key, 10 * key, {}}});
  worker.flush();
}

Entry<Block, Block, PositionMetadata> link(Block key, std::uint32_t position, std::optional<Block> parent) {
  return {key, 10 * key, {position, parent, std::nullopt, 0}};
}

}  // namespace

TEST_CASE("without eviction a full hub refuses what is new and says so in its log") {
  std::vector<std::string> log;
  auto made = hub<Block, Block>(NoEviction(Plain{}, 2))
                  .log([&](LogLevel, std::string_view text) { log.emplace_back(text); })
                  .build();
  auto worker = client<Block, Block>(InProcessTransport(made)).build();
  worker.register_blocks({{1, 10}, {2, 20}, {3, 30}});
  worker.flush();
  CHECK(stored(worker, 1, 3) == std::vector<Block>{1, 2});
  CHECK(made.stats().entries_registered == 2);
  CHECK(made.stats().entries_refused == 1);
  REQUIRE(log.size() == 1);
  CHECK(log[0].find("capacity allows 2, got 3") != std::string::npos);
  worker.register_blocks({{2, 21}});
  worker.flush();
  CHECK(worker.match({2}).front().value == 21);
}

TEST_CASE("by recency the entry unused for longest leaves, and touch is a use") {
  auto made = hub<Block, Block>(RecencyEviction(Plain{}, 3)).build();
  auto worker = client<Block, Block>(InProcessTransport(made)).build();
  for (Block key = 1; key <= 3; ++key) store(worker, key);
  CHECK(worker.touch({1, 99}) == 1);
  store(worker, 4);
  CHECK(stored(worker, 1, 4) == std::vector<Block>{1, 3, 4});
  // To match is not to use.
  worker.match({3});
  store(worker, 5);
  CHECK(stored(worker, 1, 5) == std::vector<Block>{1, 4, 5});
  CHECK(made.stats().evicted == 2);
  CHECK(made.stats().stored == 3);
}

TEST_CASE("by tail a chain loses its deepest block, and never its head before its tail") {
  auto made = hub<Block, Block, PositionMetadata>(TailEviction(Chain{}, 4)).build();
  auto worker = client<Block, Block, PositionMetadata>(InProcessTransport(made)).build();
  worker.register_blocks({link(1, 0, std::nullopt), link(2, 1, 1), link(3, 2, 2), link(4, 3, 3)});
  worker.flush();
  worker.register_blocks({link(10, 0, std::nullopt), link(11, 1, 10)});
  worker.flush();
  CHECK(worker.match_prefix({1, 2, 3, 4}).size() == 2);
  CHECK(worker.match_prefix({10, 11}).size() == 2);
  CHECK(made.stats().evicted == 2);
}

TEST_CASE("an entry for which only its own ancestors could leave is refused") {
  auto made = hub<Block, Block, PositionMetadata>(TailEviction(Chain{}, 2)).log(nullptr).build();
  auto worker = client<Block, Block, PositionMetadata>(InProcessTransport(made)).build();
  worker.register_blocks({link(1, 0, std::nullopt), link(2, 1, 1), link(3, 2, 2)});
  worker.flush();
  CHECK(worker.match_prefix({1, 2, 3}).size() == 2);
  CHECK(made.stats().entries_refused == 1);
  CHECK(made.stats().evicted == 0);
}

TEST_CASE("what leaves is handed to the hook with its value and the reason") {
  std::vector<Gone> gone;
  auto made = hub<Block, Block>(RecencyEviction(Plain{}, 2))
                  .on_evict([&](const Block& key, const Block& value, const NoMetadata&, EvictionReason reason) {
                    gone.push_back({key, value, reason});
                  })
                  .build();
  auto worker = client<Block, Block>(InProcessTransport(made)).build();
  store(worker, 1);
  store(worker, 2);
  store(worker, 1);  // an equal value is a retry
  CHECK(gone.empty());
  worker.register_blocks({{1, 11}});
  worker.flush();
  store(worker, 3);
  worker.remove({1, 99});
  CHECK(gone ==
        std::vector<Gone>{
            {1, 10, EvictionReason::superseded}, {2, 20, EvictionReason::evicted}, {1, 11, EvictionReason::removed}});
  CHECK(made.stats().superseded == 1);
  CHECK(made.stats().evicted == 1);
  CHECK(made.stats().removed == 1);
}

TEST_CASE("a hook that throws is counted and logged, and the hub goes on") {
  std::vector<std::string> log;
  auto made = hub<Block, Block>(Plain{})
                  .on_evict([](Block key, Block, NoMetadata, EvictionReason) {
                    if (key == 1) throw std::runtime_error("cannot delete");
                    throw key;
                  })
                  .log([&](LogLevel level, std::string_view text) {
                    CHECK(level == LogLevel::error);
                    log.emplace_back(text);
                  })
                  .build();
  auto worker = client<Block, Block>(InProcessTransport(made)).build();
  worker.register_blocks({{1, 10}, {2, 20}});
  CHECK(worker.remove({1, 2}) == 2);
  CHECK(made.stats().hook_failures == 2);
  REQUIRE(log.size() == 2);
  CHECK(log[0].find("cannot delete") != std::string::npos);
  CHECK(worker.match({1, 2}).empty());
}

TEST_CASE("as long as a handle lives the key is leased to everyone") {
  std::vector<EvictionHandle> deleting;
  auto made = hub<Block, Block>(Plain{})
                  .lease_ttl(1s)
                  .on_evict([&](Block, Block, NoMetadata, EvictionReason, const Departure<Block>& departure) {
                    deleting.push_back(departure.hold());
                  })
                  .build();
  InProcessTransport transport(made);
  auto worker = client<Block, Block>(transport).build();
  auto other = client<Block, Block>(transport).build();
  worker.register_blocks({{1, 10}, {2, 20}});
  CHECK(worker.remove({1}) == 1);
  CHECK(worker.can_offload({1, 3}).leased == std::vector<Block>{1});
  CHECK(other.can_offload({1, 2}).leased == std::vector<Block>{1});
  CHECK(other.can_offload({2}).already_stored == std::vector<Block>{2});
  // It is no lease: no time ends it.
  transport.advance(1h);
  CHECK(worker.can_offload({1}).leased == std::vector<Block>{1});
  EvictionHandle copy = deleting.front();
  deleting.clear();
  CHECK(other.can_offload({1}).leased == std::vector<Block>{1});
  copy.reset();
  CHECK(other.can_offload({1}).can_offload == std::vector<Block>{1});
  CHECK(worker.can_offload({1}).leased == std::vector<Block>{1});
}

TEST_CASE("a handle may outlive the hub") {
  EvictionHandle handle;
  {
    auto made = hub<Block, Block>(Plain{})
                    .on_evict([&](Block, Block, NoMetadata, EvictionReason, const Departure<Block>& departure) {
                      handle = departure.hold();
                    })
                    .build();
    auto worker = client<Block, Block>(InProcessTransport(made)).build();
    worker.register_blocks({{1, 10}});
    CHECK(worker.remove({1}) == 1);
  }
  REQUIRE(handle);
  handle.reset();
  CHECK_FALSE(handle);
}

TEST_CASE("a remove takes effect behind the registrations of its client, whenever they leave") {
  auto made = hub<Block, Block>(Plain{}).build();
  InProcessTransport transport(made);
  auto worker = client<Block, Block>(transport).build();
  worker.register_blocks({{1, 10}, {2, 20}});
  CHECK(made.stats().registrations == 0);
  CHECK(worker.remove({1}) == 1);
  transport.advance(1s);
  CHECK(stored(worker, 1, 2) == std::vector<Block>{2});
  CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
}

TEST_CASE("a registration ends the lease on its key, whoever held it") {
  auto made = hub<Block, Block>(Plain{}).build();
  const InProcessTransport transport(made);
  auto holder = client<Block, Block>(transport).build();
  auto other = client<Block, Block>(transport).build();
  holder.can_offload({1});
  store(other, 1);
  CHECK(made.stats().leases.converted == 1);
  CHECK(made.stats().leases.active == 0);
  CHECK(holder.can_offload({1}).already_stored == std::vector<Block>{1});
}

TEST_CASE("a hub that insists on the holder refuses anybody else, who hears it at once") {
  auto made = hub<Block, Block>(Plain{}).insist_on_holder(true).build();
  const InProcessTransport transport(made);
  auto holder = client<Block, Block>(transport).build();
  auto other = client<Block, Block>(transport).build();
  holder.can_offload({1});
  std::string why;
  try {
    store(other, 1);
  } catch (const Undelivered<Block, Block, NoMetadata>& refused) {
    why = refused.what();
  }
  CHECK(why.find("key 0100000000000000 is leased by another holder") != std::string::npos);
  CHECK(made.stats().stored == 0);
  store(holder, 1);
  CHECK(made.stats().stored == 1);
}
