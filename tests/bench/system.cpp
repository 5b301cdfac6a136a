// SPDX-License-Identifier: Apache-2.0
// Servers as whole processes, asked over sockets: the hub beside Redis, memcached and a bare echo. See run.sh.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <sched.h>

#include "arguments.hpp"
#include "cells.hpp"
#include "floor.hpp"
#include "generator.hpp"
#include "judge.hpp"
#include "report.hpp"
#include "reserved_hub.hpp"
#include "servers.hpp"

namespace bench {

namespace {

constexpr std::size_t many_clients = 4;
constexpr std::size_t batch = 100;
/// Large batches: the clients share a core, and the less a message costs them the stronger the flood.
constexpr std::size_t flooded_batch = 1'000;

/// One that is measured: who is asked, for what, and how.
struct Contestant {
  std::string name;
  const Server* server;
  Requests requests;
  std::size_t window = 1;
  std::size_t clients = many_clients;
  std::vector<Result> results = {};
};

/// What is done at a steady rate beside a client that does something else as fast as it can, with what is left to it of
/// the clients' core.
struct Flood {
  std::vector<double> ratios = {};
  std::vector<double> done = {};   // of what was due
  std::vector<double> force = {};  // of what the flooding client does where it is alone

  void add(const Result& quiet, const Result& steady, double due_per_second, double flooding, double alone) {
    ratios.push_back(steady.latency.quantile_us(0.99) / quiet.latency.quantile_us(0.99));
    done.push_back(steady.keys_per_second / due_per_second);
    force.push_back(flooding / alone);
  }
};

class System {
 public:
  explicit System(const Arguments& arguments)
      : servers_(arguments.text("programs"), arguments.text("work")),
        generator_(arguments.time("seconds")),
        flood_generator_(3 * arguments.time("seconds"), arguments.time("seconds")),
        report_(arguments.text("report")),
        runs_(arguments.number("runs")),
        catalogue_{arguments.number("entries"), arguments.number("entries") / 10},
        large_{arguments.number("large"), arguments.number("large") / 10},
        windows_(arguments.numbers("windows")) {}

  void run(const Arguments& arguments) {
    const auto wanted = [&](const char* row) { return arguments.lists("rows", row); };
    const std::array with_peers{"claim", "claim-new", "equal-windows", "match", "register"};
    if (std::any_of(with_peers.begin(), with_peers.end(), wanted)) {
      filled(servers_.hub(lasting()), catalogue_);  // for what it takes of memory: the next one has reserved it
      const Server hub = reserved_hub(servers_, catalogue_);
      const Server redis = filled(servers_.redis(), catalogue_);
      const Server memcached = filled(servers_.memcached(), catalogue_);
      const Server echo = servers_.echo();
      memory_of_servers();
      if (wanted("claim")) claims(hub, redis, memcached, echo, Mix::thirds, 40, 40);
      if (wanted("claim-new")) claims(hub, redis, memcached, echo, Mix::fresh, 30, 20);
      if (wanted("equal-windows")) {
        equal_windows(hub, redis, 1);
        equal_windows(hub, redis, many_clients);
      }
      if (wanted("match")) matches(hub, redis, memcached, echo);
      if (wanted("register")) registrations(hub, redis, memcached);
    }
    if (wanted("floors")) floors();
    if (wanted("flood") || wanted("scheduling")) {
      const Server hub = reserved_hub(servers_, catalogue_);
      if (wanted("scheduling")) scheduling(hub);
      if (wanted("flood")) floods(hub);
    }
  }

 private:
  Server filled(Server server, Catalogue catalogue) {
    std::printf(
        "filling %s with %.1f M entries\n", server.peer().name().c_str(), static_cast<double>(catalogue.entries) / 1e6);
    std::fflush(stdout);
    const double before = memory("VmRSS", std::to_string(server.process.pid()));
    const auto start = Clock::now();
    const auto cpu_before = server.process.cpu_time();
    fill(server.peer(), {catalogue.entries, 0});
    const auto cpu = server.process.cpu_time() - cpu_before;
    fill(server.peer(), {0, catalogue.leases});
    const double bytes = memory("VmRSS", std::to_string(server.process.pid())) - before;
    filled_.push_back({server.peer().name(), bytes / static_cast<double>(catalogue.entries + catalogue.leases),
                       seconds(Clock::now() - start), 1e9 * seconds(cpu) / static_cast<double>(catalogue.entries)});
    return server;
  }

