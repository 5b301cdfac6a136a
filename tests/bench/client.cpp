// SPDX-License-Identifier: Apache-2.0
// What our client adds to a bare socket of libzmq that sends and receives the same bytes, on the clients' core; hub and
// echo are on the servers'.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <registry/registry.hpp>
#include <registry/transport/asio_zmq.hpp>
#include <zmq.hpp>

#include "arguments.hpp"
#include "dealer.hpp"
#include "generator.hpp"
#include "report.hpp"
#include "servers.hpp"
#include "threads.hpp"

namespace bench {

namespace {

registry::ZmqTransportConfig config_of(const Hub& peer) {
  registry::ZmqTransportConfig config;
  config.query_addr = "tcp://127.0.0.1:" + peer.query_address();
  config.register_addr = "tcp://127.0.0.1:" + peer.register_address();
  return config;
}

struct Quantiles {
  double p50, p99;
};

Quantiles quantiles_of(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

/// Of calls one after the other, in microseconds: of each kind in turn, a few at a time, so that what disturbs the
/// machine disturbs all of them. The first ones of a turn do not count: they find asleep whoever the kind before has
/// not called, and so depend on the order; one of fifty is more than a hundredth, and would be the p99.
std::vector<Quantiles> latencies(const std::vector<std::function<void()>>& kinds) {
  constexpr std::size_t turns = 300;
  constexpr std::size_t calls = 50;
  constexpr std::size_t first_calls = 3;
  std::vector<std::vector<double>> times(kinds.size());
  for (std::size_t turn = 0; turn < turns; ++turn) {
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      for (std::size_t i = 0; i < first_calls; ++i) kinds[kind]();
      for (std::size_t i = 0; i < calls; ++i) {
        const auto start = Clock::now();
        kinds[kind]();
        times[kind].push_back(1e6 * seconds(Clock::now() - start));
      }
    }
  }
  std::vector<Quantiles> quantiles;
  for (const std::vector<double>& all : times) quantiles.push_back(quantiles_of(all));
  return quantiles;
}

/// A blocking client, and one call of one key after the other.
class LoneCalls {
 public:
  explicit LoneCalls(const Hub& peer)
      : client_(
            registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(config_of(peer))).build()) {}

  void operator()() {
    const auto answer = client_.can_offload(stored_keys(random_, 1));
    if (answer.already_stored.size() != 1) throw std::runtime_error("not stored");
  }

 private:
  registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::ZmqTransport> client_;
  Random random_{1};
};

/// The same of an asynchronous client, on the thread that runs its executor.
class LoneAsynchronousCalls {
 public:
  explicit LoneAsynchronousCalls(const Hub& peer)
      : client_(registry::client<std::uint64_t, std::uint64_t>(
                    registry::AsioZmqTransport::connect(io_.get_executor(), config_of(peer)))
                    .build()) {}

  void operator()() {
    bool is_answered = false;
    client_.async_can_offload(stored_keys(random_, 1), [&](std::error_code code, const auto& answer) {
      if (code || answer.already_stored.size() != 1) throw std::runtime_error("an asynchronous call failed");
      is_answered = true;
    });
    while (!is_answered) io_.run_one();
  }

 private:
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  registry::RegistryClient<std::uint64_t, std::uint64_t, registry::NoMetadata, registry::AsioZmqTransport> client_;
  Random random_{2};
};

class Clients {
 public:
  explicit Clients(const Arguments& arguments)
      : report_(arguments.text("report")),
        runs_(arguments.number("runs")),
        time_(arguments.time("seconds")),
        servers_(arguments.text("programs"), arguments.text("work")),
        hub_(servers_.hub({"--eviction", "none", "--capacity", "1000000000"})),
        echo_(servers_.echo()) {
    fill(hub_.peer(), {asked_entries, 0});
  }

