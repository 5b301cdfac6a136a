// SPDX-License-Identifier: Apache-2.0
// An asynchronous client with the calls of a blocking one, as far as faults_worker makes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/use_future.hpp>
#include <registry/builder.hpp>
#include <registry/diagnostics.hpp>
#include <registry/error.hpp>
#include <registry/transport/asio_zmq.hpp>

namespace faults_test {

/// What `start(diagnostics, token)` completes with. Throws what it failed with.
template <class Start>
auto result_of(Start start) {
  registry::Diagnostics diagnostics;
  auto result = start(diagnostics, asio::use_future);
  try {
    return result.get();
  } catch (const std::system_error&) {
    if (diagnostics.error()) throw registry::RegistryError(*diagnostics.error());
    throw;
  }
}

/// Each call waits until it has completed, on a thread of the client's own, and throws what it failed with.
class AsynchronousClient {
 public:
  using Keys = std::vector<std::uint64_t>;
  using Block = registry::Entry<std::uint64_t, std::uint64_t, registry::NoMetadata>;
  using Blocks = std::vector<Block>;
  using Client =
      registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::AsioZmqTransport>;

  class ClaimType : public Client::ClaimType {
   public:
    ClaimType() = default;
    explicit ClaimType(Client::ClaimType claim) : Client::ClaimType(std::move(claim)) {}

    Keys progress() {
      return result_of([&](auto diagnostics, auto token) { return this->async_progress(diagnostics, token); });
    }
    auto register_blocks(const Blocks& blocks) {
      return result_of([&](auto diagnostics, auto token) {
        return this->async_register_blocks(blocks, diagnostics, token);
      });
    }
  };

  AsynchronousClient(const registry::ZmqTransportConfig& hub, Client (*build)(registry::AsioZmqTransport))
      : client_(build(registry::AsioZmqTransport::connect(io_.get_executor(), hub))), thread_([this] { io_.run(); }) {}
  AsynchronousClient(const AsynchronousClient&) = delete;
  AsynchronousClient& operator=(const AsynchronousClient&) = delete;
  ~AsynchronousClient() {
    client_.reset();
    work_.reset();
    thread_.join();
  }

  auto can_offload(const Keys& keys) {
    return result_of([&](auto diagnostics, auto token) {
      return client_->async_can_offload(keys, diagnostics, token);
    });
  }
  auto match(const Keys& keys) {
    return result_of([&](auto diagnostics, auto token) { return client_->async_match(keys, diagnostics, token); });
  }
  auto release(const Keys& keys) {
    return result_of([&](auto diagnostics, auto token) { return client_->async_release(keys, diagnostics, token); });
  }
  auto register_blocks(const Blocks& blocks) {
    return result_of([&](auto diagnostics, auto token) {
      return client_->async_register_blocks(blocks, diagnostics, token);
    });
  }
  auto register_acknowledged(const Blocks& blocks) {
    return result_of([&](auto diagnostics, auto token) {
      return client_->async_register_acknowledged(blocks, diagnostics, token);
    });
  }
  ClaimType claim(const Keys& keys, std::chrono::nanoseconds wait = {}) {
    return ClaimType(
        result_of([&](auto diagnostics, auto token) { return client_->async_claim(keys, wait, diagnostics, token); }));
  }

 private:
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  std::optional<Client> client_;
  std::thread thread_;
};

}  // namespace faults_test
