// SPDX-License-Identifier: Apache-2.0
#include <registry/core/client_core.hpp>
#include <registry/core/hub_core.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <registry/codec.hpp>
#include <registry/core/key_holds.hpp>
#include <registry/eviction.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/storage.hpp>

namespace {

using namespace registry;

using Number = std::uint64_t;
using Numbers = HashMapStorage<Number, Number>;
using Core = ClientCore<Number, Number, NoMetadata>;

template <class P, class... C>
concept HasHubCore = requires { typename HubCore<P, C...>; };
template <class K, class V, class M, class... C>
concept HasClientCore = requires { typename ClientCore<K, V, M, C...>; };

static_assert(HasHubCore<NoEviction<Numbers>>);
static_assert(HasHubCore<TailEviction<HashMapStorage<Key128, StorageLocation, TimestampMetadata>>>);
static_assert(HasHubCore<RecencyEviction<HashMapStorage<PositionalKey, Number, PositionMetadata>>>);
static_assert(HasHubCore<NoEviction<Numbers>, BinaryCodec<Number, Number, NoMetadata>>);

// A hub core is over a policy: a storage by itself has no bound to ask for.
static_assert(!HasHubCore<Numbers>);
static_assert(!HasHubCore<int>);
static_assert(!HasHubCore<NoEviction<Numbers>, BinaryCodec<Key128, Number, NoMetadata>>);
static_assert(!HasHubCore<NoEviction<Numbers>, BinaryCodec<Number, Number, TimestampMetadata>>);
static_assert(!HasHubCore<NoEviction<Numbers>, int>);

static_assert(HasClientCore<Number, Number, NoMetadata>);
static_assert(HasClientCore<Key128, StorageLocation, PositionMetadata>);
static_assert(!HasClientCore<std::string, Number, NoMetadata>);
static_assert(!HasClientCore<Number, std::string, NoMetadata>);
static_assert(!HasClientCore<Number, Number, std::string>);
static_assert(!HasClientCore<Number, Number, NoMetadata, BinaryCodec<Key128, Number, NoMetadata>>);
static_assert(!HasClientCore<Number, Number, NoMetadata, int>);

// Each call has a result of its own.
static_assert(std::is_same_v<Core::Offload::Result, OffloadResult<Number>>);
static_assert(std::is_same_v<Core::Match::Result, std::vector<Entry<Number, Number, NoMetadata>>>);
static_assert(std::is_same_v<Core::Count::Result, std::uint64_t>);

/// Only a can_offload can have been granted something; the others are not asked what to take back.
template <class Call>
concept CanBegin = requires(Core& core, Call& call, SteadyTime now) {
  { core.begin(call, RequestId{1}, now) } -> std::same_as<bool>;
};
static_assert(CanBegin<Core::Offload> && CanBegin<Core::Match> && CanBegin<Core::Count> && CanBegin<Core::Hello>);

// A handle travels to other threads: it must be cheap to move, and nothing can be changed through it.
static_assert(std::is_nothrow_move_constructible_v<EvictionHandle> && std::is_copy_constructible_v<EvictionHandle>);
static_assert(std::is_const_v<EvictionHandle::element_type>);

// What a hook is told may not be changed through it.
using Hook = EvictionHook<Number, Number, NoMetadata>;
static_assert(std::is_invocable_v<Hook&, const Number&, const Number&, const NoMetadata&, EvictionReason,
                                  const Departure<Number>&>);
static_assert(
    !std::is_constructible_v<Hook, void (*)(Number&, Number&, NoMetadata&, EvictionReason, const Departure<Number>&)>);

}  // namespace
