// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sched.h>
#include <zmq.hpp>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/message.hpp>
#include <registry/transport/pending_bytes.hpp>
#include <registry/transport/transport.hpp>
#include <registry/transport/zap_handler.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_curve.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry {

/// Where a hub really listens: with the port that the system chose for `tcp://127.0.0.1:*`.
struct ZmqEndpoints {
  std::string query_addr;
  std::string register_addr;
};

/// A hub's sockets: a ROUTER for queries and a PULL for registrations. Used by one thread at a time, except
/// `interrupt`; after a fork the child must not use it. Closing it waits for at most `linger` for answers that are
/// still to be sent.
class ZmqHubTransport {
 public:
  /// Throws RegistryError: TransportError if an address cannot be bound (with the address and what the system said) or
  /// keys cannot be used, ConfigError for a mark of 0, a slice that is none, or keys that are required and missing.
  static ZmqHubTransport bind(ZmqHubConfig config = {}) {
    return ZmqHubTransport(std::make_unique<State>(std::move(config)));
  }

  const ZmqEndpoints& endpoints() const noexcept { return state_->endpoints; }

  Instant now() const noexcept { return {std::chrono::steady_clock::now(), std::chrono::system_clock::now()}; }

  /// Returns when a message has come or is left from before, when `timeout` is over, when interrupted, or when a signal
  /// was handled. Throws RegistryError{TransportError} if the context was terminated.
  void wait(std::optional<std::chrono::nanoseconds> timeout) {
    State& state = *state_;
    std::optional<SteadyTime> end;
    if (timeout) end = later(std::chrono::steady_clock::now(), *timeout);
    std::array<pollfd, 3> descriptors{{{state.wake_up.descriptor(), POLLIN, 0},
                                       {state.queries.descriptor, POLLIN, 0},
                                       {state.registrations.descriptor, POLLIN, 0}}};
    while (!detail::zmq_attempt("wait for messages", [&] { return state.has_message(); })) {
      state.behind = {};
      detail::sleep_on(descriptors, timeout);
      if (descriptors[0].revents != 0) return state.wake_up.clear();
      if (descriptors[1].revents == 0 && descriptors[2].revents == 0) return;
      // It may be no message but an affair of libzmq's own, a new connection for instance: the wait goes on then.
      if (descriptors[1].revents != 0) state.queries.drained = false;
      if (descriptors[2].revents != 0) state.registrations.drained = false;
      if (end) timeout = *end - std::chrono::steady_clock::now();
    }
  }

  /// Hands over what has come: a query, a registration, a query and so on, until there is no more or each kind has had
  /// its time: a slice, but more for the kind that keeps up where the other does not, so that a flood of one kind does
  /// not keep the other waiting; and where neither does, more for queries, whose callers wait. What the handler is
  /// given is valid during its call. Throws RegistryError{TransportError} if the context was terminated, and what the
  /// handler throws.
  template <class Clock = std::chrono::steady_clock, HubHandler H>
  void drain(H& handler) {
    using Duration = typename Clock::duration;
    State& state = *state_;
    // By time, not by number: a registration may take the hub ten times as long as a query, or a tenth of it.
    const auto slice = std::min<Duration>(state.config.slice, Duration::max() / slices_beside_flood);
    constexpr auto over = Duration::zero();
    const auto [behind_queries, behind_registrations] = state.behind;
    Duration queries = slice;
    Duration registrations = slice;
    if (behind_queries < behind_registrations) {
      queries *= slices_beside_flood;
    } else if (behind_registrations < behind_queries) {
      registrations *= slices_beside_flood;
    } else if (behind_queries > over) {
      queries *= 2;
    }
    const auto begin = Clock::now();
    auto start = begin;
    bool had_queries = false;
    bool had_registrations = false;
    const auto spend = [&](Duration& rest, bool& had, bool came) {
      const auto end = Clock::now();
      rest = came ? rest - (end - start) : over;
      had = had || came;
      start = end;
      return came;
    };
    bool has_queries_left = false;
    bool has_registrations_left = false;
    while (queries > over || registrations > over) {
      if (queries > over) has_queries_left = spend(queries, had_queries, hand_over_query(handler));
      if (registrations > over) {
        has_registrations_left = spend(registrations, had_registrations, hand_over_registration(handler));
      }
    }
    const auto longer = [&](std::chrono::nanoseconds time) {
      return std::min<std::chrono::nanoseconds>(time + (start - begin), patience);
    };
    state.behind.queries = has_queries_left ? longer(state.behind.queries) : over;
    state.behind.registrations = has_registrations_left ? longer(state.behind.registrations) : over;
    // Beside a flood this thread would keep a core that libzmq's shares for as long as it may, some milliseconds, and
    // whoever asks would wait for that, there and back. Where nobody has asked lately it may: changes of threads cost.
    state.unasked = had_queries ? over : longer(state.unasked);
    if (state.unasked < patience && had_registrations && (has_queries_left || has_registrations_left)) {
      std::this_thread::yield();
    }
  }

