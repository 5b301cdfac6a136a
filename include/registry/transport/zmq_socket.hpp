// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.hpp>

#include <registry/bytes.hpp>
#include <registry/error.hpp>

// What the transports over ZeroMQ share. Functions here throw zmq::error_t where they say nothing else: only their
// callers know how to call the operation that failed.
namespace registry::detail {

inline Error zmq_failure(std::string_view operation, const zmq::error_t& error) {
  return TransportError{std::string{operation} + ": " + error.what()};
}

inline Error system_failure(std::string_view operation, int error) {
  return TransportError{std::string{operation} + ": " + std::generic_category().message(error)};
}

/// Carries out what opens or sets up a socket; a failure becomes RegistryError{TransportError} that names it.
template <class Operation>
decltype(auto) zmq_attempt(std::string_view name, Operation operation) {
  try {
    return operation();
  } catch (const zmq::error_t& error) {
    throw RegistryError(zmq_failure(name, error));
  }
}

/// Milliseconds as libzmq wants them: rounded up, so that nothing ends early, and never its -1 for "infinite".
inline int zmq_milliseconds(std::chrono::nanoseconds time) noexcept {
  const auto count = std::chrono::ceil<std::chrono::milliseconds>(time).count();
  return static_cast<int>(std::clamp<decltype(count)>(count, 0, std::numeric_limits<int>::max()));
}

/// libzmq takes 0 for "no limit" and its buffers would grow without one.
inline void check_hwm(const char* name, int hwm) {
  if (hwm < 1) throw RegistryError(ConfigError{name, std::to_string(hwm), "a number of messages, from 1"});
}

/// libzmq takes port 65,536 for 0 and listens where nobody looks for it.
inline void check_address(const std::string& operation, std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (!address.starts_with("tcp://") || colon == std::string_view::npos) return;
  const std::string_view port = address.substr(colon + 1);
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (end != port.data() + port.size()) return;
  if (failure == std::errc::result_out_of_range || number > std::numeric_limits<std::uint16_t>::max()) {
    throw RegistryError(TransportError{operation + ": port " + std::string{port} + " is above 65535"});
  }
}

/// The context given, or one that ends with the caller. Never a static one: it would not survive a fork.
inline std::shared_ptr<zmq::context_t> context_or_own(const std::shared_ptr<zmq::context_t>& given) {
  if (given) return given;
  return zmq_attempt("open a ZeroMQ context", [] {
    auto context = std::make_shared<zmq::context_t>();
    // A connection that is watched takes three of them, and a client one connection for each call at a time.
    context->set(zmq::ctxopt::max_sockets, 4'096);
    return context;
  });
}

/// A socket with the options that all have in common; `config` is one of the aggregates of zmq_config.hpp.
template <class Config>
zmq::socket_t open_socket(zmq::context_t& context, zmq::socket_type type, const Config& config, int hwm,
                          std::chrono::nanoseconds linger, std::string_view address) {
  return zmq_attempt("open a ZeroMQ socket", [&] {
    zmq::socket_t socket(context, type);
    socket.set(zmq::sockopt::linger, zmq_milliseconds(linger));
    socket.set(zmq::sockopt::sndhwm, hwm);
    socket.set(zmq::sockopt::rcvhwm, hwm);
    // The system notices within two minutes that a host has vanished, and unlike heartbeats it does not take a process
    // for dead that has no room left and so does not read.
    socket.set(zmq::sockopt::tcp_keepalive, 1);
    socket.set(zmq::sockopt::tcp_keepalive_idle, 60);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, 10);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, 6);
    if (config.heartbeat_interval && (type == zmq::socket_type::dealer || type == zmq::socket_type::router)) {
      socket.set(zmq::sockopt::heartbeat_ivl, zmq_milliseconds(*config.heartbeat_interval));
      socket.set(zmq::sockopt::heartbeat_timeout, zmq_milliseconds(config.heartbeat_timeout));
    }
    if (const std::optional<std::int64_t> limit = config.max_message_size) {
      socket.set(zmq::sockopt::maxmsgsize, *limit);
    }
    if (address.find('[') != std::string_view::npos) socket.set(zmq::sockopt::ipv6, true);
    return socket;
  });
}

/// Sets an option that is bytes, without the copies that a text would be.
inline void set_bytes(zmq::socket_ref socket, int option, ByteView bytes) {
  if (zmq_setsockopt(socket.handle(), option, bytes.data(), bytes.size()) != 0) throw zmq::error_t();
}