  /// One call after the other, of one key.
  void lone_calls() {
    LoneCalls call(hub());
    LoneAsynchronousCalls asynchronous_call(hub());
    // A context each, as the client has one.
    const auto contexts =
        std::array{registry::detail::context_or_own(nullptr), registry::detail::context_or_own(nullptr)};
    Dealer to_hub(*contexts[0], hub(), 1);
    Dealer to_echo(*contexts[1], echo(), 1);
    const auto round_trip = [](Dealer& dealer) {
      return [&dealer] {
        dealer.send(1);
        dealer.receive(1);
      };
    };
    report_.begin_table("One can_offload of one key, blocking unless it says otherwise, us",
                        {"run", "client, p50", "p99", "bare socket to the hub, p50", "p99",
                         "bare socket to the echo, p50", "p99", "asynchronous client, p50", "p99"});
    std::array<std::vector<double>, 6> ratios;
    const std::vector<std::function<void()>> blocking{std::ref(call), round_trip(to_hub), round_trip(to_echo)};
    std::vector<std::function<void()>> kinds = blocking;
    kinds.push_back(std::ref(asynchronous_call));
    // Connections are made, and caches filled.
    if (runs_ > 1) latencies(kinds);
    for (std::uint64_t run = 0; run < runs_; ++run) {
      const std::vector<Quantiles> all = latencies(kinds);
      const auto& [ours, bare, floor, asynchronous] = std::tie(all[0], all[1], all[2], all[3]);
      report_.row({std::to_string(run + 1), figure(ours.p50), figure(ours.p99), figure(bare.p50), figure(bare.p99),
                   figure(floor.p50), figure(floor.p99), figure(asynchronous.p50), figure(asynchronous.p99)});
      ratios[0].push_back(ours.p50 / bare.p50);
      ratios[1].push_back(ours.p99 / bare.p99);
      ratios[2].push_back(ours.p50 / floor.p50);
      ratios[3].push_back(ours.p99 / floor.p99);
      ratios[4].push_back(asynchronous.p50 / bare.p50);
      ratios[5].push_back(asynchronous.p99 / bare.p99);
    }
    const std::string name = "one blocking can_offload of one key against a raw zmq round trip of the same bytes ";
    report_.judge(name + "to the hub, p50", at_most(1.05, " x"), Spread::of(ratios[0]));
    report_.judge(name + "to the hub, p99", at_most(1.1, " x"), Spread::of(ratios[1]));
    report_.judge(name + "to an echo, p50", at_most(1.05, " x"), Spread::of(ratios[2]));
    report_.judge(name + "to an echo, p99", at_most(1.1, " x"), Spread::of(ratios[3]));
    const std::string alone = "one call of an asynchronous client, alone, against a raw zmq round trip to the hub, ";
    report_.judge(alone + "p50", at_most(1.05, " x"), Spread::of(ratios[4]));
    report_.judge(alone + "p99", at_most(1.1, " x"), Spread::of(ratios[5]));
    calls_after_a_pause(blocking);
  }

  /// What stands in the tables, without what it is compared with, for profile.sh: lines as bench_load has them.
  void only(const std::string& what, std::size_t threads, std::size_t window, std::size_t batch) {
    const auto counted = [&](double calls_per_second) { return calls_per_second * seconds(time_); };
    if (what == "lone") {
      LoneCalls call(hub());
      call();
      repeat("calls", [&] {
        double calls = 0;
        for (const auto end = Clock::now() + time_; Clock::now() < end; ++calls) call();
        return calls;
      });
    } else if (what == "pipelined") {
      repeat("keys", [&] { return static_cast<double>(batch) * counted(pipelined_rate(batch)); });
    } else if (what == "blocking") {
      repeat("calls", [&] { return counted(blocking_rate(threads)); });
    } else if (what == "asynchronous") {
      repeat("calls", [&] { return counted(asynchronous_rate(threads, window)); });
    } else {
      throw std::runtime_error("--only " + what + " is none of lone, pipelined, blocking, asynchronous");
    }
  }

  /// Sixty-four calls in flight: of a hundred keys, each a message, and of one, which the client sends together.
  void pipelined_calls(std::size_t batch, const Target& target) {
    const std::string calls = "window 64, " + std::to_string(batch) + (batch == 1 ? " key" : " keys") + " a call";
    report_.begin_table(
        "Asynchronous client, " + calls,
        {"run", "client, keys/s", "hub busy", "client busy", "bare socket, keys/s", "hub busy", "bare socket busy"});
    std::vector<double> ratios;
    for (std::uint64_t run = 0; run < runs_; ++run) {
      std::vector<std::string> cells{std::to_string(run + 1)};
      const auto keys_per_second = [&](auto rate) {
        const auto cpu_times = [&] { return std::array{hub_.process.cpu_time(), cpu_time_of(getpid())}; };
        const auto before = cpu_times();
        const auto start = Clock::now();
        const double keys = rate() * static_cast<double>(batch);
        const double time = seconds(Clock::now() - start);
        const auto after = cpu_times();
        cells.push_back(figure(keys / 1e6) + " M");
        for (std::size_t i = 0; i < after.size(); ++i) {
          cells.push_back(figure(100 * seconds(after[i] - before[i]) / time) + " %");
        }
        return keys;
      };
      const double ours = keys_per_second([&] { return pipelined_rate(batch); });
      ratios.push_back(ours / keys_per_second([&] { return bare_rate(batch); }));
      report_.row(cells);
    }
    report_.judge("asynchronous client, " + calls + ", against a raw pipelined client", target, Spread::of(ratios));
  }