  /// False if the recipient is gone, or has not read as much as it may; the answer is given up then, whole. Throws
  /// RegistryError{TransportError} if the context was terminated, std::bad_alloc before anything is sent.
  bool send(ByteView recipient, Frames envelope, ByteView message) {
    Socket& queries = state_->queries;
    queries.drained = false;
    int failure = 0;
    if (message.size() < detail::PendingBytes::least) {
      failure = state_->outbox.send(queries.socket, recipient, envelope, message);
    } else {
      auto counted = state_->pending.message(recipient, message);
      if (!counted) return false;
      failure = state_->outbox.send_made(queries.socket, recipient, envelope, *std::move(counted));
    }
    switch (failure) {
      case 0: return true;
      case EAGAIN:
      case EHOSTUNREACH: return false;
      default: throw RegistryError(detail::zmq_failure("send an answer", zmq::error_t(failure)));
    }
  }

  /// Ends the current `wait` or the next one; from any thread, also from a signal handler.
  void interrupt() noexcept { state_->wake_up.signal(); }

 private:
  /// Enough for what came during the turn before, and no more: the other kind waits for as long.
  static constexpr int slices_beside_flood = 8;
  /// What keeps up may be held up, by the system for instance, and comes first for so long until it has got through
  /// what came meanwhile. From then on it is a flood like any other.
  static constexpr std::chrono::milliseconds patience{100};

  /// For how long, of the time spent in turns and up to `patience`, some of a kind have been left in each.
  struct Behind {
    std::chrono::nanoseconds queries{}, registrations{};
  };

  /// A socket with what is needed to sleep until it has something.
  struct Socket {
    Socket(zmq::socket_t opened, std::size_t max_frames)
        : socket(std::move(opened)), descriptor(detail::event_descriptor(socket)), inbox(max_frames) {}

    bool has_message() {
      if (!drained) drained = (detail::ready_events(socket) & ZMQ_POLLIN) == 0;
      return !drained;
    }

    detail::Inbox::Received receive() {
      const auto received = inbox.receive(socket);
      drained = received == detail::Inbox::Received::nothing;
      return received;
    }

    zmq::socket_t socket;
    int descriptor;
    detail::Inbox inbox;
    /// Whether the socket said last that it has nothing: only then does its descriptor tell when it has.
    bool drained = false;
  };

  struct State {
    explicit State(ZmqHubConfig given)
        : config(checked(std::move(given))),
          context(config.context ? config.context : own_context()),
          zap(let_in()),
          pending(config.max_pending_bytes),
          queries(open(zmq::socket_type::router, config.router_hwm), config.max_envelope_frames + 2),
          registrations(open(zmq::socket_type::pull, config.pull_hwm), 2) {
      detail::zmq_attempt("set up the query socket", [&] { queries.socket.set(zmq::sockopt::router_mandatory, true); });
      detail::bind_socket(queries.socket, "queries", config.query_addr);
      detail::bind_socket(registrations.socket, "registrations", config.register_addr);
      endpoints = {
          queries.socket.get(zmq::sockopt::last_endpoint), registrations.socket.get(zmq::sockopt::last_endpoint)};
      warn_of_strangers();
    }

