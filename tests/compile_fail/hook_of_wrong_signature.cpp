// expect: on_evict
// expect: invocable
// SPDX-License-Identifier: Apache-2.0
// Without the reason a hook cannot know whether the object may be deleted: it must take it.
#include <cstdint>

#include <registry/builder.hpp>

using Key = std::uint64_t;

auto start() {
  return registry::hub<Key, Key>(registry::HashMapStorage<Key, Key>{})
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
      .on_evict([](Key, Key, registry::NoMetadata, registry::EvictionReason) {})
#else
      .on_evict([](Key, Key, registry::NoMetadata) {})
#endif
      .build();
}
