// SPDX-License-Identifier: Apache-2.0
// What the tests of the ZeroMQ transports share: a peer that is not ours, and handlers and queries that record.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <zmq.hpp>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

namespace zmq_test {

using namespace std::chrono_literals;

/// Longer than anything here may take. No test waits for it to pass unless it fails.
constexpr std::chrono::seconds limit{20};

using Parts = std::vector<std::string>;

inline std::string text(registry::ByteView bytes) { return std::string{registry::as_text(bytes)}; }

inline registry::Bytes bytes(std::string_view text) {
  const registry::ByteView view = registry::as_bytes(text);
  return {view.begin(), view.end()};
}

inline registry::SteadyTime steady_now() { return std::chrono::steady_clock::now(); }

/// Until `done`, which another thread brings about; false if that takes too long.
template <class Done>
bool eventually(Done done) {
  const registry::SteadyTime end = steady_now() + limit;
  while (!done()) {
    if (steady_now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  return true;
}

inline registry::ZmqHubConfig local_hub() {
  registry::ZmqHubConfig config;
  config.query_addr = "tcp://127.0.0.1:*";
  config.register_addr = "tcp://127.0.0.1:*";
  return config;
}

/// A directory of its own for sockets in the file system.
class SocketDirectory {
 public:
  SocketDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "registry-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  SocketDirectory(const SocketDirectory&) = delete;
  SocketDirectory& operator=(const SocketDirectory&) = delete;
  ~SocketDirectory() { std::filesystem::remove_all(path_); }

  registry::ZmqHubConfig hub() const {
    registry::ZmqHubConfig config;
    config.query_addr = "ipc://" + (path_ / "queries").string();
    config.register_addr = "ipc://" + (path_ / "registrations").string();
    return config;
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline registry::ZmqTransportConfig to_hub(const registry::ZmqEndpoints& endpoints) {
  registry::ZmqTransportConfig config;
  config.query_addr = endpoints.query_addr;
  config.register_addr = endpoints.register_addr;
  return config;
}

inline std::uint16_t port_of(const std::string& address) {
  return static_cast<std::uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
}

/// Addresses where nobody listens.
inline registry::ZmqEndpoints nowhere() { return registry::ZmqHubTransport::bind(local_hub()).endpoints(); }

/// A hub and its peers on one context, where a message has arrived as soon as it was sent.
struct InProcess {
  std::shared_ptr<zmq::context_t> context = std::make_shared<zmq::context_t>();
  registry::ZmqHubConfig config = [this] {
    registry::ZmqHubConfig made;
    made.query_addr = "inproc://queries";
    made.register_addr = "inproc://registrations";
    made.context = context;
    return made;
  }();

  registry::ZmqTransportConfig client() const {
    registry::ZmqTransportConfig made;
    made.query_addr = config.query_addr;
    made.register_addr = config.register_addr;
    made.context = context;
    return made;
  }
};

/// A peer that is not ours: a plain socket.
class Peer {
 public:
  Peer(zmq::socket_type type, const std::string& address) : Peer(std::make_shared<zmq::context_t>(), type, address) {}

  Peer(std::shared_ptr<zmq::context_t> context, zmq::socket_type type, const std::string& address, int hwm = 1000)
      : context_(std::move(context)), socket_(*context_, type) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::sndhwm, hwm);
    socket_.set(zmq::sockopt::rcvhwm, hwm);
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(limit).count()));
    socket_.connect(address);
  }

  /// False if the socket is at its high-water mark.
  bool try_send(const Parts& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto flags =
          zmq::send_flags::dontwait | (i + 1 < parts.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
      if (!socket_.send(zmq::buffer(parts[i]), flags)) {
        if (i > 0) throw std::runtime_error("half a message was sent");
        return false;
      }
    }
    return true;
  }

  void send(const Parts& parts) {
    if (!try_send(parts)) throw std::runtime_error("the peer is at its high-water mark");
  }

  /// The next message; empty if none comes.
  Parts receive() {
    Parts parts;
    zmq::message_t message;
    do {
      if (!socket_.recv(message)) return {};
      parts.push_back(message.to_string());
    } while (message.more());
    return parts;
  }

 private:
  std::shared_ptr<zmq::context_t> context_;
  zmq::socket_t socket_;
};

/// Keeps what a hub transport hands over.
struct Recorder {
  struct Query {
    std::string sender;
    Parts envelope;
    std::string message;
  };
  struct Registration {
    std::string sender;
    std::optional<std::string> second;
    std::string message;
  };
  struct Malformed {
    std::string sender;
    std::string why;
  };