  /// One key per message, from several threads of one client: the blocking one, and the asynchronous one with a window
  /// for each thread, in turn with what is naive.
  void small_batches(std::size_t threads, std::size_t window) {
    const bool is_blocking = window == 1;
    const std::string title = std::to_string(threads) + " threads, window " + std::to_string(window) + " each";
    report_.begin_table("One key per call, " + title,
                        {"run", "blocking client, keys/s", "asynchronous client, keys/s", "naive, keys/s"});
    std::array<std::vector<double>, 2> ratios;
    for (std::uint64_t run = 0; run < runs_; ++run) {
      const double blocking = is_blocking ? blocking_rate(threads) : 0;
      const double asynchronous = asynchronous_rate(threads, window);
      const double naive = naive_rate(*context_, hub(), threads, window, time_);
      report_.row({std::to_string(run + 1), is_blocking ? figure(blocking / 1e6) + " M" : "-",
                   figure(asynchronous / 1e6) + " M", figure(naive / 1e6) + " M"});
      ratios[0].push_back(blocking / naive);
      ratios[1].push_back(asynchronous / naive);
    }
    const auto judge = [&](const char* kind, const std::vector<double>& values) {
      report_.judge("one key per message, " + title + ", of one " + kind +
                        " client, against the naive (a socket and a message for each)",
                    at_least(3, " x"), Spread::of(values));
    };
    if (is_blocking) judge("blocking", ratios[0]);
    judge("asynchronous", ratios[1]);
  }

 private:
  static constexpr std::size_t pipeline = 64;

