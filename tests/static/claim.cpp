// SPDX-License-Identifier: Apache-2.0
#include <registry/claim.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <registry/client.hpp>
#include <registry/list_view.hpp>
#include <registry/message.hpp>
#include <registry/transport/asio_zmq.hpp>
#include <registry/transport/in_process.hpp>

namespace {

using namespace registry;

using Number = std::uint64_t;
using Blocking = RegistryClient<Number, Number, NoMetadata, InProcessTransport>;
using Async = RegistryClient<Number, Number, NoMetadata, AsioZmqTransport>;
using Entries = std::vector<Entry<Number, Number, NoMetadata>>;

struct Ignore {
  template <class... Results>
  void operator()(Results&&...) const {}
};

// What the transport can do decides which calls there are, of a client and of its claims.
template <class R>
concept BlocksInCalls =
    requires(R& client, typename R::ClaimType& claim, ListView<Number> keys, const Entries& entries) {
      { client.claim(keys) } -> std::same_as<typename R::ClaimType>;
      { client.register_acknowledged(entries) } -> std::same_as<RegisterResult<typename Entries::value_type>>;
      { client.remove_if(entries) } -> std::same_as<std::uint64_t>;
      { claim.register_blocks(entries) } -> std::same_as<RegisterResult<typename Entries::value_type>>;
      { claim.renew() } -> std::same_as<std::vector<Number>>;
      { claim.progress() } -> std::same_as<std::vector<Number>>;
    };
template <class R>
concept StartsClaim =
    requires(R& client, ListView<Number> keys, std::chrono::seconds wait) { client.async_claim(keys, wait, Ignore{}); };
template <class R>
concept StartsRegistration =
    requires(R& client, const Entries& entries) { client.async_register_acknowledged(entries, Ignore{}); };
template <class R>
concept StartsRemoval = requires(R& client, const Entries& entries) { client.async_remove_if(entries, Ignore{}); };
template <class C>
concept StartsRenewal = requires(C& claim) { claim.async_renew(Ignore{}); };
template <class C>
concept StartsProgress = requires(C& claim) { claim.async_progress(Ignore{}); };
template <class C>
concept StartsRegistering =
    requires(C& claim, const Entries& entries) { claim.async_register_blocks(entries, Ignore{}); };
static_assert(BlocksInCalls<Blocking>);
static_assert(!StartsClaim<Blocking> && !StartsRegistration<Blocking> && !StartsRemoval<Blocking>);
static_assert(!StartsRenewal<Blocking::ClaimType> && !StartsProgress<Blocking::ClaimType> &&
              !StartsRegistering<Blocking::ClaimType>);
static_assert(StartsClaim<Async> && StartsRegistration<Async> && StartsRemoval<Async>);
static_assert(StartsRenewal<Async::ClaimType> && StartsProgress<Async::ClaimType> &&
              StartsRegistering<Async::ClaimType>);

template <class R>
concept ClaimsBlocking = requires(R& client, ListView<Number> keys) { client.claim(keys); };
template <class C>
concept RenewsBlocking = requires(C& claim) { claim.renew(); };
template <class C>
concept ProgressesBlocking = requires(C& claim) { claim.progress(); };
template <class C>
concept RegistersBlocking = requires(C& claim, const Entries& entries) { claim.register_blocks(entries); };
static_assert(!ClaimsBlocking<Async> && !RenewsBlocking<Async::ClaimType> && !ProgressesBlocking<Async::ClaimType> &&
              !RegistersBlocking<Async::ClaimType>);

// What is given back at its end is given back once, and an error leaves one behind that holds nothing.
template <class C>
concept OneOwner =
    !std::is_copy_constructible_v<C> && !std::is_copy_assignable_v<C> && std::is_nothrow_move_constructible_v<C> &&
    std::is_nothrow_move_assignable_v<C> && std::is_nothrow_default_constructible_v<C> && requires(C& claim) {
      { claim.release() } noexcept;
    };
static_assert(OneOwner<Blocking::ClaimType> && OneOwner<Async::ClaimType>);

}  // namespace
