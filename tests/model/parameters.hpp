// SPDX-License-Identifier: Apache-2.0
// How many random sequences a run tries, and from which seed.
#pragma once

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include <registry/error.hpp>

namespace registry::test {

/// What takes some seconds when optimised, and well under a minute with sanitizers.
#ifdef NDEBUG
inline constexpr int default_sequences = 20'000;
#else
inline constexpr int default_sequences = 2000;
#endif

/// From the variable's value, or null where it is not set. Throws a RegistryError (ConfigError).
inline int sequences_from(const char* text) {
  if (text == nullptr) return default_sequences;
  const std::string_view value{text};
  int number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number < 1) {
    throw RegistryError{ConfigError{"REGISTRY_MODEL_SEQUENCES", std::string{value},
                                    "a whole number from 1 to " + std::to_string(std::numeric_limits<int>::max())}};
  }
  return number;
}

/// Tells rapidcheck, before it reads its parameters; those in RC_PARAMS count for more.
inline void set_parameters() {
  [[maybe_unused]] static const bool is_set = [] {
    const int number = sequences_from(std::getenv("REGISTRY_MODEL_SEQUENCES"));
    const char* given = std::getenv("RC_PARAMS");
    // Of two values for one parameter it takes the last.
    const std::string all =
        "seed=1 max_success=" + std::to_string(number) + " " + std::string{given == nullptr ? "" : given};
    setenv("RC_PARAMS", all.c_str(), 1);
    return true;
  }();
}

}  // namespace registry::test
