// SPDX-License-Identifier: Apache-2.0
// A client core with the time it is told, and answers as a hub would give them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/client_core.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>

#include "core/common.hpp"
#include "core/times.hpp"

namespace registry::test {

using PlainClient = ClientCore<Number, Number, NoMetadata>;

inline Bytes statuses_answer(const Statuses& statuses) {
  Bytes out;
  PlainCodec::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{statuses}, out);
  return out;
}

inline Bytes entries_answer(const std::vector<PlainEntry>& entries) {
  Bytes out;
  PlainCodec::begin_entries(MessageType::match_response, out);
  for (const PlainEntry& entry : entries) PlainCodec::append_entry(entry, out);
  return out;
}

inline Bytes register_answer(const std::vector<RegisterStatus>& statuses) {
  Bytes message;
  PlainCodec::encode_statuses(MessageType::register_response, std::span<const RegisterStatus>{statuses}, message);
  return message;
}

inline Bytes count_answer(MessageType type, std::uint64_t count) {
  Bytes out;
  PlainCodec::encode_count(type, count, out);
  return out;
}

inline Bytes text_answer(MessageType type, const std::string& text) {
  Bytes out;
  PlainCodec::encode_text(type, text, out);
  return out;
}

inline Numbers keys_of(const Bytes& message, MessageType expected) {
  MessageType type{};
  Numbers keys;
  if (PlainCodec::decode_type(message, type) || type != expected || PlainCodec::decode_keys(message, keys)) {
    throw std::runtime_error{"not the query expected"};
  }
  return keys;
}

inline Envelope envelope_of(const Bytes& bytes) {
  const auto envelope = Envelope::decode(bytes);
  if (!envelope) throw std::runtime_error{"no envelope"};
  return *envelope;
}

template <class T>
T value_of(Outcome<T> outcome) {
  if (auto* error = std::get_if<Error>(&outcome)) throw RegistryError{*error};
  return std::get<0>(std::move(outcome));
}

template <class Case, class T>
Case error_of(const Outcome<T>& outcome) {
  const auto* error = std::get_if<Error>(&outcome);
  if (error == nullptr) throw std::runtime_error{"no error"};
  const auto* one = std::get_if<Case>(error);
  if (one == nullptr) throw std::runtime_error{"another error: " + to_string(*error)};
  return *one;
}

/// Makes the client see an answer in an envelope of its own: it knows then that the hub returns envelopes.
inline void show_envelope(PlainClient& client) {
  Bytes envelope;
  Envelope{1, client.id(), std::nullopt, default_namespace}.encode(envelope);
  const ByteView frames[] = {envelope, envelope};
  if (!client.read(frames)) throw std::runtime_error{"not read"};
}

}  // namespace registry::test
