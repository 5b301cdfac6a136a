// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>

namespace registry {

/// What the exception says that is being handled, whatever it is: to be called in a handler.
inline std::string failure_text() {
  try {
    throw;
  } catch (const std::exception& failure) {
    return failure.what();
  } catch (...) {
    return "something that is no std::exception was thrown";
  }
}

}  // namespace registry