  void memory_of_servers() {
    report_.begin_table("Memory of the servers, " + million(static_cast<double>(catalogue_.entries)) +
                            " entries and a tenth as many leases",
                        {"server", "bytes per key", "seconds to fill", "CPU ns per entry registered meanwhile"});
    for (const Filled& one : filled_) {
      report_.row({one.name, figure(one.bytes_per_entry), figure(one.time), figure(one.cpu_ns_per_entry)});
    }
  }

  Result measure(const Contestant& contestant) {
    return generator_.run(
        contestant.server->process, Load{&contestant.requests, contestant.clients, contestant.window});
  }

  /// All in turn, as often as there are runs, so that what disturbs the machine disturbs all of them.
  void alternate(std::deque<Contestant>& contestants) {
    for (std::size_t run = 0; run < runs_; ++run) {
      for (Contestant& contestant : contestants) contestant.results.push_back(measure(contestant));
    }
  }

  /// Finds the window at which each does most: one, of what is not replied to, for that keeps no window.
  void find_best_windows(std::deque<Contestant>& contestants, const std::string& title) {
    report_.begin_table(title + ": keys/s by window, " + std::to_string(many_clients) + " clients (server busy)", [&] {
      std::vector<std::string> columns{"server"};
      for (const std::size_t window : windows_) columns.push_back(std::to_string(window));
      return columns;
    }());
    for (Contestant& contestant : contestants) {
      double best = 0;
      std::vector<std::string> cells{contestant.name};
      std::ofstream plot = report_.plot("window " + title + " " + contestant.name);
      const bool has_window = contestant.server->peer().replies(contestant.requests.operation());
      for (const std::size_t window : has_window ? windows_ : std::vector<std::uint64_t>{1}) {
        const Result result = better_of_two(contestant, window);
        cells.push_back(million(result.keys_per_second) + " (" + percent(result.busy) + ")");
        plot << window << ' ' << result.keys_per_second << '\n';
        if (result.keys_per_second <= best) continue;
        best = result.keys_per_second;
        contestant.window = window;
      }
      cells.resize(1 + windows_.size(), "-");
      report_.row(cells);
    }
  }

  /// What disturbs a server only ever makes it do less.
  Result better_of_two(const Contestant& contestant, std::size_t window) {
    const Load load{&contestant.requests, many_clients, window};
    Result first = generator_.run(contestant.server->process, load);
    Result second = generator_.run(contestant.server->process, load);
    return first.keys_per_second < second.keys_per_second ? second : first;
  }

  void show(const std::deque<Contestant>& contestants, const std::string& title) {
    report_.begin_table(title, {"server", "clients", "window", "keys/s, median (least .. most)", "p50 us", "p99 us",
                                "p99.9 us", "server busy", "clients busy", "server's CPU ns per key"});
    for (const Contestant& one : contestants) {
      const auto spread = [&](auto field) {
        std::vector<double> values;
        for (const Result& result : one.results) values.push_back(field(result));
        return Spread::of(values);
      };
      const auto quantile = [&](double q) {
        if (one.results.front().latency.count() == 0) return std::string{"-"};
        return figure(spread([q](const Result& result) { return result.latency.quantile_us(q); }).median);
      };
      const Spread rate = spread([](const Result& result) { return result.keys_per_second; });
      report_.row({one.name, std::to_string(one.clients), std::to_string(one.window),
                   million(rate.median) + " (" + million(rate.least) + " .. " + million(rate.most) + ")", quantile(0.5),
                   quantile(0.99), quantile(0.999), percent(spread([](const Result& r) { return r.busy; }).median),
                   percent(spread([](const Result& r) { return r.clients_busy; }).median),
                   figure(spread([](const Result& r) { return r.cpu_ns_per_key; }).median)});
    }
  }

  /// Each at half of what it can do, asked at a fixed rate; and the hub at what that is of the best Redis.
  void at_half_rate(const std::deque<Contestant>& contestants, const Contestant& best_redis, const std::string& title) {
    report_.begin_table(
        title + ", each asked at half of its own best rate, " + std::to_string(many_clients) + " clients",
        {"server", "keys/s", "p50 us", "p99 us", "p99.9 us"});
    const auto row = [&](const std::string& name, const Contestant& asked, const Contestant& of_whose_rate) {
      const double rate = median_rate(of_whose_rate) / static_cast<double>(batch) / 2;
      const Result result = generator_.run(asked.server->process, Load{&asked.requests, many_clients, 1, rate});
      report_.row(
          {name, million(result.keys_per_second), latency(result, 0.5), latency(result, 0.99), latency(result, 0.999)});
    };
    for (const Contestant& one : contestants) row(one.name, one, one);
    row("hub, at the rate of " + best_redis.name, contestants.front(), best_redis);
  }

