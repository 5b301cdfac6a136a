// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "concurrency/shared_array.hpp"

namespace faults_test {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC: one for all processes of a machine
using Micros = std::uint64_t;

inline Micros micros(Clock::time_point time) {
  return static_cast<Micros>(std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count());
}

/// What workers register a key with.
inline std::uint64_t value_of(std::uint64_t key) { return key * 1'000'003 + 7; }

/// What every process of a test knows of every grant and every confirmation. A grant is live from the arrival of its
/// answer until the ttl is over, counted from when its request was sent, or until its holder gives it up; also that of
/// a holder who was killed, and that of a hub that was.
class Grants {
 public:
  static constexpr std::size_t key_count = 1U << 20U;

  explicit Grants(const std::filesystem::path& file) : slots_(file, first_slot + 3 * key_count) {}

  /// Where the keys are that the workers ask for now, and up to 3,000 further back: they go on as blocks are stored.
  /// None is below 1,000.
  std::uint64_t first_key() const { return 4'000 + at(1).load() % (key_count - 10'000); }
  void stored(std::uint64_t keys) { at(1) += keys; }

  /// A hub that was killed has forgotten what it confirmed.
  void hub_is_replaced() { ++at(0); }
  void hub_was_replaced() { ++at(0); }
  /// Nothing while one takes the place of another.
  std::optional<std::uint64_t> hub() const {
    const std::uint64_t number = at(0);
    return number % 2 == 0 ? std::optional{number} : std::nullopt;
  }

  /// False if somebody else had a live grant of that key when this one's answer had arrived. It is not held against
  /// who was stopped in between for longer than his own grant.
  bool take(std::uint64_t key, std::uint16_t holder, Clock::time_point arrival, Clock::time_point until) {
    const std::uint64_t before = grant(key).exchange(micros(until) << 16U | holder);
    const bool is_others = before != 0 && holder_of(before) != holder;
    return !is_others || before >> 16U <= micros(arrival) || Clock::now() >= until;
  }

  /// Before the key is given back or registered: somebody else's grant is not touched.
  void leave(std::uint64_t key, std::uint16_t holder) {
    std::uint64_t known = grant(key);
    if (holder_of(known) == holder) grant(key).compare_exchange_strong(known, 0);
  }

  /// False if a grant of that key has had such a token before, or a higher one.
  bool raise(std::uint64_t key, std::uint64_t token, Clock::time_point until) {
    std::atomic<std::uint64_t>& highest = at(first_slot + key_count + key);
    std::uint64_t known = highest;
    while (known < token && !highest.compare_exchange_weak(known, token)) {
    }
    return known < token || Clock::now() >= until;
  }

  void confirm(std::uint64_t key, std::uint64_t hub) { at(first_slot + 2 * key_count + key) = hub + 1; }

  /// What the hub that runs now has confirmed.
  std::vector<std::uint64_t> confirmed() const {
    std::vector<std::uint64_t> keys;
    for (std::uint64_t key = 0; key < key_count; ++key) {
      if (at(first_slot + 2 * key_count + key) == at(0) + 1) keys.push_back(key);
    }
    return keys;
  }

 private:
  static constexpr std::size_t first_slot = 2;

  static std::uint16_t holder_of(std::uint64_t record) { return static_cast<std::uint16_t>(record & 0xffffU); }

  std::atomic<std::uint64_t>& at(std::size_t slot) const { return slots_.slots()[slot]; }
  std::atomic<std::uint64_t>& grant(std::uint64_t key) const { return at(first_slot + key); }

  concurrency_test::SharedArray<std::atomic<std::uint64_t>> slots_;
};

}  // namespace faults_test
