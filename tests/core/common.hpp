// SPDX-License-Identifier: Apache-2.0
// What the tests of the cores share: blocks that are numbers, and short names for what is answered.
#pragma once

#include <cstdint>
#include <vector>

#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>

namespace registry::test {

using Number = std::uint64_t;
using Numbers = std::vector<Number>;
using PlainEntry = Entry<Number, Number, NoMetadata>;
using TimedEntry = Entry<Number, Number, TimestampMetadata>;
using PlainStorage = HashMapStorage<Number, Number>;
using TimedStorage = HashMapStorage<Number, Number, TimestampMetadata>;
using PlainCodec = BinaryCodec<Number, Number, NoMetadata>;
using Statuses = std::vector<OffloadStatus>;
using RegisterStatuses = std::vector<RegisterStatus>;

inline constexpr ClientId me{11, 12};

inline constexpr OffloadStatus granted = OffloadStatus::granted;
inline constexpr OffloadStatus already_stored = OffloadStatus::already_stored;
inline constexpr OffloadStatus leased = OffloadStatus::leased;

inline constexpr RegisterStatus stored = RegisterStatus::stored;
inline constexpr RegisterStatus lease_conflict = RegisterStatus::lease_conflict;
inline constexpr RegisterStatus limit_exceeded = RegisterStatus::limit_exceeded;

}  // namespace registry::test
