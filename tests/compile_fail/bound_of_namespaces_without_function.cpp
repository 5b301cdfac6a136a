// expect: max_namespaces
// SPDX-License-Identifier: Apache-2.0
// A hub over one storage has one namespace: a bound of more would promise what it cannot do.
#include <cstdint>

#include <registry/builder.hpp>

using Storage = registry::HashMapStorage<std::uint64_t, std::uint64_t>;

auto start() {
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  return registry::hub<std::uint64_t, std::uint64_t>([] { return Storage{}; }).max_namespaces(3).build();
#else
  return registry::hub<std::uint64_t, std::uint64_t>(Storage{}).max_namespaces(3).build();
#endif
}
