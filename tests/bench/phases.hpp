// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/codec.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/lease_manager.hpp>
#include <registry/detail/look_ahead.hpp>
#include <registry/eviction.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/holder.hpp>
#include <registry/storage.hpp>
#include <registry/trailer.hpp>

#include "floor.hpp"
#include "in_process.hpp"

namespace bench {

/// What has been computed is needed, as far as a compiler can see.
inline void keep(std::size_t value) { asm volatile("" : : "r"(value) : "memory"); }

/// One thing that a hub does, to be measured by itself: `work` does it for so many keys, and `undo`, which is not
/// measured, makes it possible again.
struct Phase {
  std::string name;
  std::size_t keys;
  std::function<void()> work;
  std::function<void()> undo = [] {};
};

/// The name of a phase as it stands in a file of figures, and in a flag.
inline std::string slug(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      text += c;
    } else if (!text.empty() && text.back() != '-') {
      text += '-';
    }
  }
  while (text.ends_with('-')) text.pop_back();
  return text;
}

/// The parts that a hub is made of, at one size of catalogue, in batches of a hundred keys. `each` is called with one
/// after the other; what one needs is let go before the next is made.
class Phases {
 public:
  static constexpr std::size_t batch = 100;

  Phases(std::uint64_t entries, std::size_t batches)
      : catalogue_{entries, std::max<std::uint64_t>(entries / 10, 100)}, batches_(batches) {}

  template <class Each>
  void codec(Each each) const {
    std::vector<registry::Bytes> messages = queries(registry::MessageType::can_offload, thirds());
    std::vector<std::uint64_t> keys;
    each(Phase{"decode", all(), [&] {
                 for (const registry::Bytes& message : messages) {
                   if (Hub::Codec::decode_keys(message, keys)) throw std::runtime_error("cannot decode");
                 }
               }});
    const std::vector<registry::OffloadStatus> statuses(batch, registry::OffloadStatus::leased);
    registry::Bytes answer;
    each(Phase{"encode", all(), [&] {
                 for (std::size_t i = 0; i < batches_; ++i) {
                   Hub::Codec::encode_statuses(registry::MessageType::can_offload_response,
                                               std::span<const registry::OffloadStatus>{statuses}, answer);
                 }
               }});
  }

  template <class Each>
  void table(Each each) const {
    Storage storage = filled();
    const std::vector<std::uint64_t> keys = thirds();
    each(Phase{"look up, one by one", all(), [&] {
                 std::size_t found = 0;
                 for (const std::uint64_t key : keys) found += storage.find(key) != nullptr ? 1U : 0U;
                 keep(found);
               }});
    Storage::Table& table = storage.table();
    each(Phase{"look up, prefetched", all(), [&] {
                 std::size_t known = 0;
                 for_each_ahead(table, keys, [&](std::uint64_t key, std::uint64_t hash, Storage::Table::Number hint) {
                   known += table.find(key, hash, hint).kind != Storage::Table::Kind::absent ? 1U : 0U;
                 });
                 keep(known);
               }});
    const std::vector<std::uint64_t> fresh = numbered(first_new);
    const auto insert = [&] {
      for (const std::uint64_t key : fresh) storage.insert({key, key, {}});
    };
    const auto erase = [&] {
      for (const std::uint64_t key : fresh) storage.erase(key);
    };
    each(Phase{"insert", all(), insert, erase});
    insert();
    each(Phase{"erase", all(), erase, insert});
  }

  /// Leases on new keys, in the table of a catalogue.
  template <class Each>
  void leases(Each each) const {
    using Table = Storage::Table;
    Storage storage = filled();
    Table& table = storage.table();
    constexpr std::size_t unlimited = 1'000'000'000;
    registry::LeaseManager<Table> leases(table, std::chrono::hours{10}, unlimited, unlimited);
    const registry::Holder holder = registry::Holder::client({2, 2});
    const registry::SteadyTime now{std::chrono::hours{1}};
    const std::vector<std::uint64_t> fresh = numbered(first_new);
    const auto in_batches = [&](auto action) { return [&, action] { for_each_ahead(table, fresh, action); }; };
    std::size_t asked = 0;
    const auto acquire = in_batches([&](std::uint64_t key, std::uint64_t hash, Table::Number hint) {
      if (asked++ % batch == 0) leases.ask_for(holder, holder.id, asked, now);
      leases.acquire(table.find(key, hash, hint), key, hash);
    });
    const auto release = in_batches([&](std::uint64_t key, std::uint64_t hash, Table::Number) {
      leases.release(key, hash, holder, now);
    });
    each(Phase{"lease: acquire", all(), acquire, release});
    acquire();
    each(Phase{"lease: release", all(), release, acquire});
    each(Phase{"lease: expire", all(), [&] { keep(leases.expire(now + leases.ttl(), all())); }, acquire});
  }

