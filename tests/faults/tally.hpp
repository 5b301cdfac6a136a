// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace faults_test {

/// What a worker has seen so far.
struct Tally {
  std::uint64_t calls = 0;     // that were answered
  std::uint64_t granted = 0;   // keys
  std::uint64_t stored = 0;    // keys registered
  std::uint64_t found = 0;     // entries matched
  std::uint64_t failures = 0;  // calls that timed out, or that the hub refused
  std::uint64_t clashes = 0;   // grants of what was in somebody else's hands
  std::uint64_t wrong = 0;     // answers that do not fit their question

  Tally& operator+=(const Tally& other) {
    calls += other.calls;
    granted += other.granted;
    stored += other.stored;
    found += other.found;
    failures += other.failures;
    clashes += other.clashes;
    wrong += other.wrong;
    return *this;
  }

  std::string line() const {
    std::string text;
    for (const std::uint64_t number : {calls, granted, stored, found, failures, clashes, wrong}) {
      text += std::to_string(number) + ' ';
    }
    return text;
  }

  static Tally from(const std::string& line) {
    Tally tally;
    if (std::sscanf(line.c_str(), "%lu %lu %lu %lu %lu %lu %lu", &tally.calls, &tally.granted, &tally.stored,
                    &tally.found, &tally.failures, &tally.clashes, &tally.wrong) != 7) {
      throw std::runtime_error("no tally: " + line);
    }
    return tally;
  }
};

}  // namespace faults_test