/// Throws RegistryError{TransportError} with the operation, the address and what libzmq says.
inline void bind_socket(zmq::socket_t& socket, const std::string& purpose, const std::string& address) {
  const std::string operation = "bind for " + purpose + " to \"" + address + "\"";
  check_address(operation, address);
  zmq_attempt(operation, [&] { socket.bind(address); });
}

/// As bind_socket. Success says only that the address is one: connections are made, and made anew, in the background.
inline void connect_socket(zmq::socket_t& socket, const std::string& purpose, const std::string& address) {
  const std::string operation = "connect for " + purpose + " to \"" + address + "\"";
  check_address(operation, address);
  zmq_attempt(operation, [&] { socket.connect(address); });
}

/// Closes a socket so that what it still has to send is given up after `linger`. A context that was terminated refuses
/// the option; the socket then goes by the one that it was opened with.
inline void close_socket(zmq::socket_t& socket, std::chrono::nanoseconds linger) noexcept {
  if (!socket) return;
  const int milliseconds = zmq_milliseconds(linger);
  zmq_setsockopt(socket.handle(), ZMQ_LINGER, &milliseconds, sizeof milliseconds);
  socket.close();
}

/// What the socket is ready for, a mask of ZMQ_POLLIN and ZMQ_POLLOUT.
inline int ready_events(zmq::socket_ref socket) {
  while (true) {
    int events = 0;
    std::size_t size = sizeof events;
    if (zmq_getsockopt(socket.handle(), ZMQ_EVENTS, &events, &size) == 0) return events;
    if (zmq_errno() != EINTR) throw zmq::error_t();
  }
}

/// The descriptor that becomes readable when something may have changed for the socket. It is edge-triggered: sleep on
/// it only if the last thing that the socket was asked answered that there is nothing to do.
inline int event_descriptor(zmq::socket_ref socket) {
  int descriptor = -1;
  std::size_t size = sizeof descriptor;
  if (zmq_getsockopt(socket.handle(), ZMQ_FD, &descriptor, &size) != 0) throw zmq::error_t();
  return descriptor;
}

/// Sleeps until one of the descriptors is readable, `timeout` (nothing: none) is over or a signal came.
/// Throws RegistryError{TransportError} if the system refuses.
inline void sleep_on(std::span<pollfd> descriptors, std::optional<std::chrono::nanoseconds> timeout) {
  timespec limit{};
  if (timeout) {
    const auto rest = std::max(*timeout, std::chrono::nanoseconds::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(rest);
    limit.tv_sec = static_cast<std::time_t>(seconds.count());
    limit.tv_nsec = static_cast<long>((rest - seconds).count());
  }
  for (pollfd& descriptor : descriptors) descriptor.revents = 0;
  if (ppoll(descriptors.data(), static_cast<nfds_t>(descriptors.size()), timeout ? &limit : nullptr, nullptr) < 0 &&
      errno != EINTR) {
    throw RegistryError(system_failure("poll", errno));
  }
}

/// Ends someone's `sleep_on` from another thread, or the next one: it stays readable until it is cleared.
class WakeUp {
 public:
  WakeUp() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) throw RegistryError(system_failure("eventfd", errno));
  }
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;
  ~WakeUp() { ::close(descriptor_); }

  int descriptor() const noexcept { return descriptor_; }

  /// From any thread, also in a signal handler.
  void signal() const noexcept {
    // The only other failure is EAGAIN, and then it is readable already.
    while (eventfd_write(descriptor_, 1) != 0 && errno == EINTR) {
    }
  }

  void clear() const noexcept {
    eventfd_t count = 0;
    while (eventfd_read(descriptor_, &count) != 0 && errno == EINTR) {
    }
  }

 private:
  int descriptor_;
};

/// Sends messages of several frames; the frames are reused, so that a message costs no allocation but libzmq's own.
class Outbox {
 public:
  /// Sends the frames as one message without blocking: 0, or the error number, and then nothing of it was sent.
  int send(zmq::socket_ref socket, Frames frames) { return send(socket, {}, frames, {}); }

  /// The same with a frame (where it has one) on either side.
  int send(zmq::socket_ref socket, std::optional<ByteView> first, Frames middle, std::optional<ByteView> last) {
    const std::size_t count = middle.size() + (first ? 1U : 0U) + (last ? 1U : 0U);
    if (frames_.size() < count) frames_.resize(count);
    // All of them before any is sent: memory may run out only while there is still nothing to take back.
    std::size_t filled = 0;
    if (first) fill(frames_[filled++], *first);
    for (const ByteView frame : middle) fill(frames_[filled++], frame);
    if (last) fill(frames_[filled++], *last);
    return flush(socket, count);
  }