  template <class Each>
  void hub(Each each) const {
    Hub hub{registry::NoEviction(Storage{fixed_seed})};
    hub.store({first_stored, catalogue_.entries});
    hub.lease({first_leased, catalogue_.leases}, somebody_else);
    const Range fresh{first_new, all()};
    const auto ask = [&](const char* name, const std::vector<registry::Bytes>& messages, std::function<void()> undo,
                         std::optional<std::uint64_t> claim = std::nullopt) {
      each(Phase{name, all(),
                 [&] {
                   for (const registry::Bytes& message : messages) hub.ask(message, Hub::usual_client, claim);
                 },
                 std::move(undo)});
    };
    const auto can_offload = registry::MessageType::can_offload;
    const auto nothing = [] {};
    std::uint64_t new_keys = 0;
    const std::vector<std::uint64_t> keys = thirds(&new_keys);
    ask("decide: claim, thirds", queries(can_offload, keys), [&] { hub.release({first_new, new_keys}); });
    constexpr std::uint64_t claim = 1;
    std::vector<registry::Bytes> claims = queries(registry::MessageType::claim, keys);
    for (registry::Bytes& message : claims) {
      constexpr std::chrono::nanoseconds wait = std::chrono::seconds{1};  // never begun: each is granted something
      registry::append_trailer<1>({static_cast<std::uint64_t>(wait.count())}, message);
    }
    ask("decide: claim with a token, thirds", claims, [&] { hub.release({first_new, new_keys}, claim); }, claim);
    ask("decide: claim, all new (lease)", queries(can_offload, numbered(first_new)), [&] { hub.release(fresh); });
    const std::vector<std::uint64_t> stored = random(first_stored, catalogue_.entries);
    ask("decide: claim, all stored", queries(can_offload, stored), nothing);
    ask("decide: claim, all leased", queries(can_offload, random(first_leased, catalogue_.leases)), nothing);
    ask("decide: match, all stored", queries(registry::MessageType::match, stored), nothing);
    std::vector<registry::Bytes> registrations;
    for (std::size_t i = 0; i < batches_; ++i) {
      registrations.push_back(Hub::entries_message({first_new + i * batch, batch}));
    }
    each(Phase{"decide: register, all new", all(),
               [&] {
                 for (const registry::Bytes& message : registrations) hub.tell(message);
               },
               [&] { hub.remove(fresh); }});
  }

  /// Inserts at capacity: each makes another entry leave.
  template <class Each>
  void eviction(Each each) const {
    at_capacity("insert and evict, recency",
                registry::RecencyEviction(Storage{fixed_seed}, static_cast<std::size_t>(catalogue_.entries)), each);
    using Chained = registry::HashMapStorage<std::uint64_t, std::uint64_t, registry::PositionMetadata>;
    at_capacity("insert and evict, tail, chains of 32",
                registry::TailEviction(Chained{fixed_seed}, static_cast<std::size_t>(catalogue_.entries)), each);
  }

  Catalogue catalogue() const noexcept { return catalogue_; }

 private:
  using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t, registry::NoMetadata>;
  using Hub = InProcessHub<registry::NoEviction<Storage>>;

  std::size_t all() const noexcept { return batches_ * batch; }

  Storage filled() const {
    Storage storage{fixed_seed};
    for (std::uint64_t n = 0; n < catalogue_.entries; ++n) storage.insert({key_of(first_stored + n), n, {}});
    return storage;
  }

  /// A third each; new keys in order, so that they can be released.
  std::vector<std::uint64_t> thirds(std::uint64_t* new_keys = nullptr) const {
    Random random(7);
    std::vector<std::uint64_t> keys(all());
    std::uint64_t fresh = 0;
    for (std::uint64_t& key : keys) {
      const std::uint64_t sort = random.below(3);
      key = key_of(sort == 0   ? first_new + fresh++
                   : sort == 1 ? first_stored + random.below(catalogue_.entries)
                               : first_leased + random.below(catalogue_.leases));
    }
    if (new_keys != nullptr) *new_keys = fresh;
    return keys;
  }

  std::vector<std::uint64_t> numbered(std::uint64_t first) const {
    std::vector<std::uint64_t> keys(all());
    for (std::uint64_t& key : keys) key = key_of(first++);
    return keys;
  }

  std::vector<std::uint64_t> random(std::uint64_t first, std::uint64_t count) const {
    Random random(11);
    std::vector<std::uint64_t> keys(all());
    for (std::uint64_t& key : keys) key = key_of(first + random.below(count));
    return keys;
  }

  static std::vector<registry::Bytes> queries(registry::MessageType type, std::span<const std::uint64_t> keys) {
    std::vector<registry::Bytes> messages;
    for (std::size_t at = 0; at < keys.size(); at += batch) {
      messages.push_back(Hub::keys_message(type, keys.subspan(at, batch)));
    }
    return messages;
  }

  /// As a hub goes through a query: calls `action(key, hash, hint)` for every key of every batch.
  template <class Action>
  static void for_each_ahead(const Storage::Table& table, std::span<const std::uint64_t> keys, Action action) {
    std::array<std::uint64_t, batch> hashes;
    for (std::size_t at = 0; at < keys.size(); at += batch) {
      const std::span asked = keys.subspan(at, batch);
      std::ranges::transform(asked, hashes.begin(), [&](std::uint64_t key) { return table.hash(key); });
      registry::detail::look_ahead(
          table, hashes, [&](std::size_t i, Storage::Table::Number hint) { action(asked[i], hashes[i], hint); });
    }
  }

  template <registry::Eviction P, class Each>
  void at_capacity(const char* name, P policy, Each each) const {
    std::vector<typename P::EntryType> evicted;
    std::uint64_t next = first_stored;
    const auto insert = [&] {
      policy.insert({key_of(next), next, metadata_of<typename P::metadata_type>(next)}, evicted);
      evicted.clear();
      ++next;
    };
    for (std::uint64_t i = 0; i < catalogue_.entries; ++i) insert();
    each(Phase{name, all(), [&] {
                 for (std::size_t i = 0; i < all(); ++i) insert();
               }});
  }

  Catalogue catalogue_;
  std::size_t batches_;
};

}  // namespace bench
