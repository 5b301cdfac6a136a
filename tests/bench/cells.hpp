// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "generator.hpp"
#include "report.hpp"
#include "servers.hpp"

namespace bench {

inline std::string million(double keys_per_second) { return figure(keys_per_second / 1e6) + " M"; }
inline std::string percent(double part) { return figure(100 * part) + " %"; }
inline std::string entries_text(Catalogue catalogue) {
  return million(static_cast<double>(catalogue.entries)) + " entries";
}

/// A latency, if of those measured one at least was longer: fewer do not say it. Where nothing is replied to there is
/// one at a rate only.
inline std::string latency(const Result& result, double quantile) {
  const auto count = static_cast<double>(result.latency.count());
  return quantile * count + 1 < count ? figure(result.latency.quantile_us(quantile)) : "-";
}

inline const char* name_of(Mix mix) {
  return mix == Mix::fresh    ? "all new"
         : mix == Mix::stored ? "all stored"
         : mix == Mix::leased ? "all leased"
                              : "thirds";
}
inline const char* name_of(Servers::Wire wire) { return wire == Servers::Wire::tcp ? "tcp" : "ipc"; }
inline const char* name_of(Operation operation) {
  return operation == Operation::claim ? "claim" : operation == Operation::match ? "match" : "register";
}

}  // namespace bench
