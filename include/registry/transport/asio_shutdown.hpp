// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>

namespace registry::detail {

/// Something that keeps handlers and lets go of them, uncalled, when the execution context ends. A coroutine's frame
/// may own the client that holds the coroutine's handler: nothing else would break that circle.
class AsioAbandonable {
 public:
  virtual ~AsioAbandonable() = default;
  virtual void abandon() noexcept = 0;
};

/// Tells everything that joined of its execution context's end.
class AsioShutdown final : public asio::execution_context::service {
 public:
  static inline asio::execution_context::id id;

  explicit AsioShutdown(asio::execution_context& context) : asio::execution_context::service(context) {}

  static void join(const asio::any_io_executor& executor, std::weak_ptr<AsioAbandonable> member) {
    auto& service = asio::use_service<AsioShutdown>(asio::query(executor, asio::execution::context));
    const std::lock_guard lock(service.mutex_);
    std::erase_if(service.members_, [](const auto& other) { return other.expired(); });
    service.members_.push_back(std::move(member));
  }

 private:
  void shutdown() override {
    std::unique_lock lock(mutex_);
    const auto members = std::exchange(members_, {});
    lock.unlock();
    for (const auto& weak : members) {
      if (const auto member = weak.lock()) member->abandon();
    }
  }

  std::mutex mutex_;
  std::vector<std::weak_ptr<AsioAbandonable>> members_;
};

}  // namespace registry::detail
