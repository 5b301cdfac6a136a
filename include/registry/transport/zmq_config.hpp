// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/settings.hpp>
#include <registry/transport/zmq_curve.hpp>

namespace zmq {
// Only named: including zmq.hpp would cost everyone who merely configures half a second of parsing.
class context_t;
}  // namespace zmq

namespace registry {

/// How a client reaches its hub over ZeroMQ. Addresses are libzmq's: `tcp://host:port`, `ipc://path`.
/// High-water marks are messages per socket, from 1.
struct ZmqTransportConfig {
  /// The hub's address for queries.
  std::string query_addr = "tcp://localhost:5555";
  /// The hub's address for registrations.
  std::string register_addr = "tcp://localhost:5556";
  /// For every socket that has no mark of its own below.
  int hwm = 10'000;
  /// For each query socket: queries that wait for a hub out of reach, and answers that wait to be read.
  std::optional<int> dealer_hwm = std::nullopt;
  /// For the registration socket: registrations that wait for a hub out of reach or too slow.
  std::optional<int> push_hwm = std::nullopt;
  /// How often an idle query connection is checked, so that a frozen hub is noticed before a query is; nothing: never.
  /// A vanished one is noticed in any case. Registrations have no heartbeats: a hub that is merely busy does not answer
  /// them either, and what is then on its way to it would be lost.
  std::optional<std::chrono::milliseconds> heartbeat_interval = std::nullopt;
  /// For how long the hub may be silent after such a check before the connection is given up and made anew.
  std::chrono::milliseconds heartbeat_timeout = std::chrono::seconds{5};
  /// The pause before a lost connection is made anew.
  std::chrono::milliseconds reconnect_interval = std::chrono::milliseconds{100};
  /// Up to which that pause doubles while the hub stays out of reach.
  std::chrono::milliseconds reconnect_interval_max = std::chrono::seconds{2};
  /// For how long one attempt to connect may take: a host that drops packets answers nothing.
  std::chrono::milliseconds connect_timeout = std::chrono::seconds{5};
  /// Bytes in a frame of an answer; a longer one closes the connection. Nothing: no limit.
  std::optional<std::int64_t> max_message_size = std::nullopt;
  /// Query sockets kept open between calls. There are as many as calls at a time; those beyond this are closed again.
  std::size_t max_idle_connections = 64;
  /// The context to open the sockets on, for instance one with more sockets or a pinned I/O thread; it must not be
  /// terminated before the transport is closed. Null: one of the transport's own, or, over Asio, of the io_context's.
  /// Each connection takes one of its sockets, or three where it is watched: for registrations, by keys or over Asio,
  /// and while a claim waits.
  std::shared_ptr<zmq::context_t> context = nullptr;
  /// The keys by which hub and client know each other; nothing: the connection is neither encrypted nor known. A client
  /// whose key the hub refuses hears nothing, and its queries time out; it tries again by itself, after the pauses
  /// above.
  std::optional<CurveClient> curve = std::nullopt;
  /// Hears of what no caller can be told.
  LogHook log = log_to_stderr;

  /// The hub at a host: a name, an IPv4 or an IPv6 address.
  static ZmqTransportConfig of_host(std::string_view host, std::uint16_t query_port, std::uint16_t register_port) {
    const bool is_bare_ipv6 = host.find(':') != std::string_view::npos && !host.starts_with('[');
    const std::string base = "tcp://" + (is_bare_ipv6 ? "[" + std::string{host} + "]" : std::string{host}) + ":";
    ZmqTransportConfig config;
    config.query_addr = base + std::to_string(query_port);
    config.register_addr = base + std::to_string(register_port);
    return config;
  }

