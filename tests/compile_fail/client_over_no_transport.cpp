// expect: client<K, V, M>(transport): not a Transport (see registry/transport/transport.hpp)
// SPDX-License-Identifier: Apache-2.0
// An address is no transport: somebody has to say which one.
#include <cstdint>
#include <string>

#include <registry/builder.hpp>
#include <registry/transport/in_process.hpp>

#ifdef REGISTRY_COMPILE_FAIL_CONTROL
using Transport = registry::InProcessTransport;
#else
using Transport = std::string;
#endif

auto start(Transport transport) { return registry::client<std::uint64_t, std::uint64_t>(transport); }
