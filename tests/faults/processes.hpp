// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "support/catch.hpp"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/transport/zmq.hpp>

#include "concurrency/process.hpp"
#include "faults/grants.hpp"
#include "faults/tally.hpp"
#include "zmq/sockets.hpp"

namespace faults_test {

using namespace std::chrono_literals;

constexpr std::chrono::seconds ttl{1};
/// Longer than anything here may take. No test waits for it to pass unless it fails.
constexpr std::chrono::seconds limit{60};

constexpr std::size_t megabyte = 1'000'000;

// What a sanitizer keeps of the memory that was freed is no memory that the hub holds on to.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t quarantine = 400 * megabyte;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::size_t quarantine = 400 * megabyte;
#else
constexpr std::size_t quarantine = 0;
#endif
#else
constexpr std::size_t quarantine = 0;
#endif

/// A line of the summary that tests/run.sh prints at its end.
inline void print(const std::string& test, const std::string& what) {
  std::printf("fault: %-10s %s\n", test.c_str(), what.c_str());
}

/// Tries every few milliseconds; false if it has not become true within the limit.
template <class Condition>
bool eventually(Condition condition) {
  const auto end = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

/// A registry_hub, which can be killed, stopped and started anew at the same addresses.
class Hub {
 public:
  explicit Hub(std::chrono::seconds lease_ttl = ttl, std::vector<std::string> flags = {})
      : lease_ttl_(lease_ttl), flags_(std::move(flags)) {
    start();
  }
  ~Hub() {
    if (process_) kill();
  }
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  void start() {
    std::vector<std::string> command{
        REGISTRY_HUB,
        "--query-addr",
        queries_,
        "--register-addr",
        registrations_,
        "--lease-timeout-secs",
        std::to_string(lease_ttl_.count())};
    command.insert(command.end(), flags_.begin(), flags_.end());
    process_ = std::make_unique<concurrency_test::Process>(std::move(command));
    const std::string line = process_->hear();
    const auto between = [&](const std::string& before, char after) {
      const std::size_t begin = line.find(before) + before.size();
      return line.substr(begin, line.find(after, begin) - begin);
    };
    queries_ = between("queries at ", ',');
    registrations_ = between("registrations at ", '\n');
    resident_at_start_ = resident();
  }

  void kill() {
    process_->signal(SIGKILL);
    process_->end();
    process_.reset();
  }

  void freeze() { process_->signal(SIGSTOP); }
  void thaw() { process_->signal(SIGCONT); }

  /// Ends it as it should end; its statistics.
  std::map<std::string, std::uint64_t> stop() {
    std::vector<std::string> lines;
    process_->signal(SIGTERM);
    const int status = process_->end(&lines);
    process_.reset();
    if (status != 0) throw std::runtime_error("the hub ended with status " + std::to_string(status));
    std::map<std::string, std::uint64_t> statistics;
    for (const std::string& line : lines) {
      std::istringstream words(line);
      std::string name;
      std::uint64_t number = 0;
      if (words >> name >> number) statistics[name] = number;
    }
    return statistics;
  }

  registry::ZmqTransportConfig address() const {
    registry::ZmqTransportConfig config;
    config.query_addr = queries_;
    config.register_addr = registrations_;
    config.reconnect_interval_max = 100ms;
    return config;
  }

  /// Memory that it really has, in bytes.
  std::size_t resident() const {
    std::ifstream status("/proc/" + std::to_string(process_->id()) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
    }
    throw std::runtime_error("the hub has no memory");
  }
  std::size_t resident_at_start() const { return resident_at_start_; }

 private:
  std::chrono::seconds lease_ttl_;
  std::vector<std::string> flags_;
  std::string queries_ = "tcp://127.0.0.1:*";
  std::string registrations_ = "tcp://127.0.0.1:*";
  std::unique_ptr<concurrency_test::Process> process_;
  std::size_t resident_at_start_ = 0;
};

/// A client of the test's own.
inline auto client(const registry::ZmqTransportConfig& hub) {
  return registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(hub))
      .request_timeout(limit)
      .build();
}

/// Whether the hub answers somebody whom it does not know yet, and rightly.
inline bool serves(const Hub& hub) {
  // A key of nobody else's, and each time another.
  static std::uint64_t key = std::uint64_t{1} << 60U;
  auto blocks = client(hub.address());
  ++key;
  // While it recovers it grants nothing.
  if (!eventually([&] { return blocks.can_offload({key}).can_offload.size() == 1; })) return false;
  blocks.register_blocks({{key, key + 1}});
  blocks.flush();
  return eventually([&] {
    const auto found = blocks.match({key});
    return found.size() == 1 && found[0].key == key && found[0].value == key + 1;
  });
}

/// What must be true of a hub after whatever has befallen it: it serves, and has not grown beyond what some 100,000
/// blocks and a few clients take.
inline void check(const Hub& hub) {
  CHECK(serves(hub));
  CHECK(hub.resident() < hub.resident_at_start() + 100 * megabyte + quarantine);
}

/// A running faults_worker.
class Worker {
 public:
  struct Held {
    std::size_t keys;
    std::uint64_t token;
  };

