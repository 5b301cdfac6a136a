// SPDX-License-Identifier: Apache-2.0
// The worker of worker.cpp as a coroutine on Asio: no call blocks a thread, and any number may be in progress at a
// time. The hub (registry_hub --schema u64) is where DYN_REGISTRY_CLIENT_QUERY_ADDR and ..._REGISTER_ADDR say, or the
// arguments: coroutine_worker QUERY_ADDR REGISTER_ADDR
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <vector>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <registry/registry.hpp>
#include <registry/transport/asio_zmq.hpp>

namespace {

using Block = registry::Entry<std::uint64_t, std::uint64_t, registry::NoMetadata>;

/// Stands for the work: brings a block into the storage and says where it is there.
asio::awaitable<std::uint64_t> store_block(std::uint64_t hash) { co_return 1000 + hash; }

asio::awaitable<void> work(registry::ClientConfig config) {
  using namespace std::chrono_literals;
  const auto executor = co_await asio::this_coro::executor;
  auto hub =
      registry::client<std::uint64_t, std::uint64_t>(registry::AsioZmqTransport::connect(executor, config.transport))
          .options(config.options)
          .build();
  const std::vector<std::uint64_t> hashes{11, 12, 13, 14};

  const auto answer = co_await hub.async_can_offload(hashes, asio::use_awaitable);
  std::cout << answer.can_offload.size() << " to store, " << answer.already_stored.size() << " stored already, "
            << answer.leased.size() << " being stored by others" << std::endl;

  std::vector<Block> stored;
  for (const std::uint64_t hash : answer.can_offload) stored.push_back({hash, co_await store_block(hash), {}});
  co_await hub.async_register_blocks(stored, asio::use_awaitable);
  co_await hub.async_flush(asio::use_awaitable);

  // The flush has handed the registrations over; the hub applies them a moment later.
  auto found = co_await hub.async_match_prefix(hashes, asio::use_awaitable);
  for (int attempt = 0; found.size() < hashes.size() && attempt < 100; ++attempt) {
    co_await asio::steady_timer(executor, 10ms).async_wait(asio::use_awaitable);
    found = co_await hub.async_match_prefix(hashes, asio::use_awaitable);
  }
  for (const Block& block : found) std::cout << "block " << block.key << " is at " << block.value << '\n';

  const auto lost = co_await hub.async_close(1s, asio::use_awaitable);
  if (!lost.empty()) std::cerr << lost.size() << " registrations could not be handed over\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto config = registry::ClientConfig::from_env();
    if (argc == 3) {
      config.transport.query_addr = registry::parse_peer_address("QUERY_ADDR", argv[1]);
      config.transport.register_addr = registry::parse_peer_address("REGISTER_ADDR", argv[2]);
    }
    asio::io_context io;
    asio::co_spawn(io, work(config), [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
    });
    io.run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "coroutine_worker: " << error.what() << '\n';
    return 1;
  }
}
