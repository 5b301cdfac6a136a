// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <zmq.hpp>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/error.hpp>
#include <registry/transport/deadline_thread.hpp>
#include <registry/transport/transport.hpp>
#include <registry/transport/zmq_client_socket.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_connection_watch.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry {

/// A client's sockets for blocking calls: a DEALER for each call in progress, kept for later ones, and a PUSH for
/// registrations. Safe from any thread, except that `push` is called by one at a time and that moving and destroying
/// it are not for while others use it. After a fork the child must not use it.
class ZmqTransport {
 public:
  /// The hub at `host` (a name, an IPv4 or an IPv6 address). Throws as `connect` does.
  static ZmqTransport connect_to(std::string_view host, std::uint16_t query_port, std::uint16_t register_port) {
    return connect(ZmqTransportConfig::of_host(host, query_port, register_port));
  }

  /// Returns without waiting for the hub: connections are made, and made anew, in the background. Throws RegistryError:
  /// TransportError for what is no address (with the address and what libzmq said), ConfigError for a mark of 0.
  static ZmqTransport connect(ZmqTransportConfig config) {
    return ZmqTransport(std::make_unique<State>(std::move(config)));
  }

  ZmqTransport(ZmqTransport&&) noexcept = default;
  ZmqTransport& operator=(ZmqTransport&&) noexcept = default;
  /// Without `close` before: as `close` with 100 ms.
  ~ZmqTransport() = default;

  SteadyTime now() const noexcept { return std::chrono::steady_clock::now(); }

  /// Sends the query and waits for the frames that it accepts. Nothing: it has its answer. Otherwise Timeout, with the
  /// time from the call to the deadline; Disconnected if the transport is or was closed meanwhile; TransportError. A
  /// query that was sent and not answered is followed by its withdrawal. A deadline that is over means one try.
  template <Exchange E>
  std::optional<Error> exchange(E& exchange, SteadyTime deadline) {
    const SteadyTime start = now();
    try {
      Borrowed connection(*state_);
      // Before it is sent: what became of its connection in between nobody would know.
      if (exchange.waits() || State::is_refused(*connection)) state_->watch(*connection);
      Wait outcome = state_->send(*connection, {exchange.envelope(), exchange.message()}, deadline);
      if (outcome == Wait::ready) {
        outcome = receive(*connection, exchange, start, deadline);
        if (outcome == Wait::ready) {
          connection->is_suspect = false;
          // What may have been sent twice may have two answers.
          if (!exchange.waits() || exchange.keep_connection()) connection.keep();
          return std::nullopt;
        }
        if (const auto frames = exchange.withdrawal()) connection->send({frames->first, frames->second});
        if (exchange.keep_connection() && !std::exchange(connection->is_suspect, true)) connection.keep();
      }
      if (outcome == Wait::closed) return Disconnected{"the transport was closed during the call"};
      return Timeout::after(deadline > start ? deadline - start : SteadyTime::duration::zero());
    } catch (const zmq::error_t& error) {
      return failure("query", error);
    } catch (const RegistryError& error) {
      return error.error();
    }
  }

  /// Sends a query whose answer nobody wants, if it can be sent at once. Its answer is thrown away by whoever uses the
  /// connection next.
  void post(ByteView envelope, ByteView message, const DropHandler& dropped) noexcept {
    try {
      Borrowed connection(*state_);
      // Or answers to many of these would fill the connection.
      while (true) {
        const auto received = connection->inbox.receive(connection->socket);
        if (received == detail::Inbox::Received::nothing) break;
        if (received == detail::Inbox::Received::message) dropped(connection->inbox.frames());
      }
      if (connection->send({envelope, message}) == 0) connection.keep();
    } catch (const std::exception&) {
      // Closed, or no memory, or no socket: nobody relies on it.
    }
  }

