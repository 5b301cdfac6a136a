// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <vector>

#include <registry/config.hpp>

namespace dedup {

struct StoreOptions {
  std::filesystem::path store;
  std::filesystem::path manifest;
  std::vector<std::filesystem::path> paths;
  std::size_t block_size = 65'536;
  std::filesystem::path summary;  // none if empty
  std::filesystem::path written;  // none if empty
  std::optional<registry::ClientConfig> hub;
};

/// Stores files and writes their manifest. False if something had to be left out, which it has reported.
bool store(const StoreOptions& options);

}  // namespace dedup