  static double median_rate(const Contestant& contestant) {
    std::vector<double> rates;
    for (const Result& result : contestant.results) rates.push_back(result.keys_per_second);
    return Spread::of(rates).median;
  }

  void judge(const std::string& name, double target, const Contestant& ours, const Contestant& theirs) {
    Judge judge;
    const Spread ratio = judge.ratio(ours.results, theirs.results);
    report_.judge(name + " (" + judge.how() + ")", at_least(target, " x"), ratio);
  }

  static const Contestant& better(const Contestant& a, const Contestant& b) {
    return median_rate(a) >= median_rate(b) ? a : b;
  }

  void claims(const Server& hub, const Server& redis, const Server& memcached, const Server& echo, Mix mix,
              double against_redis, double against_memcached) {
    const auto requests = [&](const Peer& peer) { return Requests(peer, Operation::claim, mix, batch, catalogue_); };
    std::deque<Contestant> all;
    all.push_back({"hub", &hub, requests(hub.peer())});
    all.push_back({"Redis, SET NX", &redis, requests(redis.peer(0))});
    all.push_back({"Redis, Lua", &redis, requests(redis.peer(1))});
    all.push_back({"memcached", &memcached, requests(memcached.peer())});
    all.push_back({"libzmq echo", &echo, requests(echo.peer())});
    const std::string title = std::string("claim, ") + name_of(mix);
    find_best_windows(all, title);
    alternate(all);
    show(all, title + ", each at its best window");
    at_half_rate(all, better(all[1], all[2]), title);
    const std::string row = title + ", 100 keys a batch, " + entries_text(catalogue_) + ", each at its best window: ";
    judge(row + "against the best Redis", against_redis, all[0], better(all[1], all[2]));
    judge(row + "against memcached", against_memcached, all[0], all[3]);
  }

  void equal_windows(const Server& hub, const Server& redis, std::size_t clients) {
    std::deque<Contestant> all;
    const auto add = [&](const char* name, const Server& server, const Peer& peer) {
      all.push_back({name, &server, Requests(peer, Operation::claim, Mix::thirds, batch, catalogue_), 16, clients});
    };
    add("hub", hub, hub.peer());
    add("Redis, SET NX", redis, redis.peer(0));
    add("Redis, Lua", redis, redis.peer(1));
    alternate(all);
    const std::string title =
        "claim, thirds, " + std::to_string(clients) + (clients == 1 ? " client" : " clients") + ", window 16";
    show(all, title);
    judge(title + ": against the best Redis", 20, all[0], better(all[1], all[2]));
  }

  void matches(const Server& hub, const Server& redis, const Server& memcached, const Server& echo) {
    std::deque<Contestant> all;
    const auto add = [&](const char* name, const Server& server) {
      all.push_back({name, &server, Requests(server.peer(), Operation::match, Mix::stored, batch, catalogue_)});
    };
    add("hub", hub);
    add("Redis, MGET", redis);
    add("memcached", memcached);
    add("libzmq echo", echo);
    find_best_windows(all, "match, all stored");
    alternate(all);
    show(all, "match, all stored, each at its best window");
    judge("match of stored keys, each at its best window: against Redis MGET", 25, all[0], all[1]);
    judge("the libzmq echo of the same bytes against Redis MGET, which bounds it", 25, all[3], all[1]);
  }

  void registrations(const Server& hub, const Server& redis, const Server& memcached) {
    std::deque<Contestant> all;
    const auto add = [&](const char* name, const Server& server) {
      all.push_back({name, &server, Requests(server.peer(), Operation::store, Mix::fresh, batch, catalogue_)});
    };
    add("hub, PUSH", hub);
    add("Redis, SET", redis);
    add("memcached", memcached);
    find_best_windows(all, "registration, all new");
    alternate(all);
    show(all, "registration, all new, 100 entries a batch, each at its best window");
    judge("registration (PUSH, 100 entries a batch), each at its best window: against Redis pipelined SET", 30, all[0],
          all[1]);
    growing();
  }

