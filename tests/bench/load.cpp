// SPDX-License-Identifier: Apache-2.0
// One point by hand: load --peer hub --mix thirds --batch 100 --window 64 --clients 4 --entries 1000000
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "arguments.hpp"
#include "generator.hpp"
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
       {"rate", "0"},
       {"entries", "1000000"},
       {"leases", "100000"},
       {"seconds", "1"},
       {"runs", "3"},
       {"eviction", "none"},
       {"wire", "tcp"}});
  const std::string programs = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../..";
  const Servers servers(programs, std::filesystem::temp_directory_path());
  const std::string& name = arguments.text("peer");
  const Catalogue catalogue{arguments.number("entries"), arguments.number("leases")};
  const auto wire = arguments.text("wire") == "ipc" ? Servers::Wire::ipc : Servers::Wire::tcp;
  Server server =
      name == "echo"        ? servers.echo()
      : name == "memcached" ? servers.memcached()
      : name == "hub"
          ? servers.hub({"--eviction", arguments.text("eviction"), "--capacity", "1000000000", "--max-leases",
                         "1000000000", "--lease-timeout-secs", "3600"},
                        wire)
          : servers.redis();
  const Peer& peer = server.peer(name == "redis-lua" ? 1 : 0);
  if (peer.decides()) fill(peer, catalogue);
  const std::string& operation = arguments.text("operation");
  const std::string& mix = arguments.text("mix");
  const Requests requests(
      peer,
      operation == "match"   ? Operation::match
      : operation == "store" ? Operation::store
                             : Operation::claim,
      mix == "stored"   ? Mix::stored
      : mix == "fresh"  ? Mix::fresh
      : mix == "leased" ? Mix::leased
                        : Mix::thirds,
      arguments.number("batch"), catalogue);
  Generator generator(arguments.time("seconds"));
  std::printf(
      "server's process %d\n  M keys/s   busy  cpu ns/key     p50 us     p99 us   p99.9 us\n", server.process.pid());
  for (std::uint64_t run = 0; run < arguments.number("runs"); ++run) {
    Load load{&requests, arguments.number("clients"), arguments.number("window")};
    if (arguments.text("rate") != "0") load.rate = std::stod(arguments.text("rate"));
    const Result result = generator.run(server.process, load);
    std::printf("%10.3f %5.0f%% %11.1f %10.1f %10.1f %10.1f\n", result.keys_per_second / 1e6, 100 * result.busy,
                result.cpu_ns_per_key, result.latency.quantile_us(0.5), result.latency.quantile_us(0.99),
                result.latency.quantile_us(0.999));
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "load: %s\n", error.what());
  return 1;
}
