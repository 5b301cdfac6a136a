// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "generator.hpp"
#include "statistics.hpp"

namespace bench {

/// The rule by which two servers are compared: by keys per second where the servers were what limited both; otherwise,
/// where either was less than 90 % busy, by the processor time that they took for a key.
class Judge {
 public:
  /// From here on a server is what limits those who ask it.
  static constexpr double busy_enough = 0.9;

  /// How many times as good `ours` was as `theirs` in one run.
  double ratio(const Result& ours, const Result& theirs) {
    if (ours.keys_per_second == 0 || theirs.keys_per_second == 0) {
      throw std::runtime_error("a server answered nothing while it was measured: is something else on its core?");
    }
    ++runs_;
    if (ours.busy < busy_enough || theirs.busy < busy_enough) {
      ++by_cpu_;
      return theirs.cpu_ns_per_key / ours.cpu_ns_per_key;
    }
    return ours.keys_per_second / theirs.keys_per_second;
  }

  /// The same for runs that alternated.
  Spread ratio(const std::vector<Result>& ours, const std::vector<Result>& theirs) {
    std::vector<double> ratios;
    for (std::size_t run = 0; run < ours.size(); ++run) ratios.push_back(ratio(ours[run], theirs[run]));
    return Spread::of(ratios);
  }

  /// What the figures are, for the table.
  std::string how() const {
    if (by_cpu_ == 0) return "by keys/s";
    if (by_cpu_ == runs_) return "by CPU time";
    return "by CPU time in " + std::to_string(by_cpu_) + " of " + std::to_string(runs_) + " runs, else by keys/s";
  }

 private:
  std::size_t runs_ = 0;
  std::size_t by_cpu_ = 0;
};

}  // namespace bench
