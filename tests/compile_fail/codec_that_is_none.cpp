// expect: codec
// expect: constraints not satisfied
// SPDX-License-Identifier: Apache-2.0
// A codec for other types would decode what nobody encoded.
#include <cstdint>

#include <registry/builder.hpp>

using Key = std::uint64_t;
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using Own = registry::BinaryCodec<Key, Key, registry::NoMetadata>;
#else
using Own = registry::BinaryCodec<registry::Key128, Key, registry::NoMetadata>;
#endif

auto start() { return registry::hub<Key, Key>(registry::HashMapStorage<Key, Key>{}).codec<Own>().build(); }