  /// The same, each call after a pause in which all who take part have fallen asleep. p99 is of the calls of all runs:
  /// those of one are too few.
  void calls_after_a_pause(const std::vector<std::function<void()>>& kinds) {
    constexpr std::size_t turns = 10;
    constexpr std::size_t calls = 30;
    const std::vector<std::string> of_what{
        "client", "bare socket to the hub", "bare socket to the echo", "client against hub", "client against echo"};
    std::vector<std::string> columns{"pause, ms"};
    for (const std::string& what : of_what) columns.insert(columns.end(), {what + ", p50", "p99"});
    report_.begin_table(
        "One blocking can_offload of one key after a pause, us: p50 of a run, median (least .. most); "
        "p99 of all runs",
        columns);
    for (const int pause : {1, 20}) {
      std::array<std::vector<double>, 3> all;
      std::array<std::vector<double>, 5> p50;
      for (std::uint64_t run = 0; run < runs_; ++run) {
        std::array<std::vector<double>, 3> times;
        for (std::size_t turn = 0; turn < turns; ++turn) {
          for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
            // The first does not count: whoever the kinds before have not called has slept for longer.
            for (std::size_t call = 0; call <= calls; ++call) {
              std::this_thread::sleep_for(std::chrono::milliseconds{pause});
              const auto start = Clock::now();
              kinds[kind]();
              if (call > 0) times[kind].push_back(1e6 * seconds(Clock::now() - start));
            }
          }
        }
        for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
          p50[kind].push_back(quantiles_of(times[kind]).p50);
          all[kind].insert(all[kind].end(), times[kind].begin(), times[kind].end());
        }
        for (const std::size_t bare : {1U, 2U}) p50[2 + bare].push_back(p50[0].back() / p50[bare].back());
      }
      std::array<double, 5> p99{};
      for (std::size_t kind = 0; kind < kinds.size(); ++kind) p99[kind] = quantiles_of(all[kind]).p99;
      for (const std::size_t bare : {1U, 2U}) p99[2 + bare] = p99[0] / p99[bare];
      std::vector<std::string> cells{std::to_string(pause)};
      for (std::size_t i = 0; i < p50.size(); ++i) {
        cells.insert(cells.end(), {figure(Spread::of(p50[i])), figure(p99[i])});
      }
      report_.row(cells);
    }
  }

  const Hub& hub() const { return static_cast<const Hub&>(hub_.peer()); }
  const Hub& echo() const { return static_cast<const Hub&>(echo_.peer()); }

  /// `measure()` is run for about `time_`, and returns how many `units` that were.
  template <class Measure>
  void repeat(const char* units, Measure measure) {
    std::printf("hub's process %d\nclient's process %d\nCPU of both, monotonic\n", hub_.process.pid(), getpid());
    for (std::uint64_t run = 0; run < runs_; ++run) {
      const auto cpu = [&] { return hub_.process.cpu_time() + cpu_time_of(getpid()); };
      const auto cpu_before = cpu();
      const auto start = Clock::now();
      const double count = measure();
      const auto end = Clock::now();
      std::printf("%.0f %s/s, CPU %.1f ns %.6f %.6f\n", count / seconds(end - start), units,
                  1e9 * seconds(cpu() - cpu_before) / count, seconds(start.time_since_epoch()),
                  seconds(end.time_since_epoch()));
      std::fflush(stdout);
    }
  }

  double blocking_rate(std::size_t threads) {
    auto client =
        registry::client<std::uint64_t, std::uint64_t>(registry::ZmqTransport::connect(config_of(hub()))).build();
    return rate(threads, time_, [&](std::size_t thread) -> std::function<void()> {
      return [&client, random = Random(thread)]() mutable { client.can_offload(stored_keys(random, 1)); };
    });
  }

  /// Every thread calls again as soon as its window has room, which the client's thread makes.
  double asynchronous_rate(std::size_t threads, std::size_t window) {
    asio::io_context io;
    auto client = registry::client<std::uint64_t, std::uint64_t>(
                      registry::AsioZmqTransport::connect(io.get_executor(), config_of(hub())))
                      .build();
    auto work = asio::make_work_guard(io);
    std::thread loop([&] { io.run(); });
    const double calls = rate(threads, time_, [&](std::size_t thread) -> std::function<void()> {
      auto room = std::make_shared<std::counting_semaphore<>>(static_cast<std::ptrdiff_t>(window));
      return [&client, room, random = Random(thread)]() mutable {
        room->acquire();
        client.async_can_offload(stored_keys(random, 1), [room](std::error_code code, const auto& result) {
          if (code || result.already_stored.size() != 1) throw std::runtime_error("an asynchronous call failed");
          room->release();
        });
      };
    });
    work.reset();
    loop.join();
    return calls;
  }

  double pipelined_rate(std::size_t batch) {
    asio::io_context io(1);
    auto client = registry::client<std::uint64_t, std::uint64_t>(
                      registry::AsioZmqTransport::connect(io.get_executor(), config_of(hub())))
                      .build();
    Random random(1);
    std::uint64_t calls = 0;
    const auto start = Clock::now();
    const auto end = start + time_;
    std::function<void()> call = [&] {
      client.async_can_offload(stored_keys(random, batch), [&](std::error_code code, const auto& result) {
        if (code || result.already_stored.size() != batch) throw std::runtime_error("an asynchronous call failed");
        ++calls;
        if (Clock::now() < end) call();
      });
    };
    for (std::size_t i = 0; i < pipeline; ++i) call();
    io.run();
    return static_cast<double>(calls) / seconds(Clock::now() - start);
  }

  double bare_rate(std::size_t batch) {
    Dealer dealer(*context_, hub(), 1);
    const auto start = Clock::now();
    const std::uint64_t calls = dealer.pipeline(pipeline, batch, time_);
    return static_cast<double>(calls) / seconds(Clock::now() - start);
  }

  Report report_;
  std::uint64_t runs_;
  std::chrono::nanoseconds time_;
  Servers servers_;
  Server hub_;
  Server echo_;
  /// As our transports open it.
  std::shared_ptr<zmq::context_t> context_ = registry::detail::context_or_own(nullptr);
};

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  bench::pin_to(bench::client_core);
  const bench::Arguments arguments(
      argc, argv,
      {{"programs", ""},
       {"report", "."},
       {"work", "/tmp"},
       {"runs", "5"},
       {"seconds", "1"},
       {"only", ""},
       {"threads", "1"},
       {"window", "1"},
       {"batch", "1"}});
  bench::Clients clients(arguments);
  if (const std::string& what = arguments.text("only"); !what.empty()) {
    clients.only(what, arguments.number("threads"), arguments.number("window"), arguments.number("batch"));
    return 0;
  }
  clients.lone_calls();
  clients.pipelined_calls(100, bench::at_least(0.95, " x"));
  clients.pipelined_calls(1, bench::at_least(3, " x"));
  for (const std::size_t threads : {4U, 16U}) {
    for (const std::size_t window : {1U, 16U}) clients.small_batches(threads, window);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_client: %s\n", error.what());
  return 1;
}
