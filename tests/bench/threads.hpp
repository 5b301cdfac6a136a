// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

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

}  // namespace bench
