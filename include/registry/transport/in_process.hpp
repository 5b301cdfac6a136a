// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/error.hpp>
#include <registry/transport/transport.hpp>

namespace registry {

/// Connects clients to a hub in the same process, without sockets or threads: a call is answered before it returns.
/// Copies lead to the same hub. Its time stands still except in `advance`, so that a test says when leases end and
/// batches fall due; so a claim does not wait, but is answered as if its wait were over. Safe from any thread; the hub
/// must outlive every copy and must not be served by another transport.
class InProcessTransport {
 public:
  template <class Hub>
    requires requires(Hub& hub) { hub.core(); }
  explicit InProcessTransport(Hub& hub, WallTime wall_start = WallTime{std::chrono::seconds{1'700'000'000}})
      : link_(std::make_shared<Link>()) {
    link_->now = {SteadyTime{} + std::chrono::hours{1}, wall_start};
    link_->query = [&hub](ByteView sender, Frames envelope, ByteView message, Instant now, const Reply& reply) {
      hub.core().query(sender, envelope, message, now, reply);
    };
    link_->end_claims = [&hub](Instant now, const Reply& reply) { hub.core().end_claims(now, reply); };
    link_->registration = [&hub](ByteView message, ByteView envelope, Instant now, const Reply& reply) {
      hub.core().registration("a client in this process", envelope, message, now, reply);
    };
    link_->tick = [&hub](Instant now, const Reply& reply) {
      hub.core().tick(now, reply);
      return hub.core().next_deadline();
    };
    join();
  }

  InProcessTransport(const InProcessTransport& other) : link_(other.link_) { join(); }
  InProcessTransport(InProcessTransport&&) noexcept = default;
  InProcessTransport& operator=(const InProcessTransport& other) {
    link_ = other.link_;
    join();
    return *this;
  }
  InProcessTransport& operator=(InProcessTransport&&) noexcept = default;
  ~InProcessTransport() = default;

  /// Moves the time on, and does in its order what falls due meanwhile: batches are sent, leases and entries end.
  void advance(std::chrono::nanoseconds duration) {
    const std::lock_guard ticking(link_->ticking);
    const SteadyTime end = now() + duration;
    std::optional<SteadyTime> hub_due = tick_hub();
    while (true) {
      const SteadyTime next = std::min({end, hub_due.value_or(end), first_due().value_or(end)});
      move_to(next);
      for (const auto& peer : link_->peers) tick_peer(*peer);
      hub_due = tick_hub();
      if (next == end && hub_due.value_or(SteadyTime::max()) > end && first_due().value_or(SteadyTime::max()) > end) {
        return;
      }
    }
  }

  SteadyTime now() const {
    const std::lock_guard lock(link_->mutex);
    return link_->now.lease;
  }

  template <Exchange E>
  std::optional<Error> exchange(E& exchange, SteadyTime deadline) {
    std::optional<Bytes> answer = ask(exchange.envelope(), exchange.message());
    if (answer) {
      const std::array<ByteView, 2> frames{exchange.envelope(), *answer};
      if (exchange.accept(frames)) return std::nullopt;
    }
    // No answer can come later: this is where another transport's deadline would pass.
    if (auto withdrawal = exchange.withdrawal()) ask(withdrawal->first, withdrawal->second);
    return Timeout{std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now())};
  }

  void post(ByteView envelope, ByteView message, const DropHandler&) noexcept {
    try {
      ask(envelope, message);
    } catch (const std::exception&) {
      // There was no memory for it; nobody relies on it.
    }
  }

  bool push(ByteView message, ByteView envelope, SteadyTime) {
    const std::lock_guard lock(link_->mutex);
    link_->registration(message, envelope, link_->now, no_recipient);
    return true;
  }

  void start(TickHandler handler) {
    const std::lock_guard lock(link_->ticking);
    peer_->handler = std::move(handler);
  }

  void wake_at(SteadyTime time) {
    const std::lock_guard lock(link_->mutex);
    peer_->due = peer_->due ? std::min(*peer_->due, time) : time;
  }

  void stop() {
    const std::lock_guard lock(link_->ticking);
    peer_->handler = nullptr;
  }

  void close(std::chrono::nanoseconds) {}

 private:
  using Reply = std::function<bool(ByteView, Frames, ByteView)>;

  struct Peer {
    std::array<std::byte, 8> routing_id{};
    TickHandler handler;
    std::optional<SteadyTime> due;
  };

  struct Link {
    std::mutex mutex;  // for the hub, the time and what is due
    Instant now;
    std::function<void(ByteView, Frames, ByteView, Instant, const Reply&)> query;
    std::function<void(Instant, const Reply&)> end_claims;
    std::function<void(ByteView, ByteView, Instant, const Reply&)> registration;
    std::function<std::optional<SteadyTime>(Instant, const Reply&)> tick;
    std::mutex ticking;  // taken before `mutex`: for the handlers, which call back into this transport
    std::vector<std::shared_ptr<Peer>> peers;
    std::uint64_t joined = 0;
  };

  static bool no_recipient(ByteView, Frames, ByteView) { return false; }

  void join() {
    peer_ = std::make_shared<Peer>();
    const std::lock_guard lock(link_->ticking);
    store_le(++link_->joined, peer_->routing_id.data());
    std::erase_if(link_->peers, [](const auto& peer) { return peer.use_count() == 1; });
    link_->peers.push_back(peer_);
  }

  std::optional<Bytes> ask(ByteView envelope, ByteView message) {
    std::optional<Bytes> answer;
    const Reply reply = [&](ByteView recipient, Frames to, ByteView bytes) {
      const bool is_mine = std::ranges::equal(recipient, ByteView{peer_->routing_id}) && to.size() == 1 &&
                           std::ranges::equal(to.front(), envelope);
      if (is_mine) answer.emplace(bytes.begin(), bytes.end());
      return is_mine;
    };
    const std::lock_guard lock(link_->mutex);
    link_->query(peer_->routing_id, Frames{&envelope, 1}, message, link_->now, reply);
    if (!answer) link_->end_claims(link_->now, reply);
    return answer;
  }

  std::optional<SteadyTime> tick_hub() {
    const std::lock_guard lock(link_->mutex);
    return link_->tick(link_->now, no_recipient);
  }

  void tick_peer(Peer& peer) {
    SteadyTime time;
    {
      const std::lock_guard lock(link_->mutex);
      time = link_->now.lease;
      if (!peer.due || *peer.due > time) return;
      peer.due.reset();
    }
    const auto next = peer.handler ? peer.handler(time) : std::nullopt;
    const std::lock_guard lock(link_->mutex);
    if (next) peer.due = peer.due ? std::min(*peer.due, *next) : *next;
  }

  std::optional<SteadyTime> first_due() const {
    const std::lock_guard lock(link_->mutex);
    std::optional<SteadyTime> first;
    for (const auto& peer : link_->peers) {
      if (peer->due) first = first ? std::min(*first, *peer->due) : *peer->due;
    }
    return first;
  }

  void move_to(SteadyTime time) {
    const std::lock_guard lock(link_->mutex);
    if (time <= link_->now.lease) return;
    link_->now.wall += std::chrono::duration_cast<WallTime::duration>(time - link_->now.lease);
    link_->now.lease = time;
  }

  std::shared_ptr<Link> link_;
  std::shared_ptr<Peer> peer_;
};

static_assert(BlockingTransport<InProcessTransport>);

}  // namespace registry
