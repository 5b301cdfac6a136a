// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace bench {

/// The n-th key of the benchmark: a bijection that scatters, so that keys are distinct and in no order.
constexpr std::uint64_t key_of(std::uint64_t n) noexcept {
  n ^= n >> 32U;
  n *= 0xd6e8feb86659fd93;
  n ^= n >> 32U;
  n *= 0xd6e8feb86659fd93;
  return n ^ n >> 32U;
}

/// Where the numbers of keys of each sort begin (not at 0, whose key is 0 and would be no parent on the wire): what is
/// stored beforehand, what another client has a lease on, and what nobody has heard of yet.
constexpr std::uint64_t first_stored = 1;
constexpr std::uint64_t first_leased = std::uint64_t{1} << 40U;
constexpr std::uint64_t first_new = std::uint64_t{1} << 41U;

/// SplitMix64: which key is asked for next.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t operator()() noexcept {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30U) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27U) * 0x94d049bb133111eb;
    return z ^ z >> 31U;
  }
  /// A number below `bound`, evenly enough.
  std::uint64_t below(std::uint64_t bound) noexcept {
    __extension__ using Product = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<Product>((*this)()) * bound >> 64U);
  }

 private:
  std::uint64_t state_;
};

}  // namespace bench