  /// Hands a registration to its socket, which sends it when the hub can be reached; false if the socket stood at its
  /// high-water mark until the deadline (one that is over means one try). Throws RegistryError: Disconnected if the
  /// transport is or was closed meanwhile, TransportError.
  bool push(ByteView message, ByteView envelope, SteadyTime deadline) {
    try {
      const InUse use(*state_);
      switch (state_->send(state_->registrations, {message, envelope}, deadline)) {
        case Wait::ready: return true;
        case Wait::timed_out: return false;
        case Wait::closed: break;
      }
    } catch (const zmq::error_t& error) {
      throw RegistryError(failure("push a registration", error));
    }
    throw RegistryError(Disconnected{"the transport was closed during the call"});
  }

  /// See DeadlineThread, which these three are.
  void start(TickHandler handler) { state_->deadlines.start(std::move(handler)); }
  void wake_at(SteadyTime time) { state_->deadlines.wake_at(time); }
  void stop() { state_->deadlines.stop(); }

  /// Stops, ends calls in progress in other threads with Disconnected (within some 10 ms) and closes the sockets; later
  /// calls fail with Disconnected. What was handed over is still sent, for at most `linger`: on a context of its own
  /// the transport waits for that here, on another's it is waited for where that context ends.
  void close(std::chrono::nanoseconds linger) { state_->close(linger); }

 private:
  enum class Wait { ready, timed_out, closed };

  /// For so long a call leaves the waiting to libzmq's blocking receive, which answers 2 us sooner than a sleep that
  /// `close` can end; by then nearly every answer has come.
  static constexpr std::chrono::milliseconds patience{10};

  struct Socket {
    explicit Socket(detail::ClientSocket opened)
        : socket(std::move(opened.socket)),
          descriptor(detail::event_descriptor(socket)),
          watch(std::move(opened.watch)) {}

    int send(const std::array<ByteView, 2>& frames) { return outbox.send(socket, frames); }

    zmq::socket_t socket;
    int descriptor;
    std::unique_ptr<detail::ConnectionWatch> watch;
    detail::Outbox outbox;
  };

  struct Connection : Socket {
    using Socket::Socket;
    detail::Inbox inbox{detail::max_answer_frames};
    /// Its last query was not answered. After a second one in a row it is replaced: libzmq gives a connection up for
    /// good (after an answer above max_message_size, for instance), and most are not watched for that.
    bool is_suspect = false;
    std::unique_ptr<Connection> next;  // among the idle ones
  };

  struct State {
    explicit State(ZmqTransportConfig given)
        : config(detail::checked(std::move(given))),
          context(detail::context_or_own(std::exchange(config.context, nullptr))),
          registrations(detail::open_client_socket(*context, zmq::socket_type::push, config, detail::Hears::refusals)),
          idle(connect()),
          idle_count(1),
          deadlines(config.log) {}

    std::unique_ptr<Connection> connect() {
      // Where there are no keys a hub can refuse nobody, and what has no answer twice in a row is replaced in any case.
      // Of everything for the first call, which may be the one that the hub does not let in yet.
      const auto watched_for = config.curve ? std::optional{detail::Hears::everything} : std::nullopt;
      auto opened = detail::open_client_socket(*context, zmq::socket_type::dealer, config, watched_for);
      detail::zmq_attempt("set up a ZeroMQ socket", [&] {
        opened.socket.set(zmq::sockopt::rcvtimeo, static_cast<int>(patience.count()));
      });
      return std::make_unique<Connection>(std::move(opened));
    }

    /// Watches the connection for a call that waits for long.
    void watch(Connection& connection) {
      if (connection.watch) {
        connection.watch->hear(detail::Hears::everything);
      } else {
        connection.watch =
            std::make_unique<detail::ConnectionWatch>(*context, connection.socket, config.query_addr, config, true);
      }
    }

    static bool is_refused(Connection& connection) {
      if (!connection.watch) return false;
      connection.watch->update(std::chrono::steady_clock::now());
      return connection.watch->is_refused();
    }

