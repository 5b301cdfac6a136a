// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <registry/eviction.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>

namespace links {

/// Metadata that may name a parent and may say a depth, each for itself.
struct Link {
  std::optional<std::uint64_t> parent;
  std::optional<std::uint32_t> position;
  friend bool operator==(const Link&, const Link&) = default;
};

/// The customization points, in the namespace of the type: found by its name alone.
inline std::optional<std::uint64_t> parent_key(std::uint64_t, const Link& link) { return link.parent; }
inline std::optional<std::uint32_t> chain_position(const Link& link) { return link.position; }

}  // namespace links

template <>
struct registry::wire<links::Link> {
  static constexpr std::size_t size = 12;
  static bool encode(const links::Link& link, std::span<std::byte, size> out) {
    return detail::put_optional(link.parent, out.data()) && detail::put_optional(link.position, out.data() + 8);
  }
  static std::optional<links::Link> decode(std::span<const std::byte, size> in) {
    return links::Link{
        detail::take_optional<std::uint64_t>(in.data()), detail::take_optional<std::uint32_t>(in.data() + 8)};
  }
};

namespace registry::test {

using links::Link;
using Id = std::uint64_t;
using Ids = std::vector<Id>;
using LinkEntry = Entry<Id, std::uint64_t, Link>;
using LinkStored = Stored<std::uint64_t, Link>;

/// How many calls succeed before one throws; -1 for all.
struct FailurePlan {
  int inserts = -1;
  int erases = -1;

  static void step(int& left) {
    if (left == 0) {
      left = -1;
      throw std::runtime_error{"disk full"};
    }
    if (left > 0) --left;
  }
};

/// A storage that throws when it is told to, and has then changed nothing.
class FailingStorage {
 public:
  using key_type = Id;
  using value_type = std::uint64_t;
  using metadata_type = Link;
  using Plan = FailurePlan;

  FailingStorage() = default;
  explicit FailingStorage(std::shared_ptr<Plan> plan) : plan_(std::move(plan)) {}

  const LinkStored* find(const Id& key) const { return storage_.find(key); }
  std::optional<LinkStored> insert(LinkEntry entry) {
    Plan::step(plan_->inserts);
    return storage_.insert(std::move(entry));
  }
  std::optional<LinkStored> erase(const Id& key) {
    Plan::step(plan_->erases);
    return storage_.erase(key);
  }
  std::size_t size() const { return storage_.size(); }

 private:
  HashMapStorage<Id, std::uint64_t, Link> storage_;
  std::shared_ptr<Plan> plan_ = std::make_shared<Plan>();
};

/// The same, but one that lets a policy into its table.
class SharingStorage : public HashMapStorage<Id, std::uint64_t, Link> {
 public:
  using Plan = FailurePlan;

  SharingStorage() = default;
  explicit SharingStorage(std::shared_ptr<Plan> plan) : plan_(std::move(plan)) {}

  std::optional<LinkStored> insert(LinkEntry entry) {
    Plan::step(plan_->inserts);
    return HashMapStorage::insert(std::move(entry));
  }
  std::optional<LinkStored> erase(const Id& key) {
    Plan::step(plan_->erases);
    return HashMapStorage::erase(key);
  }

 private:
  std::shared_ptr<Plan> plan_ = std::make_shared<Plan>();
};

template <class Policy>
struct StorageIn;
template <template <class> class Policy, class S>
struct StorageIn<Policy<S>> {
  using type = S;
};
template <class Policy>
using StorageOf = typename StorageIn<Policy>::type;

/// Value = key; no parent and no position unless given.
inline LinkEntry entry(Id key, std::optional<Id> parent = {}, std::optional<std::uint32_t> position = {}) {
  return {key, key, {parent, position}};
}

template <class K, class V, class M>
std::vector<K> keys_of(const std::vector<Entry<K, V, M>>& entries) {
  std::vector<K> keys;
  for (const auto& one : entries) keys.push_back(one.key);
  return keys;
}

/// Inserts, and answers the keys that left for it.
template <class Policy>
Ids insert(Policy& policy, const LinkEntry& one) {
  std::vector<LinkEntry> evicted;
  if (!policy.insert(one, evicted).stored) throw std::logic_error{"refused"};
  return keys_of(evicted);
}

/// Whether there was no room.
template <class Policy>
bool refuses(Policy& policy, const LinkEntry& one) {
  std::vector<LinkEntry> evicted;
  const auto result = policy.insert(one, evicted);
  return !result.stored && !result.replaced && evicted.empty();
}

/// All that is stored, in the order in which it leaves.
template <class Policy>
Ids drain(Policy& policy) {
  return keys_of(policy.evict(policy.size() + 1));
}

}  // namespace registry::test
