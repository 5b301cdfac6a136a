// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <registry/core/failure.hpp>
#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/message.hpp>
#include <registry/undelivered.hpp>

namespace registry {

/// Tells of entries that nobody is left to have back: to the hook, or where there is none to the log.
template <class K, class V, class M>
class LossReports {
 public:
  LossReports(LossHook<K, V, M> hook, LogHook log) : hook_(std::move(hook)), log_(std::move(log)) {}

  void operator()(const std::vector<Entry<K, V, M>>& entries, const Error& why) const {
    if (entries.empty()) return;
    if (!hook_) {
      return log(LogLevel::error, std::to_string(entries.size()) + " entries were not registered: " + to_string(why));
    }
    try {
      hook_(entries, why);
    } catch (...) {
      log(LogLevel::warning, "on_undelivered failed: " + failure_text());
    }
  }

 private:
  void log(LogLevel level, const std::string& text) const {
    if (log_) log_(level, text);
  }

  LossHook<K, V, M> hook_;
  LogHook log_;
};

}  // namespace registry
