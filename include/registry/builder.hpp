// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <registry/client.hpp>
#include <registry/codec.hpp>
#include <registry/core/catalogue.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/core/hub_namespaces.hpp>
#include <registry/core/options.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/hub.hpp>
#include <registry/storage.hpp>
#include <registry/transport/transport.hpp>

namespace registry {

namespace detail {

/// Above a year a duration is a mistake, and added to a time it might overflow.
inline void require_positive(const char* option, std::chrono::nanoseconds value) {
  if (value <= std::chrono::nanoseconds::zero() || value > std::chrono::years{1}) {
    throw RegistryError(
        ConfigError{option, std::to_string(value.count()) + " ns", "a duration above zero and up to a year"});
  }
}

inline void require_not_negative(const char* option, std::chrono::nanoseconds value) {
  if (value != std::chrono::nanoseconds::zero()) require_positive(option, value);
}

inline void require_positive(const char* option, std::size_t value) {
  if (value == 0) throw RegistryError(ConfigError{option, "0", "a number above zero"});
}

/// A hook for what leaves that is told the namespace first.
template <class Hook, class K, class V, class M>
concept TakesNamespaceAndDeparture =
    std::invocable<Hook&, std::string_view, const K&, const V&, const M&, EvictionReason, const Departure<K>&>;
template <class Hook, class K, class V, class M>
concept NamespaceHookFor = std::invocable<Hook&, std::string_view, const K&, const V&, const M&, EvictionReason> ||
                           TakesNamespaceAndDeparture<Hook, K, V, M>;

template <class K, class V, class M, class Hook>
EvictionHook<K, V, M> eviction_hook(Hook hook) {
  if constexpr (std::invocable<Hook&, const K&, const V&, const M&, EvictionReason, const Departure<K>&>) {
    return hook;
  } else {
    return [hook = std::move(hook)](const K& key, const V& value, const M& metadata, EvictionReason reason,
                                    const Departure<K>&) mutable { hook(key, value, metadata, reason); };
  }
}

/// A generic hook that takes anything gets all there is.
template <class K, class V, class M, class Hook>
NamespaceEvictionHook<K, V, M> namespace_eviction_hook(Hook hook) {
  if constexpr (TakesNamespaceAndDeparture<Hook, K, V, M>) {
    return hook;
  } else if constexpr (NamespaceHookFor<Hook, K, V, M>) {
    return [hook = std::move(hook)](
               std::string_view name, const K& key, const V& value, const M& metadata, EvictionReason reason,
               const Departure<K>&) mutable { hook(name, key, value, metadata, reason); };
  } else {
    return [hook = eviction_hook<K, V, M>(std::move(hook))](
               std::string_view, const K& key, const V& value, const M& metadata, EvictionReason reason,
               const Departure<K>& departure) { hook(key, value, metadata, reason, departure); };
  }
}

/// What a function that makes storages makes, told the namespace or not; void if it is no such function.
template <class F>
auto made_by() {
  if constexpr (std::invocable<F&, std::string_view>) {
    return std::type_identity<std::invoke_result_t<F&, std::string_view>>{};
  } else if constexpr (std::invocable<F&>) {
    return std::type_identity<std::invoke_result_t<F&>>{};
  } else {
    return std::type_identity<void>{};
  }
}
template <class F>
using MadeBy = typename decltype(made_by<F>())::type;

/// A storage as a policy without a bound; a policy as it is.
template <class S>
auto as_policy(S storage) {
  if constexpr (Eviction<S>) {
    return storage;
  } else {
    return NoEviction<S>(std::move(storage));
  }
}

}  // namespace detail

/// Puts a client together; see ClientOptions for what the options mean. `build` throws RegistryError{ConfigError} for
/// a value that makes no sense, and, for a namespace other than the default one over a blocking transport, whatever
/// asking the hub for it brings.
template <Key K, Value V, Metadata M, Transport T, class C>
  requires Codec<C, K, V, M>
class ClientBuilder {
 public:
  explicit ClientBuilder(T transport, ClientOptions options = {}, LossHook<K, V, M> on_undelivered = {})
      : transport_(std::move(transport)), options_(std::move(options)), on_undelivered_(std::move(on_undelivered)) {}

