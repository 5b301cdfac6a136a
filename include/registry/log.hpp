// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <functional>
#include <string_view>

namespace registry {

enum class LogLevel { info, warning, error };

/// Where a hub or client reports what no caller can be told. Called on the thread where it happened; must not block,
/// throw, or call back into the hub or client.
using LogHook = std::function<void(LogLevel, std::string_view)>;

/// The default: one line on standard error.
inline void log_to_stderr(LogLevel level, std::string_view text) {
  const char* name = level == LogLevel::info ? "info" : level == LogLevel::warning ? "warning" : "error";
  std::fprintf(stderr, "registry: %s: %.*s\n", name, static_cast<int>(text.size()), text.data());
}

}  // namespace registry
