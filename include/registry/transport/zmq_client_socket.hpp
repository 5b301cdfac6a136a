// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include <zmq.hpp>

#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_connection_watch.hpp>
#include <registry/transport/zmq_curve.hpp>
#include <registry/transport/zmq_socket.hpp>

// What the client's transports over ZeroMQ share.
namespace registry::detail {

/// What a socket that is not closed in good order is allowed for sending what it still has.
inline constexpr std::chrono::milliseconds abandoned_linger{100};

/// Frames of an answer: ours has two. One with more than this is nobody's.
inline constexpr std::size_t max_answer_frames = 8;

/// Throws RegistryError: ConfigError for a mark of 0, TransportError for keys that libzmq cannot use.
inline ZmqTransportConfig checked(ZmqTransportConfig config) {
  check_hwm("hwm", config.hwm);
  check_hwm("dealer_hwm", config.dealer_hwm.value_or(config.hwm));
  check_hwm("push_hwm", config.push_hwm.value_or(config.hwm));
  if (config.curve) require_curve();
  return config;
}

struct ClientSocket {
  zmq::socket_t socket;
  std::unique_ptr<ConnectionWatch> watch;  // null if its connection is not watched
};

/// A DEALER for queries or a PUSH for registrations, on its way to the hub.
/// Throws RegistryError{TransportError}, with the address, for what is none.
inline ClientSocket open_client_socket(zmq::context_t& context, zmq::socket_type type, const ZmqTransportConfig& config,
                                       std::optional<Hears> watched_for) {
  const bool for_queries = type == zmq::socket_type::dealer;
  const std::string& address = for_queries ? config.query_addr : config.register_addr;
  const int hwm = (for_queries ? config.dealer_hwm : config.push_hwm).value_or(config.hwm);
  zmq::socket_t socket = open_socket(context, type, config, hwm, abandoned_linger, address);
  zmq_attempt("set up a ZeroMQ socket", [&] {
    socket.set(zmq::sockopt::reconnect_ivl, zmq_milliseconds(config.reconnect_interval));
    socket.set(zmq::sockopt::reconnect_ivl_max, zmq_milliseconds(config.reconnect_interval_max));
    socket.set(zmq::sockopt::connect_timeout, zmq_milliseconds(config.connect_timeout));
    if (config.curve) {
      set_bytes(socket, ZMQ_CURVE_SERVERKEY, config.curve->server_key.bytes());
      set_bytes(socket, ZMQ_CURVE_PUBLICKEY, config.curve->secret_key.public_key().bytes());
      set_bytes(socket, ZMQ_CURVE_SECRETKEY, config.curve->secret_key.bytes());
    }
  });
  // Before it connects: what comes of that may be known at once.
  std::unique_ptr<ConnectionWatch> watch;
  if (watched_for) watch = std::make_unique<ConnectionWatch>(context, socket, address, config, false, *watched_for);
  connect_socket(socket, for_queries ? "queries" : "registrations", address);
  return {std::move(socket), std::move(watch)};
}

}  // namespace registry::detail