    static std::shared_ptr<zmq::context_t> own_context() {
      auto context = detail::context_or_own(nullptr);
#ifdef SCHED_BATCH
      // Where libzmq's thread shares a core with the hub's, it then waits until that has no more messages for it, and
      // does not take the core from it for each: half the cost of a message is in these changes. Not so in clients: the
      // threads beside theirs compute, and each answer would wait for the end of a time slice. Only where threads are
      // scheduled as usual: libzmq's inherits the policy and priority of this one, and ends the process if it may not
      // change from those to SCHED_BATCH (from real time it may not for its priority, from SCHED_IDLE for its policy).
      if (sched_getscheduler(0) == SCHED_OTHER) {
        detail::zmq_attempt(
            "set up a ZeroMQ context", [&] { context->set(zmq::ctxopt::thread_sched_policy, SCHED_BATCH); });
      }
#endif
      return context;
    }

    bool has_message() { return queries.has_message() || registrations.has_message(); }

    static ZmqHubConfig checked(ZmqHubConfig config) {
      detail::check_hwm("hwm", config.hwm);
      detail::check_hwm("router_hwm", config.router_hwm.value_or(config.hwm));
      detail::check_hwm("pull_hwm", config.pull_hwm.value_or(config.hwm));
      if (config.slice <= std::chrono::nanoseconds::zero()) {
        throw RegistryError(
            ConfigError{"slice", std::to_string(config.slice.count()) + " ns", "a duration above zero"});
      }
      if (config.require_security && !config.curve) {
        throw RegistryError(ConfigError{"curve", "", "keys, because security is required of this hub"});
      }
      if (config.curve) detail::require_curve();
      return config;
    }

    /// Tells libzmq whom to let in, before there is a socket that it could let anyone in by.
    std::unique_ptr<detail::ZapDomain> let_in() {
      if (!config.curve) return nullptr;
      std::vector<CurvePublicKey> allowed;
      for (const CurveAllowedClient& client : config.curve->allowed_clients) {
        allowed.push_back(client.key);
        clients.emplace(client.key.z85(), &client);
      }
      return std::make_unique<detail::ZapDomain>(*context, std::move(allowed), config.log);
    }

    void warn_of_strangers() const {
      if (config.curve || !config.log) return;
      if (is_local(endpoints.query_addr) && is_local(endpoints.register_addr)) return;
      config.log(
          LogLevel::warning,
          "this hub has no keys and listens beyond this machine, at " + endpoints.query_addr + " and " +
              endpoints.register_addr +
              ": whoever can reach it can read and change its catalogue. Give it keys, or bind it to 127.0.0.1.");
    }

    static bool is_local(std::string_view endpoint) {
      return endpoint.starts_with("ipc://") || endpoint.starts_with("inproc://") ||
             endpoint.starts_with("tcp://127.") || endpoint.starts_with("tcp://[::1]:");
    }

    /// The namespace that the message in the inbox is for, if its sender may not use it. A message of nobody, which can
    /// only be if the ZAP handler had to give up, may use none.
    std::optional<std::string_view> denied(detail::Inbox& inbox, std::optional<ByteView> frame) const {
      if (!config.curve) return std::nullopt;
      const std::optional<Envelope> envelope = frame ? Envelope::decode(*frame) : std::nullopt;
      const std::string_view name = envelope ? envelope->name_space : default_namespace;
      const auto client = clients.find(inbox.property("User-Id").value_or(std::string_view{}));
      if (client != clients.end() && client->second->may_use(name)) return std::nullopt;
      return name;
    }

    zmq::socket_t open(zmq::socket_type type, std::optional<int> hwm) {
      const std::string& address = type == zmq::socket_type::router ? config.query_addr : config.register_addr;
      zmq::socket_t socket =
          detail::open_socket(*context, type, config, hwm.value_or(config.hwm), config.linger, address);
      if (config.curve) {
        detail::zmq_attempt("set up keys", [&] {
          socket.set(zmq::sockopt::curve_server, true);
          socket.set(zmq::sockopt::zap_domain, zap->name());
          detail::require_zap_handler(socket);
          detail::set_bytes(socket, ZMQ_CURVE_SECRETKEY, config.curve->secret_key.bytes());
        });
      }
      return socket;
    }

