// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>

#include <registry/core/options.hpp>
#include <registry/diagnostics.hpp>
#include <registry/transport/asio_operation.hpp>
#include <registry/transport/asio_zmq_loop.hpp>
#include <registry/transport/asio_zmq_service.hpp>

namespace registry {

/// Drives a client core over ZeroMQ sockets on an executor. Safe from any thread. Destroying it hands over what is
/// pending, for at most `close_timeout`, in the background, and reports to the log hook what it could not; calls in
/// progress end with Disconnected.
template <class Core>
class AsioZmqDriver {
 public:
  using EntryType = typename Core::EntryType;

  template <class AsioTransport>
  AsioZmqDriver(AsioTransport transport, ClientOptions options)
      : loop_(std::make_shared<Loop>(std::move(transport).take_sockets(), std::move(options))) {
    detail::AsioZmqService::of(loop_->executor()).join(loop_);
  }
  AsioZmqDriver(const AsioZmqDriver&) = delete;
  AsioZmqDriver& operator=(const AsioZmqDriver&) = delete;
  ~AsioZmqDriver() { loop_->submit(loop_->destruction()); }

  /// Completes with (std::error_code, Result).
  template <class AnyCall, class Token>
  auto async_run(AnyCall call, std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, typename AnyCall::Result)>(
        [](auto handler, std::shared_ptr<Loop> loop, AnyCall what, std::optional<Diagnostics> details) {
          using Completion = detail::AsioCompletion<decltype(handler), typename AnyCall::Result>;
          start<detail::AsioQuery<Core>>(
              loop, std::make_shared<detail::AsioQueryOf<Core, AnyCall, Completion>>(
                        std::move(what), Completion(std::move(handler), loop->executor(), std::move(details))));
        },
        token, loop_, std::move(call), std::move(diagnostics));
  }

  /// Completes with (std::error_code, std::vector<EntryType>): after a failure the entries, none of which is pending.
  template <class Token>
  auto async_add(std::span<const EntryType> entries, std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, std::vector<EntryType>)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::vector<EntryType> what, std::optional<Diagnostics> details) {
          start_write<true>(loop, std::move(what), std::move(handler), std::move(details));
        },
        token, loop_, std::vector<EntryType>(entries.begin(), entries.end()), std::move(diagnostics));
  }

  /// Completes with (std::error_code).
  template <class Token>
  auto async_flush(std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::optional<Diagnostics> details) {
          start_write<false>(loop, {}, std::move(handler), std::move(details));
        },
        token, loop_, std::move(diagnostics));
  }

  /// Completes with (std::error_code, std::vector<EntryType>): what could not be handed over.
  template <class Token>
  auto async_close(std::chrono::nanoseconds limit, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, std::vector<EntryType>)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::chrono::nanoseconds time) {
          using Completion = detail::AsioCompletion<decltype(handler), std::vector<EntryType>>;
          auto completion = std::make_shared<Completion>(std::move(handler), loop->executor(), std::nullopt);
          loop->submit(typename Loop::Close{time, [completion](std::vector<EntryType> lost) {
                                              (*completion)(completion, {}, std::nullopt, std::move(lost));
                                            }});
        },
        token, loop_, limit);
  }

 private:
  using Loop = detail::AsioZmqLoop<Core>;

  template <bool returns_entries, class Handler>
  static void start_write(const std::shared_ptr<Loop>& loop, std::vector<EntryType> entries, Handler handler,
                          std::optional<Diagnostics> diagnostics) {
    using Completion = std::conditional_t<returns_entries, detail::AsioCompletion<Handler, std::vector<EntryType>>,
                                          detail::AsioCompletion<Handler>>;
    start<detail::AsioWrite<Core>>(loop, std::make_shared<detail::AsioWriteOf<Core, Completion, returns_entries>>(
                                             std::move(entries), !returns_entries,
                                             Completion(std::move(handler), loop->executor(), std::move(diagnostics))));
  }

  template <class Operation, class Concrete>
  static void start(const std::shared_ptr<Loop>& loop, std::shared_ptr<Concrete> operation) {
    if (auto slot = operation->completion().cancellation_slot(); slot.is_connected()) {
      slot.assign([weak_loop = std::weak_ptr<Loop>(loop),
                   weak = std::weak_ptr<Operation>(operation)](asio::cancellation_type type) {
        if (type == asio::cancellation_type::none) return;
        const auto owner = weak_loop.lock();
        auto target = weak.lock();
        if (owner && target) owner->cancel(std::move(target));
      });
    }
    loop->submit(std::shared_ptr<Operation>(std::move(operation)));
  }

  std::shared_ptr<Loop> loop_;
};

}  // namespace registry
