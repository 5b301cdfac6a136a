// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

#include <registry/config.hpp>

namespace registry_hub {

/// Which types the hub's catalogue has; clients must use the same.
enum class Schema { u64, blocks, chains };

std::string_view name_of(Schema schema);

/// What leaves the catalogue beyond its capacity; `none`: new keys are refused.
enum class Eviction { none, recency, tail };

std::string_view name_of(Eviction eviction);

struct Options {
  Schema schema = Schema::u64;
  Eviction eviction = Eviction::recency;
  registry::HubConfig config;
  std::size_t reserve_entries = 0;
  std::size_t reserve_leases = 0;
};

/// The environment's settings with those of the flags over them, or the exit status if there is nothing left to do
/// (`--help`, `--new-key`, or flags that are none). Throws RegistryError{ConfigError} for a malformed value.
std::variant<Options, int> read_options(int argc, char** argv);

}  // namespace registry_hub
