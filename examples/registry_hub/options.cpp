// SPDX-License-Identifier: Apache-2.0
#include "registry_hub/options.hpp"

#include <chrono>
#include <cstddef>
#include <iostream>
#include <string>
#include <string_view>
#include <variant>

#include <CLI/CLI.hpp>
#include <registry/config.hpp>
#include <registry/error.hpp>
#include <registry/settings.hpp>
#include <registry/transport/zmq_curve.hpp>

namespace registry_hub {

namespace {

constexpr const char* footer = R"(Environment, where a flag does not say otherwise:
  DYN_REGISTRY_HUB_QUERY_ADDR           as --query-addr
  DYN_REGISTRY_HUB_REGISTER_ADDR        as --register-addr
  DYN_REGISTRY_HUB_CAPACITY             as --capacity
  DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS   as --lease-timeout-secs
  DYN_REGISTRY_HUB_SECURITY             required: without keys the hub does not start (optional)
  DYN_REGISTRY_HUB_CURVE_SECRET_KEY_FILE        file with the hub's key, or DYN_REGISTRY_HUB_CURVE_SECRET_KEY: the key
  DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE   file with the public keys of its clients

Schemas:
  u64      uint64_t keys and values, no metadata
  blocks   Key128 keys, StorageLocation values, no metadata
  chains   uint64_t keys, StorageLocation values, PositionMetadata
Evictions, what the hub forgets beyond its capacity:
  recency  what was not used for longest (default of u64 and blocks)
  tail     the tails of chains (default of chains)
  none     nothing: new keys are refused

When it is ready the hub prints one line with the addresses that it is bound to; SIGINT and SIGTERM stop it, and it
prints its statistics. Exit status: 0 stopped, 1 failed, 2 wrong usage.)";

Schema parse_schema(const std::string& name, std::string_view text) {
  for (const Schema schema : {Schema::u64, Schema::blocks, Schema::chains}) {
    if (text == name_of(schema)) return schema;
  }
  throw registry::RegistryError(registry::ConfigError{name, std::string{text}, "u64, blocks or chains"});
}

Eviction parse_eviction(const std::string& name, std::string_view text) {
  for (const Eviction eviction : {Eviction::none, Eviction::recency, Eviction::tail}) {
    if (text == name_of(eviction)) return eviction;
  }
  throw registry::RegistryError(registry::ConfigError{name, std::string{text}, "none, recency or tail"});
}

/// Gives `setting` the value of a flag, if it was given; read by the parser that also reads the variable.
template <class Setting, class Parse>
void read_flag(const CLI::App& app, const std::string& flag, Setting& setting, Parse parse) {
  if (app.count(flag) > 0) setting = parse(flag, app[flag]->as<std::string>());
}

}  // namespace

std::string_view name_of(Schema schema) {
  switch (schema) {
    case Schema::u64: return "u64";
    case Schema::blocks: return "blocks";
    case Schema::chains: return "chains";
  }
  return "unknown";
}

std::string_view name_of(Eviction eviction) {
  switch (eviction) {
    case Eviction::none: return "none";
    case Eviction::recency: return "recency";
    case Eviction::tail: return "tail";
  }
  return "unknown";
}

std::variant<Options, int> read_options(int argc, char** argv) {
  CLI::App app{
      "A registry hub: keeps the catalogue of stored blocks and tells workers which ones to store.", "registry_hub"};
  app.footer(footer);
  app.add_option("--query-addr")->type_name("ADDR")->description("where queries come in (tcp://*:5555)");
  app.add_option("--register-addr")->type_name("ADDR")->description("where registrations come in (tcp://*:5556)");
  app.add_option("--capacity")->type_name("ENTRIES")->description("entries before eviction (1000000)");
  app.add_option("--lease-timeout-secs")->type_name("SECONDS")->description("how long a grant lasts (30)");
  app.add_option("--max-leases")->type_name("LEASES")->description("leases at a time (10000000)");
  app.add_option("--max-leases-per-client")->type_name("LEASES")->description("those of one client (no bound)");
  app.add_option("--recovery-time-secs")
      ->type_name("SECONDS")
      ->description("after the start grant only what clients have back of the hub before (0)");
  app.add_flag("--insist-on-holder")->description("only the holder of the lease may register a block");
  app.add_option("--reserve-entries")
      ->type_name("ENTRIES")
      ->description("take the memory for so many at the start, in namespace default (0)");
  app.add_option("--reserve-leases")->type_name("LEASES")->description("likewise for leases (0)");
  app.add_option("--max-namespaces")
      ->type_name("NAMESPACES")
      ->description("namespaces served, each with the capacity (1: only default)");
  app.add_option("--new-key")
      ->type_name("FILE")
      ->description("write a new secret key to a new file, print its public key, and end");
  app.add_option("--schema")->type_name("SCHEMA")->description("u64, blocks or chains (u64)");
  app.add_option("--eviction")->type_name("EVICTION")->description("none, recency or tail (as the schema says)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  if (app.count("--new-key") > 0) {
    const auto key = registry::CurveSecretKey::random();
    key.save(app["--new-key"]->as<std::string>());
    std::cout << key.public_key().z85() << std::endl;
    return 0;
  }

  Options options{Schema::u64, Eviction::recency, registry::HubConfig::from_env()};
  options.config.options.max_namespaces = 1;
  read_flag(app, "--schema", options.schema, parse_schema);
  if (options.schema == Schema::chains) options.eviction = Eviction::tail;
  read_flag(app, "--eviction", options.eviction, parse_eviction);
  read_flag(app, "--query-addr", options.config.transport.query_addr, registry::parse_address);
  read_flag(app, "--register-addr", options.config.transport.register_addr, registry::parse_address);
  read_flag(app, "--capacity", options.config.capacity, registry::HubConfig::parse_capacity);
  read_flag(
      app, "--lease-timeout-secs", options.config.options.lease_ttl, registry::parse_duration<std::chrono::seconds>);
  const auto parse_bound = [](const std::string& name, std::string_view text) {
    return registry::parse_number<std::size_t>(name, text, 1);
  };
  read_flag(app, "--max-leases", options.config.options.max_leases, parse_bound);
  read_flag(app, "--recovery-time-secs", options.config.options.recovery_time,
            registry::parse_duration<std::chrono::seconds>);
  options.config.options.insist_on_holder = app.count("--insist-on-holder") > 0;
  read_flag(app, "--max-leases-per-client", options.config.options.max_leases_per_client, parse_bound);
  const auto parse_reserve = [](const std::string& name, std::string_view text) {
    constexpr std::size_t most = 1'000'000'000;
    return registry::parse_number<std::size_t>(name, text, 0, most);
  };
  read_flag(app, "--reserve-entries", options.reserve_entries, parse_reserve);
  read_flag(app, "--reserve-leases", options.reserve_leases, parse_reserve);
  read_flag(app, "--max-namespaces", options.config.options.max_namespaces, parse_bound);
  return options;
}

}  // namespace registry_hub