  ClientBuilder&& options(ClientOptions options) && { return set(options_, std::move(options)); }
  ClientBuilder&& batch_size(std::size_t entries) && { return set(options_.batch_size, entries); }
  ClientBuilder&& batch_timeout(std::chrono::nanoseconds time) && { return set(options_.batch_timeout, time); }
  ClientBuilder&& request_timeout(std::chrono::nanoseconds time) && { return set(options_.request_timeout, time); }
  ClientBuilder&& register_timeout(std::chrono::nanoseconds time) && { return set(options_.register_timeout, time); }
  ClientBuilder&& close_timeout(std::chrono::nanoseconds time) && { return set(options_.close_timeout, time); }
  ClientBuilder&& resend_interval(std::chrono::nanoseconds time) && { return set(options_.resend_interval, time); }
  ClientBuilder&& max_unconfirmed_bytes(std::size_t bytes) && { return set(options_.max_unconfirmed_bytes, bytes); }
  ClientBuilder&& max_message_size(std::size_t bytes) && { return set(options_.max_message_size, bytes); }
  ClientBuilder&& acknowledged(bool all) && { return set(options_.acknowledged, all); }
  ClientBuilder&& local_cache(std::size_t keys) && { return set(options_.local_cache, keys); }
  ClientBuilder&& local_cache_ttl(std::chrono::nanoseconds time) && { return set(options_.local_cache_ttl, time); }
  ClientBuilder&& registered_ttl(std::chrono::nanoseconds time) && { return set(options_.registered_ttl, time); }
  ClientBuilder&& name_space(std::string name) && { return set(options_.name_space, std::move(name)); }
  ClientBuilder&& log(LogHook hook) && { return set(options_.log, std::move(hook)); }

  /// `hook(entries, why)`, see LossHook.
  ClientBuilder&& on_undelivered(LossHook<K, V, M> hook) && { return set(on_undelivered_, std::move(hook)); }

  /// Another codec for the same types.
  template <class Other>
    requires Codec<Other, K, V, M>
  ClientBuilder<K, V, M, T, Other> codec() && {
    return ClientBuilder<K, V, M, T, Other>(std::move(transport_), std::move(options_), std::move(on_undelivered_));
  }

  RegistryClient<K, V, M, T, C> build() && {
    detail::require_positive("batch_size", options_.batch_size);
    detail::require_positive("max_message_size", options_.max_message_size);
    detail::require_positive("batch_timeout", options_.batch_timeout);
    detail::require_positive("request_timeout", options_.request_timeout);
    detail::require_positive("register_timeout", options_.register_timeout);
    detail::require_positive("resend_interval", options_.resend_interval);
    detail::require_not_negative("close_timeout", options_.close_timeout);
    detail::require_positive("local_cache_ttl", options_.local_cache_ttl);
    detail::require_positive("registered_ttl", options_.registered_ttl);
    return {std::move(transport_), std::move(options_), std::move(on_undelivered_)};
  }

 private:
  template <class Option, class Setting>
  ClientBuilder&& set(Option& option, Setting&& value) {
    option = std::forward<Setting>(value);
    return std::move(*this);
  }

  T transport_;
  ClientOptions options_;
  LossHook<K, V, M> on_undelivered_;
};

/// Starts a client of a registry of these types: `client<K, V, M>(transport).batch_size(50).build()`.
template <class K, class V, class M = NoMetadata, class T>
auto client(T transport) {
  static_assert(FixedWire<K>, "client<K, V, M>: K needs a wire<K> of fixed size (see registry/wire.hpp)");
  static_assert(Key<K>, "client<K, V, M>: K is not a Key (see registry/key.hpp)");
  static_assert(WireEncodable<V>, "client<K, V, M>: V needs a wire<V> (see registry/wire.hpp)");
  static_assert(Value<V>, "client<K, V, M>: V is not a Value (see registry/value.hpp)");
  static_assert(Metadata<M>, "client<K, V, M>: M is not a Metadata (see registry/metadata.hpp)");
  static_assert(Transport<T>, "client<K, V, M>(transport): not a Transport (see registry/transport/transport.hpp)");
  return ClientBuilder<K, V, M, T, BinaryCodec<K, V, M>>(std::move(transport));
}

/// Puts a hub together; see HubOptions for what the options mean. `build` throws RegistryError{ConfigError} for a value
/// that makes no sense, and what a function that makes storages throws for the namespace `default`.
///
/// `Source` is the policy of a hub with one namespace, or a function that makes one for each.
template <Eviction P, class C, class Source = P>
  requires Codec<C, typename P::key_type, typename P::value_type, typename P::metadata_type>
class HubBuilder {
  static constexpr bool has_namespaces = !std::same_as<Source, P>;

 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;

