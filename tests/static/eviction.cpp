// SPDX-License-Identifier: Apache-2.0
#include <registry/eviction.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>

namespace {

using namespace registry;

using Number = std::uint64_t;
using Numbers = HashMapStorage<Number, Number>;
using Positioned = HashMapStorage<Key128, StorageLocation, PositionMetadata>;
using NumberEntry = Entry<Number, Number, NoMetadata>;
using StoredNumber = Stored<Number, NoMetadata>;
using Result = InsertResult<Number, NoMetadata>;

static_assert(Eviction<NoEviction<Numbers>> && Eviction<NoEviction<Positioned>>);
static_assert(Eviction<TailEviction<Numbers>> && Eviction<TailEviction<Positioned>>);
static_assert(Eviction<RecencyEviction<Numbers>> && Eviction<RecencyEviction<Positioned>>);
static_assert(StoresEntries<TailEviction<Numbers>, Number, Number, NoMetadata>);

// The storage says what a policy is of.
static_assert(std::same_as<decltype(NoEviction{Numbers{}}), NoEviction<Numbers>>);
static_assert(std::same_as<decltype(NoEviction{Numbers{}, 5}), NoEviction<Numbers>>);
static_assert(std::same_as<decltype(TailEviction{Numbers{}, 5}), TailEviction<Numbers>>);
static_assert(std::same_as<decltype(RecencyEviction{Positioned{}, 5}), RecencyEviction<Positioned>>);

// A bound is part of these policies: without one they would be a storage with costs.
static_assert(!std::constructible_from<TailEviction<Numbers>, Numbers>);
static_assert(!std::constructible_from<RecencyEviction<Numbers>, Numbers>);
static_assert(std::movable<TailEviction<Numbers>> && std::movable<RecencyEviction<Numbers>>);

// A storage is no policy.
static_assert(!Eviction<Numbers>);

/// What every near miss below has but for one thing.
struct Own {
  using key_type = Number;
  using value_type = Number;
  using metadata_type = NoMetadata;
  const StoredNumber* find(const Number&) const;
  Result insert(NumberEntry, std::vector<NumberEntry>&);
  std::optional<StoredNumber> erase(const Number&);
  bool touch(const Number&);
  std::vector<NumberEntry> evict(std::size_t);
  std::size_t size() const;
  std::optional<std::size_t> capacity() const;
};
static_assert(Eviction<Own>);

struct InsertHidesEvicted : Own {
  Result insert(NumberEntry);
};
struct InsertAnswersBool : Own {
  bool insert(NumberEntry, std::vector<NumberEntry>&);
};
struct EvictAnswersKeys : Own {
  std::vector<Number> evict(std::size_t);
};
struct EvictAnswersOne : Own {
  std::optional<NumberEntry> evict();
};
struct EraseAnswersBool : Own {
  bool erase(const Number&);
};
struct TouchSaysNothing : Own {
  void touch(const Number&);
};
struct CapacityWithoutNone : Own {
  std::size_t capacity() const;
};
struct FindChanges : Own {
  const StoredNumber* find(const Number&);
};
struct CannotMove : Own {
  CannotMove() = default;
  CannotMove(const CannotMove&) = delete;
  CannotMove& operator=(const CannotMove&) = delete;
};

static_assert(!Eviction<InsertHidesEvicted>);
static_assert(!Eviction<InsertAnswersBool>);
static_assert(!Eviction<EvictAnswersKeys>);
static_assert(!Eviction<EvictAnswersOne>);
static_assert(!Eviction<EraseAnswersBool>);
static_assert(!Eviction<TouchSaysNothing>);
static_assert(!Eviction<CapacityWithoutNone>);
static_assert(!Eviction<FindChanges>);
static_assert(!Eviction<CannotMove>);
static_assert(!Eviction<int>);

}  // namespace
