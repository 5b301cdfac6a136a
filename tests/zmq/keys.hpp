// SPDX-License-Identifier: Apache-2.0
// What the tests of keys share: hubs that know their clients, what libzmq says of a connection, and a log that is
// searched for secrets.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <zmq.hpp>

#include <registry/builder.hpp>
#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/storage.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_curve.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "zmq/sockets.hpp"

namespace zmq_test {

using registry::CurveAllowedClient;
using registry::CurveClient;
using registry::CurvePublicKey;
using registry::CurveSecretKey;
using registry::CurveServer;

using Block = std::uint64_t;
using Codec64 = registry::BinaryCodec<Block, Block, registry::NoMetadata>;

/// What is logged on any thread.
class Log {
 public:
  registry::LogHook hook() {
    return [lines = lines_](registry::LogLevel, std::string_view text) {
      const std::lock_guard lock(lines->mutex);
      lines->texts.emplace_back(text);
    };
  }

  Parts texts() const {
    const std::lock_guard lock(lines_->mutex);
    return lines_->texts;
  }

  bool contains(std::string_view part) const {
    for (const std::string& text : texts()) {
      if (text.find(part) != std::string::npos) return true;
    }
    return false;
  }

 private:
  struct Lines {
    std::mutex mutex;
    Parts texts;
  };
  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
};

/// The characters of a secret, which the library itself gives to nobody.
inline std::string z85_of(const CurveSecretKey& key) {
  char text[41] = {};
  const registry::ByteView bytes = key.bytes();
  zmq_z85_encode(text, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return text;
}

inline CurveAllowedClient allow(const CurveSecretKey& key, Parts namespaces = {"default"}) {
  return {key.public_key(), std::move(namespaces), false};
}

inline CurveAllowedClient allow_everything(const CurveSecretKey& key) { return {key.public_key(), {}, true}; }

inline auto hub_with_namespaces(registry::LogHook log) {
  return registry::hub<Block, Block>([](std::string_view) { return registry::HashMapStorage<Block, Block>{}; })
      .log(std::move(log))
      .build();
}

/// A hub with namespaces that lets these clients in, served on a thread of its own.
class KeyedHub {
 public:
  explicit KeyedHub(std::vector<CurveAllowedClient> allowed, registry::ZmqHubConfig config = local_hub(),
                    CurveSecretKey key = CurveSecretKey::random())
      : secret(std::move(key)),
        transport_(registry::ZmqHubTransport::bind(with_keys(std::move(config), std::move(allowed)))),
        thread_([this] { hub_.serve(transport_); }) {}
  /// One that has no keys, in spite of its name.
  struct WithoutKeys {};
  KeyedHub(WithoutKeys, registry::ZmqHubConfig config)
      : transport_(registry::ZmqHubTransport::bind(std::move(config))), thread_([this] { hub_.serve(transport_); }) {}
  KeyedHub(const KeyedHub&) = delete;
  KeyedHub& operator=(const KeyedHub&) = delete;
  ~KeyedHub() {
    hub_.stop();
    thread_.join();
  }

  const registry::ZmqEndpoints& endpoints() const { return transport_.endpoints(); }
  registry::HubStats stats() const { return hub_.stats(); }
  Parts namespaces() const { return hub_.namespaces(); }

  /// How the client with this key reaches the hub.
  registry::ZmqTransportConfig to(const CurveSecretKey& client) {
    registry::ZmqTransportConfig config = to_hub(endpoints());
    config.curve = CurveClient{secret.public_key(), client};
    config.log = log.hook();
    return config;
  }

  CurveSecretKey secret = CurveSecretKey::random();
  Log log;

 private:
  registry::ZmqHubConfig with_keys(registry::ZmqHubConfig config, std::vector<CurveAllowedClient> allowed) {
    config.curve = CurveServer{secret, std::move(allowed)};
    config.require_security = true;
    config.log = log.hook();
    return config;
  }

  decltype(hub_with_namespaces(nullptr)) hub_ = hub_with_namespaces(log.hook());
  registry::ZmqHubTransport transport_;
  std::thread thread_;
};

inline auto client_of(registry::ZmqTransportConfig config, std::string name_space = "default",
                      std::chrono::nanoseconds timeout = std::chrono::seconds{20}) {
  registry::LogHook log = config.log;
  return registry::client<Block, Block>(registry::ZmqTransport::connect(std::move(config)))
      .name_space(std::move(name_space))
      .request_timeout(timeout)
      .register_timeout(timeout)
      .close_timeout(0ns)
      .log(std::move(log))
      .build();
}

template <class Call>
std::optional<registry::RegistryError> error_of(Call call) {
  try {
    call();
  } catch (const registry::RegistryError& error) {
    return error;
  }
  return std::nullopt;
}

inline void set_keys(zmq::socket_t& socket, const CurveClient& keys) {
  const std::string secret = z85_of(keys.secret_key);
  socket.set(zmq::sockopt::curve_serverkey, keys.server_key.z85());
  socket.set(zmq::sockopt::curve_publickey, keys.secret_key.public_key().z85());
  socket.set(zmq::sockopt::curve_secretkey, secret);
}

/// A plain socket that connects with these keys, or with none, and tells what comes of it.
class Visitor {
 public:
  Visitor(zmq::socket_type type, const std::string& address, const std::optional<CurveClient>& keys)
      : socket_(context_, type), events_(context_, zmq::socket_type::pair) {
    for (zmq::socket_t* socket : {&socket_, &events_}) {
      socket->set(zmq::sockopt::linger, 0);
      socket->set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(limit).count()));
    }
    if (keys) set_keys(socket_, *keys);
    if (zmq_socket_monitor(socket_.handle(), "inproc://events", ZMQ_EVENT_ALL) != 0) throw zmq::error_t();
    events_.connect("inproc://events");
    socket_.connect(address);
  }

