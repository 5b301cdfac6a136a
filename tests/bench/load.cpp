// SPDX-License-Identifier: Apache-2.0
// One point by hand: load --peer hub --mix thirds --batch 100 --window 64 --clients 4 --entries 1000000. With --rate,
// of batches a second, or `half` of what is possible, a fixed rate; with --beside one client more, which does that
// operation as fast as it can. --policy other: libzmq's thread in the hub is scheduled
// as any other. --reserved no: the hub grows. --tidy no: what clients store stays. --checked no: where entries are
// evicted; it stays, too.
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
       {"reserved", "yes"},
       {"checked", "yes"},
       {"tidy", "yes"},
       {"wire", "tcp"},
       {"policy", "batch"}});
  const std::string programs = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../..";
  const Servers servers(programs, std::filesystem::temp_directory_path());
  enum class Kind { hub, echo, memcached, redis, redis_lua };
  const auto kind = arguments.choice<Kind>(
      "peer", {{"hub", Kind::hub},
               {"echo", Kind::echo},
               {"memcached", Kind::memcached},
               {"redis", Kind::redis},
               {"redis-lua", Kind::redis_lua}});
  const Catalogue catalogue{arguments.number("entries"), arguments.number("leases")};
  const auto wire = arguments.choice<Servers::Wire>("wire", {{"tcp", Servers::Wire::tcp}, {"ipc", Servers::Wire::ipc}});
  const auto operation_of = [&](const char* flag) {
    return arguments.choice<Operation>(
        flag, {{"claim", Operation::claim}, {"match", Operation::match}, {"store", Operation::store}});
  };
  const Operation operation = operation_of("operation");
  const auto mix = arguments.choice<Mix>(
      "mix", {{"thirds", Mix::thirds}, {"stored", Mix::stored}, {"fresh", Mix::fresh}, {"leased", Mix::leased}});
  const auto policy = arguments.choice<int>("policy", {{"batch", SCHED_BATCH}, {"other", SCHED_OTHER}});
  const auto is_yes = [&](const char* flag) { return arguments.choice<bool>(flag, {{"yes", true}, {"no", false}}); };
  const bool is_reserved = is_yes("reserved");
  const std::vector<std::string> options = lasting(arguments.text("eviction"), arguments.number("capacity"));
  const auto start = [&] {
    switch (kind) {
      case Kind::echo: return servers.echo();
      case Kind::memcached: return servers.memcached();
      case Kind::redis:
      case Kind::redis_lua: return servers.redis();
      case Kind::hub: break;
    }
    return is_reserved ? reserved_hub(servers, catalogue, wire, options) : servers.hub(options, wire);
  };
  Server server = start();
  if (policy == SCHED_OTHER) server.process.schedule("ZMQbg/IO/0", policy);
  const Peer& peer = server.peer(kind == Kind::redis_lua ? 1 : 0);
  const bool is_filled = kind == Kind::hub && is_reserved;
  if (peer.decides() && !is_filled) fill(peer, catalogue);
  const Requests requests(peer, operation, mix, arguments.number("batch"), catalogue);
  Generator generator(arguments.time("seconds"));
  const bool tidies_up = is_yes("tidy") && is_yes("checked");
  std::vector<Load> loads{
      {.requests = &requests,
       .clients = arguments.number("clients"),
       .window = arguments.number("window"),
       .checked = is_yes("checked"),
       .tidies_up = tidies_up}};
  const std::string& rate = arguments.text("rate");
  if (rate == "half") {
    const Result most = generator.run(server.process, loads.front());
    loads.front().rate = most.keys_per_second / static_cast<double>(requests.batch()) / 2;
  } else if (!rate.empty()) {
    loads.front().rate = std::stod(rate);
  }
  std::optional<Requests> flood;
  if (!arguments.text("beside").empty()) {
    const Operation beside = operation_of("beside");
    const Mix mix_beside = beside == Operation::store   ? Mix::fresh
                           : beside == Operation::match ? Mix::stored
                                                        : Mix::thirds;
    flood.emplace(peer, beside, mix_beside, arguments.number("batch"), catalogue);
    loads.push_back({.requests = &*flood,
                     .window = peer.replies(beside) ? 256U : 1U,
                     .checked = is_yes("checked"),
                     .yields = true,
                     .tidies_up = tidies_up});
  }
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
