// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include <registry/key.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/value.hpp>

#include "support/catch.hpp"

using namespace registry;

namespace {

using Places = HashMapStorage<Key128, StorageLocation, TimestampMetadata>;
using Place = Stored<StorageLocation, TimestampMetadata>;

Place place(const std::string& path, std::uint64_t created_at) {
  return {{StorageBackend::disk, path, 1}, {created_at, std::nullopt}};
}

std::optional<Place> insert(Places& storage, const Key128& key, const Place& stored) {
  return storage.insert({key, stored.value, stored.metadata});
}

}  // namespace

TEST_CASE("what was inserted is found, with its metadata, under its key and no other") {
  Places storage;
  CHECK(storage.size() == 0);
  CHECK_FALSE(insert(storage, {1, 2}, place("a", 10)));
  CHECK(storage.size() == 1);
  REQUIRE(storage.find({1, 2}) != nullptr);
  CHECK(*storage.find({1, 2}) == place("a", 10));
  CHECK(storage.find({2, 1}) == nullptr);
  CHECK(storage.find({1, 3}) == nullptr);
}

TEST_CASE("a second insert under a key replaces value and metadata and gives the old ones back") {
  Places storage;
  insert(storage, {1, 2}, place("a", 10));
  const auto replaced = insert(storage, {1, 2}, place("b", 20));
  REQUIRE(replaced);
  CHECK(*replaced == place("a", 10));
  CHECK(*storage.find({1, 2}) == place("b", 20));
  CHECK(storage.size() == 1);
}

TEST_CASE("what was erased comes back and is forgotten") {
  Places storage;
  insert(storage, {1, 2}, place("a", 10));
  insert(storage, {3, 4}, place("b", 20));
  const auto erased = storage.erase({1, 2});
  REQUIRE(erased);
  CHECK(*erased == place("a", 10));
  CHECK(storage.find({1, 2}) == nullptr);
  CHECK(*storage.find({3, 4}) == place("b", 20));
  CHECK(storage.size() == 1);
  CHECK_FALSE(storage.erase({1, 2}));
  CHECK(storage.size() == 1);
}

TEST_CASE("a storage takes its entries along when it moves") {
  Places storage;
  insert(storage, {1, 2}, place("a", 10));
  const Places moved = std::move(storage);
  CHECK(moved.size() == 1);
  CHECK(*moved.find({1, 2}) == place("a", 10));
}

TEST_CASE("a storage holds what a map would, whatever its seed") {
  std::mt19937_64 random{7};
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, random()}) {
    HashMapStorage<std::uint64_t, std::uint64_t> storage{seed};
    std::map<std::uint64_t, std::uint64_t> model;
    const auto in_model = [&](std::uint64_t key) {
      const auto it = model.find(key);
      return it == model.end() ? std::nullopt : std::optional{Stored<std::uint64_t, NoMetadata>{it->second, {}}};
    };
    bool same = true;
    for (int step = 0; step < 20'000; ++step) {
      const std::uint64_t key = random() % 2'000;
      if (random() % 3 != 0) {
        const std::uint64_t value = random();
        same = same && storage.insert({key, value, {}}) == in_model(key);
        model[key] = value;
      } else {
        same = same && storage.erase(key) == in_model(key);
        model.erase(key);
      }
      same = same && storage.size() == model.size();
    }
    CHECK(same);
    for (std::uint64_t key = 0; key < 2'000; ++key) {
      const auto* found = storage.find(key);
      same = same && (found ? std::optional{*found} : std::nullopt) == in_model(key);
    }
    CHECK(same);
    CHECK(model.size() > 500);
  }
}

TEST_CASE("a storage that has been reserved is empty, and serves as any other") {
  HashMapStorage<std::uint64_t, std::uint64_t> storage;
  storage.reserve(100'000, 1'000);
  CHECK(storage.size() == 0);
  for (std::uint64_t key = 0; key < 150'000; ++key) CHECK_FALSE(storage.insert({key, 2 * key, {}}));
  CHECK(storage.size() == 150'000);
  CHECK(storage.find(149'999)->value == 299'998);
  CHECK(storage.erase(0)->value == 0);
}
