// SPDX-License-Identifier: Apache-2.0
// Stores files as blocks in a directory that many processes share, each distinct block once, and rebuilds them: see
// --help.
#include <cstddef>
#include <exception>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <sodium.h>
#include <CLI/CLI.hpp>
#include <registry/error.hpp>
#include <registry/settings.hpp>

#include "dedup/catalogue.hpp"
#include "dedup/manifest.hpp"
#include "dedup/restore.hpp"
#include "dedup/store.hpp"

namespace {

constexpr const char* footer =
    R"(The hub is one of the schema "blocks" (registry_hub --schema blocks). It is used if --query is given, or with
DYN_REGISTRY_ENABLE=true and the variables DYN_REGISTRY_CLIENT_...; without one, what the store directory holds
decides what is written.

Blocks are named by their BLAKE2b digest of 128 bits, as b2sum -l 128 prints it, and lie in DIR/objects/ab/cdef...
Kept are contents, permissions (not setuid, setgid and sticky), directories and symbolic links; not owners and times.
Paths are kept as given, without a leading / or .., and the store directory is left out.

Exit status: 0 done; 1 failed; 2 wrong usage; 3 stored, but something was unreadable or could not be registered.)";

constexpr const char* summary_help = "also write the table here, a line name=value for each row";

void add_hub_flags(CLI::App& app, dedup::HubFlags& flags) {
  auto* query = app.add_option("--query", flags.query, "the hub's address for queries")->type_name("ADDR");
  auto* registrations =
      app.add_option("--register", flags.registrations, "the hub's address for registrations")->type_name("ADDR");
  registrations->needs(query);
}

struct CommandLine {
  dedup::StoreOptions store;
  dedup::RestoreOptions restore;
  dedup::HubFlags hub;
  std::string block_size;
  CLI::App app{"Stores files as blocks in a shared directory, each distinct block once, and rebuilds them.", "dedup"};
  CLI::App* store_command = app.add_subcommand("store", "cut files into blocks and store them");
  CLI::App* restore_command = app.add_subcommand("restore", "rebuild files from a manifest");

  CommandLine() {
    app.require_subcommand(1);
    app.footer(footer);
    CLI::App& s = *store_command;
    s.add_option("--store", store.store, "the directory of the objects")->required()->type_name("DIR");
    s.add_option("--manifest", store.manifest, "the manifest to write")->required()->type_name("FILE");
    s.add_option("--block-size", block_size, "bytes in a block (65536)")->type_name("BYTES");
    s.add_option("--summary", store.summary, summary_help)->type_name("FILE");
    s.add_option("--written", store.written, "list the objects that this process wrote here, one a line")
        ->type_name("FILE");
    s.add_option("PATH", store.paths, "files and directories")->required()->type_name("");
    s.footer(footer);
    add_hub_flags(s, hub);
    CLI::App& r = *restore_command;
    r.add_option("--store", restore.store, "the directory of the objects")->required()->type_name("DIR");
    r.add_option("--manifest", restore.manifest, "the manifest to read")->required()->type_name("FILE");
    r.add_option("--into", restore.into, "a new or empty directory")->required()->type_name("DIR");
    r.add_option("--summary", restore.summary, summary_help)->type_name("FILE");
    r.footer(footer);
    add_hub_flags(r, hub);
  }
};

/// The arguments as CLI11 wants them. It would take [a,b] for a list; as a path ./[a,b] is the same.
std::vector<std::string> reversed_arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = argc - 1; i > 0; --i) {
    const std::string argument = argv[i];
    arguments.push_back(argument.starts_with('[') ? "./" + argument : argument);
  }
  return arguments;
}

int run_store(CommandLine& line) {
  if (line.hub.query && !line.hub.registrations && !registry::environment("DYN_REGISTRY_CLIENT_REGISTER_ADDR")) {
    throw registry::RegistryError(
        registry::ConfigError{"--register", "", "the hub's address for registrations, because --query is given"});
  }
  if (line.store_command->count("--block-size") > 0) {
    line.store.block_size =
        registry::parse_number<std::size_t>("--block-size", line.block_size, 1, dedup::max_block_size);
  }
  line.store.hub = dedup::find_hub(line.hub);
  return dedup::store(line.store) ? 0 : 3;
}

int run_restore(CommandLine& line) {
  line.restore.hub = dedup::find_hub(line.hub);
  dedup::restore(line.restore);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CommandLine line;
    try {
      line.app.parse(reversed_arguments(argc, argv));
    } catch (const CLI::ParseError& error) {
      return line.app.exit(error) == 0 ? 0 : 2;
    }
    if (sodium_init() < 0) throw std::runtime_error("libsodium could not be initialised");
    return line.store_command->parsed() ? run_store(line) : run_restore(line);
  } catch (const registry::RegistryError& error) {
    std::cerr << "dedup: " << error.what() << '\n';
    return error.as<registry::ConfigError>() ? 2 : 1;
  } catch (const std::exception& error) {
    std::cerr << "dedup: " << error.what() << '\n';
    return 1;
  }
}
