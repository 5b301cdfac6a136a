// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>

#include <registry/core/claim_state.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/options.hpp>
#include <registry/diagnostics.hpp>
#include <registry/message.hpp>
#include <registry/register_result.hpp>
#include <registry/stats.hpp>
#include <registry/transport/asio_operation.hpp>
#include <registry/transport/asio_zmq_loop.hpp>
#include <registry/transport/asio_zmq_service.hpp>
#include <registry/undelivered.hpp>

namespace registry {

/// Drives a client core over ZeroMQ sockets on an executor. Safe from any thread. Destroying it hands over what is
/// pending and has it confirmed, for at most `close_timeout`, in the background, and reports to `on_undelivered` or the
/// log hook what was not; calls in progress end with Disconnected.
template <class Core>
class AsioZmqDriver {
 public:
  using executor_type = asio::any_io_executor;
  using K = typename Core::key_type;
  using EntryType = typename Core::EntryType;

  template <class AsioTransport>
  AsioZmqDriver(AsioTransport transport, ClientOptions options,
                LossHook<K, typename Core::value_type, typename Core::metadata_type> on_undelivered = {})
      : loop_(std::make_shared<Loop>(
            std::move(transport).take_sockets(), std::move(options), std::move(on_undelivered))) {
    detail::AsioZmqService::of(loop_->executor()).join(loop_);
  }
  AsioZmqDriver(const AsioZmqDriver&) = delete;
  AsioZmqDriver& operator=(const AsioZmqDriver&) = delete;
  ~AsioZmqDriver() { loop_->submit(loop_->destruction()); }

  executor_type get_executor() const noexcept { return loop_->executor(); }

  ClientStats stats() const noexcept { return loop_->stats(); }

  /// Completes with (std::error_code, Result).
  template <class AnyCall, class Token>
  auto async_run(AnyCall call, std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, typename AnyCall::Result)>(
        [](auto handler, std::shared_ptr<Loop> loop, AnyCall what, std::optional<Diagnostics> details) {
          using Completion = detail::AsioCompletion<decltype(handler), typename AnyCall::Result>;
          start<Query>(
              loop, std::make_shared<detail::AsioQueryOf<Core, AnyCall, Completion>>(
                        std::move(what), Completion(std::move(handler), loop->executor(), std::move(details))));
        },
        token, loop_, std::move(call), std::move(diagnostics));
  }

  /// Asks for these keys in the name of a new claim, which may wait for `wait` for those that others hold. Completes
  /// with (std::error_code, Made): what `make(std::shared_ptr<ClaimState<K>>)` makes of it, and after a failure Made{}.
  template <class Make, class Token>
  auto async_claim(std::vector<K> keys, std::chrono::nanoseconds wait, Make make,
                   std::optional<Diagnostics> diagnostics, Token&& token) {
    using Made = std::invoke_result_t<Make&, std::shared_ptr<ClaimState<K>>>;
    return asio::async_initiate<Token, void(std::error_code, Made)>(
        [](auto handler, std::shared_ptr<Loop> loop, typename Core::Claim call, Make make_claim,
           std::optional<Diagnostics> details) {
          const std::uint64_t number = loop->next_claim();
          call.claim = number;
          auto convert = [number, make_claim = std::move(make_claim), weak = std::weak_ptr<Loop>(loop)](
                             const Query& query, std::error_code code, ClaimAnswer<K> answer) mutable {
            const auto owner = weak.lock();
            if (code && owner) owner->give_back_granted_before(query);
            if (code) return Made{};
            // It was not sent if this client knew all keys to be stored.
            const SteadyTime sent = query.sent_at.value_or(now());
            return make_claim(owner ? owner->watch(number, std::move(answer), sent)
                                    : std::make_shared<ClaimState<K>>(number, std::move(answer), sent));
          };
          auto completion = converting<Made>(std::move(handler), loop, std::move(details), std::move(convert));
          start<Query>(loop, std::make_shared<detail::AsioClaimQuery<Core, decltype(completion)>>(
                                 std::move(call), std::move(completion)));
        },
        token, loop_, Core::claim(0, std::move(keys), wait), std::move(make), std::move(diagnostics));
  }

