// SPDX-License-Identifier: Apache-2.0
// A hub of your own: a key and a storage of your own types, a bound, and a hook that deletes the objects of what
// leaves. It is served over ZeroMQ on a thread of this process, which then is its client, too.
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <registry/registry.hpp>

/// A tile of a map. A key is a regular type whose fields go over the wire one after the other.
struct TileKey {
  std::uint32_t column = 0;
  std::uint32_t row = 0;
  std::uint8_t zoom = 0;
  friend auto operator<=>(const TileKey&, const TileKey&) = default;
};
template <>
struct registry::wire<TileKey> : registry::wire_fields<&TileKey::column, &TileKey::row, &TileKey::zoom> {};

namespace {

using registry::NoMetadata;
using registry::StorageLocation;
using Tile = registry::Entry<TileKey, StorageLocation, NoMetadata>;

/// Keeps entries in the order of their keys. Any class with these members is a Storage.
class OrderedStorage {
 public:
  using key_type = TileKey;
  using value_type = StorageLocation;
  using metadata_type = NoMetadata;
  using StoredType = registry::Stored<StorageLocation, NoMetadata>;

  const StoredType* find(const TileKey& key) const {
    const auto it = tiles_.find(key);
    return it == tiles_.end() ? nullptr : &it->second;
  }
  std::optional<StoredType> insert(Tile tile) {
    StoredType stored{std::move(tile.value), tile.metadata};
    const auto [it, is_new] = tiles_.try_emplace(tile.key, stored);
    if (is_new) return std::nullopt;
    return std::exchange(it->second, std::move(stored));
  }
  std::optional<StoredType> erase(const TileKey& key) {
    const auto node = tiles_.extract(key);
    return node ? std::optional{std::move(node.mapped())} : std::nullopt;
  }
  std::size_t size() const { return tiles_.size(); }

 private:
  std::map<TileKey, StoredType> tiles_;
};
static_assert(registry::Storage<OrderedStorage>);

/// Objects to delete. While a handle lives its key is granted to nobody, so that no new object is deleted by mistake.
class Garbage {
 public:
  void add(std::string path, registry::EvictionHandle handle) {
    const std::lock_guard lock(mutex_);
    objects_.emplace_back(std::move(path), std::move(handle));
  }
  void delete_all() {
    std::vector<std::pair<std::string, registry::EvictionHandle>> objects;
    {
      const std::lock_guard lock(mutex_);
      objects.swap(objects_);
    }
    for (const auto& [path, handle] : objects) std::cout << "deleting " << path << '\n';
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, registry::EvictionHandle>> objects_;
};

Tile tile(const TileKey& key) {
  const std::string path = "tiles/" + std::to_string(key.column) + "-" + std::to_string(key.row);
  return {key, {registry::StorageBackend::object, path, 4096}, {}};
}

void use(const registry::ZmqEndpoints& endpoints, Garbage& garbage) {
  registry::ZmqTransportConfig config;
  config.query_addr = endpoints.query_addr;
  config.register_addr = endpoints.register_addr;
  auto tiles = registry::client<TileKey, StorageLocation>(registry::ZmqTransport::connect(config)).build();

  const std::vector<TileKey> keys{{1, 1, 7}, {1, 2, 7}, {1, 3, 7}};
  const auto answer = tiles.can_offload(keys);
  std::cout << answer.can_offload.size() << " tiles to store\n";
  for (const TileKey& key : answer.can_offload) tiles.register_blocks({tile(key)});
  tiles.flush();
  // The flush has handed the registrations over; the hub applies them a moment later.
  for (int attempt = 0; tiles.match({keys.back()}).empty() && attempt < 100; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }

  // There is room for two; the oldest had to leave, and is nobody's until its object is deleted.
  auto other = registry::client<TileKey, StorageLocation>(registry::ZmqTransport::connect(config)).build();
  std::cout << other.can_offload(keys).leased.size() << " being deleted\n";
  garbage.delete_all();
  std::cout << other.can_offload(keys).can_offload.size() << " to store again\n";
}

}  // namespace

int main() {
  try {
    Garbage garbage;
    auto hub = registry::hub<TileKey, StorageLocation>(registry::RecencyEviction(OrderedStorage{}, 2))
                   .lease_ttl(std::chrono::seconds{60})
                   .on_evict([&garbage](const TileKey&, const StorageLocation& location, const NoMetadata&,
                                        registry::EvictionReason, const registry::Departure<TileKey>& departure) {
                     garbage.add(location.path, departure.hold());
                   })
                   .build();
    registry::ZmqHubConfig config;
    config.query_addr = "tcp://127.0.0.1:*";
    config.register_addr = "tcp://127.0.0.1:*";
    auto transport = registry::ZmqHubTransport::bind(config);
    auto serving = std::async(std::launch::async, [&] { hub.serve(transport); });
    try {
      use(transport.endpoints(), garbage);
    } catch (...) {
      hub.stop();
      throw;
    }
    hub.stop();
    serving.get();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "own_hub: " << error.what() << '\n';
    return 1;
  }
}
