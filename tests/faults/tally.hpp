// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace faults_test {

/// What a worker has seen so far.
struct Tally {
  std::uint64_t calls = 0;      // that were answered
  std::uint64_t granted = 0;    // keys, to the client
  std::uint64_t claimed = 0;    // keys, to its claims
  std::uint64_t renewals = 0;   // of claims
  std::uint64_t had_back = 0;   // claims of another hub than the one that renewed them
  std::uint64_t lost = 0;       // keys that were claimed, as the hub has said
  std::uint64_t stored = 0;     // keys registered without acknowledgement
  std::uint64_t confirmed = 0;  // keys registered, as the hub has said
  std::uint64_t refused = 0;    // keys registered, and the hub did not want them
  std::uint64_t found = 0;      // entries matched
  std::uint64_t failures = 0;   // calls that timed out, or that the hub refused
  std::uint64_t clashes = 0;    // grants of what was in somebody else's hands, or with a token that is no higher
  std::uint64_t wrong = 0;      // answers that do not fit their question

  Tally& operator+=(const Tally& other) {
    for (const auto number : numbers()) this->*number += other.*number;
    return *this;
  }

  std::string line() const {
    std::string text;
    for (const auto number : numbers()) text += std::to_string(this->*number) + ' ';
    return text;
  }

  static Tally from(const std::string& line) {
    Tally tally;
    std::istringstream words(line);
    for (const auto number : numbers()) {
      if (!(words >> tally.*number)) throw std::runtime_error("no tally: " + line);
    }
    return tally;
  }

 private:
  static std::array<std::uint64_t Tally::*, 13> numbers() {
    return {&Tally::calls,    &Tally::granted, &Tally::claimed,   &Tally::renewals, &Tally::had_back,
            &Tally::lost,     &Tally::stored,  &Tally::confirmed, &Tally::refused,  &Tally::found,
            &Tally::failures, &Tally::clashes, &Tally::wrong};
  }
};

}  // namespace faults_test
