// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/catalogue.hpp>
#include <registry/core/decode.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/core/refusal_hook.hpp>
#include <registry/core/reports.hpp>
#include <registry/detail/counter.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/log.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>

namespace registry {

/// An EvictionHook that is told the namespace first.
template <Key K, Value V, Metadata M>
using NamespaceEvictionHook =
    std::function<void(std::string_view, const K&, const V&, const M&, EvictionReason, const Departure<K>&)>;

/// A hub core for each namespace, with nothing in common but the options; used as one is. `default` is there from the
/// start; another one is made by the first message for it of a version and type that it knows, up to `max_namespaces`,
/// and stays.
///
/// All calls on one thread, except `stats` and `namespaces`. What makes a call throw is as with HubCore.
template <Eviction P, class C = BinaryCodec<typename P::key_type, typename P::value_type, typename P::metadata_type>>
  requires Codec<C, typename P::key_type, typename P::value_type, typename P::metadata_type>
class HubNamespaces {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using Core = HubCore<P, C>;
  /// Makes the policy of a namespace, whose name may be any 1 to 255 bytes: it comes from outside. If it throws, the
  /// namespace is refused with a StorageError, and tried again with the next message for it.
  using Factory = std::function<P(std::string_view)>;

  /// Throws what the factory throws for `default`.
  HubNamespaces(Factory factory, HubOptions options, NamespaceEvictionHook<K, V, M> on_evict = {},
                RefusalHook<K, V, M> on_refused = {})
      : factory_(std::move(factory)),
        options_(std::move(options)),
        on_evict_(std::move(on_evict)),
        reports_(options_.log),
        refusals_(std::move(on_refused), reports_) {
    last_ = &add(default_namespace);
  }
  HubNamespaces(const HubNamespaces&) = delete;
  HubNamespaces& operator=(const HubNamespaces&) = delete;