  using Core = std::conditional_t<has_namespaces, HubNamespaces<P, C>, HubCore<P, C>>;
  using Hook = std::conditional_t<has_namespaces, NamespaceEvictionHook<K, V, M>, EvictionHook<K, V, M>>;

  explicit HubBuilder(Source source, HubOptions options = {}, Hook on_evict = {}, RefusalHook<K, V, M> on_refused = {})
      : source_(std::move(source)),
        options_(std::move(options)),
        on_evict_(std::move(on_evict)),
        on_refused_(std::move(on_refused)) {}

  HubBuilder&& options(HubOptions options) && { return set(options_, std::move(options)); }
  HubBuilder&& lease_ttl(std::chrono::nanoseconds time) && { return set(options_.lease_ttl, time); }
  HubBuilder&& lease_cleanup_interval(std::chrono::nanoseconds time) && {
    return set(options_.lease_cleanup_interval, time);
  }
  HubBuilder&& max_leases(std::size_t leases) && { return set(options_.max_leases, leases); }
  HubBuilder&& max_leases_per_client(std::size_t leases) && { return set(options_.max_leases_per_client, leases); }
  HubBuilder&& max_keys_per_query(std::size_t keys) && { return set(options_.max_keys_per_query, keys); }
  HubBuilder&& max_answer_bytes(std::size_t bytes) && { return set(options_.max_answer_bytes, bytes); }
  HubBuilder&& insist_on_holder(bool insist) && { return set(options_.insist_on_holder, insist); }
  HubBuilder&& registration_wait(std::chrono::nanoseconds time) && { return set(options_.registration_wait, time); }
  HubBuilder&& max_waiting(std::size_t queries) && { return set(options_.max_waiting, queries); }
  HubBuilder&& max_waiting_claims(std::size_t claims) && { return set(options_.max_waiting_claims, claims); }
  HubBuilder&& max_waiting_bytes(std::size_t bytes) && { return set(options_.max_waiting_bytes, bytes); }
  HubBuilder&& max_claim_wait(std::chrono::nanoseconds time) && { return set(options_.max_claim_wait, time); }
  HubBuilder&& recovery_time(std::chrono::nanoseconds time) && { return set(options_.recovery_time, time); }
  HubBuilder&& incarnation(std::uint64_t number) && { return set(options_.incarnation, number); }
  HubBuilder&& max_clients(std::size_t clients) && { return set(options_.max_clients, clients); }
  HubBuilder&& max_namespaces(std::size_t namespaces) &&
    requires has_namespaces
  {
    return set(options_.max_namespaces, namespaces);
  }
  HubBuilder&& stall_tolerance(std::chrono::nanoseconds time) && { return set(options_.stall_tolerance, time); }
  HubBuilder&& log(LogHook hook) && { return set(options_.log, std::move(hook)); }

  /// `hook(key, value, metadata, reason)`, or with a fifth parameter, the `const Departure<K>&` whose `hold()` keeps
  /// the key from being granted while the object is being deleted. A hub with namespaces also takes hooks with a
  /// `std::string_view` in front, which is the namespace. See EvictionHook for what a hook may do.
  template <class Given>
    requires std::invocable<Given&, const K&, const V&, const M&, EvictionReason> ||
             std::invocable<Given&, const K&, const V&, const M&, EvictionReason, const Departure<K>&> ||
             (has_namespaces && detail::NamespaceHookFor<Given, K, V, M>)
  HubBuilder&& on_evict(Given hook) && {
    if constexpr (has_namespaces) {
      on_evict_ = detail::namespace_eviction_hook<K, V, M>(std::move(hook));
    } else {
      on_evict_ = detail::eviction_hook<K, V, M>(std::move(hook));
    }
    return std::move(*this);
  }

  /// `hook(name_space, entries, why)`, see RefusalHook.
  HubBuilder&& on_refused(RefusalHook<K, V, M> hook) && { return set(on_refused_, std::move(hook)); }

