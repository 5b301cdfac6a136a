// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include <registry/bytes.hpp>
#include <registry/core/failure.hpp>
#include <registry/error.hpp>
#include <registry/key.hpp>

namespace registry {

/// Appends the entry to the message, or answers an EncodeError and leaves the message as it was: so it is too if a
/// `wire` of the user's throws.
template <class C, class EntryType>
std::optional<Error> append_guarded(const EntryType& entry, Bytes& message) {
  const std::size_t size_before = message.size();
  try {
    return C::append_entry(entry.key, entry.value, entry.metadata, message);
  } catch (...) {
    message.resize(size_before);
    return EncodeError{"key " + key_hex(entry.key) + ": " + failure_text()};
  }
}

}  // namespace registry
