// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/decode.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/reports.hpp>
#include <registry/detail/counter.hpp>
#include <registry/error.hpp>
#include <registry/key.hpp>
#include <registry/metadata.hpp>
#include <registry/stats.hpp>
#include <registry/value.hpp>

namespace registry {

/// Told of registrations by PUSH that were refused, whole or in part: nobody waits for an answer to them. The
/// namespace, the entries refused, and why the last of them was. Called on the hub's thread: it must not block or call
/// the hub. An exception out of it is counted and logged.
template <Key K, Value V, Metadata M>
using RefusalHook = std::function<void(std::string_view, std::span<const Entry<K, V, M>>, const Error&)>;

/// What hands to the hook, if there is one, the entries that were refused. One thread; the counter may be read from
/// any.
template <Key K, Value V, Metadata M, Codec<K, V, M> C>
class Refusals {
 public:
  using EntryType = Entry<K, V, M>;

  Refusals(RefusalHook<K, V, M> hook, Reports& reports) : hook_(std::move(hook)), reports_(reports) {}

  const RefusalHook<K, V, M>& hook() const noexcept { return hook_; }

  void hand_over(std::string_view name_space, std::span<const EntryType> entries, const Error& why, SteadyTime now) {
    if (!hook_ || entries.empty()) return;
    try {
      hook_(name_space, entries, why);
    } catch (...) {
      hook_failures_.add();
      reports_.add(now, "on_refused threw: " + failure_text());
    }
  }

  /// Of a registration that the transport has denied, with what it knows of why. One that cannot be read is nobody's.
  void hand_over_denied(std::string_view name_space, ByteView message, const Error& why, SteadyTime now) try {
    std::vector<EntryType> entries;
    if (!hook_ || decode_registration<C>(message, entries)) return;
    hand_over(name_space, entries, why, now);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now);
  }

  void add_to(HubStats& stats) const noexcept { stats.hook_failures += hook_failures_.load(); }

 private:
  RefusalHook<K, V, M> hook_;
  Reports& reports_;
  detail::Counter hook_failures_;
};

}  // namespace registry