    ZmqHubConfig config;
    std::shared_ptr<zmq::context_t> context;                                // outlives the sockets
    std::map<std::string, const CurveAllowedClient*, std::less<>> clients;  // by what libzmq calls their connections
    std::unique_ptr<detail::ZapDomain> zap;                                 // outlives the sockets
    detail::PendingBytes pending;
    Socket queries;
    Socket registrations;
    Behind behind;
    /// For how long, of the time spent in turns and up to `patience`, no query has come.
    std::chrono::nanoseconds unasked = patience;
    detail::Outbox outbox;
    detail::WakeUp wake_up;
    ZmqEndpoints endpoints;
  };

  explicit ZmqHubTransport(std::unique_ptr<State> state) : state_(std::move(state)) {}

  static SteadyTime later(SteadyTime now, std::chrono::nanoseconds duration) {
    return duration < SteadyTime::max() - now ? now + duration : SteadyTime::max();
  }

  template <class H>
  bool hand_over_query(H& handler) {
    detail::Inbox& inbox = state_->queries.inbox;
    switch (detail::zmq_attempt("receive a query", [&] { return state_->queries.receive(); })) {
      case detail::Inbox::Received::nothing: return false;
      case detail::Inbox::Received::message: {
        const Frames frames = inbox.frames();
        const Frames envelope = frames.subspan(1, frames.size() - 2);
        std::size_t echoed = 0;
        for (const ByteView frame : envelope) echoed += frame.size();
        if (echoed > state_->config.max_envelope_bytes) {
          handler.malformed("routing id " + hex(frames.front()),
                            "an envelope of " + std::to_string(echoed) + " bytes, at most " +
                                std::to_string(state_->config.max_envelope_bytes));
        } else if (const auto name =
                       state_->denied(inbox, envelope.size() == 1 ? std::optional{envelope.front()} : std::nullopt)) {
          const auto address = [&] { return inbox.property("Peer-Address").value_or("an unknown address"); };
          handler.denied_query(frames.front(), envelope, address, *name);
        } else {
          handler.query(frames.front(), envelope, frames.back());
        }
        break;
      }
      case detail::Inbox::Received::too_many_frames:
        handler.malformed("routing id " + hex(inbox.frames().front()),
                          "a query of " + std::to_string(inbox.count() - 1) + " frames, at most " +
                              std::to_string(state_->config.max_envelope_frames + 1));
    }
    inbox.clear();
    return true;
  }

  template <class H>
  bool hand_over_registration(H& handler) {
    detail::Inbox& inbox = state_->registrations.inbox;
    const auto received =
        detail::zmq_attempt("receive a registration", [&] { return state_->registrations.receive(); });
    if (received == detail::Inbox::Received::nothing) return false;
    const auto address = [&] { return inbox.property("Peer-Address").value_or("an unknown address"); };
    const PeerName sender{address};
    if (received == detail::Inbox::Received::message) {
      const Frames frames = inbox.frames();
      const auto second = frames.size() == 2 ? std::optional{frames.back()} : std::nullopt;
      if (const auto name = state_->denied(inbox, second)) {
        handler.denied_registration(sender, frames.front(), *name);
      } else {
        handler.registration(sender, second, frames.front());
      }
    } else {
      handler.malformed(sender, "a registration of " + std::to_string(inbox.count()) + " frames, at most 2");
    }
    inbox.clear();
    return true;
  }

  static std::string hex(ByteView bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::byte byte : bytes) {
      const auto value = std::to_integer<unsigned>(byte);
      text += digits[value >> 4U];
      text += digits[value & 15U];
    }
    return text;
  }

  std::unique_ptr<State> state_;
};

static_assert(HubTransport<ZmqHubTransport>);

}  // namespace registry
