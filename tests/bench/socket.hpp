// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace bench {

[[noreturn]] inline void fail_with_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// A stream to a server: a port on the loopback, or the path of a Unix socket. The same plain socket for every peer, so
/// that what is compared is the servers.
class Socket {
 public:
  static Socket connect(const std::string& address) {
    const bool is_path = address.starts_with('/');
    Socket socket(::socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int result = 0;
    if (is_path) {
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      address.copy(to.sun_path, sizeof to.sun_path - 1);
      result = ::connect(socket.descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(static_cast<std::uint16_t>(std::stoul(address)));
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      result = ::connect(socket.descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof to);
      const int on = 1;
      setsockopt(socket.descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (result != 0) fail_with_errno("connect to " + address);
    return socket;
  }

  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  /// Bytes sent without waiting, perhaps none.
  std::size_t send_some(std::string_view bytes) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EAGAIN || errno == EINTR) return 0;
    fail_with_errno("send");
  }

  /// Bytes received without waiting, perhaps none.
  std::size_t receive_some(char* into, std::size_t room) {
    const ssize_t received = ::recv(descriptor_, into, room, MSG_DONTWAIT);
    if (received > 0) return static_cast<std::size_t>(received);
    if (received == 0) throw std::runtime_error("the server closed the connection");
    if (errno == EAGAIN || errno == EINTR) return 0;
    fail_with_errno("receive");
  }

  /// Sleeps until there is something to read, or, if asked, room to write.
  void wait(bool for_room, std::optional<std::chrono::nanoseconds> limit) {
    pollfd descriptor{descriptor_, static_cast<short>(for_room ? POLLIN | POLLOUT : POLLIN), 0};
    timespec time{};
    if (limit) {
      time.tv_sec = static_cast<time_t>(limit->count() / 1'000'000'000);
      time.tv_nsec = static_cast<long>(limit->count() % 1'000'000'000);
    }
    if (ppoll(&descriptor, 1, limit ? &time : nullptr, nullptr) < 0 && errno != EINTR) fail_with_errno("poll");
  }

  void send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::size_t sent = send_some(bytes);
      bytes.remove_prefix(sent);
      if (sent == 0) wait(true, std::nullopt);
    }
  }

  std::string receive_exactly(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t at = 0; at < size;) {
      const std::size_t received = receive_some(bytes.data() + at, size - at);
      at += received;
      if (received == 0) wait(false, std::nullopt);
    }
    return bytes;
  }

  std::string receive_line() {
    std::string line;
    while (!line.ends_with("\r\n")) line += receive_exactly(1);
    return line;
  }

 private:
  explicit Socket(int descriptor) : descriptor_(descriptor) {
    if (descriptor < 0) fail_with_errno("socket");
  }

  int descriptor_;
};

/// A port that nobody listens on.
inline std::string free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail_with_errno("find a free port");
  }
  ::close(descriptor);
  return std::to_string(ntohs(address.sin_port));
}

}  // namespace bench
