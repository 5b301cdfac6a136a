// SPDX-License-Identifier: Apache-2.0
// One point by hand: load --peer hub --mix thirds --batch 100 --window 64 --clients 4 --entries 1000000. With --rate,
// of batches a second, or `half` of what is possible, a fixed rate; with --beside one client more, which does that
// operation as fast as it can. --policy other: libzmq's thread in the hub is scheduled as any other. --checked no:
// where entries are evicted.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <sched.h>

#include "arguments.hpp"
#include "generator.hpp"
#include "reserved_hub.hpp"
#include "servers.hpp"

int main(int argc, char** argv) try {
  using namespace bench;
  const Arguments arguments(
      argc, argv,
      {{"peer", "hub"},
       {"operation", "claim"},
       {"mix", "thirds"},
       {"batch", "100"},
       {"window", "64"},
       {"clients", "4"},
       {"rate", ""},
       {"beside", ""},
       {"entries", "1000000"},
       {"leases", "100000"},
       {"seconds", "1"},
       {"runs", "3"},
       {"eviction", "none"},
       {"capacity", "2000000000"},
       {"checked", "yes"},
       {"wire", "tcp"},
       {"policy", "batch"}});
  const std::string programs = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../..";
  const Servers servers(programs, std::filesystem::temp_directory_path());
  const std::string& name = arguments.text("peer");
  const Catalogue catalogue{arguments.number("entries"), arguments.number("leases")};
  const auto wire = arguments.text("wire") == "ipc" ? Servers::Wire::ipc : Servers::Wire::tcp;
  Server server =
      name == "echo"        ? servers.echo()
      : name == "memcached" ? servers.memcached()
      : name == "hub"
          ? reserved_hub(servers, catalogue, wire, lasting(arguments.text("eviction"), arguments.number("capacity")))
          : servers.redis();
  if (arguments.text("policy") == "other") server.process.schedule("ZMQbg/IO/0", SCHED_OTHER);
  const Peer& peer = server.peer(name == "redis-lua" ? 1 : 0);
  if (peer.decides() && name != "hub") fill(peer, catalogue);
  const auto operation_of = [](const std::string& text) {
    return text == "match" ? Operation::match : text == "store" ? Operation::store : Operation::claim;
  };
  const std::string& mix = arguments.text("mix");
  const Requests requests(
      peer, operation_of(arguments.text("operation")),
      mix == "stored"   ? Mix::stored
      : mix == "fresh"  ? Mix::fresh
      : mix == "leased" ? Mix::leased
                        : Mix::thirds,
      arguments.number("batch"), catalogue);
  const Operation beside = operation_of(arguments.text("beside"));
  const Requests flood(
      peer, beside, beside == Operation::store ? Mix::fresh : Mix::stored, arguments.number("batch"), catalogue);
  Generator generator(arguments.time("seconds"));
  std::vector<Load> loads{{&requests, arguments.number("clients"), arguments.number("window"), std::nullopt,
                           arguments.text("checked") == "yes"}};
  const std::string& rate = arguments.text("rate");
  if (rate == "half") {
    const Result most = generator.run(server.process, loads.front());
    loads.front().rate = most.keys_per_second / static_cast<double>(requests.batch()) / 2;
  } else if (!rate.empty()) {
    loads.front().rate = std::stod(rate);
  }
  if (!arguments.text("beside").empty())
    loads.push_back({&flood, 1, peer.replies(beside) ? 256U : 1U, std::nullopt, true, true});
  std::printf(
      "server's process %d\n  M keys/s   busy  clients  cpu ns/key     p50 us     p99 us   p99.9 us       from         "
      "to (monotonic)\n",
      server.process.pid());
  for (std::uint64_t run = 0; run < arguments.number("runs"); ++run) {
    for (const Result& result : generator.run(server.process, loads)) {
      std::printf("%10.3f %5.0f%% %7.0f%% %11.1f %10.1f %10.1f %10.1f %10.3f %10.3f\n", result.keys_per_second / 1e6,
                  100 * result.busy, 100 * result.clients_busy, result.cpu_ns_per_key, result.latency.quantile_us(0.5),
                  result.latency.quantile_us(0.99), result.latency.quantile_us(0.999),
                  seconds(result.from.time_since_epoch()), seconds(result.to.time_since_epoch()));
      std::fflush(stdout);
    }
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "load: %s\n", error.what());
  return 1;
}
