// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

namespace registry {

enum class LogLevel { info, warning, error };

/// Where a hub or client reports what no caller can be told. Called on the thread where it happened; must not block,
/// throw, or call back into the hub or client.
using LogHook = std::function<void(LogLevel, std::string_view)>;

/// The text with every byte as \xNN that is no printable character of ASCII: what came from outside shall neither
/// begin a line of its own nor tell a terminal what to do.
inline std::string printable(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string printed;
  printed.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      printed += c;
    } else {
      printed += {'\\', 'x', digits[byte >> 4U], digits[byte & 15U]};
    }
  }
  return printed;
}

/// The default: one line on standard error.
inline void log_to_stderr(LogLevel level, std::string_view text) {
  const char* name = level == LogLevel::info ? "info" : level == LogLevel::warning ? "warning" : "error";
  std::fprintf(stderr, "registry: %s: %.*s\n", name, static_cast<int>(text.size()), text.data());
}

}  // namespace registry
