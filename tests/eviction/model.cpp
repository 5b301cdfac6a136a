// SPDX-License-Identifier: Apache-2.0
// Random calls to a policy and to a model that scans everything and is obviously right; both must always agree.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>

#include "eviction/common.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

namespace {

struct Item {
  LinkStored stored;
  std::optional<Id> parent;
  std::uint64_t depth = 0;
  std::uint64_t moment = 0;
};

struct Tail {
  using Policy = TailEviction<FailingStorage>;
  static constexpr bool use_renews = false;
  static bool before(const Item& a, const Item& b) {
    return a.depth > b.depth || (a.depth == b.depth && a.moment < b.moment);
  }
};

struct Recency {
  using Policy = RecencyEviction<FailingStorage>;
  static constexpr bool use_renews = true;
  static bool before(const Item& a, const Item& b) { return a.moment < b.moment; }
};

/// Over a storage whose table the policy shares.
struct TailSharing : Tail {
  using Policy = TailEviction<SharingStorage>;
};
struct RecencySharing : Recency {
  using Policy = RecencyEviction<SharingStorage>;
};

template <class Rule>
class Model {
 public:
  explicit Model(std::size_t capacity) : capacity_(capacity) {}

  bool closes_cycle(Id key, std::optional<Id> parent) const {
    for (auto at = parent; at; at = items.contains(*at) ? items.at(*at).parent : std::nullopt) {
      if (*at == key) return true;
    }
    return false;
  }

  /// What has to happen before this key can be inserted.
  bool needs_room(Id key) const { return !items.contains(key) && items.size() >= capacity_; }
  std::optional<Id> victim_for(std::optional<Id> parent) const { return first_leaf(parent); }

  std::optional<LinkStored> store(const LinkEntry& one, std::optional<Id> parent) {
    const bool is_new = !items.contains(one.key);
    Item& item = items[one.key];
    const auto replaced = is_new ? std::nullopt : std::optional{item.stored};
    item.stored = {one.value, one.metadata};
    item.parent = parent;
    item.depth = one.metadata.position               ? *one.metadata.position
                 : parent && items.contains(*parent) ? items[*parent].depth + 1
                                                     : 0;
    if (is_new || Rule::use_renews) item.moment = ++now_;
    return replaced;
  }

  std::optional<LinkStored> erase(Id key) {
    const auto it = items.find(key);
    if (it == items.end()) return std::nullopt;
    const LinkStored stored = it->second.stored;
    items.erase(it);
    return stored;
  }

  bool touch(Id key) {
    const auto it = items.find(key);
    if (it == items.end()) return false;
    if (Rule::use_renews) it->second.moment = ++now_;
    return true;
  }

  std::vector<LinkEntry> evict(std::size_t n) {
    std::vector<LinkEntry> evicted;
    while (evicted.size() < n && !items.empty()) leave(*first_leaf(std::nullopt), evicted);
    return evicted;
  }

  void leave(Id key, std::vector<LinkEntry>& evicted) {
    const Item& item = items.at(key);
    evicted.push_back({key, item.stored.value, item.stored.metadata});
    items.erase(key);
  }

  bool has_child(Id key) const {
    return std::any_of(items.begin(), items.end(), [&](const auto& item) { return item.second.parent == key; });
  }

  std::map<Id, Item> items;
  std::uint64_t cycles = 0;

 private:
  std::optional<Id> first_leaf(std::optional<Id> except) const {
    std::optional<Id> first;
    for (const auto& [key, item] : items) {
      if (has_child(key) || except == key) continue;
      if (!first || Rule::before(item, items.at(*first))) first = key;
    }
    return first;
  }

  std::size_t capacity_;
  std::uint64_t now_ = 0;
};

/// What a run has seen, so that one in which nothing happened is no success.
struct Seen {
  std::size_t evicted = 0, refused = 0, replaced = 0, late_parents = 0, middle_removed = 0, relinked = 0, failed = 0;
  std::uint64_t cycles = 0;
};

template <class Rule>
class Run {
 public:
  Run(std::uint64_t seed, std::size_t capacity, Id keys)
      : random_(seed), keys_(keys), model_(capacity), policy_(StorageOf<typename Rule::Policy>{plan_}, capacity) {}

  void step(Seen& seen) {
    const auto choice = random_() % 100;
    if (choice < 65) {
      insert(seen);
    } else if (choice < 80) {
      const Id key = any_key();
      seen.middle_removed += model_.items.contains(key) && model_.has_child(key) ? 1U : 0U;
      agree(policy_.erase(key) == model_.erase(key));
    } else if (choice < 97) {
      const Id key = any_key();
      agree(policy_.touch(key) == model_.touch(key));
    } else {
      const std::size_t n = random_() % 5;
      const auto left = policy_.evict(n);
      agree(left == model_.evict(n));
      agree(nobody_is_orphaned_by(left));
      seen.evicted += left.size();
    }
    compare();
    seen.cycles = model_.cycles;
  }

  void finish() { agree(policy_.evict(policy_.size()) == model_.evict(model_.items.size())); }

 private:
  static void agree(bool same) {
    if (!same) throw std::logic_error{"policy and model differ"};
  }

  /// The invariant itself: no block is left behind whose parent was evicted.
  bool nobody_is_orphaned_by(const std::vector<LinkEntry>& left) const {
    return std::none_of(left.begin(), left.end(), [&](const LinkEntry& one) { return model_.has_child(one.key); });
  }

  Id any_key() { return 1 + random_() % keys_; }

