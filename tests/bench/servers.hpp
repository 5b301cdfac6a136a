// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "echo.hpp"
#include "peers/hub.hpp"
#include "peers/memcached.hpp"
#include "peers/redis.hpp"
#include "process.hpp"
#include "socket.hpp"

namespace bench {

/// A server process, and how to ask it: Redis in two ways.
struct Server {
  Process process;
  std::vector<std::unique_ptr<Peer>> peers;

  const Peer& peer(std::size_t i = 0) const { return *peers[i]; }
};

/// Waits until somebody listens at `place`, a port or the path of a Unix socket, which the server is to do.
inline void wait_for(Process& server, const std::string& place, const std::string& complaint) {
  for (int attempt = 0;; ++attempt) {
    try {
      Socket::connect(place);
      return;
    } catch (const std::system_error&) {
      if (server.ended() || attempt == 1000) throw std::runtime_error(complaint);
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
  }
}

/// Starts the servers that are compared, each in the best configuration found for one core, on the server's core.
/// Nothing is written to disk but what they print.
class Servers {
 public:
  /// Where our programs are, and where logs and Unix sockets may go.
  Servers(std::string programs, std::string work) : programs_(std::move(programs)), work_(std::move(work)) {}

  enum class Wire { tcp, ipc };

  Server hub(std::vector<std::string> options, Wire wire = Wire::tcp) const {
    const std::string query = place(wire);
    const std::string registration = place(wire);
    std::vector<std::string> command{
        programs_ + "/examples/registry_hub", "--query-addr", address(query), "--register-addr", address(registration)};
    command.insert(command.end(), options.begin(), options.end());
    return started("hub", std::move(command), registration, std::make_unique<Hub>("hub", query, registration));
  }

  Server echo(EchoOptions options = {}) const {
    const std::string port = free_port();
    return started("echo",
                   {programs_ + "/tests/bench/bench_echo", address(port), "--joined", std::to_string(options.joined),
                    "--frames", std::to_string(options.frames), "--mark", std::to_string(options.mark)},
                   port, std::make_unique<Hub>("libzmq echo", port, port, false));
  }

  /// In huge pages, which it switches off for itself because of its snapshots; there are none here.
  Server redis() const {
    const std::string port = free_port();
    Server server = started(
        "redis",
        {"env", "MALLOC_CONF=thp:always", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
         "--appendonly", "no", "--io-threads", "1", "--disable-thp", "no", "--dir", work_},
        port, std::make_unique<Redis>(port, Redis::Claim::pipelined));
    server.peers.push_back(std::make_unique<Redis>(port, Redis::Claim::script));
    return server;
  }

  /// One thread for one core; more requests from one connection before the next one's turn; a table that need not grow;
  /// huge pages; no number of a version for each item. Its quiet mode, which replies only to what it does not grant,
  /// took longer with thirds and no less with all keys new.
  Server memcached() const {
    const std::string port = free_port();
    std::vector<std::string> command{
        "memcached",
        "-l",
        "127.0.0.1",
        "-p",
        port,
        "-U",
        "0",
        "-t",
        "1",
        "-m",
        "16000",
        "-R",
        "1000",
        "-L",
        "-C",
        "-o",
        "no_lru_crawler,no_lru_maintainer,hashpower=24"};
    if (geteuid() == 0) command.insert(command.end(), {"-u", "root"});
    return started("memcached", std::move(command), port, std::make_unique<Memcached>(port));
  }

 private:
  /// A port, or the path of a Unix socket.
  std::string place(Wire wire) const {
    static int count = 0;
    if (wire == Wire::tcp) return free_port();
    return work_ + "/socket-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  }

  static std::string address(const std::string& place) {
    return place.starts_with('/') ? "ipc://" + place : "tcp://127.0.0.1:" + place;
  }

  Server started(const std::string& name, std::vector<std::string> command, const std::string& place,
                 std::unique_ptr<Peer> peer) const {
    const std::string log = work_ + "/" + name + ".log";
    Server server{Process::start(server_core, std::move(command), log), {}};
    server.peers.push_back(std::move(peer));
    wait_for(server.process, place, name + " did not start: see " + log);
    return server;
  }

  std::string programs_;
  std::string work_;
};

}  // namespace bench
