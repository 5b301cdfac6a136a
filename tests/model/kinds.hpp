// SPDX-License-Identifier: Apache-2.0
// The kinds of catalogue that a hub beside its model may have.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <utility>

#include <registry/eviction.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>

#include "model/texts.hpp"

namespace registry::test {

/// A storage that shares no table with the hub.
class MapStorage {
 public:
  using key_type = Number;
  using value_type = Number;
  using metadata_type = TimestampMetadata;
  using StoredType = Stored<Number, TimestampMetadata>;

  const StoredType* find(Number key) const {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }

  std::optional<StoredType> insert(ModelEntry entry) {
    const StoredType stored{entry.value, entry.metadata};
    const auto [it, is_new] = entries_.try_emplace(entry.key, stored);
    if (is_new) return std::nullopt;
    return std::exchange(it->second, stored);
  }

  std::optional<StoredType> erase(Number key) {
    const auto node = entries_.extract(key);
    return node ? std::optional{node.mapped()} : std::nullopt;
  }

  std::size_t size() const noexcept { return entries_.size(); }

 private:
  std::map<Number, StoredType> entries_;
};

struct WithoutEnd {
  using Storage = HashMapStorage<Number, Number>;
  using Policy = NoEviction<Storage>;
  static constexpr bool evicts = false;
  static Policy make(std::optional<std::size_t> capacity) { return Policy{Storage{}, capacity}; }
};

struct WithoutTable {
  using Policy = NoEviction<MapStorage>;
  static constexpr bool evicts = false;
  static Policy make(std::optional<std::size_t> capacity) { return Policy{MapStorage{}, capacity}; }
};

struct Evicting {
  using Storage = HashMapStorage<Number, Number, TimestampMetadata>;
  using Policy = RecencyEviction<Storage>;
  static constexpr bool evicts = true;
  static Policy make(std::optional<std::size_t> capacity) { return Policy{Storage{}, capacity.value_or(last_key)}; }
};

}  // namespace registry::test