  /// The addresses from DYN_REGISTRY_CLIENT_QUERY_ADDR and DYN_REGISTRY_CLIENT_REGISTER_ADDR, where they are set, and
  /// the keys as CurveClient::from_env. Throws RegistryError{ConfigError}, naming the variable.
  static ZmqTransportConfig from_env() {
    ZmqTransportConfig config;
    read_setting("DYN_REGISTRY_CLIENT_QUERY_ADDR", config.query_addr, parse_peer_address);
    read_setting("DYN_REGISTRY_CLIENT_REGISTER_ADDR", config.register_addr, parse_peer_address);
    config.curve = CurveClient::from_env();
    return config;
  }
};

/// Where a hub listens over ZeroMQ. Addresses are libzmq's: `tcp://*:port`, `tcp://127.0.0.1:*` (any free port),
/// `ipc://path` (which takes the path over from whoever listened there).
/// High-water marks are messages per socket and peer, from 1.
struct ZmqHubConfig {
  /// Where queries come in.
  std::string query_addr = "tcp://*:5555";
  /// Where registrations come in.
  std::string register_addr = "tcp://*:5556";
  /// For every socket that has no mark of its own below.
  int hwm = 10'000;
  /// For queries that wait to be read and answers that a client does not read: further answers to it are given up.
  std::optional<int> router_hwm = std::nullopt;
  /// For registrations that wait to be read; at the mark their senders wait.
  std::optional<int> pull_hwm = std::nullopt;
  /// What answers of 4 KiB and more that one client has not read may take, in bytes: further ones to it are given up,
  /// as at the mark, unless there is none before.
  std::size_t max_pending_bytes = std::size_t{64} << 20U;
  /// Bytes in a frame; a longer one closes the connection that it came by, before it was read into memory.
  std::int64_t max_message_size = 256LL * 1024 * 1024;
  /// Frames before the message of a query, to be echoed; a query with more is malformed.
  std::size_t max_envelope_frames = 8;
  /// Bytes in those frames together; a query with more is malformed. What is echoed to one who does not read is no
  /// more than that for each answer of the mark.
  std::size_t max_envelope_bytes = 4096;
  /// For how long queries are answered while registrations wait, and the other way round, before the other kind has its
  /// turn; eight times as long for a kind that keeps up beside one that does not: see ZmqHubTransport::drain. Longer
  /// saves little.
  std::chrono::nanoseconds slice = std::chrono::microseconds{200};
  /// How often an idle query connection is checked, so that a frozen client is noticed; nothing: never. A vanished one
  /// is noticed in any case. Registrations have no heartbeats: see ZmqTransportConfig.
  std::optional<std::chrono::milliseconds> heartbeat_interval = std::nullopt;
  /// For how long a client may be silent after such a check before its connection is given up.
  std::chrono::milliseconds heartbeat_timeout = std::chrono::seconds{5};
  /// For how long closing waits for answers that are still to be sent.
  std::chrono::milliseconds linger = std::chrono::seconds{1};
  /// The context to open the sockets on; it must not be terminated before the transport is gone. Null: one of its own,
  /// whose thread is scheduled by SCHED_BATCH: where others keep all cores busy, a hub answers sooner with another.
  std::shared_ptr<zmq::context_t> context = nullptr;
  /// The hub's secret and the clients that it lets in, with the namespaces that each may use; nothing: whoever can
  /// reach the hub can read and change its catalogue.
  std::optional<CurveServer> curve = std::nullopt;
  /// Whether a hub without keys must not start.
  bool require_security = false;
  /// Hears at the start of a hub without keys that listens beyond this machine, and of connections that are refused: of
  /// these on another thread than the hub's.
  LogHook log = log_to_stderr;

  /// The addresses from DYN_REGISTRY_HUB_QUERY_ADDR and DYN_REGISTRY_HUB_REGISTER_ADDR, whether keys are required from
  /// DYN_REGISTRY_HUB_SECURITY (required or optional), where they are set, and the keys as CurveServer::from_env.
  /// Throws RegistryError{ConfigError}, naming the variable.
  static ZmqHubConfig from_env() {
    ZmqHubConfig config;
    read_setting("DYN_REGISTRY_HUB_QUERY_ADDR", config.query_addr, parse_address);
    read_setting("DYN_REGISTRY_HUB_REGISTER_ADDR", config.register_addr, parse_address);
    read_setting("DYN_REGISTRY_HUB_SECURITY", config.require_security, parse_security);
    config.curve = CurveServer::from_env();
    return config;
  }

  /// `required` or `optional`, as a bool that says whether it is the first.
  static bool parse_security(const std::string& name, std::string_view text) {
    if (text == "required" || text == "optional") return text == "required";
    throw RegistryError(ConfigError{name, std::string{text}, "required or optional"});
  }
};

}  // namespace registry
