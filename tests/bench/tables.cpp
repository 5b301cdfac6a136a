// SPDX-License-Identifier: Apache-2.0
// Why the catalogue has a table of its own: ours beside boost::unordered_flat_map and absl::flat_hash_map, which can
// prefetch, in huge pages as ours is. See run.sh.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <boost/unordered/unordered_flat_map.hpp>
#include <registry/detail/huge_pages.hpp>
#include <registry/detail/lease.hpp>
#include <registry/detail/look_ahead.hpp>
#include <registry/key.hpp>
#include <registry/storage.hpp>

#include "arguments.hpp"
#include "floor.hpp"
#include "in_process.hpp"
#include "process.hpp"
#include "report.hpp"

namespace bench {

namespace {

/// What one table did, in batches of a hundred.
struct Figures {
  double lookup_ns = 0;         // a key of a third each new, stored and leased
  double insert_ns = 0;         // while it grows from nothing, on average
  double longest_batch_ms = 0;  // the longest batch of these
  double bytes_per_entry = 0;
  double peak = 0;  // as a multiple of that, while growing
};

class Ours {
 public:
  void store(std::uint64_t key, std::uint64_t value) { storage_.insert({key, value, {}}); }
  void lease(std::uint64_t key) { table().add_lease(order_, key, table().hash(key), {}); }

  std::size_t known(std::span<const std::uint64_t> keys) {
    using Table = registry::HashMapStorage<std::uint64_t, std::uint64_t>::Table;
    hashes_.resize(keys.size());
    std::ranges::transform(keys, hashes_.begin(), [&](std::uint64_t key) { return table().hash(key); });
    std::size_t known = 0;
    registry::detail::look_ahead(table(), hashes_, [&](std::size_t i, Table::Number hint) {
      known += table().find(keys[i], hashes_[i], hint).kind != Table::Kind::absent ? 1U : 0U;
    });
    return known;
  }

 private:
  registry::HashMapStorage<std::uint64_t, std::uint64_t>::Table& table() { return storage_.table(); }

  registry::HashMapStorage<std::uint64_t, std::uint64_t> storage_{fixed_seed};
  registry::HashMapStorage<std::uint64_t, std::uint64_t>::Table::Leases::List order_;
  std::vector<std::uint64_t> hashes_;
};

/// As one would use a map of somebody else's: one for stored and leased keys, whose value says which. A bit of it does
/// here, as if none of the user's values had it. Two maps, one of leases, take half as long again to look up.
template <template <class...> class Map>
class InOneMap {
 public:
  void store(std::uint64_t key, std::uint64_t value) { known_.emplace(key, value); }
  void lease(std::uint64_t key) {
    known_.emplace(key, lease_bit | leases_.size());
    leases_.emplace_back();
  }

  std::size_t known(std::span<const std::uint64_t> keys) {
    std::size_t known = 0;
    if constexpr (requires { known_.prefetch(keys[0]); }) {
      // Of a hundred at once, and of 8 to 48 ahead, 8 and 12 are the fastest.
      constexpr std::size_t ahead = 12;
      for (std::size_t i = 0; i < std::min(ahead, keys.size()); ++i) known_.prefetch(keys[i]);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (i + ahead < keys.size()) known_.prefetch(keys[i + ahead]);
        known += known_.contains(keys[i]) ? 1U : 0U;
      }
    } else {
      for (const std::uint64_t key : keys) known += known_.contains(key) ? 1U : 0U;
    }
    return known;
  }

 private:
  static constexpr std::uint64_t lease_bit = std::uint64_t{1} << 63U;
  using Hash = registry::KeyHash<std::uint64_t>;
  using Memory = registry::detail::HugePageAllocator<std::pair<const std::uint64_t, std::uint64_t>>;

