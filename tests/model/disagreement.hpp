// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

namespace registry::test {

/// The hub and its model disagree, or what must hold does not.
struct Disagreement : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace registry::test
