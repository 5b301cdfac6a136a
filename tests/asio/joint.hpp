// SPDX-License-Identifier: Apache-2.0
// What the tests of calls that travel together share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

namespace asio_test {

using Offloads = std::vector<Completed<OffloadResult<K>>>;

inline constexpr auto granted = OffloadStatus::granted;
inline constexpr auto stored = OffloadStatus::already_stored;
inline constexpr auto leased = OffloadStatus::leased;

/// A client that knows that its hub returns envelopes, which has cost one query.
struct Introduced {
  ScriptedHub hub;
  asio::io_context io;
  Client client;

  explicit Introduced(std::chrono::nanoseconds timeout = 5s, ZmqTransportConfig config = {})
      : client(builder(io, to_hub(std::move(config))).request_timeout(timeout).build()) {
    REQUIRE(introduce(hub, io, client));
  }

  bool received(std::size_t queries) {
    return hub.run(io, [&] { return hub.seen.queries.size() == 1 + queries; });
  }

  template <class Outcomes>
  bool completed(const Outcomes& outcomes) {
    return hub.run(io, [&] { return std::ranges::all_of(outcomes, [](const auto& o) { return o.calls > 0; }); });
  }

 private:
  ZmqTransportConfig to_hub(ZmqTransportConfig config) const {
    const ZmqTransportConfig address = hub.address();
    config.query_addr = address.query_addr;
    config.register_addr = address.register_addr;
    return config;
  }
};

}  // namespace asio_test
