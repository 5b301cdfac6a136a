// SPDX-License-Identifier: Apache-2.0
// lease_holder QUERY_ADDR REGISTER_ADDR DIGEST: a worker that never gets to the point. It leases the block, says so,
// and renews its lease until it is killed.
#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

#include <registry/registry.hpp>

#include "dedup/hashing.hpp"

int main(int argc, char** argv) {
  try {
    if (argc != 4) throw std::runtime_error("expected QUERY_ADDR REGISTER_ADDR DIGEST");
    const auto key = dedup::from_hex(argv[3]);
    if (!key) throw std::runtime_error("expected a digest of 32 hexadecimal digits, got " + std::string{argv[3]});
    registry::ZmqTransportConfig config;
    config.query_addr = argv[1];
    config.register_addr = argv[2];
    auto hub =
        registry::client<registry::Key128, registry::StorageLocation>(registry::ZmqTransport::connect(config)).build();
    while (true) {
      if (hub.can_offload({*key}).can_offload.empty()) throw std::runtime_error("the block was not granted");
      std::cout << "granted" << std::endl;
      std::this_thread::sleep_for(std::chrono::milliseconds{100});
    }
  } catch (const std::exception& error) {
    std::cerr << "lease_holder: " << error.what() << '\n';
    return 1;
  }
}
