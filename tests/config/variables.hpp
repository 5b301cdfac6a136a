// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include <registry/error.hpp>
#include <registry/settings.hpp>

namespace config_test {

/// All variables of the registry, unset when a test begins and as they were when it ends.
class Variables {
 public:
  static constexpr std::array<const char*, 20> names{
      "DYN_REGISTRY_ENABLE",
      "DYN_REGISTRY_CLIENT_QUERY_ADDR",
      "DYN_REGISTRY_CLIENT_REGISTER_ADDR",
      "DYN_REGISTRY_CLIENT_NAMESPACE",
      "DYN_REGISTRY_CLIENT_BATCH_SIZE",
      "DYN_REGISTRY_CLIENT_BATCH_TIMEOUT_MS",
      "DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS",
      "DYN_REGISTRY_CLIENT_LOCAL_CACHE",
      "DYN_REGISTRY_HUB_QUERY_ADDR",
      "DYN_REGISTRY_HUB_REGISTER_ADDR",
      "DYN_REGISTRY_HUB_CAPACITY",
      "DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS",
      "DYN_REGISTRY_HUB_SECURITY",
      "DYN_REGISTRY_HUB_CURVE_SECRET_KEY",
      "DYN_REGISTRY_HUB_CURVE_SECRET_KEY_FILE",
      "DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE",
      "DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY",
      "DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY_FILE",
      "DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY",
      "DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY_FILE",
  };

  /// The last of them, whose values are keys or files that hold keys.
  static constexpr std::size_t of_keys = 7;

  Variables() {
    for (const char* name : names) {
      before_.push_back(registry::environment(name));
      unsetenv(name);
    }
  }
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;
  ~Variables() {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (before_[i]) {
        setenv(names[i], before_[i]->c_str(), 1);
      } else {
        unsetenv(names[i]);
      }
    }
  }

  void set(const std::string& name, const std::string& value) { setenv(name.c_str(), value.c_str(), 1); }

 private:
  std::vector<std::optional<std::string>> before_;
};

/// What `call` throws as a RegistryError; nothing if it does not throw.
template <class Call>
std::optional<registry::RegistryError> error_of(Call call) {
  try {
    call();
  } catch (const registry::RegistryError& error) {
    return error;
  }
  return std::nullopt;
}

}  // namespace config_test
