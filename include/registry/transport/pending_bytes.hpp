// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <zmq.hpp>

#include <registry/bytes.hpp>

namespace registry::detail {

/// Bounds what libzmq holds of large messages to a peer that does not read them: a high-water mark counts messages,
/// however large they are. One thread, but for libzmq's own.
class PendingBytes {
 public:
  /// Smaller messages are bounded well enough by their number.
  static constexpr std::size_t least = 4096;

  explicit PendingBytes(std::size_t most) : most_(most) {}

  /// A message that counts until libzmq has let go of it; nothing if that is too much for the peer, unless it is the
  /// only one. Throws std::bad_alloc.
  std::optional<zmq::message_t> message(ByteView peer, ByteView bytes) {
    const std::shared_ptr<Count>& pending = pending_of(peer);
    const std::size_t before = pending->load(std::memory_order_relaxed);
    if (before > 0 && before + bytes.size() > most_) return std::nullopt;
    auto block = std::make_unique<Block>(Block{Bytes(bytes.begin(), bytes.end()), pending});
    std::optional<zmq::message_t> message;
    try {
      message.emplace(block->bytes.data(), block->bytes.size(), &let_go, block.get());
    } catch (const zmq::error_t&) {
      throw std::bad_alloc();
    }
    block.release()->pending->fetch_add(bytes.size(), std::memory_order_relaxed);
    return message;
  }

 private:
  using Count = std::atomic<std::size_t>;
  struct Block {
    Bytes bytes;
    std::shared_ptr<Count> pending;
  };

  static void let_go(void*, void* hint) noexcept {
    const std::unique_ptr<Block> block(static_cast<Block*>(hint));
    block->pending->fetch_sub(block->bytes.size(), std::memory_order_relaxed);
  }

  const std::shared_ptr<Count>& pending_of(ByteView peer) {
    const auto found = peers_.find(as_text(peer));
    if (found != peers_.end()) return found->second;
    if (peers_.size() >= sweep_at_) {
      std::erase_if(peers_, [](const auto& other) { return other.second.use_count() == 1; });
      sweep_at_ = std::max(least_sweep, 2 * peers_.size());
    }
    return peers_.emplace(as_text(peer), std::make_shared<Count>(0)).first->second;
  }

  static constexpr std::size_t least_sweep = 64;

  std::size_t most_;
  std::map<std::string, std::shared_ptr<Count>, std::less<>> peers_;  // by routing id
  std::size_t sweep_at_ = least_sweep;
};

}  // namespace registry::detail
