// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <zmq.hpp>

#include "dealer.hpp"
#include "peers/hub.hpp"
#include "statistics.hpp"

namespace bench {

/// Calls per second of some threads, each calling for this long. The first call of each, for which it connects, does
/// not count.
inline double rate(std::size_t threads, std::chrono::nanoseconds time,
                   const std::function<std::function<void()>(std::size_t)>& make_call) {
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> calls = 0;
  std::vector<std::thread> running;
  Clock::time_point start;
  std::barrier ready(static_cast<std::ptrdiff_t>(threads) + 1, [&]() noexcept { start = Clock::now(); });
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      const auto call = make_call(i);
      call();
      ready.arrive_and_wait();
      std::uint64_t count = 0;
      for (; !stop; ++count) call();
      calls += count;
    });
  }
  ready.arrive_and_wait();
  std::this_thread::sleep_for(time);
  stop = true;
  for (std::thread& thread : running) thread.join();
  return static_cast<double>(calls) / seconds(Clock::now() - start);
}

/// The same where each thread has a socket, and a message for each call of one key, with a window of its own.
inline double naive_rate(zmq::context_t& context, const Hub& peer, std::size_t threads, std::size_t window,
                         std::chrono::nanoseconds time) {
  return rate(threads, time, [&](std::size_t thread) -> std::function<void()> {
    auto dealer = std::make_shared<Dealer>(context, peer, thread);
    for (std::size_t i = 1; i < window; ++i) dealer->send(1);
    return [dealer] {
      dealer->send(1);
      dealer->receive(1);
    };
  });
}

}  // namespace bench
