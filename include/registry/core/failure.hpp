// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>

namespace registry {

/// What there is to say of an exception of another kind, also where there may be no memory for a text.
inline constexpr const char* no_std_exception = "something that is no std::exception was thrown";

/// What the exception says that is being handled, whatever it is: to be called in a handler.
inline std::string failure_text() {
  try {
    throw;
  } catch (const std::exception& failure) {
    return failure.what();
  } catch (...) {
    return no_std_exception;
  }
}

}  // namespace registry
