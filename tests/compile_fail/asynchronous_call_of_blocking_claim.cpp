// expect: async_renew
// expect: AsyncDriver
// SPDX-License-Identifier: Apache-2.0
// A claim has the calls that its client has: here they block.
#include <cstdint>

#include <registry/client.hpp>
#include <registry/transport/in_process.hpp>

using Client =
    registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::InProcessTransport>;

void renew(Client::ClaimType& claim) {
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  claim.renew();
#else
  claim.async_renew([](auto...) {});
#endif
}
