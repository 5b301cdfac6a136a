// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include <registry/builder.hpp>
#include <registry/core/instant.hpp>
#include <registry/storage.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "concurrency/claimant.hpp"
#include "zmq/sockets.hpp"

namespace concurrency_test {

inline auto catalogue(std::chrono::nanoseconds lease_ttl) {
  // However far a test moves the time, it is no stall.
  return registry::hub<Block, Block>(registry::HashMapStorage<Block, Block>{})
      .lease_ttl(lease_ttl)
      .stall_tolerance(std::chrono::years{1})
      .build();
}

class Sockets : public registry::ZmqHubTransport {
 public:
  Sockets() : ZmqHubTransport(bind(zmq_test::local_hub())) {}
};

/// The same sockets, on a time that the test moves.
class SocketsOnTestTime : public Sockets {
 public:
  registry::Instant now() {
    const std::int64_t elapsed = elapsed_.load();
    seen_.store(elapsed);
    seen_.notify_all();
    return {registry::SteadyTime{std::chrono::hours{1}} + std::chrono::nanoseconds{elapsed}, registry::WallTime{}};
  }

  /// Returns when the hub knows: every query sent after that is answered by the new time.
  void advance(std::chrono::nanoseconds duration) {
    const std::int64_t elapsed = elapsed_ += duration.count();
    interrupt();
    for (std::int64_t seen = seen_; seen < elapsed; seen = seen_) seen_.wait(seen);
  }

 private:
  std::atomic<std::int64_t> elapsed_ = 0;
  std::atomic<std::int64_t> seen_ = -1;
};

/// A hub that is served on a thread of its own.
template <class Transport>
class Served {
 public:
  explicit Served(std::chrono::nanoseconds lease_ttl = std::chrono::hours{1}) : hub_(catalogue(lease_ttl)) {
    thread_ = std::thread([this] { hub_.serve(transport_); });
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  ~Served() {
    hub_.stop();
    thread_.join();
  }

  registry::ZmqTransportConfig address() const { return zmq_test::to_hub(transport_.endpoints()); }
  registry::HubStats stats() const { return hub_.stats(); }
  void advance(std::chrono::nanoseconds duration) { transport_.advance(duration); }

 private:
  decltype(catalogue({})) hub_;
  Transport transport_;
  std::thread thread_;
};

using ServedHub = Served<Sockets>;
using HubOnTestTime = Served<SocketsOnTestTime>;

}  // namespace concurrency_test
