// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "keys.hpp"
#include "peers/peer.hpp"
#include "stream.hpp"

namespace bench {

/// How far a server has come with the batches that one client sends it and that it does not reply to: it is asked for
/// their last keys, over a connection beside that client's. What has been sent says little, for the buffers on the way
/// hold a second's worth.
class StoredWatch {
 public:
  /// The keys of all batches are numbered one behind the other from `first_key` on.
  StoredWatch(const Peer& peer, std::size_t batch, std::uint64_t first_key, std::uint64_t client)
      : batch_(batch), first_key_(first_key), client_(client), stream_(peer, Operation::match, most_keys) {}

  /// Asks once; how many batches are stored for certain, of so many that were sent.
  std::uint64_t look(std::uint64_t sent) {
    const std::uint64_t step = (sent - stored_ + most_keys - 1) / most_keys;
    if (step == 0) return stored_;
    std::vector<std::uint64_t> keys;
    for (std::uint64_t at = stored_ + step; at <= sent; at += step)
      keys.push_back(key_of(first_key_ + at * batch_ - 1));
    stream_.ask(keys, client_, ++asked_);
    while (stream_.advance() == 0) stream_.wait(std::nullopt);
    // They are stored in the order in which they were sent.
    stored_ += step * (stream_.tally().found - found_);
    found_ = stream_.tally().found;
    return stored_;
  }

 private:
  static constexpr std::uint64_t most_keys = 200;

  std::uint64_t batch_;
  std::uint64_t first_key_;
  std::uint64_t client_;
  Stream stream_;
  std::uint64_t asked_ = 0;
  std::uint64_t found_ = 0;
  std::uint64_t stored_ = 0;
};

}  // namespace bench
