// SPDX-License-Identifier: Apache-2.0
// How a peer is noticed that has gone without a word: frozen, by heartbeats; vanished, by the system.
#include "support/catch.hpp"
#include "zmq/sockets.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

using namespace registry;
using namespace zmq_test;

namespace {

/// A plain TCP socket whose reads end after a time.
class Tcp {
 public:
  explicit Tcp(int descriptor, std::chrono::microseconds patience = limit) : descriptor_(descriptor) {
    if (descriptor_ < 0) throw std::runtime_error("no TCP socket");
    const timeval time{patience.count() / 1'000'000, patience.count() % 1'000'000};
    setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  }
  Tcp(const Tcp&) = delete;
  Tcp& operator=(const Tcp&) = delete;
  ~Tcp() { close(descriptor_); }

  int descriptor() const { return descriptor_; }

  /// Greets as a ZeroMQ socket of that type does.
  void greet(std::string_view type) const {
    std::string bytes("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL", 16);
    bytes.resize(64, '\0');
    const std::string ready =
        std::string("\x05READY\x0bSocket-Type\0\0\0", 21) + static_cast<char>(type.size()) + std::string{type};
    bytes += '\x04';
    bytes += static_cast<char>(ready.size());
    bytes += ready;
    if (send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
      throw std::runtime_error("send failed");
    }
  }

  /// Reads and says nothing until the peer hangs up, or nothing comes for that time.
  bool is_hung_up() const {
    char bytes[256];
    ssize_t size = 0;
    do {
      size = recv(descriptor_, bytes, sizeof bytes, 0);
      heard_ += std::string(bytes, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    } while (size > 0);
    return size == 0 || errno == ECONNRESET;
  }

  const std::string& heard() const { return heard_; }

 private:
  int descriptor_;
  mutable std::string heard_;
};

sockaddr_in address_of(const std::string& endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  return address;
}

/// Ends of connections to that port on which the system's keep-alive timer runs (the timer of kind 2).
std::size_t watched_ends(const std::string& endpoint) {
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);
  // A table that changes while it is read may show an end twice.
  std::set<std::string> ends;
  while (std::getline(table, line)) {
    std::istringstream row(line);
    std::string number, local, remote, state, queues, timer;
    row >> number >> local >> remote >> state >> queues >> timer;
    const auto port = [](const std::string& address) {
      return std::stoi(address.substr(address.rfind(':') + 1), nullptr, 16);
    };
    const int wanted = ntohs(address_of(endpoint).sin_port);
    if (state == "01" && (port(local) == wanted || port(remote) == wanted) && timer.starts_with("02")) {
      ends.insert(local + remote);
    }
  }
  return ends.size();
}

}  // namespace

TEST_CASE("a hub gives up a connection whose client has gone silent") {
  ZmqHubConfig config = local_hub();
  config.heartbeat_interval = 20ms;
  config.heartbeat_timeout = 60ms;
  const auto hub = ZmqHubTransport::bind(config);
  const Tcp client(socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in to = address_of(hub.endpoints().query_addr);
  REQUIRE(connect(client.descriptor(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  client.greet("DEALER");
  CHECK(client.is_hung_up());
  CHECK(client.heard().find("PING") != std::string::npos);
}

TEST_CASE("a silent client of the registration socket is left alone") {
  ZmqHubConfig config = local_hub();
  config.heartbeat_interval = 10ms;
  config.heartbeat_timeout = 20ms;
  const auto hub = ZmqHubTransport::bind(config);
  const Tcp client(socket(AF_INET, SOCK_STREAM, 0), 200ms);
  const sockaddr_in to = address_of(hub.endpoints().register_addr);
  REQUIRE(connect(client.descriptor(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  client.greet("PUSH");
  CHECK_FALSE(client.is_hung_up());
  CHECK(client.heard().find("READY") != std::string::npos);
  CHECK(client.heard().find("PING") == std::string::npos);
}

TEST_CASE("the system watches over every connection, from both ends") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  for (const std::string& endpoint : {hub.endpoints().query_addr, hub.endpoints().register_addr}) {
    // Seen once is enough: while data is under way the system shows the timer of its retransmission instead.
    const SteadyTime end = steady_now() + limit;
    auto ends = watched_ends(endpoint);
    while (ends != 2 && steady_now() < end) {
      std::this_thread::yield();
      ends = watched_ends(endpoint);
    }
    CHECK(ends == 2);
  }
}

TEST_CASE("a client gives up a connection whose hub has gone silent, and makes a new one") {
  const Tcp listener(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = address_of(":0");
  socklen_t size = sizeof address;
  REQUIRE(bind(listener.descriptor(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(listen(listener.descriptor(), 5) == 0);
  REQUIRE(getsockname(listener.descriptor(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ZmqTransportConfig config = to_hub(nowhere());
  config.query_addr = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  config.heartbeat_interval = 20ms;
  config.heartbeat_timeout = 60ms;
  config.reconnect_interval = 10ms;
  const auto transport = ZmqTransport::connect(config);
  for (int i = 0; i < 2; ++i) {
    const Tcp hub(accept(listener.descriptor(), nullptr, nullptr));
    hub.greet("ROUTER");
    CHECK(hub.is_hung_up());
    CHECK(hub.heard().find("PING") != std::string::npos);
  }
}
