// SPDX-License-Identifier: Apache-2.0
#include <registry/storage.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <unordered_map>

namespace {

using namespace registry;

using Number = std::uint64_t;
using Numbers = HashMapStorage<Number, Number>;
using NumberEntry = Entry<Number, Number, NoMetadata>;
using StoredNumber = Stored<Number, NoMetadata>;

static_assert(Storage<Numbers>);
static_assert(Storage<HashMapStorage<Key128, StorageLocation, TimestampMetadata>>);
static_assert(Storage<HashMapStorage<PositionalKey, Number, PositionMetadata>>);
static_assert(std::is_nothrow_move_constructible_v<Numbers>);

/// What every near miss below has but for one thing.
struct Own {
  using key_type = Number;
  using value_type = Number;
  using metadata_type = NoMetadata;
  const StoredNumber* find(const Number&) const;
  std::optional<StoredNumber> insert(NumberEntry);
  std::optional<StoredNumber> erase(const Number&);
  std::size_t size() const;
};
static_assert(Storage<Own>);

struct FindsValue : Own {
  const Number* find(const Number&) const;
};
struct FindsMutable : Own {
  StoredNumber* find(const Number&) const;
};
struct FindChanges : Own {
  const StoredNumber* find(const Number&);
};
struct InsertAnswersBool : Own {
  bool insert(NumberEntry);
};
struct InsertTakesParts : Own {
  std::optional<StoredNumber> insert(Number, Number);
};
struct EraseAnswersCount : Own {
  std::size_t erase(const Number&);
};
struct SizeChanges : Own {
  std::size_t size();
};
struct WithoutMetadata : Own {
 private:
  using Own::metadata_type;
};
struct OfNoKey : Own {
  using key_type = int;
};
struct CannotMove : Own {
  CannotMove() = default;
  CannotMove(const CannotMove&) = delete;
  CannotMove& operator=(const CannotMove&) = delete;
};

static_assert(!Storage<FindsValue>);
static_assert(!Storage<FindsMutable>);
static_assert(!Storage<FindChanges>);
static_assert(!Storage<InsertAnswersBool>);
static_assert(!Storage<InsertTakesParts>);
static_assert(!Storage<EraseAnswersCount>);
static_assert(!Storage<SizeChanges>);
static_assert(!Storage<WithoutMetadata>);
static_assert(!Storage<OfNoKey>);
static_assert(!Storage<CannotMove>);
static_assert(!Storage<std::unordered_map<Number, Number>>);
static_assert(!Storage<Numbers&> && !Storage<const Numbers>);

static_assert(StoresEntries<Numbers, Number, Number, NoMetadata>);
static_assert(!StoresEntries<Numbers, Key128, Number, NoMetadata>);
static_assert(!StoresEntries<Numbers, Number, StorageLocation, NoMetadata>);
static_assert(!StoresEntries<Numbers, Number, Number, TimestampMetadata>);
static_assert(!StoresEntries<int, Number, Number, NoMetadata>);

}  // namespace
