// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <registry/codec.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/reports.hpp>
#include <registry/detail/counter.hpp>
#include <registry/error.hpp>
#include <registry/key.hpp>
#include <registry/metadata.hpp>
#include <registry/value.hpp>

namespace registry {

/// Told of registrations by PUSH that were refused, whole or in part: nobody waits for an answer to them. The
/// namespace, the entries refused, and why the last of them was. Called on the hub's thread: it must not block or call
/// the hub. An exception out of it is counted and logged.
template <Key K, Value V, Metadata M>
using RefusalHook = std::function<void(std::string_view, std::span<const Entry<K, V, M>>, const Error&)>;

/// Calls the hook, if there is one.
template <Key K, Value V, Metadata M>
void hand_to(const RefusalHook<K, V, M>& hook, std::string_view name_space, std::span<const Entry<K, V, M>> entries,
             const Error& why, SteadyTime now, detail::Counter& failures, Reports& reports) {
  if (!hook) return;
  try {
    hook(name_space, entries, why);
  } catch (const std::exception& failure) {
    failures.add();
    reports.add(now, std::string{"on_refused threw: "} + failure.what());
  } catch (...) {
    failures.add();
    reports.add(now, "on_refused threw something that is no std::exception");
  }
}

}  // namespace registry