  /// The same with a last frame that has been made already.
  int send_made(zmq::socket_ref socket, ByteView first, Frames middle, zmq::message_t last) {
    const std::size_t count = middle.size() + 2;
    if (frames_.size() < count) frames_.resize(count);
    std::size_t filled = 0;
    fill(frames_[filled++], first);
    for (const ByteView frame : middle) fill(frames_[filled++], frame);
    frames_[filled] = std::move(last);
    const int failure = flush(socket, count);
    // What was not sent is not to be kept until the next one.
    if (failure != 0) frames_[filled].rebuild();
    return failure;
  }

 private:
  static void fill(zmq::message_t& frame, ByteView bytes) {
    zmq_msg_close(frame.handle());
    if (zmq_msg_init_size(frame.handle(), bytes.size()) != 0) {
      zmq_msg_init(frame.handle());
      throw std::bad_alloc();
    }
    copy_bytes(bytes, static_cast<std::byte*>(frame.data()));
  }

  int flush(zmq::socket_ref socket, std::size_t count) {
    int failure = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const int flags = ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0);
      while (zmq_msg_send(frames_[i].handle(), socket.handle(), flags) < 0) {
        if (zmq_errno() == EINTR) continue;
        failure = zmq_errno();
        break;
      }
      // Once the first frame is accepted the others are too, unless the connection ends between them. libzmq then takes
      // the message back and drops what follows up to its last frame, which therefore must follow.
      if (failure != 0 && i == 0) return failure;
    }
    return failure;
  }

  std::vector<zmq::message_t> frames_;
};

/// Receives messages of at most so many frames; the frames are reused.
class Inbox {
 public:
  enum class Received { nothing, message, too_many_frames };

  explicit Inbox(std::size_t max_frames) : messages_(max_frames), views_(max_frames) {}

  /// The next message, all of its frames. With too many of them the first ones are kept and the rest is let go one by
  /// one. With `flags` 0 it waits as long as the socket's receive timeout, or until a signal comes.
  Received receive(zmq::socket_ref socket, int flags = ZMQ_DONTWAIT) {
    clear();
    for (bool more = true; more; ++count_) {
      zmq::message_t& frame = count_ < messages_.size() ? messages_[count_] : excess_;
      while (zmq_msg_recv(frame.handle(), socket.handle(), flags) < 0) {
        if (count_ == 0 && (zmq_errno() == EAGAIN || (zmq_errno() == EINTR && flags == 0))) return Received::nothing;
        if (zmq_errno() != EINTR) throw zmq::error_t();
      }
      if (count_ < messages_.size()) views_[count_] = {static_cast<const std::byte*>(frame.data()), frame.size()};
      more = frame.more();
    }
    return count_ <= messages_.size() ? Received::message : Received::too_many_frames;
  }

  /// Frames of the message received, counting those that were let go.
  std::size_t count() const noexcept { return count_; }

  /// The frames kept; valid until the next `receive` or `clear`.
  Frames frames() const noexcept { return Frames{views_}.first(std::min(count_, views_.size())); }

  /// What libzmq knows of the message received, for instance its "Peer-Address"; nothing where it does not. A copy,
  /// valid until the next call. Never inlined: the thread sanitizer cannot see how libzmq hands such a text from its
  /// thread to ours, so this one function, which does nothing else, is named in its suppressions.
  [[gnu::noinline]] std::optional<std::string_view> property(const char* name) {
    // Of the last frame: a ROUTER makes the first itself, and knows nothing of it.
    zmq::message_t& frame = messages_[std::min(count_, messages_.size()) - 1];
    const char* value = zmq_msg_gets(frame.handle(), name);
    if (value == nullptr) return std::nullopt;
    return property_ = value;
  }

  /// Lets go of the message, so that a large one does not stay in memory until the next comes.
  void clear() noexcept {
    for (std::size_t i = 0; i < std::min(count_, messages_.size()); ++i) messages_[i].rebuild();
    if (count_ > messages_.size()) excess_.rebuild();
    count_ = 0;
  }

 private:
  std::vector<zmq::message_t> messages_;
  zmq::message_t excess_;
  std::vector<ByteView> views_;
  std::string property_;
  std::size_t count_ = 0;
};

}  // namespace registry::detail