  /// Extends the leases of a claim. Completes with (std::error_code, std::vector<K>): what it no longer holds.
  template <class Token>
  auto async_renew(std::shared_ptr<ClaimState<K>> claim, std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, std::vector<K>)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::shared_ptr<ClaimState<K>> what,
           std::optional<Diagnostics> details) {
          start_renewal(loop, std::move(what), std::move(handler), std::move(details));
        },
        token, loop_, std::move(claim), std::move(diagnostics));
  }

  /// The same, if a third of the lease time is over; otherwise there is nothing to wait for.
  template <class Token>
  auto async_progress(std::shared_ptr<ClaimState<K>> claim, std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, std::vector<K>)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::shared_ptr<ClaimState<K>> what,
           std::optional<Diagnostics> details) {
          if (now() >= what->renewal_due()) {
            return start_renewal(loop, std::move(what), std::move(handler), std::move(details));
          }
          using Completion = detail::AsioCompletion<decltype(handler), std::vector<K>>;
          auto completion = std::make_shared<Completion>(std::move(handler), loop->executor(), std::move(details));
          (*completion)(completion, {}, std::nullopt, {});
        },
        token, loop_, std::move(claim), std::move(diagnostics));
  }

  /// Gives back leases of a claim, without waiting for anything. What does not reach the hub runs out.
  void abandon(std::uint64_t claim, std::vector<K> keys) noexcept {
    if (keys.empty()) return;
    try {
      loop_->submit(typename Loop::GiveBack{claim, std::move(keys)});
    } catch (const std::exception&) {
      // No memory for the message.
    }
  }

  /// Registers the entries, in the name of a claim if there is one, and sends them again until the hub has answered,
  /// for at most `register_timeout`. Completes with (std::error_code, RegisterResult<EntryType>); after a failure all
  /// entries stand under `refused`.
  template <class Token>
  auto async_add_acknowledged(std::span<const EntryType> entries, std::shared_ptr<ClaimState<K>> claim,
                              std::optional<Diagnostics> diagnostics, Token&& token) {
    using Registered = RegisterResult<EntryType>;
    return asio::async_initiate<Token, void(std::error_code, Registered)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::vector<EntryType> what,
           std::shared_ptr<ClaimState<K>> in_name_of, std::optional<Diagnostics> details) {
          const auto shared = std::make_shared<std::vector<EntryType>>(std::move(what));
          auto convert = [shared,
                          in_name_of](const Query&, std::error_code code, std::vector<RegisterStatus> statuses) {
            if (code) return Registered{{}, std::move(*shared)};
            if (in_name_of) {
              std::vector<K> keys;
              for (const EntryType& entry : *shared) keys.push_back(entry.key);
              in_name_of->registered(keys, statuses);
            }
            return Registered::of(*shared, std::move(statuses));
          };
          auto completion = converting<Registered>(std::move(handler), loop, std::move(details), std::move(convert));
          using Completion = decltype(completion);
          if (in_name_of) {
            return start_registration(loop, std::make_shared<detail::AsioClaimedQuery<Core, Completion>>(
                                                shared, std::move(in_name_of), std::move(completion)));
          }
          start_registration(
              loop, std::make_shared<detail::AsioEntriesQuery<Core, typename Core::Register, Completion>>(
                        shared, std::nullopt, std::move(completion)));
        },
        token, loop_, std::vector<EntryType>(entries.begin(), entries.end()), std::move(claim), std::move(diagnostics));
  }

  /// Completes with (std::error_code, std::uint64_t).
  template <class Token>
  auto async_remove_if(std::span<const EntryType> entries, std::optional<Diagnostics> diagnostics, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, std::uint64_t)>(
        [](auto handler, std::shared_ptr<Loop> loop, std::vector<EntryType> what, std::optional<Diagnostics> details) {
          using Completion = detail::AsioCompletion<decltype(handler), std::uint64_t>;
          start<Query>(loop, std::make_shared<detail::AsioEntriesQuery<Core, typename Core::RemoveIf, Completion>>(
                                 std::make_shared<std::vector<EntryType>>(std::move(what)), std::nullopt,
                                 Completion(std::move(handler), loop->executor(), std::move(details))));
        },
        token, loop_, std::vector<EntryType>(entries.begin(), entries.end()), std::move(diagnostics));
  }

  /// Completes with (std::error_code, std::vector<EntryType>): after a failure the entries, none of which is pending;
  /// of those that the hub was to acknowledge, which it decides, the ones that it refused or, without an answer, all.
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

  /// Completes with (std::error_code, std::vector<EntryType>): what was not handed over or not confirmed.
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
  using Query = detail::AsioQuery<Core>;

  static SteadyTime now() noexcept { return std::chrono::steady_clock::now(); }

  template <class Converted, class Handler, class Convert>
  static auto converting(Handler handler, const std::shared_ptr<Loop>& loop, std::optional<Diagnostics> diagnostics,
                         Convert convert) {
    using Completion = detail::AsioCompletion<Handler, Converted>;
    return detail::AsioConversion<Completion, Convert>(
        Completion(std::move(handler), loop->executor(), std::move(diagnostics)), std::move(convert));
  }

  template <class Handler>
  static void start_renewal(const std::shared_ptr<Loop>& loop, std::shared_ptr<ClaimState<K>> claim, Handler handler,
                            std::optional<Diagnostics> diagnostics) {
    auto call = claim->renewal(now());
    auto convert = [keys = call.keys, claim = std::move(claim), weak = std::weak_ptr<Loop>(loop)](
                       const Query& query, std::error_code code, const RenewAnswer& answer) {
      const auto owner = weak.lock();
      if (code || keys.empty() || !owner) return std::vector<K>{};
      return owner->renewed(*claim, keys, answer, *query.sent_at);
    };
    auto completion = converting<std::vector<K>>(std::move(handler), loop, std::move(diagnostics), std::move(convert));
    start<Query>(loop, std::make_shared<detail::AsioQueryOf<Core, typename Core::Renew, decltype(completion)>>(
                           std::move(call), std::move(completion)));
  }

  template <class Registration>
  static void start_registration(const std::shared_ptr<Loop>& loop, std::shared_ptr<Registration> registration) {
    registration->is_resent = true;
    start<Query>(loop, std::move(registration));
  }

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
