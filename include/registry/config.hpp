// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include <registry/core/options.hpp>
#include <registry/settings.hpp>
#include <registry/transport/zmq_config.hpp>

namespace registry {

/// What a worker needs to know to take part, from the environment: `options` for the client's builder, `transport` for
/// a ZeroMQ transport.
struct ClientConfig {
  /// Whether to use a registry at all; the library leaves it to the worker to heed it.
  bool enabled = false;
  ClientOptions options;
  ZmqTransportConfig transport;

  /// DYN_REGISTRY_ENABLE and the DYN_REGISTRY_CLIENT_ variables over the defaults. Throws RegistryError{ConfigError}
  /// for a malformed value, also where `enabled` is false: it would fail on the day somebody enables it.
  static ClientConfig from_env() {
    ClientConfig config;
    const auto number = [](const std::string& variable, std::string_view text) {
      return parse_number<std::size_t>(variable, text, 1);
    };
    const auto number_or_none = [](const std::string& variable, std::string_view text) {
      return parse_number<std::size_t>(variable, text);
    };
    read_setting("DYN_REGISTRY_ENABLE", config.enabled, parse_bool);
    read_setting("DYN_REGISTRY_CLIENT_NAMESPACE", config.options.name_space, parse_namespace);
    read_setting("DYN_REGISTRY_CLIENT_BATCH_SIZE", config.options.batch_size, number);
    read_setting("DYN_REGISTRY_CLIENT_BATCH_TIMEOUT_MS", config.options.batch_timeout,
                 parse_duration<std::chrono::milliseconds>);
    read_setting("DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS", config.options.request_timeout,
                 parse_duration<std::chrono::milliseconds>);
    read_setting("DYN_REGISTRY_CLIENT_LOCAL_CACHE", config.options.local_cache, number_or_none);
    config.transport = ZmqTransportConfig::from_env();
    return config;
  }
};

/// What a hub needs to know to run, from the environment: `options` for the hub's builder, `capacity` for the eviction
/// policy that bounds its storage, `transport` for a ZeroMQ transport.
struct HubConfig {
  /// Entries stored before others have to leave.
  std::size_t capacity = 1'000'000;
  HubOptions options;
  ZmqHubConfig transport;

  /// The DYN_REGISTRY_HUB_ variables over the defaults. Throws RegistryError{ConfigError} for a malformed value.
  static HubConfig from_env() {
    HubConfig config;
    read_setting("DYN_REGISTRY_HUB_CAPACITY", config.capacity, parse_capacity);
    read_setting("DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS", config.options.lease_ttl, parse_duration<std::chrono::seconds>);
    config.transport = ZmqHubConfig::from_env();
    return config;
  }

  /// A number of entries that an eviction policy can bound its storage to.
  static std::size_t parse_capacity(const std::string& name, std::string_view text) {
    return parse_number<std::size_t>(name, text, 1, 4'000'000'000);
  }
};

}  // namespace registry