    /// For a connection that may not be used for long: nobody reads what its watch is told. False if it is of no use:
    /// one that was never let in may be refused while it is not heard.
    bool watch_less(Connection& connection) const noexcept {
      if (!connection.watch) return true;
      try {
        if (!config.curve) {
          connection.watch.reset();
          return true;
        }
        if (!connection.watch->has_stood()) return false;
        connection.watch->hear(detail::Hears::refusals);
        return true;
      } catch (const std::exception&) {
        return false;
      }
    }

    /// Counts a call that is in progress, so that `close` can wait for it.
    void enter() {
      if (closed) throw RegistryError(Disconnected{"the transport is closed"});
      ++calls;
    }

    void leave() noexcept {
      if (--calls == 0 && closed) last_left.notify_all();
    }

    std::unique_ptr<Connection> borrow() {
      {
        const std::lock_guard lock(mutex);
        enter();
        if (idle) {
          --idle_count;
          return std::exchange(idle, std::move(idle->next));
        }
      }
      try {
        return connect();
      } catch (...) {
        const std::lock_guard lock(mutex);
        leave();
        throw;
      }
    }

    void give_back(std::unique_ptr<Connection> connection, bool keep) noexcept {
      connection->inbox.clear();
      keep = keep && watch_less(*connection);
      std::unique_lock lock(mutex);
      if (keep && !closed && idle_count < config.max_idle_connections) {
        connection->next = std::exchange(idle, nullptr);
        idle = std::move(connection);
        ++idle_count;
      } else {
        const auto limit = closed ? linger : detail::abandoned_linger;
        lock.unlock();
        close_socket(*connection, limit);
        lock.lock();
      }
      leave();
    }

    static void close_socket(Socket& socket, std::chrono::nanoseconds limit) noexcept {
      socket.watch.reset();
      detail::close_socket(socket.socket, limit);
    }

    Wait send(Socket& to, const std::array<ByteView, 2>& frames, SteadyTime deadline) {
      while (true) {
        if (to.watch) to.watch->update(std::chrono::steady_clock::now());
        // What a refused connection takes is lost, for as long as libzmq has not taken it down.
        if (!to.watch || !to.watch->is_refused()) {
          const int failure = to.send(frames);
          if (failure == 0) return Wait::ready;
          if (failure != EAGAIN) throw zmq::error_t(failure);
          if ((detail::ready_events(to.socket) & ZMQ_POLLOUT) != 0) continue;
        }
        if (const Wait outcome = sleep(to, deadline); outcome != Wait::ready) return outcome;
      }
    }

    /// Until something may have changed for the socket, which has just said that there is nothing to do.
    Wait sleep(const Socket& socket, SteadyTime deadline) {
      if (closed) return Wait::closed;
      const SteadyTime time = std::chrono::steady_clock::now();
      if (deadline <= time) return Wait::timed_out;
      std::array<pollfd, 3> descriptors{{{socket.descriptor, POLLIN, 0}, {wake_up.descriptor(), POLLIN, 0}}};
      if (!socket.watch) {
        detail::sleep_on(std::span{descriptors}.first(2), deadline - time);
        return Wait::ready;
      }
      descriptors[2] = {socket.watch->descriptor(), POLLIN, 0};
      detail::sleep_on(descriptors, std::min(deadline, socket.watch->due().value_or(deadline)) - time);
      return Wait::ready;
    }

    void close(std::chrono::nanoseconds limit) {
      bool is_first = false;
      {
        const std::lock_guard lock(mutex);
        is_first = !closed;
        if (is_first) linger = limit;
        closed = true;
        wake_up.signal();
      }
      // Only now: it may be in a call, which has just been ended.
      deadlines.stop();
      if (!is_first) return;
      {
        std::unique_lock lock(mutex);
        last_left.wait(lock, [&] { return calls == 0; });
      }
      // Nobody else comes here, or to the sockets, any more.
      while (idle) {
        close_socket(*idle, limit);
        idle = std::move(idle->next);
      }
      close_socket(registrations, limit);
      context.reset();
    }

