// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "dedup/catalogue.hpp"
#include "dedup/hashing.hpp"
#include "dedup/manifest.hpp"
#include "dedup/object_store.hpp"
#include "dedup/text.hpp"

namespace dedup {

/// Says in which objects the blocks of a manifest lie; asks the catalogue about many blocks ahead. What the catalogue
/// does not know, because it has evicted it for instance, is looked for where the store puts it by itself.
class Locator {
 public:
  Locator(Catalogue& catalogue, const std::vector<Key128>& blocks) : catalogue_(catalogue), blocks_(blocks) {}

  /// The name of the object for the block at `index`; asked for in rising order.
  std::string object_of(std::size_t index, std::size_t size) {
    if (index >= asked_) ask(index);
    const Key128& key = blocks_[index];
    const auto found = found_.find(key);
    if (found == found_.end()) {
      ++unknown_;
      return ObjectStore::object_name(key);
    }
    check(found->second, key, size);
    return found->second.path;
  }

  /// Blocks that the catalogue did not know.
  std::uint64_t unknown() const noexcept { return unknown_; }

 private:
  static constexpr std::size_t batch = 4096;

  void ask(std::size_t from) {
    const auto keys = std::span{blocks_}.subspan(from, std::min(batch, blocks_.size() - from));
    found_.clear();
    for (auto& [key, location, metadata] : catalogue_.locate(keys)) found_.insert_or_assign(key, std::move(location));
    asked_ = from + keys.size();
  }

  /// What the hub says comes from others: it must not lead out of the store.
  static void check(const registry::StorageLocation& location, const Key128& key, std::size_t size) {
    const bool is_good = location.backend == registry::StorageBackend::object && is_plain_name(location.path) &&
                         location.size_bytes == size;
    if (is_good) return;
    throw std::runtime_error("block " + to_hex(key) + ": expected an object of " + std::to_string(size) +
                             " bytes in the store, got from the hub " +
                             (location.backend == registry::StorageBackend::object ? "object" : "disk") + " \"" +
                             escaped(location.path) + "\" of " + std::to_string(location.size_bytes) + " bytes");
  }

  Catalogue& catalogue_;
  const std::vector<Key128>& blocks_;
  std::map<Key128, registry::StorageLocation> found_;
  std::size_t asked_ = 0;
  std::uint64_t unknown_ = 0;
};

}  // namespace dedup
