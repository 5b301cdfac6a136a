// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include <registry/bytes.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/error.hpp>
#include <registry/undelivered.hpp>

namespace registry {

/// What a hub transport hands messages to.
///   query         from a routing id; the envelope frames in front of the message, to be sent back with the answer
///   registration  from a peer, whose name is looked up only if somebody asks; its second frame if it has one
///   malformed     something that is no message at all
///   denied_query, denied_registration   one of either for a namespace that the transport knows its sender may not use
template <class H>
concept HubHandler =
    requires(H& handler, ByteView sender, Frames envelope, ByteView message, std::string_view name,
             const PeerName& peer, std::optional<ByteView> second, std::string_view why, std::string_view name_space) {
      handler.query(sender, envelope, message);
      handler.registration(peer, second, message);
      handler.malformed(name, why);
      handler.denied_query(sender, envelope, peer, name_space);
      handler.denied_registration(peer, message, name_space);
    };

namespace detail {

struct HubHandlerArchetype {
  void query(ByteView, Frames, ByteView) {}
  void registration(const PeerName&, std::optional<ByteView>, ByteView) {}
  void malformed(std::string_view, std::string_view) {}
  void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
  void denied_registration(const PeerName&, ByteView, std::string_view) {}
};

}  // namespace detail

/// How a hub hears and answers; used by one thread, except `interrupt`.
///   now        the times by which leases (a clock that never goes back) and entries with a ttl end
///   wait       returns when something has come, when `timeout` is over (nothing: no timeout) or when interrupted
///   drain      hands over what has come, for a bounded time, each kind in its turn so that neither starves the other
///   send       an answer behind its envelope; false if the recipient is gone or does not read; never blocks
///   interrupt  ends a `wait`, or the next one; from any thread
/// Everything else fails with RegistryError{TransportError}.
template <class T>
concept HubTransport =
    requires(T& transport, std::optional<std::chrono::nanoseconds> timeout, detail::HubHandlerArchetype& handler,
             ByteView recipient, Frames envelope, ByteView message) {
      { transport.now() } -> std::same_as<Instant>;
      { transport.wait(timeout) } -> std::same_as<void>;
      { transport.drain(handler) } -> std::same_as<void>;
      { transport.send(recipient, envelope, message) } -> std::same_as<bool>;
      { transport.interrupt() } noexcept;
    };

/// One query as a blocking transport sees it.
///   envelope, message   its two frames
///   accept              takes the frames of something that arrived; true if it was the answer
///   withdrawal          if the answer did not come: the two frames to send behind the query, so that what it may have
///                       been granted is given back; nothing if there is nothing to give back
///   keep_connection     false if an answer that comes late could be mistaken for a later one on the same connection
///   waits               whether the hub may keep it for long, so that its connection may be lost meanwhile
///   ask_again           the connection was made anew: true if it is to be sent again, as its frames are from now on
template <class E>
concept Exchange = requires(E& exchange, Frames frames) {
  { exchange.envelope() } -> std::convertible_to<ByteView>;
  { exchange.message() } -> std::convertible_to<ByteView>;
  { exchange.accept(frames) } -> std::same_as<bool>;
  { exchange.withdrawal() } -> std::same_as<std::optional<std::pair<Bytes, Bytes>>>;
  { exchange.keep_connection() } -> std::same_as<bool>;
  { exchange.waits() } -> std::same_as<bool>;
  { exchange.ask_again() } -> std::same_as<bool>;
};

namespace detail {

struct ExchangeArchetype {
  ByteView envelope() { return {}; }
  ByteView message() { return {}; }
  bool accept(Frames) { return true; }
  std::optional<std::pair<Bytes, Bytes>> withdrawal() { return std::nullopt; }
  bool keep_connection() { return true; }
  bool waits() { return false; }
  bool ask_again() { return false; }
};

}  // namespace detail

namespace detail {

using CoreArchetype = ClientCore<std::uint64_t, std::uint64_t, NoMetadata>;

}  // namespace detail

/// What a transport calls when a time has come: it is told the time and answers when it wants to be called next.
using TickHandler = std::function<std::optional<SteadyTime>(SteadyTime)>;

/// What a transport calls with the frames of an answer that it throws away, so that it is counted.
using DropHandler = std::function<void(Frames)>;

/// The client's side, blocking. Safe from any thread, except that `push` is called by one thread at a time.
///   now       the time by which deadlines are meant
///   exchange  sends a query and waits until `accept` takes an answer or the deadline has come; answers what went wrong
///   post      sends a query whose answer nobody wants, if that can be done at once; other answers that it has to throw
///             away for that it hands to `dropped`
///   push      a registration (message, envelope); false if it could not be handed over by the deadline
///   start     from now on calls the handler, from one thread at a time, whenever a time that it asked for has come
///   wake_at   asks for a call at that time, if none is due before
///   stop      after it returns the handler is not running and will not run
///   close     ends all connections; what was handed over is still sent, for at most `linger`
template <class T>
concept BlockingTransport =
    std::movable<T> && requires(T& transport, detail::ExchangeArchetype& exchange, ByteView bytes, SteadyTime deadline,
                                TickHandler handler, const DropHandler& dropped, std::chrono::nanoseconds linger) {
      { transport.now() } -> std::same_as<SteadyTime>;
      { transport.exchange(exchange, deadline) } -> std::same_as<std::optional<Error>>;
      { transport.post(bytes, bytes, dropped) } noexcept -> std::same_as<void>;
      { transport.push(bytes, bytes, deadline) } -> std::same_as<bool>;
      { transport.start(std::move(handler)) } -> std::same_as<void>;
      { transport.wake_at(deadline) } -> std::same_as<void>;
      { transport.stop() } -> std::same_as<void>;
      { transport.close(linger) } -> std::same_as<void>;
    };

/// The client's side on an executor: the transport names the class that drives a client core there, made of a
/// transport, the client's options and its LossHook, with the initiating functions that AsioZmqDriver has.
template <class T>
concept AsyncTransport = std::movable<T> && !BlockingTransport<T> && requires(T& transport) {
  typename T::executor_type;
  { transport.get_executor() } -> std::same_as<typename T::executor_type>;
  typename T::template Driver<detail::CoreArchetype>;
  requires std::constructible_from<typename T::template Driver<detail::CoreArchetype>, T, ClientOptions,
                                   LossHook<std::uint64_t, std::uint64_t, NoMetadata>>;
};

/// Either side of it: what a RegistryClient can be built over.
template <class T>
concept Transport = BlockingTransport<T> || AsyncTransport<T>;

}  // namespace registry
