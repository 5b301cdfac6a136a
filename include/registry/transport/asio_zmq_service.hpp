// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
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

/// A thread for waits that must not keep an execution context running, which everything does that waits on it. Nothing
/// else happens here. It is started when it is first used.
class AsioBackground {
 public:
  AsioBackground() : work_(io_.get_executor()) {}
  AsioBackground(const AsioBackground&) = delete;
  AsioBackground& operator=(const AsioBackground&) = delete;
  ~AsioBackground() { stop(); }

  /// From any thread.
  asio::io_context& io() {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable() && !io_.stopped()) thread_ = std::thread([this] { io_.run(); });
    return io_;
  }

  /// Afterwards nothing runs, nor ever will.
  void stop() noexcept {
    const std::lock_guard lock(mutex_);
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::mutex mutex_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

/// What the clients on one execution context share: a ZeroMQ context, a thread, and the news of the execution context's
/// end.
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

  /// Lives as long as the execution context.
  AsioBackground& background() noexcept { return background_; }

  void join(std::weak_ptr<AsioAbandonable> member) {
    const std::lock_guard lock(mutex_);
    std::erase_if(members_, [](const auto& other) { return other.expired(); });
    members_.push_back(std::move(member));
  }

 private:
  void shutdown() override {
    background_.stop();
    std::unique_lock lock(mutex_);
    const auto members = std::exchange(members_, {});
    lock.unlock();
    for (const auto& weak : members) {
      if (const auto member = weak.lock()) member->abandon();
    }
  }

  AsioBackground background_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<AsioAbandonable>> members_;
  std::shared_ptr<zmq::context_t> zmq_context_;
};

}  // namespace registry::detail
