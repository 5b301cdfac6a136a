// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "faults/grants.hpp"

namespace faults_test {

/// A network between clients and one port of a hub. While it is bad it delays what passes, lets connections hang and
/// cuts them in the middle of a message; what it decides depends on its seed and on when what comes.
class Proxy {
 public:
  Proxy(std::uint16_t hub_port, unsigned seed) : hub_port_(hub_port), random_(seed) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 64) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::system_error(errno, std::generic_category(), "the proxy cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;
  ~Proxy() {
    stop_ = true;
    thread_.join();
    for (Link& link : links_) close_both(link);
    close(listener_);
  }

  std::string address() const { return "tcp://127.0.0.1:" + std::to_string(port_); }
  void be_bad(bool bad) { bad_ = bad; }
  /// All connections, whatever is on its way over them.
  void cut() { is_to_cut_ = true; }

  std::uint64_t connections() const { return connections_; }
  std::uint64_t cuts() const { return cuts_; }
  std::uint64_t stalls() const { return stalls_; }
  std::uint64_t delays() const { return delays_; }

 private:
  /// Bytes on their way from one socket to another, which leave no earlier than `due`.
  struct Way {
    int from;
    int to;
    std::string bytes{};
    Clock::time_point due{};
  };
  struct Link {
    std::array<Way, 2> ways;
  };

  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  static void close_both(const Link& link) {
    close(link.ways[0].from);
    close(link.ways[0].to);
  }

  void serve() {
    while (!stop_) {
      std::vector<pollfd> descriptors{{listener_, POLLIN, 0}};
      bool on_the_way = false;
      for (const Link& link : links_) {
        for (const Way& way : link.ways) {
          on_the_way = on_the_way || !way.bytes.empty();
          if (way.bytes.size() < most_on_the_way) descriptors.push_back({way.from, POLLIN, 0});
        }
      }
      // What is on its way is looked after every millisecond: it may be due, or its receiver may have room again.
      poll(descriptors.data(), descriptors.size(), on_the_way ? 1 : 20);
      if (is_to_cut_.exchange(false)) {
        for (const Link& link : links_) close_both(link);
        cuts_ += links_.size();
        links_.clear();
      }
      accept_one();
      for (auto link = links_.begin(); link != links_.end();) {
        if (forward(link->ways[0]) && forward(link->ways[1])) {
          ++link;
        } else {
          close_both(*link);
          link = links_.erase(link);
        }
      }
    }
  }

  void accept_one() {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return;
    const int hub = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(hub_port_);
    if (connect(hub, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      close(client);
      close(hub);
      return;
    }
    fcntl(hub, F_SETFL, O_NONBLOCK);
    ++connections_;
    links_.push_back({{Way{client, hub}, Way{hub, client}}});
  }

  /// False if the connection is over.
  bool forward(Way& way) {
    const auto now = Clock::now();
    std::array<char, 16'384> chunk;
    while (way.bytes.size() < most_on_the_way) {
      const ssize_t got = recv(way.from, chunk.data(), chunk.size(), 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
      if (got < 0) break;
      way.bytes.append(chunk.data(), static_cast<std::size_t>(got));
      if (!bad_) continue;
      const unsigned dice = static_cast<unsigned>(random_() % 1000);
      if (dice < 10) {
        // Half of what there is arrives, and nothing behind it.
        send(way.to, way.bytes.data(), way.bytes.size() / 2, MSG_NOSIGNAL);
        ++cuts_;
        return false;
      }
      if (dice < 20) {
        way.due = now + std::chrono::milliseconds{100 + random_() % 400};
        ++stalls_;
      } else if (dice < 200) {
        way.due = std::max(way.due, now + std::chrono::milliseconds{random_() % 20});
        ++delays_;
      }
    }
    if (way.bytes.empty() || now < way.due) return true;
    const ssize_t sent = send(way.to, way.bytes.data(), way.bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    way.bytes.erase(0, static_cast<std::size_t>(sent));
    return true;
  }

  static constexpr std::size_t most_on_the_way = 1U << 20U;

  std::uint16_t hub_port_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::mt19937 random_;
  std::list<Link> links_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> bad_ = false;
  std::atomic<bool> is_to_cut_ = false;
  std::atomic<std::uint64_t> connections_ = 0;
  std::atomic<std::uint64_t> cuts_ = 0;
  std::atomic<std::uint64_t> stalls_ = 0;
  std::atomic<std::uint64_t> delays_ = 0;
  std::thread thread_;
};

}  // namespace faults_test
