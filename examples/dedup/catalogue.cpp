// SPDX-License-Identifier: Apache-2.0
#include "dedup/catalogue.hpp"

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <registry/registry.hpp>

namespace dedup {

namespace {

using registry::NoMetadata;
using registry::OffloadStatus;
using registry::RegistryError;
using registry::StorageLocation;

/// Without a hub: an object that is there is stored. Two processes may write one object at the same time; both write
/// the same, and the one that comes second replaces the other's.
class StoreCatalogue final : public Catalogue {
 public:
  explicit StoreCatalogue(const ObjectStore& store) : store_(store) {}

  std::vector<OffloadStatus> ask(std::span<const BlockName> blocks) override {
    std::vector<OffloadStatus> statuses;
    for (const auto& [key, size] : blocks) {
      statuses.push_back(store_.contains(key, size) ? OffloadStatus::already_stored : OffloadStatus::granted);
    }
    return statuses;
  }

  void stored(std::span<const BlockName>) override {}
  void give_back(std::span<const BlockName>) noexcept override {}
  std::vector<Location> locate(std::span<const Key128>) override { return {}; }
  std::size_t close() override { return 0; }

 private:
  const ObjectStore& store_;
};

class HubCatalogue final : public Catalogue {
 public:
  HubCatalogue(const registry::ClientConfig& config, Report& report)
      : report_(report),
        hub_(registry::client<Key128, StorageLocation>(registry::ZmqTransport::connect(config.transport))
                 .options(config.options)
                 .build()) {}

  std::vector<OffloadStatus> ask(std::span<const BlockName> blocks) override {
    const std::vector<Key128> keys = keys_of(blocks);
    return patiently([&] { return hub_.can_offload(keys).statuses; });
  }

  void stored(std::span<const BlockName> blocks) override {
    std::vector<Location> entries;
    for (const auto& [key, size] : blocks) entries.push_back({key, ObjectStore::location(key, size), {}});
    for (int attempt = 1; attempt <= attempts; ++attempt) {
      try {
        hub_.register_blocks(entries);
        last_ = blocks.back().key;
        return;
      } catch (const Undelivered& error) {
        report_.message("the hub does not take registrations: " + std::string{error.what()});
        entries = error.entries();
      }
    }
    lost_ += entries.size();
  }

  void give_back(std::span<const BlockName> blocks) noexcept override {
    try {
      hub_.release(keys_of(blocks));
    } catch (const std::exception& error) {
      report_.message(
          std::to_string(blocks.size()) + " leases could not be given back and will run out: " + error.what());
    }
  }

  std::vector<Location> locate(std::span<const Key128> keys) override {
    return patiently([&] { return hub_.match(keys); });
  }

  std::size_t close() override {
    confirm();
    return lost_ + hub_.close(std::chrono::seconds{10}).size();
  }

 private:
  using Undelivered = registry::Undelivered<Key128, StorageLocation, NoMetadata>;

  static constexpr int attempts = 3;

  static std::vector<Key128> keys_of(std::span<const BlockName> blocks) {
    std::vector<Key128> keys;
    for (const BlockName& block : blocks) keys.push_back(block.key);
    return keys;
  }

  /// A hub that is being restarted does not answer for a while.
  template <class Query>
  std::invoke_result_t<Query> patiently(Query query) {
    for (int attempt = 1;; ++attempt) {
      try {
        return query();
      } catch (const RegistryError& error) {
        if (error.as<registry::Timeout>() == nullptr || attempt == attempts) throw;
        report_.message("the hub does not answer: " + std::string{error.what()} + "; asking again");
      }
    }
  }

  /// Waits until the hub has applied what was registered, so that whoever comes after this process finds it. The
  /// registrations of a client are applied in order: when the last one is, all are.
  void confirm() {
    if (!last_) return;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{5};
    try {
      hub_.flush();
      while (hub_.match({*last_}).empty()) {
        if (std::chrono::steady_clock::now() >= end) {
          return report_.message("the hub does not show the last object registered: it was refused, lost or evicted");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
      }
    } catch (const RegistryError& error) {
      report_.message("the hub did not confirm the last object registered: " + std::string{error.what()});
    }
  }

  Report& report_;
  registry::RegistryClient<Key128, StorageLocation, NoMetadata, registry::ZmqTransport> hub_;
  std::optional<Key128> last_;
  std::size_t lost_ = 0;
};

}  // namespace

std::optional<registry::ClientConfig> find_hub(const HubFlags& flags) {
  registry::ClientConfig config = registry::ClientConfig::from_env();
  if (!flags.query && !flags.registrations && !config.enabled) return std::nullopt;
  if (flags.query) config.transport.query_addr = registry::parse_peer_address("--query", *flags.query);
  if (flags.registrations) {
    config.transport.register_addr = registry::parse_peer_address("--register", *flags.registrations);
  }
  return config;
}

std::unique_ptr<Catalogue> open_catalogue(const std::optional<registry::ClientConfig>& hub, const ObjectStore& store,
                                          Report& report) {
  if (hub) return std::make_unique<HubCatalogue>(*hub, report);
  report.message("no hub is given (--query, or DYN_REGISTRY_ENABLE=true): going by what the store directory holds");
  return std::make_unique<StoreCatalogue>(store);
}

}  // namespace dedup