  /// Another codec for the same types.
  template <class Other>
    requires Codec<Other, K, V, M>
  HubBuilder<P, Other, Source> codec() && {
    return HubBuilder<P, Other, Source>(
        std::move(source_), std::move(options_), std::move(on_evict_), std::move(on_refused_));
  }

  RegistryHub<P, C, Core> build() && {
    detail::require_positive("lease_ttl", options_.lease_ttl);
    detail::require_positive("lease_cleanup_interval", options_.lease_cleanup_interval);
    detail::require_positive("max_leases", options_.max_leases);
    detail::require_positive("max_leases_per_client", options_.max_leases_per_client);
    detail::require_positive("max_keys_per_query", options_.max_keys_per_query);
    detail::require_positive("max_answer_bytes", options_.max_answer_bytes);
    detail::require_positive("registration_wait", options_.registration_wait);
    detail::require_not_negative("stall_tolerance", options_.stall_tolerance);
    detail::require_positive("max_clients", options_.max_clients);
    detail::require_not_negative("max_claim_wait", options_.max_claim_wait);
    detail::require_not_negative("recovery_time", options_.recovery_time);
    detail::require_positive("max_namespaces", options_.max_namespaces);
    return {std::move(source_), std::move(options_), std::move(on_evict_), std::move(on_refused_)};
  }

 private:
  template <class Option, class Setting>
  HubBuilder&& set(Option& option, Setting&& value) {
    option = std::forward<Setting>(value);
    return std::move(*this);
  }

  Source source_;
  HubOptions options_;
  Hook on_evict_;
  RefusalHook<K, V, M> on_refused_;
};

/// Starts a hub of these types over a storage, which then has no bound, or over an eviction policy:
/// `hub<K, V, M>(TailEviction(HashMapStorage<K, V, M>{}, 1'000'000)).lease_ttl(60s).build()`. It serves the namespace
/// `default`. With a function that makes one of either, `[](std::string_view name) { ... }` or `[] { ... }`, it serves
/// any namespace, up to `max_namespaces`, and the function is called for each when the first message for it comes.
template <class K, class V, class M = NoMetadata, class S>
auto hub(S storage) {
  static_assert(FixedWire<K>, "hub<K, V, M>: K needs a wire<K> of fixed size (see registry/wire.hpp)");
  static_assert(Key<K>, "hub<K, V, M>: K is not a Key (see registry/key.hpp)");
  static_assert(WireEncodable<V>, "hub<K, V, M>: V needs a wire<V> (see registry/wire.hpp)");
  static_assert(Value<V>, "hub<K, V, M>: V is not a Value (see registry/value.hpp)");
  static_assert(Metadata<M>, "hub<K, V, M>: M is not a Metadata (see registry/metadata.hpp)");
  using Made = detail::MadeBy<S>;
  if constexpr (Storage<S> || Eviction<S> || std::is_void_v<Made>) {
    static_assert(Storage<S> || Eviction<S>,
                  "hub<K, V, M>(storage): neither a Storage nor an Eviction policy (see registry/storage.hpp), nor a "
                  "function that makes one");
    static_assert(StoresEntries<S, K, V, M>, "hub<K, V, M>(storage): the storage is for other types than K, V and M");
    using P = decltype(detail::as_policy(std::move(storage)));
    return HubBuilder<P, BinaryCodec<K, V, M>>(detail::as_policy(std::move(storage)));
  } else {
    static_assert(Storage<Made> || Eviction<Made>,
                  "hub<K, V, M>(function): what it makes is neither a Storage nor an Eviction policy");
    static_assert(
        StoresEntries<Made, K, V, M>, "hub<K, V, M>(function): what it makes is for other types than K, V and M");
    using P = decltype(detail::as_policy(std::declval<Made>()));
    using Factory = std::function<P(std::string_view)>;
    return HubBuilder<P, BinaryCodec<K, V, M>, Factory>(
        Factory([make = std::move(storage)]([[maybe_unused]] std::string_view name) mutable {
          if constexpr (std::invocable<S&, std::string_view>) {
            return detail::as_policy(make(name));
          } else {
            return detail::as_policy(make());
          }
        }));
  }
}

}  // namespace registry
