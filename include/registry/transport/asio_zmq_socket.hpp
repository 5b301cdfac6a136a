// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/posix/basic_stream_descriptor.hpp>
#include <asio/strand.hpp>
#include <zmq.hpp>

#include <registry/transport/asio_zmq_service.hpp>
#include <registry/transport/zmq_client_socket.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry::detail {

using AsioStrand = asio::strand<asio::any_io_executor>;

/// What a transport opens and its driver uses.
struct AsioZmqSockets {
  AsioZmqSockets(asio::any_io_executor io, ZmqTransportConfig given)
      : executor(std::move(io)),
        config(checked(std::move(given))),
        context(config.context ? std::exchange(config.context, nullptr) : AsioZmqService::of(executor).zmq_context()),
        queries(open_client_socket(*context, zmq::socket_type::dealer, config, false).socket),
        registrations(open_client_socket(*context, zmq::socket_type::push, config, false).socket) {}

  asio::any_io_executor executor;
  ZmqTransportConfig config;
  std::shared_ptr<zmq::context_t> context;  // outlives the sockets
  zmq::socket_t queries;
  zmq::socket_t registrations;
};

/// A ZeroMQ socket whose events are waited for on a strand. It is waited for only while somebody expects something, so
/// that an idle client does not keep its io_context running.
class AsioZmqSocket {
 public:
  AsioZmqSocket(const AsioStrand& strand, zmq::socket_t opened, std::size_t max_frames)
      : inbox(max_frames), socket(std::move(opened)), descriptor_(strand, event_descriptor(socket)) {}
  AsioZmqSocket(const AsioZmqSocket&) = delete;
  AsioZmqSocket& operator=(const AsioZmqSocket&) = delete;
  ~AsioZmqSocket() { close(abandoned_linger); }

  /// Calls `handler()` when something may have changed. To be called only if the last thing that the socket was asked
  /// answered that there is nothing to do: its descriptor is edge-triggered.
  template <class Handler>
  static void wait(const std::shared_ptr<AsioZmqSocket>& self, Handler handler) {
    if (std::exchange(self->waiting_, true)) return;
    self->descriptor_.async_wait(
        asio::posix::descriptor_base::wait_read, [self, handler = std::move(handler)](const std::error_code&) mutable {
          self->waiting_ = false;
          handler();
        });
  }

  /// Ends a wait; its handler is still called.
  void stop_waiting() {
    if (!waiting_) return;
    std::error_code ignored;  // there is nothing left to cancel then
    descriptor_.cancel(ignored);
  }

  void close(std::chrono::nanoseconds linger) noexcept {
    if (!socket) return;
    descriptor_.release();  // it is libzmq's
    close_socket(socket, linger);
  }

  Inbox inbox;
  Outbox outbox;
  zmq::socket_t socket;

 private:
  asio::posix::basic_stream_descriptor<AsioStrand> descriptor_;
  bool waiting_ = false;
};

}  // namespace registry::detail
