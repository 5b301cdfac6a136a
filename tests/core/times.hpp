// SPDX-License-Identifier: Apache-2.0
// When time begins in the tests of the cores.
#pragma once

#include <chrono>
#include <cstdint>

#include <registry/core/instant.hpp>

namespace registry::test {

/// For leases, requests and all that a client waits for.
inline constexpr SteadyTime start{std::chrono::seconds{1000}};

/// For entries, in seconds since 1970 and as a time.
inline constexpr std::uint64_t created = 1'700'000'000;
inline constexpr std::chrono::sys_seconds wall_start{std::chrono::seconds{created}};

}  // namespace registry::test
