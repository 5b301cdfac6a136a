// expect: client<K, V, M>: K needs a wire<K> of fixed size (see registry/wire.hpp)
// SPDX-License-Identifier: Apache-2.0
// A string names a block well, but not in a number of bytes that is known beforehand.
#include <cstdint>
#include <string>

#include <registry/builder.hpp>
#include <registry/transport/in_process.hpp>

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using BlockKey = registry::Key128;
#else
using BlockKey = std::string;
#endif

auto start(registry::InProcessTransport transport) {
  return registry::client<BlockKey, std::uint64_t>(std::move(transport));
}
