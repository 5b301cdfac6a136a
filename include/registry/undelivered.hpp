// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <registry/error.hpp>
#include <registry/message.hpp>

namespace registry {

/// A registration that was not accepted: why, and all of its entries. None of them is pending; the caller has them
/// back. Copies share the entries and never throw.
template <class K, class V, class M>
class Undelivered : public RegistryError {
 public:
  Undelivered(Error why, std::vector<Entry<K, V, M>> entries)
      : RegistryError(std::move(why)),
        entries_(std::make_shared<const std::vector<Entry<K, V, M>>>(std::move(entries))) {}

  const std::vector<Entry<K, V, M>>& entries() const noexcept { return *entries_; }

 private:
  std::shared_ptr<const std::vector<Entry<K, V, M>>> entries_;
};

/// Told of entries that were registered without acknowledgement and that the hub has refused, or has not confirmed when
/// the client was destroyed (they may be stored then), and why. Called on any thread: it must not block or call the
/// client. An exception out of it is logged.
template <class K, class V, class M>
using LossHook = std::function<void(std::span<const Entry<K, V, M>>, const Error&)>;

}  // namespace registry