  /// The index of those in the other rows has grown before. These grow while they are filled, and go.
  void growing() {
    std::vector<double> ratios;
    for (std::size_t run = 0; run < runs_; ++run) {
      filled(servers_.hub(lasting()), {catalogue_.entries, 0});
      filled(servers_.redis(), {catalogue_.entries, 0});
      ratios.push_back(filled_.back().cpu_ns_per_entry / filled_[filled_.size() - 2].cpu_ns_per_entry);
    }
    report_.judge("the same while growing from nothing to " + entries_text(catalogue_) +
                      ", 1,000 entries a batch, one client (by CPU time)",
                  at_least(30, " x"), Spread::of(ratios));
  }

  /// What it brings that the hub's context has libzmq's thread scheduled by SCHED_BATCH.
  void scheduling(const Server& hub) {
    report_.begin_table("Policy of libzmq's thread in the hub, claim, all stored, " + std::to_string(many_clients) +
                            " clients: M keys/s, median (least .. most)",
                        {"window", "SCHED_BATCH", "SCHED_OTHER", "ratio", "CPU ns per key", "with SCHED_OTHER"});
    const Requests requests(hub.peer(), Operation::claim, Mix::stored, batch, catalogue_);
    for (const std::size_t window : {std::size_t{1}, std::size_t{16}, std::size_t{256}}) {
      std::array<std::vector<double>, 5> values;
      for (std::size_t run = 0; run < runs_; ++run) {
        std::array<Result, 2> results;
        for (const int policy : {SCHED_OTHER, SCHED_BATCH}) {
          hub.process.schedule("ZMQbg/IO/0", policy);
          results[policy == SCHED_BATCH ? 0 : 1] = generator_.run(hub.process, Load{&requests, many_clients, window});
        }
        const auto& [as_it_is, without] = results;
        values[0].push_back(as_it_is.keys_per_second / 1e6);
        values[1].push_back(without.keys_per_second / 1e6);
        values[2].push_back(as_it_is.keys_per_second / without.keys_per_second);
        values[3].push_back(as_it_is.cpu_ns_per_key);
        values[4].push_back(without.cpu_ns_per_key);
      }
      std::vector<std::string> cells{std::to_string(window)};
      for (const std::vector<double>& of_runs : values) cells.push_back(figure(Spread::of(of_runs)));
      report_.row(cells);
    }
  }

  /// How near the hub comes to doing nothing: a bare echo of the same bytes, and one prefetched look-up per key.
  void floors() {
    const Catalogue small{std::min<std::uint64_t>(1'000'000, large_.entries), 100'000};
    const Server echo = servers_.echo();
    const std::array<Catalogue, 2> sizes{small, large_};
    std::deque<Server> hubs;
    std::deque<FloorProcess> tables;
    std::deque<Contestant> all;
    for (const Catalogue& size : sizes) {
      hubs.push_back(reserved_hub(servers_, size));
      tables.emplace_back(size);
      all.push_back({"hub, " + entries_text(size), &hubs.back(),
                     Requests(hubs.back().peer(), Operation::claim, Mix::thirds, batch, size)});
    }
    find_best_windows(all, "beside the floors");
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      all.push_back(
          {"libzmq echo", &echo, Requests(echo.peer(), Operation::claim, Mix::thirds, batch, sizes[i]), all[i].window});
    }
    std::array<std::vector<double>, 2> lookups;
    for (std::size_t run = 0; run < runs_; ++run) {
      for (Contestant& contestant : all) contestant.results.push_back(measure(contestant));
      for (std::size_t i = 0; i < sizes.size(); ++i) lookups[i].push_back(tables[i].least_lookup_ns());
    }
    show(all, "claim, thirds, beside the floors");
    report_.begin_table("The floor table, ns per look-up in batches of 100", {"entries", "median (least .. most)"});
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      report_.row({entries_text(sizes[i]), figure(Spread::of(lookups[i]))});
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      Judge judge;
      std::vector<double> ratios;
      for (std::size_t run = 0; run < runs_; ++run) {
        // The echo with a look-up per key added to whatever it is measured by.
        Result floor = all[2 + i].results[run];
        floor.cpu_ns_per_key += lookups[i][run];
        floor.keys_per_second = 1e9 / (1e9 / floor.keys_per_second + lookups[i][run]);
        ratios.push_back(judge.ratio(all[i].results[run], floor));
      }
      report_.judge(
          "claim, thirds, " + entries_text(sizes[i]) + ": against the sum of the two floors (" + judge.how() + ")",
          at_least(i == 0 ? 0.75 : 0.6), Spread::of(ratios));
    }
    judge(entries_text(large_) + " against " + entries_text(small) + ", claim throughput", 0.7, all[1], all[0]);
  }