  /// "let in", "refused" (the hub knows who it is, and says no), or "cut off" (the two do not understand each other).
  std::string fate() {
    while (true) {
      zmq::message_t event;
      zmq::message_t address;
      if (!events_.recv(event) || !events_.recv(address)) return "nothing happened";
      std::uint16_t number = 0;
      std::memcpy(&number, event.data(), sizeof number);
      switch (number) {
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return "let in";
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return "refused";
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        case ZMQ_EVENT_DISCONNECTED: return "cut off";
        default: break;
      }
    }
  }

  void send(const Parts& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      socket_.send(zmq::buffer(parts[i]), i + 1 < parts.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  }

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
  zmq::context_t context_;
  zmq::socket_t socket_;
  zmq::socket_t events_;
};

/// What comes of connecting to each of a hub's sockets, for queries and for registrations.
inline Parts fates(const registry::ZmqEndpoints& hub, const std::optional<CurveClient>& keys) {
  return {Visitor(zmq::socket_type::dealer, hub.query_addr, keys).fate(),
          Visitor(zmq::socket_type::push, hub.register_addr, keys).fate()};
}

inline std::string envelope_in(std::string_view name, std::uint64_t number = 1) {
  registry::Bytes out;
  registry::Envelope envelope;
  envelope.number = number;
  envelope.client = {3, 4};
  envelope.name_space = name;
  envelope.encode(out);
  return text(out);
}

inline std::string offload(std::vector<Block> keys) {
  registry::Bytes out;
  Codec64::encode_keys(registry::MessageType::can_offload, keys, out);
  return text(out);
}

inline std::string one_registration(Block key) {
  registry::Bytes out;
  Codec64::begin_entries(registry::MessageType::register_entries, out);
  Codec64::append_entry(key, 10 * key, {}, out);
  return text(out);
}

/// The words of an ErrorResponse, or nothing where it is another answer.
inline std::string refusal_in(const Parts& answer) {
  std::string words;
  if (!answer.empty()) {
    const registry::ByteView message = registry::as_bytes(answer.back());
    registry::MessageType type{};
    if (!Codec64::decode_type(message, type) && type == registry::MessageType::error_response) {
      Codec64::decode_text(message, words);
    }
  }
  return words;
}

/// A hub that comes back where it was, with another list or none.
class RestartedHub {
 public:
  explicit RestartedHub(std::vector<CurveAllowedClient> allowed) { restart(std::move(allowed)); }

  void restart(std::optional<std::vector<CurveAllowedClient>> allowed) {
    hub.reset();
    registry::ZmqHubConfig config = directory.hub();
    if (allowed) {
      hub = std::make_unique<KeyedHub>(std::move(*allowed), config, secret);
    } else {
      hub = std::make_unique<KeyedHub>(KeyedHub::WithoutKeys{}, config);
    }
  }

  registry::ZmqTransportConfig to(const CurveSecretKey& key) {
    registry::ZmqTransportConfig config = hub->to(key);
    config.reconnect_interval = std::chrono::milliseconds{10};
    config.reconnect_interval_max = std::chrono::milliseconds{100};
    return config;
  }

  CurveSecretKey secret = CurveSecretKey::random();
  SocketDirectory directory;
  std::unique_ptr<KeyedHub> hub;
};

/// One that takes in what it is asked, and answers nothing by itself.
class MuteHub {
 public:
  explicit MuteHub(std::vector<CurveAllowedClient> allowed) { restart(std::move(allowed)); }

  void restart(std::vector<CurveAllowedClient> allowed) {
    transport_.reset();
    registry::ZmqHubConfig config = directory_.hub();
    config.curve = CurveServer{secret_, std::move(allowed)};
    config.log = log.hook();
    transport_.emplace(registry::ZmqHubTransport::bind(std::move(config)));
  }

  registry::ZmqTransportConfig to(const CurveSecretKey& key) {
    registry::ZmqTransportConfig config = to_hub(transport_->endpoints());
    config.curve = CurveClient{secret_.public_key(), key};
    config.reconnect_interval = std::chrono::milliseconds{10};
    config.reconnect_interval_max = std::chrono::milliseconds{100};
    return config;
  }

  /// Takes in what has come, after waiting for it for a moment.
  void listen() {
    transport_->wait(std::chrono::milliseconds{1});
    transport_->drain(taken_in);
  }

  bool answer(std::size_t query, std::string_view message) {
    return zmq_test::answer(*transport_, taken_in.queries.at(query), message);
  }

  Recorder taken_in;
  Log log;

 private:
  CurveSecretKey secret_ = CurveSecretKey::random();
  SocketDirectory directory_;
  std::optional<registry::ZmqHubTransport> transport_;
};

}  // namespace zmq_test