  std::vector<Query> queries;
  std::vector<Registration> registrations;
  std::vector<Malformed> malformed_messages;
  Parts denied;
  std::string order;  // q, r, m and d, as they came

  std::size_t total() const { return order.size(); }

  void query(registry::ByteView sender, registry::Frames envelope, registry::ByteView message) {
    Parts parts;
    for (const registry::ByteView frame : envelope) parts.push_back(text(frame));
    queries.push_back({text(sender), std::move(parts), text(message)});
    order += 'q';
  }

  void registration(std::string_view sender, std::optional<registry::ByteView> second, registry::ByteView message) {
    registrations.push_back({std::string{sender}, second ? std::optional{text(*second)} : std::nullopt, text(message)});
    order += 'r';
  }

  void malformed(std::string_view sender, std::string_view why) {
    malformed_messages.push_back({std::string{sender}, std::string{why}});
    order += 'm';
  }

  void denied_query(registry::ByteView, registry::Frames, const registry::PeerName&, std::string_view name_space) {
    denied.push_back("query " + std::string{name_space});
    order += 'd';
  }

  void denied_registration(const registry::PeerName&, registry::ByteView, std::string_view name_space) {
    denied.push_back("registration " + std::string{name_space});
    order += 'd';
  }
};

/// Sends `message` back behind its envelope.
inline bool answer(registry::ZmqHubTransport& hub, const Recorder::Query& query, std::string_view message) {
  std::vector<registry::ByteView> envelope;
  for (const std::string& part : query.envelope) envelope.push_back(registry::as_bytes(part));
  return hub.send(registry::as_bytes(query.sender), envelope, registry::as_bytes(message));
}

/// Lets the hub hand over what comes until `done`; false if that takes too long.
template <class Handler, class Done>
bool pump(registry::ZmqHubTransport& hub, Handler& handler, Done done) {
  const registry::SteadyTime end = steady_now() + limit;
  while (!done()) {
    const auto rest = end - steady_now();
    if (rest <= rest.zero()) return false;
    hub.wait(rest);
    hub.drain(handler);
  }
  return true;
}

/// A query that is answered by a message behind its own envelope, and counts what it is asked for.
struct Query {
  registry::Bytes own_envelope;
  registry::Bytes own_message;
  bool keep = true;
  std::optional<std::pair<registry::Bytes, registry::Bytes>> to_withdraw = std::nullopt;

  std::string answer{};
  int rejected = 0;
  int withdrawals = 0;

  registry::SteadyTime started{};

  registry::ByteView envelope() {
    started = steady_now();
    return own_envelope;
  }
  registry::ByteView message() const { return own_message; }
  bool accept(registry::Frames frames) {
    if (frames.size() != 2 || text(frames[0]) != text(own_envelope)) {
      ++rejected;
      return false;
    }
    answer = text(frames[1]);
    return true;
  }
  std::optional<std::pair<registry::Bytes, registry::Bytes>> withdrawal() {
    ++withdrawals;
    return to_withdraw;
  }
  bool keep_connection() const { return keep; }
  bool waits() const { return false; }
  bool ask_again() { return false; }
};

inline Query query(std::string_view envelope, std::string_view message) { return {bytes(envelope), bytes(message)}; }

}  // namespace zmq_test
