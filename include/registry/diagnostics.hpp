// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <registry/error.hpp>

namespace registry {

/// Where an asynchronous call leaves what its `std::error_code` cannot hold: the Error with its details. Copies share
/// it, so it may be dropped before the call completes. Written before completion, read after it.
class Diagnostics {
 public:
  Diagnostics() : error_(std::make_shared<std::optional<Error>>()) {}

  /// What went wrong; nothing after success, and after a cancellation, which is nobody's error.
  const std::optional<Error>& error() const noexcept { return *error_; }

  /// For whoever completes the call.
  void set(std::optional<Error> error) { *error_ = std::move(error); }

 private:
  std::shared_ptr<std::optional<Error>> error_;
};

}  // namespace registry
