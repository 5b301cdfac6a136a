// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

#include <registry/config.hpp>

namespace dedup {

struct RestoreOptions {
  std::filesystem::path store;
  std::filesystem::path manifest;
  std::filesystem::path into;
  std::filesystem::path summary;  // none if empty
  std::optional<registry::ClientConfig> hub;
};

/// Rebuilds what a manifest describes, in a new or empty directory, and checks every block.
void restore(const RestoreOptions& options);

}  // namespace dedup
