// SPDX-License-Identifier: Apache-2.0
// How long the hub's loop is away: the longest turn, from the moment its transport wakes it until it waits again, while
// a catalogue grows from nothing to its capacity and beyond, and while a million leases end in one second. It is the
// real RegistryHub::serve over the real sockets; only the transport is wrapped, to look at the clock.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <registry/registry.hpp>

#include "arguments.hpp"
#include "floor.hpp"
#include "generator.hpp"
#include "peers/hub.hpp"
#include "process.hpp"
#include "report.hpp"
#include "servers.hpp"

namespace bench {

namespace {

struct Turn {
  std::chrono::nanoseconds cpu{};
  Clock::time_point from, to;
};

/// What is known of the turns so far; the hub's process writes it.
struct Turns {
  Histogram cpu;
  std::array<Turn, 20> longest;  // by CPU time, in no order
  std::chrono::nanoseconds longest_wall{};
  std::atomic<bool> is_over;  // what comes now is none of them

  void add(const Turn& turn) {
    cpu.add(turn.cpu);
    Turn& shortest = *std::ranges::min_element(longest, {}, &Turn::cpu);
    if (turn.cpu > shortest.cpu) shortest = turn;
    longest_wall = std::max<std::chrono::nanoseconds>(longest_wall, turn.to - turn.from);
  }
  double longest_cpu_ms() const { return 1e3 * seconds(std::ranges::max_element(longest, {}, &Turn::cpu)->cpu); }
  double longest_wall_ms() const { return 1e3 * seconds(longest_wall); }
};

class MeasuredTransport {
 public:
  MeasuredTransport(registry::ZmqHubTransport transport, Turns& turns)
      : transport_(std::move(transport)), turns_(turns) {}

  registry::Instant now() const { return transport_.now(); }
  void wait(std::optional<std::chrono::nanoseconds> timeout) {
    if (woken_ && !turns_.is_over) turns_.add({thread_cpu_time() - cpu_at_wake_up_, *woken_, Clock::now()});
    transport_.wait(timeout);
    woken_ = Clock::now();
    cpu_at_wake_up_ = thread_cpu_time();
  }
  template <registry::HubHandler H>
  void drain(H& handler) {
    transport_.drain(handler);
  }
  bool send(registry::ByteView recipient, registry::Frames envelope, registry::ByteView message) {
    return transport_.send(recipient, envelope, message);
  }
  void interrupt() noexcept { transport_.interrupt(); }

