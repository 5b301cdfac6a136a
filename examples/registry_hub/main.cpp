// SPDX-License-Identifier: Apache-2.0
// A hub server over ZeroMQ. Its types are those of a schema; everything else comes from the environment and from flags:
// see --help.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iomanip>
#include <iostream>
#include <string_view>
#include <utility>
#include <variant>

#include <registry/registry.hpp>

#include "registry_hub/options.hpp"
#include "registry_hub/stop_on_signal.hpp"

namespace registry_hub {

namespace {

void print_statistics(const registry::HubStats& stats, std::size_t namespaces) {
  const std::pair<std::string_view, std::uint64_t> rows[] = {
      {"namespaces", namespaces},
      {"queries", stats.queries},
      {"granted", stats.granted},
      {"already_stored", stats.already_stored},
      {"leased", stats.leased},
      {"registrations", stats.registrations},
      {"entries_registered", stats.entries_registered},
      {"entries_refused", stats.entries_refused},
      {"stored", stats.stored},
      {"removed", stats.removed},
      {"evicted", stats.evicted},
      {"superseded", stats.superseded},
      {"expired", stats.expired},
      {"malformed", stats.malformed},
      {"undeliverable", stats.undeliverable},
      {"denied", stats.denied},
      {"leases_active", stats.leases.active},
      {"leases_granted", stats.leases.granted},
      {"leases_renewed", stats.leases.renewed},
      {"leases_expired", stats.leases.expired},
      {"leases_released", stats.leases.released},
      {"leases_converted", stats.leases.converted},
      {"leases_conflicts", stats.leases.conflicts},
  };
  std::cout << "registry_hub: stopped; statistics:\n";
  for (const auto& [name, value] : rows) std::cout << "  " << std::left << std::setw(20) << name << value << '\n';
  std::cout << std::flush;
}

/// `make_policy(storage)` bounds the storage of each namespace.
template <class K, class V, class M, class MakePolicy>
void serve(const Options& options, const sigset_t& signals, MakePolicy make_policy) {
  auto hub = registry::hub<K, V, M>([&](std::string_view name) {
               auto policy = make_policy(registry::HashMapStorage<K, V, M>{});
               if (name == registry::default_namespace) policy.reserve(options.reserve_entries, options.reserve_leases);
               return policy;
             })
                 .options(options.config.options)
                 .build();
  auto transport = registry::ZmqHubTransport::bind(options.config.transport);
  {
    const StopOnSignal stop(signals, [&hub] { hub.stop(); });
    std::cout << "registry_hub: schema " << name_of(options.schema) << ", queries at "
              << transport.endpoints().query_addr << ", registrations at " << transport.endpoints().register_addr
              << std::endl;
    hub.serve(transport);
  }
  print_statistics(hub.stats(), hub.namespaces().size());
}

template <class K, class V, class M>
void serve(const Options& options, const sigset_t& signals) {
  const std::size_t capacity = options.config.capacity;
  const auto serve_over = [&](auto make_policy) { serve<K, V, M>(options, signals, make_policy); };
  switch (options.eviction) {
    case Eviction::none:
      return serve_over([=](auto storage) { return registry::NoEviction(std::move(storage), capacity); });
    case Eviction::recency:
      return serve_over([=](auto storage) { return registry::RecencyEviction(std::move(storage), capacity); });
    case Eviction::tail:
      return serve_over([=](auto storage) { return registry::TailEviction(std::move(storage), capacity); });
  }
}

void run(const Options& options, const sigset_t& signals) {
  using U64 = std::uint64_t;
  switch (options.schema) {
    case Schema::u64: return serve<U64, U64, registry::NoMetadata>(options, signals);
    case Schema::blocks:
      return serve<registry::Key128, registry::StorageLocation, registry::NoMetadata>(options, signals);
    case Schema::chains: return serve<U64, registry::StorageLocation, registry::PositionMetadata>(options, signals);
  }
}

}  // namespace

}  // namespace registry_hub

int main(int argc, char** argv) {
  const sigset_t signals = registry_hub::block_stop_signals();
  try {
    const auto options = registry_hub::read_options(argc, argv);
    if (const int* status = std::get_if<int>(&options)) return *status;
    registry_hub::run(std::get<registry_hub::Options>(options), signals);
    return 0;
  } catch (const registry::RegistryError& error) {
    std::cerr << "registry_hub: " << error.what() << '\n';
    return error.as<registry::ConfigError>() ? 2 : 1;
  } catch (const std::exception& error) {
    std::cerr << "registry_hub: " << error.what() << '\n';
    return 1;
  }
}
