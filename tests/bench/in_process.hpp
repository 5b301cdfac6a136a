// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <registry/codec.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/envelope.hpp>
#include <registry/eviction.hpp>
#include <registry/metadata.hpp>

#include "generator.hpp"
#include "keys.hpp"

namespace bench {

/// For runs that repeat exactly.
constexpr std::uint64_t fixed_seed = 20'240'229;

/// Blocks come in chains of so many.
constexpr std::uint64_t chain_length = 32;

template <registry::Metadata M>
M metadata_of(std::uint64_t number) {
  if constexpr (std::is_same_v<M, registry::PositionMetadata>) {
    registry::PositionMetadata metadata;
    metadata.position = static_cast<std::uint32_t>((number - first_stored) % chain_length);
    if (metadata.position > 0) metadata.parent_hash = key_of(number - 1);
    metadata.created_at = 1'700'000'000;
    return metadata;
  } else {
    return {};
  }
}

/// A hub without sockets: messages go in, answers are thrown away. Time stands still in it.
template <registry::Eviction P>
class InProcessHub {
 public:
  using M = typename P::metadata_type;
  using Codec = registry::BinaryCodec<std::uint64_t, std::uint64_t, M>;
  using MessageType = registry::MessageType;
  static constexpr std::uint64_t usual_client = 2;

  explicit InProcessHub(P policy) : core_(std::move(policy), options()) {}

  static registry::Bytes keys_message(MessageType type, std::span<const std::uint64_t> keys) {
    registry::Bytes message;
    Codec::encode_keys(type, keys, message);
    return message;
  }

  /// A registration of the keys of these numbers.
  static registry::Bytes entries_message(Range numbers) {
    registry::Bytes message;
    Codec::begin_entries(MessageType::register_entries, message);
    for (std::uint64_t n = numbers.first; n < numbers.first + numbers.count; ++n) {
      if (Codec::append_entry({key_of(n), n, metadata_of<M>(n)}, message)) throw std::runtime_error("cannot encode");
    }
    return message;
  }

  /// A query by a client of this number, or by a claim of its own.
  void ask(registry::ByteView message, std::uint64_t client = usual_client,
           std::optional<std::uint64_t> claim = std::nullopt) {
    registry::Envelope envelope;
    envelope.number = ++number_;
    envelope.client = {client, client};
    envelope.claim = claim;
    envelope.encode(envelope_);
    const registry::ByteView frame = envelope_;
    core_.query(
        {}, {&frame, 1}, message, now_, [](registry::ByteView, registry::Frames, registry::ByteView) { return true; });
  }

  void tell(registry::ByteView message) {
    core_.registration("bench", std::nullopt, message, now_,
                       [](registry::ByteView, registry::Frames, registry::ByteView) { return true; });
  }

  /// As a worker's blocks come: claimed, and then registered.
  void store(Range numbers) {
    std::vector<std::uint64_t> keys;
    for (const std::uint64_t end = numbers.first + numbers.count; numbers.first < end; numbers.first += keys.size()) {
      keys.clear();
      for (std::uint64_t n = numbers.first; n < std::min(end, numbers.first + 100); ++n) keys.push_back(key_of(n));
      ask(keys_message(MessageType::can_offload, keys));
      tell(entries_message({numbers.first, keys.size()}));
    }
  }

  void lease(Range numbers, std::uint64_t client) { sweep(MessageType::can_offload, numbers, client); }
  void release(Range numbers, std::optional<std::uint64_t> claim = std::nullopt) {
    sweep(MessageType::release, numbers, usual_client, claim);
  }
  void remove(Range numbers) { sweep(MessageType::remove, numbers, usual_client); }

 private:
  static registry::HubOptions options() {
    registry::HubOptions options;
    options.lease_ttl = std::chrono::hours{10};
    options.max_leases = 1'000'000'000;
    return options;
  }

  void sweep(MessageType type, Range numbers, std::uint64_t client, std::optional<std::uint64_t> claim = std::nullopt) {
    std::vector<std::uint64_t> keys;
    for (std::uint64_t n = numbers.first; n < numbers.first + numbers.count; ++n) {
      keys.push_back(key_of(n));
      if (keys.size() < 100 && n + 1 < numbers.first + numbers.count) continue;
      ask(keys_message(type, keys), client, claim);
      keys.clear();
    }
  }

  registry::HubCore<P> core_;
  registry::Instant now_{registry::SteadyTime{} + std::chrono::hours{1}, registry::WallTime{} + std::chrono::hours{1}};
  registry::Bytes envelope_;
  std::uint64_t number_ = 0;
};

}  // namespace bench