  /// Half of the batches a second that these clients get done, alone and without a rate.
  double half_of_most(const Server& hub, const Load& load) {
    return generator_.run(hub.process, load).keys_per_second / static_cast<double>(load.requests->batch()) / 2;
  }

  /// Queries beside a client that registers as fast as it can push, and registrations beside one that asks as fast as
  /// it can.
  void floods(const Server& hub) {
    const Requests queries(hub.peer(), Operation::claim, Mix::thirds, flooded_batch, catalogue_);
    const Requests entries(hub.peer(), Operation::store, Mix::fresh, flooded_batch, catalogue_);
    beside_flood(
        hub, {"queries", "answered", Load{&queries, 1, 16}}, {"registrations", "stored", Load{&entries, 1, 1}});
    beside_flood(
        hub, {"registrations", "stored", Load{&entries, 1, 1}}, {"queries", "answered", Load{&queries, 1, 256}});
  }

  struct Kind {
    std::string name;
    std::string done;
    Load load;
  };

  /// At half of what one client gets done, with and without the flood. The latency of a registration is until it is
  /// found stored.
  void beside_flood(const Server& hub, Kind steady, Kind flooding) {
    const double alone = generator_.run(hub.process, flooding.load).keys_per_second;
    steady.load.rate = half_of_most(hub, steady.load);
    flooding.load.yields = true;
    const double due = *steady.load.rate * flooded_batch;
    const std::string name = steady.name + " at half of what one client gets " + steady.done;
    const std::string flood_name = "a flood of " + flooding.name;
    report_.begin_table(name + " (" + million(due) + " keys/s); who floods has " + million(alone) + " keys/s " +
                            flooding.done + " alone",
                        {"beside", steady.done + ", keys/s", "p50 us", "p99 us", "p99.9 us",
                         "of the flood " + flooding.done + ", keys/s", "hub busy", "clients busy"});
    Flood flood;
    for (std::size_t run = 0; run < runs_; ++run) {
      const Result quiet = flood_generator_.run(hub.process, steady.load);
      const std::vector<Result> both = flood_generator_.run(hub.process, {steady.load, flooding.load});
      const auto show = [&](const std::string& beside, const Result& result, const std::string& done) {
        report_.row({beside, million(result.keys_per_second), latency(result, 0.5), latency(result, 0.99),
                     latency(result, 0.999), done, percent(result.busy), percent(result.clients_busy)});
      };
      show("nothing", quiet, "-");
      show(flood_name, both[0], million(both[1].keys_per_second));
      flood.add(quiet, both[0], due, both[1].keys_per_second, alone);
    }
    report_.judge(name + ", beside " + flood_name + ", at " + percent(Spread::of(flood.force).median) +
                      " of what it does alone: p99 against that without",
                  at_most(5, " x"), Spread::of(flood.ratios));
    report_.judge("the same, of what was due so much was done meanwhile", at_least(0.99, ""), Spread::of(flood.done));
  }

  struct Filled {
    std::string name;
    double bytes_per_entry;
    double time;
    double cpu_ns_per_entry;
  };

  Servers servers_;
  Generator generator_;
  Generator flood_generator_;  // a p99 is of more than a few batches then
  Report report_;
  std::size_t runs_;
  Catalogue catalogue_;
  Catalogue large_;
  std::vector<std::uint64_t> windows_;
  std::vector<Filled> filled_;
};

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  const bench::Arguments arguments(
      argc, argv,
      {{"programs", ""},
       {"report", "."},
       {"work", "/tmp"},
       {"runs", "5"},
       {"seconds", "1"},
       {"entries", "10000000"},
       {"large", "50000000"},
       {"rows", "all"},
       {"windows", "1,4,16,64,256"}});
  bench::pin_to(bench::client_core);
  bench::System(arguments).run(arguments);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_system: %s\n", error.what());
  return 1;
}
