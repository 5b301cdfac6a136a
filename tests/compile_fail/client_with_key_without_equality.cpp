// expect: client<K, V, M>: K is not a Key (see registry/key.hpp)
// SPDX-License-Identifier: Apache-2.0
// A wire form alone makes no key: the answers to a query are matched with its keys.
#include <cstdint>

#include <registry/builder.hpp>
#include <registry/transport/in_process.hpp>

struct ChunkId {
  std::uint64_t number = 0;
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  friend bool operator==(const ChunkId&, const ChunkId&) = default;
#endif
};

template <>
struct registry::wire<ChunkId> : registry::wire_fields<&ChunkId::number> {};

auto start(registry::InProcessTransport transport) {
  return registry::client<ChunkId, std::uint64_t>(std::move(transport));
}
