// SPDX-License-Identifier: Apache-2.0
#include <registry/client.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <registry/core/instant.hpp>
#include <registry/list_view.hpp>
#include <registry/message.hpp>
#include <registry/transport/in_process.hpp>
#include <registry/transport/zmq.hpp>

namespace {

using namespace registry;

using Number = std::uint64_t;
using NumberEntry = Entry<Number, Number, NoMetadata>;
using Numbers = OffloadResult<Number>;

template <class K, class V, class M>
using Blocking = RegistryClient<K, V, M, InProcessTransport>;

static_assert(Registry<Blocking<Number, Number, NoMetadata>>);
static_assert(Registry<Blocking<Key128, StorageLocation, TimestampMetadata>>);
static_assert(Registry<Blocking<PositionalKey, StorageLocation, PositionMetadata>>);
static_assert(Registry<RegistryClient<Number, Number, NoMetadata, ZmqTransport>>);

/// A fake as a test of client code may write it: plain spans, no client behind it.
struct Fake {
  using key_type = Number;
  using value_type = Number;
  using metadata_type = NoMetadata;
  Numbers can_offload(std::span<const Number>);
  void register_blocks(std::span<const NumberEntry>);
  void flush();
  std::vector<NumberEntry> match(std::span<const Number>);
  std::vector<NumberEntry> match_prefix(std::span<const Number>);
  std::uint64_t remove(std::span<const Number>);
  std::uint64_t touch(std::span<const Number>);
};
static_assert(Registry<Fake>);
static_assert(!Registry<Fake&>, "a reference has no key_type");

struct AnswersStatuses : Fake {
  std::vector<OffloadStatus> can_offload(std::span<const Number>);
};
struct OffloadsOne : Fake {
  Numbers can_offload(Number);
};
struct RegistersParts : Fake {
  void register_blocks(std::span<const Number>, std::span<const Number>);
};
struct RegisterAnswers : Fake {
  bool register_blocks(std::span<const NumberEntry>);
};
struct FlushAnswers : Fake {
  bool flush();
};
struct MatchesValues : Fake {
  std::vector<Number> match(std::span<const Number>);
};
struct NoPrefix : Fake {
  void match_prefix() = delete;
};
struct RemoveSaysNothing : Fake {
  void remove(std::span<const Number>);
};
struct TouchIn32Bits : Fake {
  std::uint32_t touch(std::span<const Number>);
};
struct OfOtherKeys : Fake {
  using key_type = Key128;
};
struct WithoutMetadata : Fake {
 private:
  using Fake::metadata_type;
};
static_assert(!Registry<AnswersStatuses>);
static_assert(!Registry<OffloadsOne>);
static_assert(!Registry<RegistersParts>);
static_assert(!Registry<RegisterAnswers>);
static_assert(!Registry<FlushAnswers>);
static_assert(!Registry<MatchesValues>);
static_assert(!Registry<NoPrefix>);
static_assert(!Registry<RemoveSaysNothing>);
static_assert(!Registry<TouchIn32Bits>);
static_assert(!Registry<OfOtherKeys>);
static_assert(!Registry<WithoutMetadata>);
static_assert(!Registry<int>);

// A hub and a core are no clients, and a client that cannot be asked without being changed is not one in a const.
static_assert(!Registry<ClientCore<Number, Number, NoMetadata>>);
static_assert(!Registry<const Blocking<Number, Number, NoMetadata>>);

// Two owners would both close it.
static_assert(!std::is_copy_constructible_v<Blocking<Number, Number, NoMetadata>>);
static_assert(std::is_nothrow_move_constructible_v<Blocking<Number, Number, NoMetadata>>);
static_assert(std::is_nothrow_move_assignable_v<Blocking<Number, Number, NoMetadata>>);

// Parameters take what holds keys side by side, and nothing else.
static_assert(std::is_convertible_v<std::vector<Number>&, ListView<Number>>);
static_assert(std::is_convertible_v<const std::vector<Number>&, ListView<Number>>);
static_assert(std::is_convertible_v<std::span<const Number>, ListView<Number>>);
static_assert(std::is_convertible_v<std::initializer_list<Number>, ListView<Number>>);
static_assert(std::is_convertible_v<Number (&)[3], ListView<Number>>);
static_assert(!std::is_convertible_v<Number, ListView<Number>>);
static_assert(!std::is_convertible_v<std::vector<std::uint32_t>&, ListView<Number>>);
static_assert(!std::is_convertible_v<std::vector<bool>&, ListView<bool>>);

}  // namespace