    ZmqTransportConfig config;
    std::shared_ptr<zmq::context_t> context;  // outlives the sockets
    detail::WakeUp wake_up;
    Socket registrations;

    std::mutex mutex;
    std::condition_variable last_left;
    std::atomic<bool> closed = false;  // set under the mutex
    std::chrono::nanoseconds linger{};
    std::size_t calls = 0;
    std::unique_ptr<Connection> idle;
    std::size_t idle_count;

    DeadlineThread deadlines;
  };

  /// A call that uses a socket of the state.
  class InUse {
   public:
    explicit InUse(State& state) : state_(state) {
      const std::lock_guard lock(state_.mutex);
      state_.enter();
    }
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;
    ~InUse() {
      const std::lock_guard lock(state_.mutex);
      state_.leave();
    }

   private:
    State& state_;
  };

  /// A call with a connection for itself, which ends with it unless it said `keep`: after a failure nobody knows what
  /// may still come.
  class Borrowed {
   public:
    explicit Borrowed(State& state) : state_(state), connection_(state.borrow()) {}
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() { state_.give_back(std::move(connection_), keep_); }

    void keep() noexcept { keep_ = true; }
    Connection& operator*() const noexcept { return *connection_; }
    Connection* operator->() const noexcept { return connection_.get(); }

   private:
    State& state_;
    std::unique_ptr<Connection> connection_;
    bool keep_ = false;
  };

  explicit ZmqTransport(std::unique_ptr<State> state) : state_(std::move(state)) {}

  template <Exchange E>
  Wait receive(Connection& connection, E& exchange, SteadyTime start, SteadyTime deadline) {
    int flags = deadline > start + patience ? 0 : ZMQ_DONTWAIT;
    SteadyTime sent_at = now();
    while (true) {
      const auto received = connection.inbox.receive(connection.socket, flags);
      if (received == detail::Inbox::Received::message && exchange.accept(connection.inbox.frames()))
        return Wait::ready;
      if (received == detail::Inbox::Received::nothing) {
        if (flags == ZMQ_DONTWAIT) {
          if (is_to_be_sent_again(connection, exchange, sent_at)) {
            const Wait outcome = state_->send(connection, {exchange.envelope(), exchange.message()}, deadline);
            if (outcome != Wait::ready) return outcome;
            sent_at = now();
            continue;
          }
          // The watch may have asked the socket, too, which has not said it again then.
          if ((detail::ready_events(connection.socket) & ZMQ_POLLIN) != 0) continue;
          if (const Wait outcome = state_->sleep(connection, deadline); outcome != Wait::ready) return outcome;
        }
      } else if (state_->closed) {
        return Wait::closed;
      } else if (now() >= deadline) {
        return Wait::timed_out;
      }
      flags = ZMQ_DONTWAIT;
    }
  }

  /// Whether the query was lost with its connection, which is there again; where it may have been, if it can be asked
  /// again.
  template <Exchange E>
  static bool is_to_be_sent_again(Connection& connection, E& exchange, SteadyTime sent_at) {
    if (!connection.watch) return false;
    const auto news = connection.watch->update(std::chrono::steady_clock::now());
    if (news == detail::ConnectionNews::none) return false;
    return exchange.ask_again() ||
           (news == detail::ConnectionNews::replaced && sent_at >= connection.watch->lost_from());
  }

  static Error failure(std::string_view operation, const zmq::error_t& error) {
    if (error.num() == ETERM) return Disconnected{"the ZeroMQ context was terminated"};
    return detail::zmq_failure(operation, error);
  }

  std::unique_ptr<State> state_;
};

static_assert(BlockingTransport<ZmqTransport>);

}  // namespace registry