 private:
  registry::ZmqHubTransport transport_;
  Turns& turns_;
  std::optional<Clock::time_point> woken_;
  std::chrono::nanoseconds cpu_at_wake_up_{};
};

constexpr std::chrono::seconds lease_ttl{5};
/// More than two clients are granted in that time.
constexpr std::size_t most_leases = 30'000'000;

/// Whether the hub has its memory from the start, or touches each page first when it needs it, huge ones or none.
enum class Memory { reserved, as_needed, small_pages };

struct Variant {
  Memory memory;
  const char* word;
  const char* name;
};
constexpr std::array variants{
    Variant{Memory::reserved, "reserved", "memory reserved"},
    Variant{Memory::as_needed, "as-needed", "memory as needed"},
    Variant{Memory::small_pages, "small-pages", "memory as needed, without huge pages"},
};

int serve(const std::string& query, const std::string& registration, std::uint64_t capacity, Memory memory,
          Turns& turns) {
  if (memory == Memory::small_pages && prctl(PR_SET_THP_DISABLE, 1UL, 0UL, 0UL, 0UL) != 0) {
    throw std::system_error(errno, std::generic_category(), "switch huge pages off");
  }
  registry::ZmqHubConfig config;
  config.query_addr = "tcp://127.0.0.1:" + query;
  config.register_addr = "tcp://127.0.0.1:" + registration;
  MeasuredTransport transport(registry::ZmqHubTransport::bind(config), turns);
  registry::RecencyEviction policy(registry::HashMapStorage<std::uint64_t, std::uint64_t>{}, capacity);
  if (memory == Memory::reserved) policy.reserve(capacity, most_leases);
  auto hub = registry::hub<std::uint64_t, std::uint64_t>(std::move(policy))
                 .lease_ttl(lease_ttl)
                 .max_leases(1'000'000'000)
                 .build();
  hub.serve(transport);
  return 0;
}

/// What the machine does to a loop that does nothing: the longest times that a pass of it took. A hypervisor that lets
/// others run takes wall time, and where it does not say so to the guest, also processor time.
struct IdleLoop {
  double wall_ms = 0;
  double cpu_ms = 0;
};

IdleLoop idle_loop(std::chrono::nanoseconds time) {
  const Shared<IdleLoop> longest;
  Process::fork(server_core, [&] {
    const auto end = Clock::now() + time;
    auto last_cpu = thread_cpu_time();
    for (auto last = Clock::now(); last < end;) {
      const auto now = Clock::now();
      const auto cpu = thread_cpu_time();
      longest->wall_ms = std::max(longest->wall_ms, 1e3 * seconds(now - last));
      longest->cpu_ms = std::max(longest->cpu_ms, 1e3 * seconds(cpu - last_cpu));
      last = now;
      last_cpu = cpu;
    }
    return 0;
  }).wait();
  return longest[0];
}

struct Workload {
  std::uint64_t capacity;
  std::uint64_t leases;
  std::chrono::nanoseconds time;
};

struct Run {
  double registered_per_second;
  double granted_within_s;
};

constexpr std::size_t registered_at_a_time = 1'000;

/// Registers twice as many keys as the hub has room for, in turn, over and over: it grows, and from then on each makes
/// another leave, so that half of them are stored. In the end come some that have not been before: when these are
/// there, all have been.
int register_in_turn(const Hub& peer, std::uint64_t capacity, const std::atomic<bool>& stop,
                     std::atomic<std::uint64_t>& registered, std::uint64_t client) {
  Stream stream(peer, Operation::store, registered_at_a_time);
  std::vector<std::uint64_t> keys(registered_at_a_time);
  std::uint64_t number = 0;
  const auto send = [&] {
    stream.advance();
    if (stream.unsent() > 0) stream.wait(std::nullopt);
  };
  for (std::uint64_t next = 0; !stop; send()) {
    while (!stop && stream.unsent() < 100'000) {
      for (std::uint64_t& key : keys) key = key_of(first_stored + next++ % (2 * capacity));
      registered = next;
      stream.ask(keys, client, ++number);
    }
  }
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = key_of(first_stored + 2 * capacity + i);
  stream.ask(keys, client, ++number);
  while (stream.unsent() > 0) send();
  return 0;
}

/// `began` is called with the hub's process.
template <class Began>
Run measure(const Workload& workload, Memory memory, Turns& turns, Began began) {
  const Hub peer("hub", free_port(), free_port());
  Process hub = Process::fork(server_core, [&] {
    return serve(peer.query_address(), peer.register_address(), workload.capacity, memory, turns);
  });
  wait_for(hub, peer.register_address(), "the hub did not start");
  began(hub);

  // Growing and evicting: one client registers as fast as it can, two claim what is new, stored, and leased.
  constexpr std::size_t batch = 100;
  const Catalogue known{2 * workload.capacity, workload.leases};
  const Requests claims(peer, Operation::claim, Mix::thirds, batch, known);
  const Shared<std::atomic<bool>> stop;
  const Shared<std::atomic<std::uint64_t>> registered;
  const auto registering_since = Clock::now();
  const std::uint64_t client = Generator::new_client();
  Process registering = Process::fork(
      client_core, [&] { return register_in_turn(peer, workload.capacity, stop[0], registered[0], client); });
  Generator(workload.time * 3 / 4).run(hub, Load{&claims, 2, 16, std::nullopt, false});

  // Beside it leases that end together, and queries that must not notice.
  std::this_thread::sleep_for(lease_ttl + std::chrono::seconds{1});
  const auto start = Clock::now();
  const std::uint64_t granted =
      sweep(peer, Operation::claim, {first_leased, workload.leases}, Generator::new_client()).granted;
  const double granted_within_s = seconds(Clock::now() - start);
  if (granted != workload.leases) {
    throw std::runtime_error("of " + std::to_string(workload.leases) +
                             " leases that were to end together the hub has granted " + std::to_string(granted));
  }
  const Requests single(peer, Operation::claim, Mix::leased, batch, known);
  Generator(std::max<std::chrono::nanoseconds>(workload.time / 4, lease_ttl + std::chrono::seconds{1}))
      .run(hub, Load{&single, 1, 1, std::nullopt, false});
  stop[0] = true;
  if (registering.wait() != 0) throw std::runtime_error("the client that registers failed");
  const double registering_for = seconds(Clock::now() - registering_since);
  turns.is_over = true;
  const Range sent{first_stored, 2 * workload.capacity + registered_at_a_time};
  wait_until_stored(peer, sent.first + sent.count - 1);
  const std::uint64_t stored = sweep(peer, Operation::match, sent, Generator::new_client()).found;
  hub.stop();
  if (stored != workload.capacity || registered[0] <= workload.capacity) {
    throw std::runtime_error(
        "the hub was to grow to " + std::to_string(workload.capacity) + " entries and to evict, and has " +
        std::to_string(stored) + " of " + std::to_string(registered[0]) + " registered: give it more time");
  }
  return {static_cast<double>(registered[0]) / registering_for, granted_within_s};
}

/// One run, and its longest turns, for profile.sh: lines as bench_load has them.
void only(Memory memory, const Workload& workload) {
  const Shared<Turns> turns;
  measure(workload, memory, turns[0], [](const Process& hub) {
    std::printf("hub's process %d\nCPU of its thread, monotonic\n", hub.pid());
    std::fflush(stdout);
  });
  for (const Turn& turn : turns->longest) {
    std::printf("1 turn, CPU %.1f ns %.6f %.6f\n", 1e9 * seconds(turn.cpu), seconds(turn.from.time_since_epoch()),
                seconds(turn.to.time_since_epoch()));
  }
}

void run(const Arguments& arguments) {
  const Workload workload{arguments.number("entries"), arguments.number("leases"), arguments.time("seconds")};
  if (!arguments.text("only").empty()) {
    std::vector<std::pair<std::string, Memory>> choices;
    for (const Variant& variant : variants) choices.emplace_back(variant.word, variant.memory);
    return only(arguments.choice("only", choices), workload);
  }
  Report report(arguments.text("report"));
  report.begin_table(
      "The hub's loop while it grows to " + figure(static_cast<double>(workload.capacity) / 1e6) +
          " M entries, evicts at capacity, and " + figure(static_cast<double>(workload.leases) / 1e6) +
          " M leases end in one second",
      {"run", "longest turn, CPU ms", "p99.9 ms", "p50 ms", "longest turn, wall ms",
       "longest pass of an idle loop, CPU ms", "the same, wall ms", "registered, entries/s",
       "leases granted within s"});
  std::array<std::vector<double>, variants.size()> longest;
  for (std::uint64_t run = 1; run <= arguments.number("runs"); ++run) {
    const IdleLoop idle = idle_loop(workload.time / 2);
    for (std::size_t i = 0; i < variants.size(); ++i) {
      const Shared<Turns> turns;
      const Run done = measure(workload, variants[i].memory, turns[0], [](const Process&) {});
      longest[i].push_back(turns->longest_cpu_ms());
      report.row({std::to_string(run) + ", " + variants[i].name, figure(turns->longest_cpu_ms()),
                  figure(turns->cpu.quantile_us(0.999) / 1e3), figure(turns->cpu.quantile_us(0.5) / 1e3),
                  figure(turns->longest_wall_ms()), figure(idle.cpu_ms), figure(idle.wall_ms),
                  figure(done.registered_per_second / 1e6) + " M", figure(done.granted_within_s)});
    }
  }
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const Spread spread = Spread::of(longest[i]);
    report.judge(std::string{"longest turn of the hub's loop, CPU time, the longest of all runs; "} + variants[i].name,
                 at_most(5, " ms"), {spread.most, spread.least, spread.most});
  }
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  bench::pin_to(bench::client_core);
  bench::run(bench::Arguments(
      argc, argv,
      {{"report", "."},
       {"runs", "5"},
       {"seconds", "60"},
       {"entries", "10000000"},
       {"leases", "1000000"},
       {"only", ""}}));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_turns: %s\n", error.what());
  return 1;
}
