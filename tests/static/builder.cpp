// SPDX-License-Identifier: Apache-2.0
#include <registry/builder.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <registry/eviction/tail.hpp>
#include <registry/transport/in_process.hpp>

namespace {

using namespace registry;

using Number = std::uint64_t;
using Numbers = HashMapStorage<Number, Number>;
using Codec64 = BinaryCodec<Number, Number, NoMetadata>;
using ClientOf = ClientBuilder<Number, Number, NoMetadata, InProcessTransport, Codec64>;
using HubOf = HubBuilder<NoEviction<Numbers>, Codec64>;

// Metadata and codec have their defaults; a storage becomes a policy without a bound.
static_assert(std::same_as<decltype(client<Number, Number>(std::declval<InProcessTransport>())), ClientOf>);
static_assert(std::same_as<decltype(hub<Number, Number>(Numbers{})), HubOf>);
static_assert(std::same_as<decltype(hub<Number, Number>(TailEviction(Numbers{}, 5))),
                           HubBuilder<TailEviction<Numbers>, Codec64>>);
static_assert(std::same_as<decltype(std::declval<ClientOf>().build()),
                           RegistryClient<Number, Number, NoMetadata, InProcessTransport>>);
static_assert(std::same_as<decltype(std::declval<HubOf>().build()), RegistryHub<NoEviction<Numbers>>>);

/// Setters move the builder along; on a named one they would leave it half empty, so they do not exist there.
template <class B>
concept SetsBatchSize = requires(B&& builder) { std::forward<B>(builder).batch_size(5); };
template <class B>
concept SetsLeaseTtl = requires(B&& builder) { std::forward<B>(builder).lease_ttl(std::chrono::seconds{5}); };
template <class B>
concept Builds = requires(B&& builder) { std::forward<B>(builder).build(); };
template <class B, class C>
concept TakesCodec = requires(B&& builder) { std::forward<B>(builder).template codec<C>(); };

static_assert(SetsBatchSize<ClientOf> && !SetsBatchSize<ClientOf&> && !SetsBatchSize<const ClientOf>);
static_assert(SetsLeaseTtl<HubOf> && !SetsLeaseTtl<HubOf&> && !SetsLeaseTtl<const HubOf>);
static_assert(Builds<ClientOf> && !Builds<ClientOf&>);
static_assert(Builds<HubOf> && !Builds<HubOf&>);

struct Other : Codec64 {
  static constexpr unsigned protocol_version = 2;
};
static_assert(TakesCodec<ClientOf, Other> && TakesCodec<HubOf, Other>);
static_assert(!TakesCodec<ClientOf, int> && !TakesCodec<HubOf, int>);
static_assert(!TakesCodec<HubOf, BinaryCodec<Key128, Number, NoMetadata>>);
static_assert(!TakesCodec<ClientOf, BinaryCodec<Number, std::uint32_t, NoMetadata>>);
static_assert(
    std::same_as<decltype(std::declval<HubOf>().codec<Other>().build()), RegistryHub<NoEviction<Numbers>, Other>>);

template <class Hook>
concept IsHook = requires(HubOf&& builder, Hook hook) { std::move(builder).on_evict(std::move(hook)); };

static_assert(IsHook<void (*)(const Number&, const Number&, const NoMetadata&, EvictionReason)>);
static_assert(IsHook<void (*)(Number, Number, NoMetadata, EvictionReason)>);
static_assert(
    IsHook<void (*)(const Number&, const Number&, const NoMetadata&, EvictionReason, const Departure<Number>&)>);
static_assert(!IsHook<void (*)(const Number&, const Number&)>, "why it left says whether the object may go");
static_assert(!IsHook<void (*)(Number&, const Number&, const NoMetadata&, EvictionReason)>);
static_assert(!IsHook<void (*)(const std::string&, const Number&, const NoMetadata&, EvictionReason)>);
static_assert(!IsHook<void (*)(const Number&, const Number&, const NoMetadata&, EvictionReason, Departure<Number>&)>);
static_assert(!IsHook<int>);

// A function that makes storages or policies, told the namespace or not, is a hub with namespaces.
using Factory = Numbers (*)(std::string_view);
using ManyOf = decltype(hub<Number, Number>(Factory{}));
static_assert(std::same_as<decltype(std::declval<ManyOf>().build()),
                           RegistryHub<NoEviction<Numbers>, Codec64, HubNamespaces<NoEviction<Numbers>>>>);
static_assert(std::same_as<ManyOf, decltype(hub<Number, Number>([] { return Numbers{}; }))>);
static_assert(std::same_as<decltype(hub<Number, Number>([] { return TailEviction(Numbers{}, 5); }).build()),
                           RegistryHub<TailEviction<Numbers>, Codec64, HubNamespaces<TailEviction<Numbers>>>>);

/// What concerns namespaces is not there where there is one.
template <class B>
concept BoundsNamespaces = requires(B&& builder) { std::forward<B>(builder).max_namespaces(5); };
template <class H>
concept ListsNamespaces = requires(const H& hub) { hub.namespaces(); };
template <class H>
concept CountsByNamespace = requires(const H& hub) { hub.stats("default"); };

static_assert(BoundsNamespaces<ManyOf> && !BoundsNamespaces<ManyOf&> && !BoundsNamespaces<HubOf>);
static_assert(ListsNamespaces<decltype(std::declval<ManyOf>().build())>);
static_assert(!ListsNamespaces<decltype(std::declval<HubOf>().build())>);
static_assert(CountsByNamespace<decltype(std::declval<ManyOf>().build())>);
static_assert(!CountsByNamespace<decltype(std::declval<HubOf>().build())>);

template <class Hook>
concept IsNamespaceHook = requires(ManyOf&& builder, Hook hook) { std::move(builder).on_evict(std::move(hook)); };

using Reason = EvictionReason;
static_assert(IsNamespaceHook<void (*)(Number, Number, NoMetadata, Reason)>);
static_assert(IsNamespaceHook<void (*)(std::string_view, Number, Number, NoMetadata, Reason)>);
static_assert(
    IsNamespaceHook<void (*)(std::string_view, Number, Number, NoMetadata, Reason, const Departure<Number>&)>);
static_assert(!IsNamespaceHook<void (*)(std::string_view, Number, Number)>);
static_assert(!IsNamespaceHook<void (*)(Number, Number, NoMetadata, Reason, std::string_view)>, "in front, not behind");
static_assert(!IsHook<void (*)(std::string_view, Number, Number, NoMetadata, Reason)>, "there is one namespace");

}  // namespace
