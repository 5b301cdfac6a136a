// SPDX-License-Identifier: Apache-2.0
// The hub alone in all the ways in which it is used: each operation by itself and all at once, with every number of
// keys a message, of clients and of requests on their way, as fast as it goes and at a fixed rate. See run.sh.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "cells.hpp"
#include "generator.hpp"
#include "report.hpp"
#include "reserved_hub.hpp"
#include "servers.hpp"

namespace bench {

namespace {

/// What a group of clients does; `is_at_rate` where it is asked at a fixed rate, too.
struct Kind {
  Operation operation;
  Mix mix;
  bool is_at_rate;

  std::string name() const { return std::string(name_of(operation)) + ", " + name_of(mix); }
};

class Grid {
 public:
  explicit Grid(const Arguments& arguments)
      : servers_(arguments.text("programs"), arguments.text("work")),
        generator_(arguments.time("seconds")),
        long_generator_(2 * arguments.time("seconds")),
        report_(arguments.text("report")),
        catalogue_{arguments.number("entries"), arguments.number("entries") / 10},
        young_{catalogue_.entries / 4, catalogue_.leases},
        keys_(arguments.numbers("keys")),
        clients_(arguments.numbers("clients")),
        windows_(arguments.numbers("windows")) {}

  void run() {
    report_.begin_table("The hub alone, " + entries_text(catalogue_) + ", closed loop (registrations are pushed)",
                        {"wire", "operation", "keys a message", "clients", "window", "keys/s", "p50 us", "p99 us",
                         "p99.9 us", "hub busy", "clients busy", "CPU ns per key"});
    for (const auto wire : {Servers::Wire::tcp, Servers::Wire::ipc}) one_by_one(wire);
    end_table();
    report_.begin_table(
        "All at once, with eviction at capacity (recency), " + entries_text(catalogue_) +
            ": so many clients claim, as many match, which ask for the youngest quarter of the stored, "
            "and one registers; closed loop",
        {"wire", "keys a message", "clients", "window", "operation", "keys/s", "p50 us", "p99 us", "p99.9 us",
         "of the stored keys found", "hub busy", "clients busy", "CPU ns per key"});
    for (const auto wire : {Servers::Wire::tcp, Servers::Wire::ipc}) all_at_once(wire);
    end_table();
    report_.begin_table(
        "At a fixed rate over tcp, half of what the same clients got done at their best window: a "
        "latency counts from when a message was due, of a registration until it is found stored",
        {"operation", "keys a message", "clients", "due, keys/s", "done, keys/s", "of what was due", "p50 us", "p99 us",
         "p99.9 us", "hub busy", "clients busy"});
    for (const std::vector<std::string>& row : at_rates_) report_.row(row);
  }

 private:
  static constexpr std::array kinds{
      Kind{Operation::claim, Mix::thirds, true},  Kind{Operation::claim, Mix::fresh, false},
      Kind{Operation::claim, Mix::stored, false}, Kind{Operation::claim, Mix::leased, false},
      Kind{Operation::match, Mix::stored, true},  Kind{Operation::store, Mix::fresh, true}};

  void one_by_one(Servers::Wire wire) {
    const Server hub = reserved_hub(servers_, catalogue_, wire);
    std::ofstream by_batch = report_.plot("batch " + std::string(name_of(wire)));
    for (const std::size_t keys : keys_) {
      for (const Kind& kind : kinds) {
        const Requests requests(hub.peer(), kind.operation, kind.mix, keys, catalogue_);
        for (const std::size_t clients : clients_) {
          const double most = by_window(wire, hub, kind, requests, clients, by_batch);
          if (kind.is_at_rate && wire == Servers::Wire::tcp) {
            at_half(hub, "", {Load{&requests, clients}}, {most});
          }
        }
      }
    }
  }

  /// The most that so many clients got done, with any window: there is one only where something is replied to.
  double by_window(Servers::Wire wire, const Server& hub, const Kind& kind, const Requests& requests,
                   std::size_t clients, std::ofstream& by_batch) {
    const bool has_window = hub.peer().replies(kind.operation);
    double most = 0;
    for (const std::size_t window : has_window ? windows_ : std::vector<std::uint64_t>{1}) {
      const Result result = measure(generator_, hub, {Load{&requests, clients, window}}).front();
      most = std::max(most, result.keys_per_second);
      report_.row({name_of(wire), kind.name(), std::to_string(requests.batch()), std::to_string(clients),
                   has_window ? std::to_string(window) : "-", million(result.keys_per_second), latency(result, 0.5),
                   latency(result, 0.99), latency(result, 0.999), percent(result.busy), percent(result.clients_busy),
                   figure(result.cpu_ns_per_key)});
      if (kind.operation == Operation::claim && kind.mix == Mix::thirds && clients == 4 && window == 64) {
        by_batch << requests.batch() << ' ' << result.keys_per_second << '\n';
      }
    }
    return most;
  }

  /// Claims, matches and registrations of new entries, each of which makes another leave.
  void all_at_once(Servers::Wire wire) {
    const Server hub = reserved_hub(servers_, catalogue_, wire, lasting("recency", catalogue_.entries));
    evicted_ = catalogue_.entries;
    for (const std::size_t keys : keys_) {
      const Requests claims(hub.peer(), Operation::claim, Mix::thirds, keys, young_);
      const Requests matches(hub.peer(), Operation::match, Mix::stored, keys, young_);
      const Requests entries(hub.peer(), Operation::store, Mix::fresh, keys, young_);
      for (const std::size_t clients : clients_) {
        std::vector<Load> loads{{.requests = &claims, .clients = clients, .checked = false},
                                {.requests = &matches, .clients = clients, .checked = false},
                                {.requests = &entries, .checked = false, .tidies_up = false}};
        std::vector<double> most(loads.size());
        for (const std::size_t window : windows_) {
          loads[0].window = loads[1].window = window;
          const std::vector<double> done = all_at_once(wire, hub, loads);
          most = std::max(most, done, [](const auto& a, const auto& b) { return a[0] + a[1] < b[0] + b[1]; });
        }
        if (wire == Servers::Wire::tcp) at_half(hub, "all at once: ", loads, most);
      }
    }
  }

