// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/core/failure.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>

namespace registry {

/// What `decode` answers for the message. A `wire` of the user's may throw on bytes that it did not expect: that must
/// not end the hub.
template <class Decode>
std::optional<Error> decode_guarded(ByteView message, Decode decode) {
  try {
    return decode();
  } catch (...) {
    return DecodeError{"bytes for which a decoder threw \"" + failure_text() + "\"", 0, message.size()};
  }
}

/// Reads the entries of a registration; an error if the message is none.
template <class C, class EntryType>
std::optional<Error> decode_registration(ByteView message, std::vector<EntryType>& entries) {
  MessageType type{};
  if (std::optional<Error> error = C::decode_type(message, type)) return error;
  if (type != MessageType::register_entries) return InvalidMessageType{static_cast<unsigned>(type)};
  return decode_guarded(message, [&] { return C::decode_entries(message, entries); });
}

}  // namespace registry
