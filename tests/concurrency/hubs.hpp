// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <thread>

#include <registry/builder.hpp>
#include <registry/core/instant.hpp>
#include <registry/storage.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "concurrency/claimant.hpp"
#include "zmq/sockets.hpp"

namespace concurrency_test {

inline auto catalogue(std::chrono::nanoseconds lease_ttl) {
  return registry::hub<Block, Block>(registry::HashMapStorage<Block, Block>{}).lease_ttl(lease_ttl).build();
}

/// A hub as it is meant to be run.
class ServedHub {
 public:
  ServedHub()
      : hub_(catalogue(std::chrono::hours{1})), transport_(registry::ZmqHubTransport::bind(zmq_test::local_hub())) {
    thread_ = std::thread([this] { hub_.serve(transport_); });
  }
  ServedHub(const ServedHub&) = delete;
  ServedHub& operator=(const ServedHub&) = delete;
  ~ServedHub() {
    hub_.stop();
    thread_.join();
  }

  registry::ZmqTransportConfig address() const { return zmq_test::to_hub(transport_.endpoints()); }
  registry::HubStats stats() const { return hub_.stats(); }

 private:
  decltype(catalogue({})) hub_;
  registry::ZmqHubTransport transport_;
  std::thread thread_;
};

/// The same hub behind the same sockets, whose leases end when the test says so.
class HubOnTestTime {
 public:
  explicit HubOnTestTime(std::chrono::nanoseconds lease_ttl)
      : hub_(catalogue(lease_ttl)), transport_(registry::ZmqHubTransport::bind(zmq_test::local_hub())) {
    thread_ = std::thread([this] { run(); });
  }
  HubOnTestTime(const HubOnTestTime&) = delete;
  HubOnTestTime& operator=(const HubOnTestTime&) = delete;
  ~HubOnTestTime() {
    stopping_ = true;
    transport_.interrupt();
    thread_.join();
  }

  registry::ZmqTransportConfig address() const { return zmq_test::to_hub(transport_.endpoints()); }
  registry::HubStats stats() const { return hub_.stats(); }

  /// Every query sent after this is answered by the new time.
  void advance(std::chrono::nanoseconds duration) {
    elapsed_.fetch_add(duration.count());
    transport_.interrupt();
  }

 private:
  struct Handler {
    HubOnTestTime& self;

    template <class Message>
    void handle(Message message) {
      message(self.hub_.core(), self.now(), [this](auto... answer) { return self.transport_.send(answer...); });
    }
    void query(registry::ByteView sender, registry::Frames envelope, registry::ByteView message) {
      handle([&](auto& core, auto now, auto send) { core.query(sender, envelope, message, now, send); });
    }
    void registration(std::string_view sender, std::optional<registry::ByteView> envelope, registry::ByteView message) {
      handle([&](auto& core, auto now, auto send) { core.registration(sender, envelope, message, now, send); });
    }
    void malformed(std::string_view sender, std::string_view why) {
      handle([&](auto& core, auto now, auto) { core.malformed(sender, why, now); });
    }
  };

  registry::Instant now() const {
    using std::chrono::nanoseconds;
    return {registry::SteadyTime{} + std::chrono::hours{1} + nanoseconds{elapsed_.load()}, registry::WallTime{}};
  }

  void run() {
    Handler handler{*this};
    while (!stopping_) {
      const auto deadline = hub_.core().next_deadline();
      const bool has_work = deadline && *deadline <= now().lease;
      transport_.wait(has_work ? std::optional{std::chrono::nanoseconds::zero()} : std::nullopt);
      transport_.drain(handler);
      handler.handle([](auto& core, auto time, auto send) { core.tick(time, send); });
    }
  }

  decltype(catalogue({})) hub_;
  registry::ZmqHubTransport transport_;
  std::atomic<std::int64_t> elapsed_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace concurrency_test
