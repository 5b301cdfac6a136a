// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

#include <registry/core/instant.hpp>
#include <registry/log.hpp>

namespace registry {

/// Reports what bytes from outside may bring about any number of times: they must not flood the log, so beyond a few
/// reports a second only their number is told. One thread.
class Reports {
 public:
  explicit Reports(LogHook log) : log_(std::move(log)) {}

  void add(SteadyTime now, const std::string& text) {
    if (!log_) return;
    if (now - second_ >= std::chrono::seconds{1}) {
      if (left_out_ > 0) log_(LogLevel::warning, std::to_string(left_out_) + " more reports were left out");
      second_ = now;
      made_ = left_out_ = 0;
    }
    if (made_ == per_second) {
      ++left_out_;
      return;
    }
    ++made_;
    log_(LogLevel::warning, printable(text));
  }

  /// To be called where memory was out for what a message asked for, which is given up then: it must not end a hub.
  void add_no_memory(SteadyTime now) {
    try {
      add(now, "a message was dropped: there was no memory for what it asked for");
    } catch (const std::bad_alloc&) {
      // Nor is there any to say so.
    }
  }

 private:
  static constexpr std::uint64_t per_second = 10;

  LogHook log_;
  SteadyTime second_{};
  std::uint64_t made_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace registry