  template <class Reply>
  void query(ByteView sender, Frames envelope, ByteView message, Instant now, Reply&& reply) try {
    // For its name only; the core reads it for itself.
    const std::optional<Envelope> ours = envelope.size() == 1 ? Envelope::decode(envelope.front()) : std::nullopt;
    const Place place = find_or_make(ours ? ours->name_space : default_namespace, message, now);
    if (Core* const* core = std::get_if<Core*>(&place)) return (*core)->query(sender, envelope, message, now, reply);
    queries_.add();
    refuse(sender, envelope, message, std::get<Error>(place), reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  template <class Reply>
  void registration(const PeerName& sender, std::optional<ByteView> envelope, ByteView message, Instant now,
                    Reply&& reply) try {
    // What has a second frame that is no envelope is dropped by the core of `default`.
    const std::optional<Envelope> ours = envelope ? Envelope::decode(*envelope) : std::nullopt;
    const std::string_view name = ours ? ours->name_space : default_namespace;
    const Place place = find_or_make(name, message, now);
    if (Core* const* core = std::get_if<Core*>(&place)) {
      return (*core)->registration(sender, envelope, message, now, reply);
    }
    registrations_.add();
    refuse(sender, name, message, std::get<Error>(place), now);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// As HubCore::begin: the recovery time of a namespace made later runs from then, too.
  void begin(Instant now) {
    if (!started_) started_ = now;
  }

  void malformed(std::string_view sender, std::string_view why, Instant now) try {
    malformed_.add();
    reports_.add(now.lease, "a message from " + std::string{sender} + " was dropped: " + std::string{why});
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  void denied(std::string_view name_space, ByteView message, const Error& why, Instant now) {
    refusals_.hand_over_denied(name_space, message, why, now.lease);
  }

  template <class Reply>
  void tick(Instant now, Reply&& reply) {
    begin(now);
    for (const auto& [name, core] : cores_) core->tick(now, reply);
  }

  template <class Reply>
  void end_waiting(Instant now, Reply&& reply) {
    for (const auto& [name, core] : cores_) core->end_waiting(now, reply);
  }

  template <class Reply>
  void end_claims(Instant now, Reply&& reply) {
    for (const auto& [name, core] : cores_) core->end_claims(now, reply);
  }

  std::optional<SteadyTime> next_deadline() const {
    std::optional<SteadyTime> next;
    for (const auto& [name, core] : cores_) {
      const std::optional<SteadyTime> deadline = core->next_deadline();
      if (deadline) next = next ? std::min(*next, *deadline) : *deadline;
    }
    return next;
  }

  /// What has happened so far in all namespaces, and to what found none; from any thread.
  HubStats stats() const {
    HubStats sum;
    sum.queries = queries_.load();
    sum.registrations = registrations_.load();
    sum.entries_refused = entries_refused_.load();
    sum.malformed = malformed_.load();
    sum.undeliverable = undeliverable_.load();
    refusals_.add_to(sum);
    const std::lock_guard lock(mutex_);
    for (const auto& [name, core] : cores_) sum += core->stats();
    return sum;
  }

  /// What has happened in one namespace, or nothing if it has not been made; from any thread.
  std::optional<HubStats> stats(std::string_view name) const {
    const std::lock_guard lock(mutex_);
    const auto found = cores_.find(name);
    if (found == cores_.end()) return std::nullopt;
    return found->second->stats();
  }

  /// The names of those that have been made, in alphabetical order; from any thread.
  std::vector<std::string> namespaces() const {
    std::vector<std::string> names;
    const std::lock_guard lock(mutex_);
    for (const auto& [name, core] : cores_) names.push_back(name);
    return names;
  }

  /// The core of one namespace, or null if it has not been made; on the hub's thread.
  Core* find(std::string_view name) noexcept {
    const auto found = cores_.find(name);
    return found == cores_.end() ? nullptr : found->second.get();
  }

  const HubOptions& options() const noexcept { return options_; }

 private:
  /// Where a message belongs, or why there is no such place.
  using Place = std::variant<Core*, Error>;

  Place find_or_make(std::string_view name, ByteView message, Instant now) {
    begin(now);
    if (name == last_name_) return last_;
    Core* core = find(name);
    if (core == nullptr) {
      // Bytes that are no message at all make no namespace.
      MessageType type{};
      if (std::optional<Error> error = C::decode_type(message, type)) return *std::move(error);
      if (cores_.size() >= options_.max_namespaces) {
        return LimitExceeded{"max_namespaces", options_.max_namespaces, cores_.size() + 1};
      }
      try {
        core = &add(name);
        core->begin(*started_);
      } catch (...) {
        return StorageError{failure_text()};
      }
    }
    last_name_ = cores_.find(name)->first;
    return last_ = core;
  }

  Core& add(std::string_view name) {
    auto core =
        std::make_unique<Core>(factory_(name), options_of(name), hook_of(name), refusals_.hook(), std::string{name});
    // Only this thread changes the map, so that only the others lock to read it.
    const std::lock_guard lock(mutex_);
    return *cores_.emplace(name, std::move(core)).first->second;
  }

  HubOptions options_of(std::string_view name) const {
    HubOptions options = options_;
    if (options.log) {
      options.log = [log = options.log, prefix = "namespace \"" + printable(name) + "\": "](
                        LogLevel level, std::string_view text) { log(level, prefix + std::string{text}); };
    }
    return options;
  }

  EvictionHook<K, V, M> hook_of(std::string_view name) {
    if (!on_evict_) return {};
    return [this, name = std::string{name}](
               const K& key, const V& value, const M& metadata, EvictionReason reason, const Departure<K>& departure) {
      on_evict_(name, key, value, metadata, reason, departure);
    };
  }

  /// A query is answered with the error.
  template <class Reply>
  void refuse(ByteView sender, Frames envelope, ByteView message, const Error& why, Reply& reply) {
    MessageType type{};
    if (C::decode_type(message, type)) malformed_.add();
    C::encode_text(MessageType::error_response, to_string(why), answer_);
    if (!reply(sender, envelope, ByteView{answer_})) undeliverable_.add();
  }

  /// A registration is dropped.
  void refuse(const PeerName& sender, std::string_view name, ByteView message, const Error& why, Instant now) {
    std::vector<Entry<K, V, M>> entries;
    const std::optional<Error> unreadable = decode_registration<C>(message, entries);
    (unreadable ? malformed_ : entries_refused_).add(unreadable ? 1 : entries.size());
    reports_.add(now.lease, "a registration from " + std::string{sender} + " was dropped: " +
                                (unreadable ? to_string(*unreadable)
                                            : std::to_string(entries.size()) + " entries for namespace \"" +
                                                  std::string{name} + "\": " + to_string(why)));
    if (!unreadable) refusals_.hand_over(name, entries, why, now.lease);
  }

  Factory factory_;
  HubOptions options_;
  NamespaceEvictionHook<K, V, M> on_evict_;
  Reports reports_;
  Refusals<K, V, M, C> refusals_;

  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Core>, std::less<>> cores_;
  std::optional<Instant> started_;
  // Messages for one namespace come one behind the other, and with one namespace there is nothing to look up.
  Core* last_ = nullptr;
  std::string_view last_name_ = default_namespace;

  Bytes answer_;
  detail::Counter queries_, registrations_, entries_refused_, malformed_, undeliverable_;
};

}  // namespace registry
