// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <span>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <unistd.h>

#include "floor_table.hpp"
#include "generator.hpp"
#include "keys.hpp"
#include "process.hpp"

namespace bench {

/// What this thread has had of the processor: time in which others ran does not count, page faults do.
inline std::chrono::nanoseconds thread_cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

/// How many keys are gone through where look-ups in memory are compared: everything that is compared touches equally
/// much, more than a cache holds of a large catalogue.
constexpr std::size_t asked_keys = 1'000'000;

/// Keys from all over a catalogue, a third each new, stored and leased.
inline std::vector<std::uint64_t> thirds_of(Catalogue catalogue, std::size_t count) {
  Random random(3);
  std::vector<std::uint64_t> keys(count);
  for (std::uint64_t& key : keys) {
    const std::uint64_t sort = random.below(3);
    const std::uint64_t number =
        sort == 0   ? first_new + random.below(std::uint64_t{1} << 30U)
        : sort == 1 ? first_stored + random.below(catalogue.entries)
                    : first_leased + random.below(catalogue.leases);
    key = key_of(number);
  }
  return keys;
}

/// The floor table in a process of its own on the servers' core, with as many keys as a hub of that catalogue knows.
class FloorProcess {
 public:
  explicit FloorProcess(Catalogue catalogue)
      : asked_(Pipe{}), answered_(Pipe{}), process_(Process::fork(server_core, [&] { return serve(catalogue); })) {
    lookup_ns();
  }

  /// Nanoseconds of processor time per look-up, in batches of a hundred, thirds mix; the least of three times. A floor
  /// is the least that it takes: what disturbs it is not part of it.
  double least_lookup_ns() { return std::min({lookup_ns(), lookup_ns(), lookup_ns()}); }

 private:
  struct Pipe {
    Pipe() {
      if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() {
      ::close(ends[0]);
      ::close(ends[1]);
    }
    int ends[2];
  };

  double lookup_ns() {
    char go = 1;
    double ns = 0;
    if (::write(asked_.ends[1], &go, 1) != 1 || ::read(answered_.ends[0], &ns, sizeof ns) != sizeof ns) {
      throw std::runtime_error("the floor table failed");
    }
    return ns;
  }

  int serve(Catalogue catalogue) {
    FloorTable table(catalogue.entries + catalogue.leases);
    for (std::uint64_t i = 0; i < catalogue.entries; ++i) table.insert(key_of(first_stored + i), i);
    for (std::uint64_t i = 0; i < catalogue.leases; ++i) table.insert(key_of(first_leased + i), i);
    const std::vector<std::uint64_t> keys = thirds_of(catalogue, asked_keys);
    for (char go = 0; ::read(asked_.ends[0], &go, 1) == 1;) {
      constexpr std::size_t batch = 100;
      std::size_t found = 0;
      const auto start = thread_cpu_time();
      for (std::size_t at = 0; at < keys.size(); at += batch) found += table.count(std::span(keys).subspan(at, batch));
      const double ns = 1e9 * seconds(thread_cpu_time() - start) / static_cast<double>(keys.size());
      if (found < keys.size() / 2 || ::write(answered_.ends[1], &ns, sizeof ns) != sizeof ns) return 1;
    }
    return 0;
  }

  Pipe asked_;
  Pipe answered_;
  Process process_;
};

}  // namespace bench