  Worker(std::uint64_t number, const registry::ZmqTransportConfig& hub, const std::string& grants)
      : process_({REGISTRY_FAULTS_WORKER, hub.query_addr, hub.register_addr, grants, std::to_string(number),
                  std::to_string(std::chrono::milliseconds{ttl}.count())}) {}

  Tally report() { return Tally::from(ask("report")); }

  /// Has it hold the keys from `first` on in the name of a claim.
  Held hold(std::uint64_t first, std::size_t count) {
    std::istringstream words(ask("hold " + std::to_string(first) + ' ' + std::to_string(count)));
    Held held{};
    words >> held.keys >> held.token;
    return held;
  }
  /// How many of them it has lost, as it hears when it renews them.
  std::size_t lost() { return std::stoul(ask("progress")); }
  /// Of how many it is told that they are not its own any more when it registers them.
  std::size_t conflicts() { return std::stoul(ask("register")); }

  void signal(int number) const { process_.signal(number); }
  int end() { return process_.end(); }

 private:
  std::string ask(const std::string& command) {
    process_.tell(command);
    return process_.hear();
  }

  concurrency_test::Process process_;
};

class Workers {
 public:
  Workers(std::size_t count, const registry::ZmqTransportConfig& hub)
      : hub_(hub), file_((directory_.path() / "grants").string()), grants_(file_) {
    for (std::size_t i = 0; i < count; ++i) add();
  }

  Grants& grants() { return grants_; }

  Worker& add() {
    workers_.push_back(std::make_unique<Worker>(++last_number_, hub_, file_));
    return *workers_.back();
  }

  Worker& operator[](std::size_t i) { return *workers_[i]; }

  /// What it has seen until then counts.
  void kill(std::size_t i) {
    killed_ += workers_[i]->report();
    workers_[i]->signal(SIGKILL);
    workers_[i]->end();
    workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  Tally report() {
    Tally sum = killed_;
    for (const auto& worker : workers_) sum += worker->report();
    return sum;
  }

  /// Whether every worker is answered again and again from now on, and finds what workers have registered.
  bool all_go_on() {
    for (const auto& worker : workers_) {
      const Tally before = worker->report();
      const auto goes_on = [&] {
        const Tally now = worker->report();
        return now.calls > before.calls + 20 && now.found > before.found;
      };
      if (!eventually(goes_on)) return false;
    }
    return true;
  }

  /// Ends them; how many could not end as they should.
  int end() {
    int failures = 0;
    for (const auto& worker : workers_) failures += worker->end() == 0 ? 0 : 1;
    workers_.clear();
    return failures;
  }

 private:
  zmq_test::SocketDirectory directory_;
  registry::ZmqTransportConfig hub_;
  std::string file_;
  Grants grants_;
  std::uint64_t last_number_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  Tally killed_;
};

/// What must be true after whatever has befallen a hub and its workers, of all that they saw and of all that the hub
/// has confirmed since it was started. Ends the workers, and prints what they did.
inline void check(const Hub& hub, Workers& workers, const std::string& test, const std::string& what) {
  // How long that takes depends on the machine.
  CHECK(eventually([&] {
    const Tally now = workers.report();
    return now.granted > 0 && now.claimed > 0 && now.renewals > 0 && now.stored > 0 && now.found > 0 &&
           !workers.grants().confirmed().empty();
  }));
  const Tally tally = workers.report();
  CHECK(workers.end() == 0);
  CHECK(tally.clashes == 0);
  CHECK(tally.wrong == 0);

  const std::vector<std::uint64_t> confirmed = workers.grants().confirmed();
  std::size_t missing = confirmed.size();
  auto reader = client(hub.address());
  for (std::span<const std::uint64_t> rest = confirmed; !rest.empty();) {
    const auto keys = rest.first(std::min<std::size_t>(rest.size(), 1'000));
    for (const auto& block : reader.match(keys)) missing -= block.value == value_of(block.key) ? 1U : 0U;
    rest = rest.subspan(keys.size());
  }
  CHECK(missing == 0);
  check(hub);

  std::ostringstream line;
  line << what << "; " << tally.calls << " calls answered, " << tally.failures << " failed; " << tally.granted
       << " keys granted to clients, " << tally.claimed << " to claims (" << tally.renewals << " renewed, "
       << tally.had_back << " had back of a new hub, " << tally.lost << " keys lost); " << tally.stored
       << " registered, " << tally.confirmed << " confirmed, " << tally.refused << " refused, " << tally.found
       << " found; " << confirmed.size() << " confirmed by this hub, " << missing << " missing; " << tally.clashes
       << " clashes, " << tally.wrong << " wrong";
  print(test, line.str());
}

}  // namespace faults_test
