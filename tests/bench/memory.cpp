// SPDX-License-Identifier: Apache-2.0
// How much memory an entry takes, while a catalogue grows from nothing: each block is claimed and then registered, as
// workers do it. What the system has given to the process is counted, at every size, and the most that it ever had.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <registry/eviction.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/storage.hpp>

#include "arguments.hpp"
#include "in_process.hpp"
#include "process.hpp"
#include "report.hpp"

namespace bench {

namespace {

constexpr std::uint64_t step = 250'000;
constexpr std::size_t most_steps = 400;

/// What a growing process took, after every step.
struct Growth {
  std::size_t steps = 0;
  double bytes[most_steps] = {};
  double peak[most_steps] = {};

  double at(std::uint64_t entries) const { return bytes[entries / step - 1] / static_cast<double>(entries); }

  /// Bytes per entry where they are most, from a million entries on.
  double worst() const {
    double worst = 0;
    for (std::size_t i = first(); i < steps; ++i) worst = std::max(worst, at((i + 1) * step));
    return worst;
  }

  /// The most that was needed to come to a size, beside what that size then takes.
  double worst_peak() const {
    double worst = 0;
    for (std::size_t i = first(); i < steps; ++i) worst = std::max(worst, peak[i] / bytes[i]);
    return worst;
  }

 private:
  std::size_t first() const { return std::min<std::size_t>(1'000'000 / step, steps) - 1; }
};

/// In a process of its own, whose memory is otherwise nothing. Of what has been claimed all is registered, so that no
/// lease is left; besides, so many other keys are leased at every step.
template <class MakePolicy>
Growth grow(std::uint64_t most, MakePolicy make_policy, std::uint64_t leases_a_step) {
  const Shared<Growth> growth;
  const int status = Process::fork(server_core, [&] {
                       InProcessHub hub(make_policy());
                       hub.store({first_new, 1000});
                       hub.remove({first_new, 1000});
                       std::ofstream("/proc/self/clear_refs") << 5;  // forgets the peak
                       const double before = memory("VmRSS");
                       for (std::size_t i = 0; i < most / step; ++i) {
                         hub.store({first_stored + i * step, step});
                         hub.lease({first_leased + i * leases_a_step, leases_a_step}, 1);
                         growth->bytes[i] = memory("VmRSS") - before;
                         growth->peak[i] = memory("VmHWM") - before;
                       }
                       growth->steps = most / step;
                       return 0;
                     }).wait();
  if (status != 0) throw std::runtime_error("a process that was to grow failed");
  return growth[0];
}

void run(const Arguments& arguments) {
  using Plain = registry::HashMapStorage<std::uint64_t, std::uint64_t>;
  using Chained = registry::HashMapStorage<std::uint64_t, std::uint64_t, registry::PositionMetadata>;
  const std::uint64_t most = arguments.number("most") / step * step;
  if (most < step || most / step > most_steps) throw std::runtime_error("--most is too small or too large");
  const std::uint64_t middle = std::min<std::uint64_t>(10'000'000, most);
  struct Variant {
    std::string name;
    Growth grown, leased = {};
  };
  // Without leases, and with a tenth as many other keys leased.
  const auto variant = [&](const char* name, auto make_policy) {
    return Variant{name, grow(most, make_policy, 0), grow(most, make_policy, step / 10)};
  };
  const Variant none = variant("none", [] { return registry::NoEviction(Plain{fixed_seed}); });
  const Variant recency = variant("recency", [&] { return registry::RecencyEviction(Plain{fixed_seed}, most); });
  const Variant tail = variant("tail", [&] { return registry::TailEviction(Chained{fixed_seed}, most); });

  Report report(arguments.text("report"));
  const std::string size = figure(static_cast<double>(middle) / 1e6) + " M entries";
  const std::string sizes = "1 to " + figure(static_cast<double>(most) / 1e6) + " M entries";
  report.begin_table(
      "Memory, 8-byte keys and values (tail: with PositionMetadata): bytes per entry, and the peak as a "
      "multiple of the final size",
      {"eviction", "at " + size, "most, at " + sizes, "peak, at most", "a tenth as many leased, at " + size, "most",
       "peak, at most"});
  std::ofstream recorded(arguments.text("report") + "/recorded-memory.txt");
  for (const Variant* one : {&none, &recency, &tail}) {
    const auto& [name, grown, leased] = *one;
    std::vector<std::string> cells{name};
    for (const Growth* growth : {&grown, &leased}) {
      for (const double value : {growth->at(middle), growth->worst(), growth->worst_peak()}) {
        cells.push_back(figure(value));
      }
    }
    report.row(cells);
    std::ofstream plot = report.plot("memory " + name);
    for (std::size_t i = 0; i < grown.steps; ++i) plot << (i + 1) * step << ' ' << grown.at((i + 1) * step) << '\n';
    recorded << "bytes-per-entry-" << name << ' ' << grown.at(most) << '\n'
             << "bytes-per-entry-" << name << "-and-leases " << leased.at(middle) << '\n';
  }
  const auto judge = [&](const std::string& name, const Target& target, double value) {
    report.judge(name, target, {value, value, value});
  };
  const auto judge_both = [&](const std::string& name, const Target& target, const Variant& one) {
    judge("memory, " + name + ", no lease left, " + size, target, one.grown.at(middle));
    judge("the same with a tenth as many other keys leased", target, one.leased.at(middle));
  };
  constexpr std::size_t metadata = sizeof(registry::PositionMetadata);
  judge_both("no metadata, eviction off", at_most(28, " B"), none);
  judge("no metadata, eviction off, no lease left, at every size, " + sizes, at_most(36, " B"), none.grown.worst());
  judge("no metadata, eviction off, at every size, with a tenth as many other keys leased", at_most(36, " B"),
        none.leased.worst());
  judge("no metadata, eviction off, peak while growing against the final size, no lease left", at_most(1.25, " x"),
        none.grown.worst_peak());
  judge("no metadata, eviction off, peak while growing with a tenth as many other keys leased", at_most(1.25, " x"),
        none.leased.worst_peak());
  judge_both("recency eviction", at_most(56, " B"), recency);
  judge_both("tail eviction, PositionMetadata (" + std::to_string(metadata) + " B in memory)",
             at_most(56.0 + metadata, " B"), tail);
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  bench::run(bench::Arguments(argc, argv, {{"report", "."}, {"most", "20000000"}}));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_memory: %s\n", error.what());
  return 1;
}
