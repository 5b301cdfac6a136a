// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <zmq.hpp>

#include "echo.hpp"
#include "keys.hpp"
#include "peers/hub.hpp"
#include "statistics.hpp"

namespace bench {

/// Clients ask for keys out of so many that are stored.
constexpr std::uint64_t asked_entries = 1'000'000;

inline std::vector<std::uint64_t> stored_keys(Random& random, std::size_t count) {
  std::vector<std::uint64_t> keys(count);
  for (std::uint64_t& key : keys) key = key_of(first_stored + random.below(asked_entries));
  return keys;
}

/// A bare DEALER that sends what our client sends and reads what it reads; or, to an echo with these options, the same
/// bytes in other frames.
class Dealer {
 public:
  Dealer(zmq::context_t& context, const Hub& peer, std::uint64_t seed, EchoOptions options = {})
      : socket_(context, zmq::socket_type::dealer), random_(seed), options_(options) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::sndhwm, options.mark);
    socket_.set(zmq::sockopt::rcvhwm, options.mark);
    socket_.connect("tcp://127.0.0.1:" + peer.query_address());
    envelope_.client = {seed, seed};
  }

  void send(std::size_t batch) { send(stored_keys(random_, batch)); }

  void send(std::span<const std::uint64_t> keys) {
    registry::BinaryCodec<std::uint64_t, std::uint64_t, registry::NoMetadata>::encode_keys(
        registry::MessageType::can_offload, keys, message_);
    ++envelope_.number;
    envelope_.encode(frame_);
    if (options_.frames == 1) {
      frame_.insert(frame_.end(), message_.begin(), message_.end());
    } else {
      socket_.send(zmq::const_buffer(frame_.data(), frame_.size()), zmq::send_flags::sndmore);
    }
    const registry::Bytes& last = options_.frames == 1 ? frame_ : message_;
    socket_.send(zmq::const_buffer(last.data(), last.size()), zmq::send_flags::none);
  }

  /// Waits for an answer that must be to so many keys, and reads what it says of each.
  void receive(std::size_t keys) {
    if (options_.frames != 1 && !socket_.recv(in_)) throw std::runtime_error("no answer");
    const std::size_t header = 6 + (options_.frames == 1 ? registry::Envelope::fixed_size : 0);
    if (!socket_.recv(in_) || in_.size() != header + keys) throw std::runtime_error("a wrong answer");
    const auto* statuses = static_cast<const char*>(in_.data()) + header;
    const auto stored = std::count(statuses, statuses + keys, 1);
    asm volatile("" : : "r"(stored));  // read, as far as a compiler can see
  }

  /// Keeps so many messages on their way for this long, and then waits for the rest; how many were answered. An echo
  /// that joins its answers must find as many messages as it joins.
  std::uint64_t pipeline(std::size_t window, std::size_t batch, std::chrono::nanoseconds time) {
    const std::size_t joined = options_.joined;
    if (window % joined != 0) throw std::runtime_error("a window that is no multiple of what is joined");
    const auto end = Clock::now() + time;
    for (std::size_t i = 0; i < window; ++i) send(batch);
    std::uint64_t messages = 0;
    for (std::size_t in_flight = window; in_flight > 0; messages += joined) {
      receive(joined * batch);
      if (Clock::now() < end) {
        for (std::size_t i = 0; i < joined; ++i) send(batch);
      } else {
        in_flight -= joined;
      }
    }
    return messages;
  }

 private:
  zmq::socket_t socket_;
  Random random_;
  EchoOptions options_;
  registry::Envelope envelope_;
  registry::Bytes frame_, message_;
  zmq::message_t in_;
};

}  // namespace bench