  /// What each group got done. Of large messages each waits for a while.
  std::vector<double> all_at_once(Servers::Wire wire, const Server& hub, const std::vector<Load>& loads) {
    const std::vector<Result> results =
        measure(loads[0].requests->batch() < 1000 ? generator_ : long_generator_, hub, loads);
    std::vector<double> done;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      const Requests& requests = *loads[i].requests;
      const Result& result = results[i];
      done.push_back(result.keys_per_second);
      report_.row({name_of(wire), std::to_string(requests.batch()), std::to_string(loads[i].clients),
                   loads[i].is_replied_to() ? std::to_string(loads[i].window) : "-", name_of(requests.operation()),
                   million(result.keys_per_second), latency(result, 0.5), latency(result, 0.99), latency(result, 0.999),
                   loads[i].is_replied_to() ? percent(result.stored_found) : "-", percent(result.busy),
                   percent(result.clients_busy), figure(result.cpu_ns_per_key)});
    }
    return done;
  }

  /// Makes what is asked for as stored the youngest there is, if much was evicted since: a query is no use of an entry,
  /// and soon none of them would be there. The last one goes first: when it is back, all are.
  void renew(const Server& hub) {
    if (evicted_ < catalogue_.entries / 4) return;
    const std::uint64_t last = first_stored + young_.entries - 1;
    sweep(hub.peer(), Operation::remove, {last, 1}, Generator::new_client());
    sweep(hub.peer(), Operation::store, {first_stored, young_.entries}, Generator::new_client());
    wait_until_stored(hub.peer(), last);
    evicted_ = 0;
  }

  /// Asks each group for half of what it got done, if that is anything. These rows are kept for a table of their own.
  void at_half(const Server& hub, const std::string& prefix, std::vector<Load> loads, const std::vector<double>& most) {
    std::vector<Load> asked;
    for (std::size_t i = 0; i < loads.size(); ++i) {
      loads[i].rate = most[i] / 2 / static_cast<double>(loads[i].requests->batch());
      if (most[i] > 0) asked.push_back(loads[i]);
    }
    std::vector<Result> results;
    if (!asked.empty()) results = measure(long_generator_, hub, asked);
    auto next = results.begin();
    for (std::size_t i = 0; i < loads.size(); ++i) {
      const Requests& requests = *loads[i].requests;
      std::vector<std::string> row{prefix + name_of(requests.operation()), std::to_string(requests.batch()),
                                   std::to_string(loads[i].clients), million(most[i] / 2)};
      if (most[i] > 0) {
        const Result& result = *next++;
        row.insert(row.end(), {million(result.keys_per_second), percent(result.keys_per_second / (most[i] / 2)),
                               latency(result, 0.5), latency(result, 0.99), latency(result, 0.999),
                               percent(result.busy), percent(result.clients_busy)});
      } else {
        row.insert(row.end(), 7, "-");
      }
      at_rates_.push_back(row);
    }
  }

  std::vector<Result> measure(Generator& generator, const Server& hub, const std::vector<Load>& loads) {
    const bool evicts = std::any_of(loads.begin(), loads.end(), [](const Load& load) { return !load.checked; });
    if (evicts) renew(hub);
    std::vector<Result> results = generator.run(hub.process, loads);
    for (std::size_t i = 0; i < loads.size(); ++i) {
      if (evicts && loads[i].requests->operation() == Operation::store) evicted_ += results[i].new_keys;
    }
    ++points_;
    measured_ += results.front().to - results.front().from;
    return results;
  }

  /// What a table took, with those points at a rate that were measured along with it.
  void end_table() {
    report_.note(std::to_string(points_) + " points, with those at a rate, in " +
                 figure(seconds(Clock::now() - since_)) + " s, of which they were measured for " +
                 figure(seconds(measured_)) + " s");
    points_ = 0;
    measured_ = {};
    since_ = Clock::now();
  }

  Servers servers_;
  Generator generator_;
  Generator long_generator_;  // a p99 is of more than a few messages then, and of what waits each has its turn
  Report report_;
  Catalogue catalogue_;
  Catalogue young_;  // what is asked for where entries are evicted: the others are older
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint64_t> clients_;
  std::vector<std::uint64_t> windows_;
  std::vector<std::vector<std::string>> at_rates_;
  std::uint64_t evicted_ = 0;  // since they were renewed
  std::size_t points_ = 0;
  std::chrono::nanoseconds measured_{};
  Clock::time_point since_ = Clock::now();
};

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  const bench::Arguments arguments(
      argc, argv,
      {{"programs", ""},
       {"report", "."},
       {"work", "/tmp"},
       {"seconds", "0.25"},
       {"entries", "10000000"},
       {"keys", "1,10,100,1000,10000"},
       {"clients", "1,4,16"},
       {"windows", "1,16,64"}});
  bench::pin_to(bench::client_core);
  bench::Grid(arguments).run();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_grid: %s\n", error.what());
  return 1;
}
