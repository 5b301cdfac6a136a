// SPDX-License-Identifier: Apache-2.0
// The parts of a hub by themselves, in one process: nanoseconds of processor time per key, by size of the catalogue.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include <registry/detail/huge_pages.hpp>
#include <registry/detail/prefetch.hpp>

#include "arguments.hpp"
#include "floor.hpp"
#include "phases.hpp"
#include "process.hpp"
#include "report.hpp"

namespace bench {

namespace {

constexpr std::size_t batches = asked_keys / Phases::batch;

/// By phase, in the order in which they come.
class Figures {
 public:
  std::vector<double>& operator[](const std::string& name) {
    if (values_.count(name) == 0) order_.push_back(name);
    return values_[name];
  }
  const std::vector<std::string>& names() const noexcept { return order_; }

 private:
  std::map<std::string, std::vector<double>> values_;
  std::vector<std::string> order_;
};

Figures measure(std::uint64_t entries, std::uint64_t runs, FloorProcess& floor) {
  Figures figures;
  const auto each = [&](const Phase& phase) {
    for (std::uint64_t run = 0; run < runs; ++run) {
      const auto start = thread_cpu_time();
      phase.work();
      figures[phase.name].push_back(1e9 * seconds(thread_cpu_time() - start) / static_cast<double>(phase.keys));
      phase.undo();
      // In turn with what it is compared with.
      if (phase.name == "decide: claim, thirds")
        figures["floor: look up, prefetched"].push_back(floor.least_lookup_ns());
    }
  };
  const Phases phases(entries, batches);
  phases.codec(each);
  phases.table(each);
  phases.leases(each);
  phases.hub(each);
  phases.eviction(each);
  return figures;
}

/// What limits every look-up in a table that no cache holds: nanoseconds for a line anywhere in 256 MiB, fetched so
/// many ahead, at the best number of them, with a hash for each.
double random_line_ns() {
  struct alignas(64) Line {
    std::uint64_t number = 1;
  };
  constexpr std::uint64_t count = std::uint64_t{256} << 20U >> 6U;
  std::vector<Line, registry::detail::HugePageAllocator<Line>> lines(count);
  double best = std::numeric_limits<double>::infinity();
  for (const std::uint64_t ahead : {8U, 12U, 16U, 24U, 32U, 64U}) {
    const auto line = [&](std::uint64_t i) -> const Line& { return lines[key_of(i) % count]; };
    constexpr std::uint64_t reads = 4'000'000;
    std::uint64_t sum = 0;
    const auto start = thread_cpu_time();
    for (std::uint64_t i = 0; i < reads; ++i) {
      registry::detail::prefetch_line(&line(i + ahead));
      sum += line(i).number;
    }
    const double ns = 1e9 * seconds(thread_cpu_time() - start) / static_cast<double>(reads);
    if (sum != reads) throw std::runtime_error("a line was read wrongly");
    best = std::min(best, ns);
  }
  return best;
}

/// One phase of the hub, for profile.sh: lines as bench_load has them.
void only(const std::string& name, std::uint64_t entries, std::uint64_t runs, std::chrono::nanoseconds time) {
  std::printf("bench's process %d\nCPU of its thread, monotonic\n", getpid());
  bool is_known = false;
  Phases(entries, batches).hub([&](const Phase& phase) {
    if (slug(phase.name) != name) return;
    is_known = true;
    const auto end = Clock::now() + static_cast<std::int64_t>(runs) * time;
    while (Clock::now() < end) {
      const auto from = Clock::now();
      const auto cpu = thread_cpu_time();
      phase.work();
      const double ns = 1e9 * seconds(thread_cpu_time() - cpu) / static_cast<double>(phase.keys);
      const auto to = Clock::now();
      std::printf("%zu keys, CPU %.1f ns %.6f %.6f\n", phase.keys, ns, seconds(from.time_since_epoch()),
                  seconds(to.time_since_epoch()));
      phase.undo();
    }
  });
  std::fflush(stdout);
  if (!is_known) throw std::runtime_error("--only: no phase of the hub is called \"" + name + "\"");
}

void run(const Arguments& arguments) {
  if (const std::string& name = arguments.text("only"); !name.empty()) {
    return only(name, arguments.number("judged"), arguments.number("runs"), arguments.time("seconds"));
  }
  Report report(arguments.text("report"));
  const std::vector<std::uint64_t> sizes = arguments.numbers("sizes");
  const std::uint64_t judged = arguments.number("judged");

  std::vector<Figures> all;
  std::vector<std::string> columns{"ns per key"};
  for (const std::uint64_t size : sizes) {
    columns.push_back(figure(static_cast<double>(size) / 1e6) + " M");
    FloorProcess floor(Phases(size, batches).catalogue());
    all.push_back(measure(size, arguments.number("runs"), floor));
    if (size != judged) continue;
    std::vector<double> ratios;
    const auto& decide = all.back()["decide: claim, thirds"];
    const auto& lookup = all.back()["floor: look up, prefetched"];
    for (std::size_t i = 0; i < decide.size(); ++i) ratios.push_back(decide[i] / lookup[i]);
    report.judge("decide (decode to encode, no socket), thirds, " + columns.back() +
                     " entries: ns per key against one "
                     "prefetched look-up (" +
                     figure(Spread::of(lookup).median) + " ns here)",
                 at_most(25.0 / 12.0, " x"), Spread::of(ratios));
  }
  std::vector<double> line_ns;
  for (std::uint64_t run = 0; run < arguments.number("runs"); ++run) line_ns.push_back(random_line_ns());
  report.note("A random line of 256 MiB, fetched ahead: " + figure(Spread::of(line_ns)) + " ns");
  report.begin_table("The parts of a hub, in batches of 100 keys; columns: entries", columns);
  for (const std::string& name : all.front().names()) {
    std::vector<std::string> cells{name};
    std::ofstream plot = report.plot("micro " + name);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const std::vector<double>& values = all[i][name];
      cells.push_back(values.empty() ? "" : figure(Spread::of(values).median));
      if (!values.empty()) plot << sizes[i] << ' ' << Spread::of(values).median << '\n';
    }
    report.row(cells);
  }
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  bench::pin_to(bench::server_core);
  bench::run(bench::Arguments(
      argc, argv,
      {{"report", "."},
       {"runs", "5"},
       {"sizes", "10000,100000,1000000,10000000,50000000"},
       {"judged", "10000000"},
       {"only", ""},
       {"seconds", "1"}}));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_micro: %s\n", error.what());
  return 1;
}
