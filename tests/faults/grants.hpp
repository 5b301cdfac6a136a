// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "concurrency/shared_array.hpp"

namespace faults_test {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC: one for all processes of a machine
using Micros = std::uint64_t;

inline Micros micros(Clock::time_point time) {
  return static_cast<Micros>(std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count());
}

/// What every process of a test knows of every grant. A grant is live from the arrival of its answer until the ttl is
/// over, counted from when its request was sent, or until its holder gives it up; also that of a holder who was killed.
class Grants {
 public:
  static constexpr std::size_t key_count = 1U << 20U;

  explicit Grants(const std::filesystem::path& file) : slots_(file, key_count + 2) {}

  /// Where the keys are that the workers ask for now, and up to 3,000 further back: they go on as blocks are stored.
  /// None is below 1,000.
  std::uint64_t first_key() const { return 4'000 + at(1).load() % (key_count - 10'000); }
  void stored(std::uint64_t keys) { at(1) += keys; }

  /// A hub that was killed has forgotten its leases, and the next one grants them anew. Grants of different hubs are
  /// not held against each other, nor any that was asked for while one hub took the place of another.
  void hub_is_replaced() { ++at(0); }
  void hub_was_replaced() { ++at(0); }
  std::optional<std::uint64_t> hub() const {
    const std::uint64_t number = at(0);
    return number % 2 == 0 ? std::optional{number} : std::nullopt;
  }

  /// False if somebody else has a live grant of that key when this one's answer arrives.
  bool take(std::uint64_t key, std::uint64_t who, std::uint64_t hub, Micros arrival, Micros until) {
    const std::uint64_t before = at(key + 2).exchange(record(who, hub, until));
    const std::uint64_t others = before & 0xffffU;
    return before == 0 || others == (record(who, hub, 0) & 0xffffU) || (others & 0xffU) != (hub & 0xffU) ||
           before >> 16U <= arrival;
  }

  /// Before the key is given back or registered: a grant that is gone by then is not touched.
  void leave(std::uint64_t key, std::uint64_t who, std::uint64_t hub, Micros until) {
    std::uint64_t own = record(who, hub, until);
    at(key + 2).compare_exchange_strong(own, 0);
  }

 private:
  static std::uint64_t record(std::uint64_t who, std::uint64_t hub, Micros until) {
    return until << 16U | (who & 0xffU) << 8U | (hub & 0xffU);
  }

  std::atomic<std::uint64_t>& at(std::size_t slot) const { return slots_.slots()[slot]; }

  concurrency_test::SharedArray<std::atomic<std::uint64_t>> slots_;
};

}  // namespace faults_test