  Map<std::uint64_t, std::uint64_t, Hash, std::equal_to<std::uint64_t>, Memory> known_{0, Hash{fixed_seed}};
  std::vector<registry::detail::Lease> leases_;
};
using Boost = InOneMap<boost::unordered_flat_map>;
using Abseil = InOneMap<absl::flat_hash_map>;

/// In a process of its own, whose memory is otherwise little.
template <class Table>
Figures measure(Catalogue catalogue) {
  const Shared<Figures> shared;
  const int status = Process::fork(server_core, [&] {
                       constexpr std::size_t batch = 100;
                       Figures& figures = shared[0];
                       const std::vector<std::uint64_t> keys = thirds_of(catalogue, asked_keys);
                       Table table;
                       const double before = memory("VmRSS");
                       std::chrono::nanoseconds longest{};
                       const auto start = thread_cpu_time();
                       for (std::uint64_t i = 0; i < catalogue.entries;) {
                         const auto from = thread_cpu_time();
                         const std::uint64_t end = std::min<std::uint64_t>(i + batch, catalogue.entries);
                         for (; i < end; ++i) table.store(key_of(first_stored + i), i);
                         longest = std::max(longest, thread_cpu_time() - from);
                       }
                       const auto entries = static_cast<double>(catalogue.entries);
                       figures.insert_ns = 1e9 * seconds(thread_cpu_time() - start) / entries;
                       figures.longest_batch_ms = 1e3 * seconds(longest);
                       figures.bytes_per_entry = (memory("VmRSS") - before) / entries;
                       figures.peak = (memory("VmHWM") - before) / (figures.bytes_per_entry * entries);
                       for (std::uint64_t i = 0; i < catalogue.leases; ++i) table.lease(key_of(first_leased + i));
                       std::size_t known = 0;
                       const auto asked = thread_cpu_time();
                       for (std::size_t at = 0; at < keys.size(); at += batch) {
                         known += table.known(std::span(keys).subspan(at, batch));
                       }
                       figures.lookup_ns = 1e9 * seconds(thread_cpu_time() - asked) / static_cast<double>(keys.size());
                       return known > keys.size() / 2 ? 0 : 1;
                     }).wait();
  if (status != 0) throw std::runtime_error("a table failed");
  return shared[0];
}

void run(const Arguments& arguments) {
  Report report(arguments.text("report"));
  const Catalogue catalogue{arguments.number("entries"), arguments.number("entries") / 10};
  std::vector<Figures> ours, boost, abseil;
  for (std::uint64_t run = 0; run < arguments.number("runs"); ++run) {
    ours.push_back(measure<Ours>(catalogue));
    boost.push_back(measure<Boost>(catalogue));
    abseil.push_back(measure<Abseil>(catalogue));
  }
  report.begin_table(
      "Our table, boost::unordered_flat_map and absl::flat_hash_map, " +
          figure(static_cast<double>(catalogue.entries) / 1e6) + " M entries and a tenth as many leases",
      {"figure: median (least .. most)", "ours", "Boost", "Abseil", "Boost against ours", "Abseil against ours"});
  const auto cell = [](const std::vector<double>& values, const char* unit = "") {
    const Spread spread = Spread::of(values);
    return figure(spread.median) + unit + " (" + figure(spread.least) + " .. " + figure(spread.most) + ")";
  };
  const auto show = [&](const char* name, double Figures::* field) {
    std::vector<std::string> cells{name};
    for (const auto* runs : {&ours, &boost, &abseil}) {
      std::vector<double> values;
      for (const Figures& figures : *runs) values.push_back(figures.*field);
      cells.push_back(cell(values));
    }
    for (const auto* runs : {&boost, &abseil}) {
      std::vector<double> ratios;
      for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back((*runs)[i].*field / (ours[i].*field));
      cells.push_back(cell(ratios, " x"));
    }
    report.row(cells);
  };
  show("look up (stored, leased or neither), thirds, ns per key", &Figures::lookup_ns);
  show("insert while growing from nothing, ns", &Figures::insert_ns);
  show("longest hundred inserts while growing, ms", &Figures::longest_batch_ms);
  show("bytes per entry", &Figures::bytes_per_entry);
  show("peak while growing, as a multiple of the final size", &Figures::peak);
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  bench::run(bench::Arguments(argc, argv, {{"report", "."}, {"runs", "5"}, {"entries", "10000000"}}));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_tables: %s\n", error.what());
  return 1;
}
