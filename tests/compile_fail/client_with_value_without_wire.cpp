// expect: client<K, V, M>: V needs a wire<V> (see registry/wire.hpp)
// SPDX-License-Identifier: Apache-2.0
// A signed number has no wire form of its own: its width and sign are the protocol's business.
#include <cstdint>

#include <registry/builder.hpp>
#include <registry/transport/in_process.hpp>

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using Value = std::uint32_t;
#else
using Value = int;
#endif

auto start(registry::InProcessTransport transport) {
  return registry::client<std::uint64_t, Value>(std::move(transport));
}
