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
#include <zmq.hpp>

#include <registry/transport/zmq_socket.hpp>

namespace registry::detail {

/// Something that keeps handlers and lets go of them, uncalled, when the execution context ends. A coroutine's frame
/// may own the client that holds the coroutine's handler: nothing else would break that circle.
class AsioAbandonable {
 public:
  virtual ~AsioAbandonable() = default;
  virtual void abandon() noexcept = 0;
};

/// What the clients on one execution context share: a ZeroMQ context, and the news of the execution context's end.
/// Ending a ZeroMQ context waits until its sockets have sent what they have, for as long as they linger. If each client
/// had one of its own, it would wait on the executor, where nobody must.
class AsioZmqService final : public asio::execution_context::service {
 public:
  static inline asio::execution_context::id id;

  explicit AsioZmqService(asio::execution_context& owner) : asio::execution_context::service(owner) {}

  static AsioZmqService& of(const asio::any_io_executor& executor) {
    return asio::use_service<AsioZmqService>(asio::query(executor, asio::execution::context));
  }

  /// From any thread, as all calls are. Throws RegistryError{TransportError} if there can be none.
  std::shared_ptr<zmq::context_t> zmq_context() {
    const std::lock_guard lock(mutex_);
    if (!zmq_context_) zmq_context_ = context_or_own(nullptr);
    return zmq_context_;
  }

  void join(std::weak_ptr<AsioAbandonable> member) {
    const std::lock_guard lock(mutex_);
    std::erase_if(members_, [](const auto& other) { return other.expired(); });
    members_.push_back(std::move(member));
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
  std::shared_ptr<zmq::context_t> zmq_context_;
};

}  // namespace registry::detail