  void insert(Seen& seen) {
    const bool says_parent = random_() % 4 != 0;
    LinkEntry one{any_key(), random_(), {}};
    if (says_parent) one.metadata.parent = any_key();
    if (random_() % 4 == 0) one.metadata.position = static_cast<std::uint32_t>(random_() % 5);
    std::optional<Id> parent = one.metadata.parent;
    const bool by_caller = random_() % 4 == 0;
    if (by_caller) parent = random_() % 3 == 0 ? std::nullopt : std::optional{any_key()};

    const bool is_new = !model_.items.contains(one.key);
    seen.late_parents += is_new && model_.has_child(one.key) ? 1U : 0U;
    seen.relinked += !is_new && model_.items[one.key].parent != parent ? 1U : 0U;

    const bool closes_cycle = model_.closes_cycle(one.key, parent);
    const std::optional<Id> link = closes_cycle ? std::nullopt : parent;
    const bool needs_room = model_.needs_room(one.key);
    const std::optional<Id> victim = needs_room ? model_.victim_for(link) : std::nullopt;
    std::vector<LinkEntry> left, left_model;
    const auto call = [&] {
      return by_caller ? policy_.insert_with_parent(one, parent, left) : policy_.insert(one, left);
    };
    if (needs_room && !victim) {
      const auto result = call();
      agree(!result.stored && !result.replaced && left.empty());
      ++seen.refused;
      return;
    }
    const auto failure = random_() % 20;
    if (failure == 0 && victim) {
      plan_->erases = 0;
      agree(throws(call) && left.empty());
      ++seen.failed;
      return;
    }
    if (victim) model_.leave(*victim, left_model);
    if (failure == 1) {
      plan_->inserts = 0;
      agree(throws(call) && left == left_model);
      ++seen.failed;
      return;
    }
    const auto result = call();
    const auto replaced = model_.store(one, link);
    model_.cycles += closes_cycle ? 1U : 0U;
    agree(result.stored && result.replaced == replaced && left == left_model);
    agree(nobody_is_orphaned_by(left));
    seen.evicted += left.size();
    seen.replaced += replaced ? 1U : 0U;
  }

  template <class Call>
  static bool throws(Call call) {
    try {
      call();
    } catch (const std::runtime_error&) {
      return true;
    }
    return false;
  }

  void compare() const {
    agree(policy_.size() == model_.items.size());
    agree(policy_.cycles_ignored() == model_.cycles);
    for (Id key = 1; key <= keys_; ++key) {
      const auto* found = policy_.find(key);
      const auto it = model_.items.find(key);
      agree((found != nullptr) == (it != model_.items.end()));
      if (found != nullptr) agree(*found == it->second.stored);
    }
  }

  std::mt19937_64 random_;
  Id keys_;
  Model<Rule> model_;
  std::shared_ptr<FailurePlan> plan_ = std::make_shared<FailurePlan>();
  typename Rule::Policy policy_;
};

}  // namespace

TEMPLATE_TEST_CASE("a policy does what a model does that scans everything", "", Tail, Recency, TailSharing,
                   RecencySharing) {
  Seen total;
  for (std::uint64_t seed = 0; seed < 240; ++seed) {
    CAPTURE(seed);
    Seen seen;
    // From a catalogue for one entry to one that holds nearly all keys there are.
    Run<TestType> run{seed, 1 + seed % 13, 6 + seed % 9};
    for (int step = 0; step < 1'000; ++step) {
      CAPTURE(step);
      REQUIRE_NOTHROW(run.step(seen));
    }
    REQUIRE_NOTHROW(run.finish());
    total.evicted += seen.evicted;
    total.refused += seen.refused;
    total.replaced += seen.replaced;
    total.late_parents += seen.late_parents;
    total.middle_removed += seen.middle_removed;
    total.relinked += seen.relinked;
    total.failed += seen.failed;
    total.cycles += seen.cycles;
  }
  CHECK(total.evicted > 2'000);
  CHECK(total.refused > 200);
  CHECK(total.replaced > 2'000);
  CHECK(total.late_parents > 500);
  CHECK(total.middle_removed > 500);
  CHECK(total.relinked > 1'000);
  CHECK(total.failed > 500);
  CHECK(total.cycles > 1'000);
}

TEMPLATE_TEST_CASE("a policy does what the model does with long chains, too", "", Tail, Recency, TailSharing,
                   RecencySharing) {
  for (std::uint64_t seed = 100; seed < 103; ++seed) {
    CAPTURE(seed);
    Seen seen;
    Run<TestType> run{seed, 60, 90};
    for (int step = 0; step < 1'500; ++step) REQUIRE_NOTHROW(run.step(seen));
    REQUIRE_NOTHROW(run.finish());
    CHECK(seen.evicted > 50);
  }
}

TEST_CASE("leases in a shared table come and go beside the names of blocks that others wait for") {
  SharingStorage storage;
  TailEviction policy{std::move(storage), 4};
  auto& table = policy.table();
  using Kind = SharingStorage::Table::Kind;
  SharingStorage::Table::Leases::List order;
  const auto kind = [&](Id key) { return table.find(key, table.hash(key)).kind; };
  const auto lease = [&](Id key) { table.add_lease(order, key, table.hash(key), {}); };

  lease(1);
  insert(policy, entry(2, 1));
  CHECK(kind(1) == Kind::leased);
  insert(policy, entry(1));
  CHECK(kind(1) == Kind::stored);
  table.erase_lease(order, order.front, table.hash(1));
  CHECK(kind(1) == Kind::stored);

  policy.erase(1);
  CHECK(kind(1) == Kind::absent);
  lease(1);
  CHECK(kind(1) == Kind::leased);
  policy.evict(1);  // the last that waited for it
  CHECK(kind(1) == Kind::leased);
  CHECK(policy.size() == 0);
  insert(policy, entry(1));
  table.erase_lease(order, order.front, table.hash(1));
  CHECK(drain(policy) == Ids{1});
  CHECK(kind(1) == Kind::absent);
}
