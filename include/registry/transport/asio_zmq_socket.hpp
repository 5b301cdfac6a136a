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

#include <registry/core/instant.hpp>
#include <registry/transport/asio_zmq_service.hpp>
#include <registry/transport/zmq_client_socket.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_connection_watch.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry::detail {

using AsioStrand = asio::strand<asio::any_io_executor>;

/// What a transport opens and its driver uses.
struct AsioZmqSockets {
  AsioZmqSockets(asio::any_io_executor io, ZmqTransportConfig given)
      : executor(std::move(io)),
        config(checked(std::move(given))),
        context(config.context ? std::exchange(config.context, nullptr) : AsioZmqService::of(executor).zmq_context()),
        queries(open_client_socket(*context, zmq::socket_type::dealer, config, Hears::everything)),
        registrations(open_client_socket(*context, zmq::socket_type::push, config, Hears::refusals)) {}

  asio::any_io_executor executor;
  ZmqTransportConfig config;
  std::shared_ptr<zmq::context_t> context;  // outlives the sockets
  ClientSocket queries;
  ClientSocket registrations;
};

/// A ZeroMQ socket whose events are waited for on a strand. It is waited for only while somebody expects something, so
/// that an idle client does not keep its io_context running.
class AsioZmqSocket {
 public:
  /// One that is watched.
  AsioZmqSocket(const AsioStrand& strand, ClientSocket opened, std::size_t max_frames)
      : inbox(max_frames),
        socket(std::move(opened.socket)),
        watch(std::move(opened.watch)),
        descriptor_(strand, event_descriptor(socket)),
        watch_descriptor_(strand, watch->descriptor()) {}
  AsioZmqSocket(const AsioZmqSocket&) = delete;
  AsioZmqSocket& operator=(const AsioZmqSocket&) = delete;
  ~AsioZmqSocket() { close(abandoned_linger); }

  /// Calls `handler()` when something may have changed for the socket or its connection. To be called only if the last
  /// thing that either was asked answered that there is nothing to do: their descriptors are edge-triggered.
  template <class Handler>
  static void wait(const std::shared_ptr<AsioZmqSocket>& self, Handler handler) {
    wait_on(self, self->descriptor_, self->waiting_, handler);
    if (!self->watching_) self->is_watch_cancelled_ = false;
    wait_on(self, self->watch_descriptor_, self->watching_, handler);
  }

  /// Ends a wait; its handler is still called.
  void stop_waiting() {
    std::error_code ignored;  // there is nothing left to cancel then
    if (waiting_) descriptor_.cancel(ignored);
    if (!watching_) return;
    watch_descriptor_.cancel(ignored);
    is_watch_cancelled_ = true;
  }

  /// As the watch's. While that is waited for nothing has happened, and it costs nothing to ask.
  ConnectionNews update(SteadyTime now) {
    if (watching_ && !is_watch_cancelled_ && (!watch->due() || *watch->due() > now)) return ConnectionNews::none;
    return watch->update(now);
  }

  void close(std::chrono::nanoseconds linger) noexcept {
    if (!socket) return;
    descriptor_.release();  // they are libzmq's
    watch_descriptor_.release();
    watch.reset();
    close_socket(socket, linger);
  }

  Inbox inbox;
  Outbox outbox;
  zmq::socket_t socket;
  std::unique_ptr<ConnectionWatch> watch;  // null once it is closed

 private:
  using Descriptor = asio::posix::basic_stream_descriptor<AsioStrand>;

  template <class Handler>
  static void wait_on(const std::shared_ptr<AsioZmqSocket>& self, Descriptor& descriptor, bool& waiting,
                      const Handler& handler) {
    if (std::exchange(waiting, true)) return;
    descriptor.async_wait(
        asio::posix::descriptor_base::wait_read, [self, &waiting, handler](const std::error_code&) mutable {
          waiting = false;
          handler();
        });
  }

  Descriptor descriptor_;
  Descriptor watch_descriptor_;
  bool waiting_ = false;
  bool watching_ = false;
  bool is_watch_cancelled_ = false;  // but its handler has not been called yet
};

}  // namespace registry::detail
