// expect: constraints not satisfied
// expect: K = ChunkId
// expect: HasWireSize
// SPDX-License-Identifier: Apache-2.0
// A key says how it becomes bytes; the library does not look into a struct by itself.
#include <cstdint>

#include <registry/storage.hpp>

struct ChunkId {
  std::uint32_t volume = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const ChunkId&, const ChunkId&) = default;
};

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
template <>
struct registry::wire<ChunkId> : registry::wire_fields<&ChunkId::volume, &ChunkId::offset> {};
#endif

registry::HashMapStorage<ChunkId, std::uint64_t> storage;
