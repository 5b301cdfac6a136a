// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <registry/error.hpp>

namespace registry {

/// Which messages the hub of one namespace takes in, queries and registrations alike: each question answers why not, or
/// nothing.
class Admission {
 public:
  Admission(std::string name, std::size_t max_keys) : name_(std::move(name)), max_keys_(max_keys) {}

  const std::string& name() const noexcept { return name_; }

  std::optional<Error> refusal_of_namespace(std::string_view name_space) const {
    if (name_space == name_) return std::nullopt;
    return Unsupported{"namespace \"" + std::string{name_space} + "\"; this hub serves \"" + name_ + "\""};
  }

  /// Of so many keys or entries in one message.
  std::optional<Error> refusal_of_size(std::size_t keys) const {
    if (keys <= max_keys_) return std::nullopt;
    return LimitExceeded{"max_keys_per_query", max_keys_, keys};
  }

 private:
  std::string name_;
  std::size_t max_keys_;
};

}  // namespace registry
