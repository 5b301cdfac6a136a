// SPDX-License-Identifier: Apache-2.0
// A worker with blocking calls: it asks which blocks to store, stores them, tells the hub, and finds them again.
// The hub (registry_hub --schema u64) is where DYN_REGISTRY_CLIENT_QUERY_ADDR and ..._REGISTER_ADDR say, or the
// arguments: worker QUERY_ADDR REGISTER_ADDR
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <thread>
#include <vector>

#include <registry/registry.hpp>

namespace {

using Block = registry::Entry<std::uint64_t, std::uint64_t, registry::NoMetadata>;

/// Stands for the work: brings a block into the storage and says where it is there.
std::uint64_t store_block(std::uint64_t hash) { return 1000 + hash; }

void work(const registry::ClientConfig& config) {
  auto hub = registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(config.transport))
                 .options(config.options)
                 .build();
  const std::vector<std::uint64_t> hashes{11, 12, 13, 14};

  const auto answer = hub.can_offload(hashes);
  std::cout << answer.can_offload.size() << " to store, " << answer.already_stored.size() << " stored already, "
            << answer.leased.size() << " being stored by others" << std::endl;

  std::vector<Block> stored;
  for (const std::uint64_t hash : answer.can_offload) stored.push_back({hash, store_block(hash), {}});
  hub.register_blocks(stored);
  hub.flush();

  // The flush has handed the registrations over; the hub applies them a moment later.
  auto found = hub.match_prefix(hashes);
  for (int attempt = 0; found.size() < hashes.size() && attempt < 100; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
    found = hub.match_prefix(hashes);
  }
  for (const Block& block : found) std::cout << "block " << block.key << " is at " << block.value << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto config = registry::ClientConfig::from_env();
    if (argc == 3) {
      config.transport.query_addr = registry::parse_peer_address("QUERY_ADDR", argv[1]);
      config.transport.register_addr = registry::parse_peer_address("REGISTER_ADDR", argv[2]);
    }
    work(config);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "worker: " << error.what() << '\n';
    return 1;
  }
}
