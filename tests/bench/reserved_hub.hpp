// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "generator.hpp"
#include "keys.hpp"
#include "servers.hpp"

namespace bench {

/// Of a hub whose leases and entries none but clients end: what those were granted they give back afterwards.
inline std::vector<std::string> lasting(const std::string& eviction = "none", std::uint64_t capacity = 2'000'000'000) {
  return {"--eviction",   eviction,     "--capacity",           std::to_string(capacity),
          "--max-leases", "1000000000", "--lease-timeout-secs", "36000"};
}

/// A hub that knows the catalogue, and has its memory from the start, also for what it is told and asked for while it
/// is measured.
inline Server reserved_hub(const Servers& servers, Catalogue catalogue, Servers::Wire wire = Servers::Wire::tcp,
                           std::vector<std::string> options = lasting()) {
  constexpr std::uint64_t while_measured = 40'000'000;
  options.insert(options.end(), {"--reserve-entries", std::to_string(catalogue.entries + while_measured),
                                 "--reserve-leases", std::to_string(catalogue.leases + while_measured)});
  Server server = servers.hub(std::move(options), wire);
  fill(server.peer(), catalogue);
  return server;
}

}  // namespace bench
