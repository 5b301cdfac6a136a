// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <zmq.hpp>

#include <registry/core/instant.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry::detail {

/// What has become of a connection since it was last asked.
enum class ConnectionNews {
  none,
  renewed,   ///< it was lost and stands again: what was sent over it before may be lost
  replaced,  ///< it was refused or given up and is being made anew: what was sent over it before is lost, or may be:
             ///< see `lost_from`
};

/// What a watch is told of.
enum class Hears {
  /// Where nobody asks for long it piles up: some 400 bytes each time that the connection is lost and made anew.
  everything,
  /// Of what libzmq does not mend by itself, which therefore is the last that it tells until the watch is asked: where
  /// nobody asks for long, nothing piles up.
  refusals,
};

/// Hears of what becomes of the connection of a client's socket. One that is lost libzmq makes anew by itself, but not
/// one whose handshake failed, for instance because the hub does not know the client's key, nor one over which
/// something came that it does not take, for instance an answer above max_message_size: these are made anew here, after
/// a pause that doubles for as long as the handshake fails. To be used by who may use the socket, and gone before it
/// closes.
class ConnectionWatch {
 public:
  /// `has_stood`: whether the connection may stand already. Throws RegistryError{TransportError}, for instance if the
  /// context has no room for the sockets that this takes.
  ConnectionWatch(zmq::context_t& context, zmq::socket_ref socket, std::string address,
                  const ZmqTransportConfig& config, bool has_stood, Hears what = Hears::everything)
      : context_(context),
        socket_(socket),
        address_(std::move(address)),
        first_pause_(std::max(config.reconnect_interval, shortest_pause)),
        longest_pause_(std::max(config.reconnect_interval_max, first_pause_)),
        pause_(first_pause_),
        has_stood_(has_stood || what == Hears::refusals),
        hears_(what),
        events_(open()),
        descriptor_(event_descriptor(events_)) {}
  ConnectionWatch(const ConnectionWatch&) = delete;
  ConnectionWatch& operator=(const ConnectionWatch&) = delete;

  /// First nothing more is to be told: libzmq's thread would wait for ever to tell it to nobody.
  ~ConnectionWatch() { close(); }

  /// From now on it is told of this. Throws as the constructor does, and is of no use then.
  void hear(Hears what) {
    if (std::exchange(hears_, what) == what) return;
    // libzmq lets nothing happen between the end of the one and the beginning of the other; what it has told the one
    // until then is there.
    zmq::socket_t events = open();
    update(std::chrono::steady_clock::now());
    // What it was not told of may have been anything.
    has_stood_ = true;
    events_ = std::move(events);
    descriptor_ = event_descriptor(events_);
  }

  /// Readable when something may have happened. Edge-triggered: sleep on it only after `update`.
  int descriptor() const noexcept { return descriptor_; }

  /// Whether the connection stands, or may, or did.
  bool has_stood() const noexcept { return has_stood_; }

  /// Whether the connection was refused and has not been made anew since.
  bool is_refused() const noexcept { return is_refused_; }

  /// While the connection is refused, or may have been given up: when it is made anew, if it has to be.
  std::optional<SteadyTime> due() const noexcept { return due_; }

  /// What was sent from this time on, before the connection was replaced, was certainly not taken in: there was none
  /// that stood.
  SteadyTime lost_from() const noexcept { return lost_from_; }

  /// Takes in what has happened, and makes the connection anew if that is due.
  ConnectionNews update(SteadyTime now) {
    bool is_renewed = false;
    while (inbox_.receive(events_) != Inbox::Received::nothing) is_renewed = take(now) || is_renewed;
    if (due_ && *due_ <= now) {
      if (is_refused_ || is_given_up()) {
        reconnect(now);
        return ConnectionNews::replaced;
      }
      due_.reset();
    }
    return is_renewed ? ConnectionNews::renewed : ConnectionNews::none;
  }

 private:
  /// Against an interval of 0: each try costs the hub a handshake.
  static constexpr std::chrono::milliseconds shortest_pause{10};

  zmq::socket_t open() {
    return zmq_attempt("open a socket for events", [&] {
      static std::atomic<std::uint64_t> count = 0;
      const std::string address = "inproc://registry-connection-" + std::to_string(++count);
      zmq::socket_t events(context_, zmq::socket_type::pair);
      events.set(zmq::sockopt::linger, 0);
      // libzmq's thread waits while there is no room for an event, or nobody to tell it to, and with it everything
      // does.
      events.set(zmq::sockopt::sndhwm, 0);
      events.set(zmq::sockopt::rcvhwm, 0);
      // Few and far between, so that they do not pile up where somebody asks now and then: each takes a handshake.
      constexpr int refusals = ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
      constexpr int everything = refusals | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;
      const int wanted = hears_ == Hears::refusals ? refusals : everything;
      if (zmq_socket_monitor(socket_.handle(), address.c_str(), wanted) != 0) throw zmq::error_t();
      // Not before: libzmq ends the process if a context ends with a connection to what was never bound, and no room.
      events.connect(address);
      return events;
    });
  }

  void close() noexcept { zmq_socket_monitor(socket_.handle(), nullptr, 0); }

  /// Whether the connection stands again that has stood before.
  bool take(SteadyTime now) {
    std::uint16_t event = 0;
    if (inbox_.frames().empty() || inbox_.frames().front().size() < sizeof event) return false;
    std::memcpy(&event, inbox_.frames().front().data(), sizeof event);
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
      pause_ = first_pause_;
      due_.reset();
      is_refused_ = false;
      return std::exchange(has_stood_, true);
    }
    is_refused_ = is_refused_ || event != ZMQ_EVENT_DISCONNECTED;
    if (due_) return false;
    // A try does not take so long: the connection has stood meanwhile.
    if (now - tried_at_ > 2 * longest_pause_) pause_ = first_pause_;
    due_ = now + pause_;
    return false;
  }

  /// Asked a while after the connection was lost, and without a new one. libzmq does not say whether it makes one, but
  /// only as long as it does, it takes messages, up to the high-water mark: those of a connection that stands there are
  /// lost with it. A socket that nobody waits for meanwhile may not know yet.
  bool is_given_up() { return (ready_events(socket_) & ZMQ_POLLOUT) == 0; }

  void reconnect(SteadyTime now) {
    due_.reset();
    is_refused_ = false;
    tried_at_ = now;
    pause_ = std::min(2 * pause_, longest_pause_);
    if (std::exchange(has_stood_, hears_ == Hears::refusals)) lost_from_ = now;
    zmq_attempt("connect anew to \"" + address_ + "\"", [&] {
      if (zmq_disconnect(socket_.handle(), address_.c_str()) != 0 && zmq_errno() != ENOENT) throw zmq::error_t();
      socket_.connect(address_);
    });
  }

  zmq::context_t& context_;
  zmq::socket_ref socket_;
  std::string address_;
  std::chrono::milliseconds first_pause_;
  std::chrono::milliseconds longest_pause_;
  std::chrono::milliseconds pause_;
  std::optional<SteadyTime> due_;
  bool is_refused_ = false;
  SteadyTime tried_at_{};  // anew
  SteadyTime lost_from_ = SteadyTime::min();
  bool has_stood_;  // or may have: so it is where it is not told of
  Hears hears_;
  zmq::socket_t events_;
  int descriptor_;
  Inbox inbox_{2};
};

}  // namespace registry::detail
