// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

inline double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

/// The figures of several runs: the median is what is judged, the extremes say what it is worth.
struct Spread {
  double median = 0, least = 0, most = 0;

  static Spread of(std::vector<double> values) {
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    const double median = values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {median, values.front(), values.back()};
  }
};

/// Latencies in buckets of 1/64 of their power of two, so that a quantile is right within 1.6 %. Trivial: it lies in
/// memory that processes share, one writer each.
class Histogram {
 public:
  void add(std::chrono::nanoseconds time) noexcept { ++buckets_[bucket_of(static_cast<std::uint64_t>(time.count()))]; }

  void add(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  }

  std::uint64_t count() const noexcept {
    std::uint64_t count = 0;
    for (const std::uint64_t n : buckets_) count += n;
    return count;
  }

  /// In microseconds; 0 where nothing was measured.
  double quantile_us(double q) const noexcept {
    const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count()));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > rank) return value_of(i) / 1e3;
    }
    return 0;
  }

 private:
  static constexpr unsigned fine_bits = 6;
  static constexpr std::size_t fine = std::size_t{1} << fine_bits;

  static std::size_t bucket_of(std::uint64_t ns) noexcept {
    if (ns < fine) return ns;
    const auto exponent = static_cast<unsigned>(std::bit_width(ns)) - 1 - fine_bits;
    return (exponent + 1) * fine + (ns >> exponent) - fine;
  }

  static double value_of(std::size_t bucket) noexcept {
    if (bucket < fine) return static_cast<double>(bucket);
    const std::size_t exponent = bucket / fine - 1;
    return (static_cast<double>(bucket % fine + fine) + 0.5) * static_cast<double>(std::uint64_t{1} << exponent);
  }

  std::array<std::uint64_t, (64 - fine_bits + 1) * fine> buckets_{};
};

}  // namespace bench
