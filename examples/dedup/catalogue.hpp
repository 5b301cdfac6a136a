// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <registry/config.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/value.hpp>

#include "dedup/object_store.hpp"
#include "dedup/report.hpp"

namespace dedup {

/// A block to ask about.
struct BlockName {
  Key128 key;
  std::size_t size = 0;
};

using Location = registry::Entry<Key128, registry::StorageLocation, registry::NoMetadata>;

/// Who knows what is stored: a hub, or the store directory itself.
class Catalogue {
 public:
  virtual ~Catalogue() = default;
  /// A status for each block, in order. What is granted must be written and said to be `stored`, or given back.
  virtual std::vector<registry::OffloadStatus> ask(std::span<const BlockName> blocks) = 0;
  virtual void stored(std::span<const BlockName> blocks) = 0;
  virtual void give_back(std::span<const BlockName> blocks) noexcept = 0;
  /// The locations of those that are known, in the order asked.
  virtual std::vector<Location> locate(std::span<const Key128> keys) = 0;
  /// Waits until what was stored is known to others. Returns how many objects could not be made known.
  virtual std::size_t close() = 0;
};

/// The addresses as the flags say; nothing for a flag that was not given.
struct HubFlags {
  std::optional<std::string> query;
  std::optional<std::string> registrations;
};

/// How to reach the hub, if one is to be used: where there are flags, as they say, else as the environment does.
/// Throws RegistryError{ConfigError} for a malformed value.
std::optional<registry::ClientConfig> find_hub(const HubFlags& flags);

/// The hub's catalogue, or, without a hub, one that looks into the store.
std::unique_ptr<Catalogue> open_catalogue(const std::optional<registry::ClientConfig>& hub, const ObjectStore& store,
                                          Report& report);

}  // namespace dedup
