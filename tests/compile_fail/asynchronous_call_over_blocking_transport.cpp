// expect: async_can_offload
// expect: AsyncTransport
// SPDX-License-Identifier: Apache-2.0
// What the transport can do decides which calls there are: a blocking one has no executor to complete on.
#include <cstdint>
#include <vector>

#include <registry/client.hpp>
#include <registry/transport/in_process.hpp>

using Client =
    registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::InProcessTransport>;

void ask(Client& client, const std::vector<std::uint64_t>& keys) {
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  client.can_offload(keys);
#else
  client.async_can_offload(keys, [](auto...) {});
#endif
}
