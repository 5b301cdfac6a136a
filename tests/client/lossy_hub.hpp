// SPDX-License-Identifier: Apache-2.0
// A hub in this process that can be away, lose registrations or get them late, and be restarted.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/storage.hpp>
#include <registry/transport/transport.hpp>

#include "client/fake_transport.hpp"

namespace client_test {

/// Between clients and a hub core, in the hands of the test. One thread.
class LossyHub {
 public:
  using Storage = HashMapStorage<Block, Block>;
  using Hub = RegistryHub<NoEviction<Storage>>;

  explicit LossyHub(HubOptions options = {}, std::optional<std::size_t> capacity = std::nullopt)
      : options_(std::move(options)), capacity_(capacity) {
    options_.log = nullptr;
    restart();
  }

  /// Another hub takes its place, which knows nothing.
  void restart() { hub = std::make_unique<Hub>(NoEviction<Storage>(Storage{}, capacity_), options_); }

  /// Moves the time on; whoever asked for a call by then gets it.
  void advance(std::chrono::nanoseconds duration) {
    now += duration;
    if (!is_away) hub->core().tick(instant(), nobody);
    for (const auto& peer : peers) {
      if (!peer->handler || !peer->due || *peer->due > now) continue;
      peer->due.reset();
      if (const auto next = peer->handler(now)) peer->wake_at(*next);
    }
  }

  /// What was pushed meanwhile comes.
  void end_stall() {
    stalls = false;
    for (const auto& [message, envelope] : std::exchange(on_their_way, {})) take_in(message, envelope);
  }

  void take_in(ByteView message, ByteView envelope) {
    hub->core().registration("a peer", envelope, message, instant(), nobody);
  }

  Instant instant() const {
    return {now, WallTime{std::chrono::seconds{1'700'000'000}} +
                     std::chrono::duration_cast<WallTime::duration>(now.time_since_epoch())};
  }

  struct Peer {
    TickHandler handler;
    std::optional<SteadyTime> due;
    std::string routing_id;
    void wake_at(SteadyTime time) { due = due ? std::min(*due, time) : time; }
  };

  static constexpr auto nobody = [](ByteView, Frames, ByteView) { return false; };

  SteadyTime now{1h};
  bool is_away = false;              // nothing reaches it, and time passes until a call gives up
  bool loses_registrations = false;  // what is pushed
  bool stalls = false;               // what is pushed comes at the end of it
  bool stops = false;                // in good order, when a call waits at it next, and another one takes its place
  bool is_at_mark = false;           // nothing more can be pushed
  std::function<bool(MessageType)> answers = [](MessageType) {
    return true;
  };  // whether an answer to such a query comes
  std::function<bool(MessageType)> refuses = [](MessageType) { return false; };  // whether it takes no such query now
  bool is_old = false;  // it knows of types 32 and up only hello
  /// Called when a call has its answer and has not gone on yet.
  std::function<void(MessageType)> has_answered = [](MessageType) {};
  std::size_t registrations = 0;                      // pushed, whether or not they came
  std::vector<MessageType> queries;                   // that reached it
  std::vector<std::pair<Bytes, Bytes>> on_their_way;  // message and envelope of what was pushed in a stall
  std::unique_ptr<Hub> hub;
  std::vector<std::shared_ptr<Peer>> peers;

 private:
  HubOptions options_;
  std::optional<std::size_t> capacity_;
};

class LossyTransport {
 public:
  explicit LossyTransport(LossyHub& hub) : hub_(&hub), peer_(std::make_shared<LossyHub::Peer>()) {
    peer_->routing_id = "peer" + std::to_string(hub.peers.size());
    hub.peers.push_back(peer_);
  }

  SteadyTime now() const { return hub_->now; }

  template <Exchange E>
  std::optional<Error> exchange(E& exchange, SteadyTime deadline) {
    const SteadyTime start = hub_->now;
    const auto accept = [&](Frames frames) { return exchange.accept(frames); };
    const MessageType type = type_of(exchange.message());
    bool answered = ask(exchange.envelope(), exchange.message(), accept);
    // What waits at the hub may be answered later.
    while (!answered && !hub_->is_away && hub_->now < deadline) {
      hub_->now += 100ms;
      if (std::exchange(hub_->stops, false)) {
        hub_->hub->core().end_waiting(hub_->instant(), reply_of(accept, answered));
        hub_->restart();
        hub_->end_stall();
      }
      hub_->hub->core().tick(hub_->instant(), reply_of(accept, answered));
    }
    if (answered) {
      hub_->has_answered(type);
      return std::nullopt;
    }
    if (auto withdrawal = exchange.withdrawal()) {
      ask(withdrawal->first, withdrawal->second, [](Frames) { return true; });
    }
    hub_->now = std::max(hub_->now, deadline);
    return Timeout::after(deadline - start);
  }

  void post(ByteView envelope, ByteView message, const DropHandler&) noexcept {
    ask(envelope, message, [](Frames) { return true; });
  }

  bool push(ByteView message, ByteView envelope, SteadyTime) {
    if (hub_->is_at_mark) return false;
    ++hub_->registrations;
    if (hub_->is_away || hub_->loses_registrations) return true;
    if (hub_->stalls) {
      hub_->on_their_way.emplace_back(Bytes(message.begin(), message.end()), Bytes(envelope.begin(), envelope.end()));
    } else {
      hub_->take_in(message, envelope);
    }
    return true;
  }

  void start(TickHandler handler) { peer_->handler = std::move(handler); }
  void wake_at(SteadyTime time) { peer_->wake_at(time); }
  void stop() { peer_->handler = nullptr; }
  void close(std::chrono::nanoseconds) {}

 private:
  template <class Accept>
  bool ask(ByteView envelope, ByteView message, Accept accept) {
    if (hub_->is_away) return false;
    hub_->queries.push_back(type_of(message));
    bool answered = false;
    const bool is_lost = !hub_->answers(type_of(message));
    const auto take = [&](Frames frames) { return is_lost || accept(frames); };
    const MessageType type = type_of(message);
    if (hub_->is_old && type >= MessageType{32} && type != MessageType::hello) {
      return refuse(to_string(InvalidMessageType{static_cast<unsigned>(type)}), envelope, accept);
    }
    if (hub_->refuses(type)) return refuse("not now", envelope, accept);
    hub_->hub->core().query(
        as_bytes(peer_->routing_id), Frames{&envelope, 1}, message, hub_->instant(), reply_of(take, answered));
    return answered && !is_lost;
  }

  template <class Accept>
  static bool refuse(std::string_view why, ByteView envelope, Accept& accept) {
    const Bytes refusal = words(MessageType::error_response, why);
    return accept(std::array<ByteView, 2>{envelope, refusal});
  }

  template <class Accept>
  static auto reply_of(Accept& accept, bool& answered) {
    return [&](ByteView, Frames to, ByteView bytes) {
      const std::array<ByteView, 2> frames{to.front(), bytes};
      answered = accept(frames) || answered;
      return answered;
    };
  }

  LossyHub* hub_;
  std::shared_ptr<LossyHub::Peer> peer_;
};

static_assert(BlockingTransport<LossyTransport>);

using LossyClient = RegistryClient<Block, Block, NoMetadata, LossyTransport>;

}  // namespace client_test
