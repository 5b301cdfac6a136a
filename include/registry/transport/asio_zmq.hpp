// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <zmq.hpp>

#include <registry/transport/asio_zmq_driver.hpp>
#include <registry/transport/transport.hpp>
#include <registry/transport/zmq_client_socket.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry {

/// A client's sockets on an Asio executor: one DEALER for any number of queries in flight, and one PUSH for
/// registrations. A client over it has the `async_` calls, whose handlers run on their own executors.
///
/// All clients on one execution context share a ZeroMQ context, unless the configuration names another.
///
/// The executor's context must outlive the client. It runs for as long as calls are in progress, entries wait for their
/// batch or, for at most `register_timeout`, registrations for their confirmation, and not only because a client is
/// connected. Longer than that, and for claims, the client asks after the hub only while the context runs anyway: a
/// thread wakes it, so that the context must be one that several threads may use. After a fork the child must not use
/// it.
class AsioZmqTransport {
 public:
  using executor_type = asio::any_io_executor;
  template <class Core>
  using Driver = AsioZmqDriver<Core>;

  /// The hub at `host` (a name, an IPv4 or an IPv6 address). Throws as `connect` does.
  static AsioZmqTransport connect_to(executor_type executor, std::string_view host, std::uint16_t query_port,
                                     std::uint16_t register_port) {
    return connect(std::move(executor), ZmqTransportConfig::of_host(host, query_port, register_port));
  }

  /// Returns without waiting for the hub: connections are made, and made anew, in the background. Throws RegistryError:
  /// TransportError for what is no address (with the address and what libzmq said), ConfigError for a mark of 0.
  static AsioZmqTransport connect(executor_type executor, ZmqTransportConfig config) {
    return AsioZmqTransport(detail::AsioZmqSockets(std::move(executor), std::move(config)));
  }

  executor_type get_executor() const noexcept { return sockets_.executor; }

  /// For the driver, once.
  detail::AsioZmqSockets take_sockets() && { return std::move(sockets_); }

 private:
  explicit AsioZmqTransport(detail::AsioZmqSockets sockets) : sockets_(std::move(sockets)) {}

  detail::AsioZmqSockets sockets_;
};

static_assert(AsyncTransport<AsioZmqTransport>);

}  // namespace registry
