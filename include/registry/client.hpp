// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <registry/claim.hpp>
#include <registry/codec.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/options.hpp>
#include <registry/diagnostics.hpp>
#include <registry/list_view.hpp>
#include <registry/message.hpp>
#include <registry/register_result.hpp>
#include <registry/stats.hpp>
#include <registry/transport/blocking_driver.hpp>
#include <registry/transport/transport.hpp>
#include <registry/undelivered.hpp>

namespace registry {

/// What client code is written against: `RegistryClient` over a blocking transport models it, and so may a fake in a
/// test of that code.
template <class R>
concept Registry =
    requires(R& registry, std::span<const typename R::key_type> keys,
             std::span<const Entry<typename R::key_type, typename R::value_type, typename R::metadata_type>> entries) {
      { registry.can_offload(keys) } -> std::same_as<OffloadResult<typename R::key_type>>;
      { registry.register_blocks(entries) } -> std::same_as<void>;
      { registry.flush() } -> std::same_as<void>;
      {
        registry.match(keys)
      } -> std::same_as<std::vector<Entry<typename R::key_type, typename R::value_type, typename R::metadata_type>>>;
      {
        registry.match_prefix(keys)
      } -> std::same_as<std::vector<Entry<typename R::key_type, typename R::value_type, typename R::metadata_type>>>;
      { registry.remove(keys) } -> std::same_as<std::uint64_t>;
      { registry.touch(keys) } -> std::same_as<std::uint64_t>;
    };

namespace detail {

/// Which class drives a core over a transport.
template <class Core, class T>
struct DriverFor;

template <class Core, BlockingTransport T>
struct DriverFor<Core, T> {
  using type = BlockingDriver<Core, T>;
};

template <class Core, AsyncTransport T>
struct DriverFor<Core, T> {
  using type = typename T::template Driver<Core>;
};

}  // namespace detail

/// A worker's side. Make one with `client<K, V, M>(transport)...build()`. Safe from any thread.
///
/// Over a blocking transport it has the blocking calls; they throw RegistryError (Timeout after `request_timeout`,
/// Disconnected once closed, HubError with the hub's own words). Over an Asio transport it has the `async_` calls,
/// which take any completion token and complete with a `std::error_code` of `registry_category()` first. Arguments are
/// encoded or copied before a call returns: nothing that was passed in is referred to afterwards.
template <Key K, Value V, Metadata M, Transport T, class C = BinaryCodec<K, V, M>>
  requires Codec<C, K, V, M>
class RegistryClient {
  using Driver = typename detail::DriverFor<ClientCore<K, V, M, C>, T>::type;

 public:
  using key_type = K;
  using value_type = V;
  using metadata_type = M;
  using EntryType = Entry<K, V, M>;
  using ClaimType = Claim<Driver>;
  using Core = ClientCore<K, V, M, C>;

  RegistryClient(T transport, ClientOptions options, LossHook<K, V, M> on_undelivered = {})
      : driver_(std::make_shared<Driver>(std::move(transport), std::move(options), std::move(on_undelivered))) {}
  RegistryClient(RegistryClient&&) noexcept = default;
  RegistryClient& operator=(RegistryClient&& other) noexcept {
    if (this != &other) {
      end();
      driver_ = std::move(other.driver_);
    }
    return *this;
  }
  /// Also while a claim of its own is being used on another thread, which then must not be the one to close it.
  ~RegistryClient() { end(); }

  /// Which of these blocks this client shall store: those under `can_offload`, for which it holds a lease now.
  OffloadResult<K> can_offload(ListView<K> keys)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::offload(copy(keys)));
  }

  /// Asks for these blocks in the name of a claim of its own, which excludes also the other claims of this client. With
  /// a `wait`, if nothing is granted at once, the hub answers when one of the keys that others hold comes free for this
  /// claim, when all of them are stored, or when the wait is over; first come, first served. Throws Unsupported where
  /// the hub does not know claims (the Rust one).
  ClaimType claim(ListView<K> keys, std::chrono::nanoseconds wait = std::chrono::nanoseconds::zero())
    requires BlockingTransport<T>
  {
    return {driver_, driver_->claim(copy(keys), wait)};
  }

  /// Tells the hub that these blocks are stored, and answers what it made of each: afterwards every client sees those
  /// that were stored, until they are removed, expire or are evicted. Sent again until the hub has answered; a repeat
  /// changes nothing. Throws Undelivered, which holds them, if there is no answer within `register_timeout` (they may
  /// be stored then) or one cannot be encoded.
  [[nodiscard]] RegisterResult<EntryType> register_acknowledged(ListView<EntryType> entries)
    requires BlockingTransport<T>
  {
    return RegisterResult<EntryType>::of(entries, driver_->add_acknowledged(entries));
  }

  /// Makes the hub forget these entries where it still knows them with these values (metadata does not count): what
  /// somebody has registered anew stays. How many it was.
  std::uint64_t remove_if(ListView<EntryType> entries)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::remove_if(entries));
  }

  /// Tells the hub that these blocks are stored: all are accepted and travel with their batch, or none is. They are
  /// kept, and sent again, until the hub has confirmed them; what it refuses is reported to `on_undelivered`. Throws
  /// Undelivered, which holds them, when one cannot be encoded (EncodeError) or when they had to wait, at the
  /// high-water mark or for confirmations, for longer than `register_timeout` (Timeout). If the hub insists on the
  /// holder, or the option `acknowledged` is set, as `register_acknowledged`; Undelivered holds those refused then.
  void register_blocks(ListView<EntryType> entries)
    requires BlockingTransport<T>
  {
    driver_->add(entries);
  }

  /// Returns when every entry registered before was handed to the transport; that the hub has applied it is not said.
  void flush()
    requires BlockingTransport<T>
  {
    driver_->flush();
  }

  /// The stored entries among these keys, in the order asked.
  std::vector<EntryType> match(ListView<K> keys)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::match(copy(keys)));
  }

  /// The longest stored prefix of these keys: it ends at the first that is not stored.
  std::vector<EntryType> match_prefix(ListView<K> keys)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::match_prefix(copy(keys)));
  }

  /// Makes the hub forget these keys, also where this client has only just registered them; how many were stored.
  std::uint64_t remove(ListView<K> keys)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::remove(copy(keys)));
  }

  /// Tells the hub's eviction policy that these keys were used; how many are stored.
  std::uint64_t touch(ListView<K> keys)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::touch(copy(keys)));
  }

  /// Gives back the leases that this client holds on these keys, for others to take at once; how many it held. Throws
  /// Unsupported where the hub does not know how (the Rust one): they run out by themselves there.
  std::uint64_t release(ListView<K> keys)
    requires BlockingTransport<T>
  {
    return driver_->run(Core::release(copy(keys)));
  }

  /// Hands over what is pending and waits, for at most `limit`, for the hub to confirm it; returns the entries that
  /// were not handed over or not confirmed (those may be stored). The destructor does the same within `close_timeout`
  /// and reports to `on_undelivered` or, without one, to the log hook.
  std::vector<EntryType> close(std::chrono::nanoseconds limit)
    requires BlockingTransport<T>
  {
    return driver_->close(limit);
  }

  /// What has happened so far. Safe from any thread.
  ClientStats stats() const noexcept { return driver_->stats(); }

  /// The asynchronous counterparts, which complete with (std::error_code, result) on the handler's executor. Cancelling
  /// one (any type of cancellation) ends it with asio::error::operation_aborted, and what it may have been granted is
  /// given back. With a `Diagnostics` the Error behind the code can be read after completion.
  template <class Token>
  auto async_can_offload(ListView<K> keys, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::offload(copy(keys)), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_can_offload(ListView<K> keys, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::offload(copy(keys)), std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_match(ListView<K> keys, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::match(copy(keys)), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_match(ListView<K> keys, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::match(copy(keys)), std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_match_prefix(ListView<K> keys, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::match_prefix(copy(keys)), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_match_prefix(ListView<K> keys, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::match_prefix(copy(keys)), std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_remove(ListView<K> keys, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::remove(copy(keys)), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_remove(ListView<K> keys, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::remove(copy(keys)), std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_touch(ListView<K> keys, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::touch(copy(keys)), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_touch(ListView<K> keys, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::touch(copy(keys)), std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_release(ListView<K> keys, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::release(copy(keys)), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_release(ListView<K> keys, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_run(Core::release(copy(keys)), std::move(diagnostics), std::forward<Token>(token));
  }

  template <class Token>
  auto async_remove_if(ListView<EntryType> entries, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_remove_if(entries, std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_remove_if(ListView<EntryType> entries, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_remove_if(entries, std::move(diagnostics), std::forward<Token>(token));
  }

  /// As `claim`; completes with (std::error_code, ClaimType), after a failure with a claim that holds nothing. A wait
  /// that is cancelled ends at the hub, too. It has a time of its own: `wait` and then `request_timeout`.
  template <class Token>
  auto async_claim(ListView<K> keys, std::chrono::nanoseconds wait, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_claim(copy(keys), wait, make_claim(), std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_claim(ListView<K> keys, std::chrono::nanoseconds wait, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_claim(copy(keys), wait, make_claim(), std::move(diagnostics), std::forward<Token>(token));
  }

  /// As `register_acknowledged`; completes with (std::error_code, RegisterResult). After a failure or a cancellation
  /// its `refused` holds all entries, which may be stored all the same. (A token that throws drops them, as below.)
  template <class Token>
  auto async_register_acknowledged(ListView<EntryType> entries, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_add_acknowledged(entries, nullptr, std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_register_acknowledged(ListView<EntryType> entries, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_add_acknowledged(entries, nullptr, std::move(diagnostics), std::forward<Token>(token));
  }

  /// As `register_blocks`. Completes with (std::error_code, entries): once they are accepted, all or none, which at the
  /// high-water mark, or while too much is unconfirmed, takes up to `register_timeout`; after a failure the entries,
  /// none of which is pending. To a hub that insists on the holder, once they are acknowledged, and with those refused.
  /// (A token that throws instead, such as `use_awaitable`, drops them: `as_tuple` keeps them.) It waits for the
  /// answers to acknowledged registrations and removals of the same keys that were called before.
  template <class Token>
  auto async_register_blocks(ListView<EntryType> entries, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_add(entries, std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_register_blocks(ListView<EntryType> entries, Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_add(entries, std::move(diagnostics), std::forward<Token>(token));
  }

  /// Completes with (std::error_code) when everything registered before was handed to the transport, or, if it is to be
  /// acknowledged, is about to be.
  template <class Token>
  auto async_flush(Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_flush(std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_flush(Diagnostics diagnostics, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_flush(std::move(diagnostics), std::forward<Token>(token));
  }

  /// Completes with (std::error_code, entries): those that it could not hand over, or the hub has not confirmed, within
  /// `limit` (those may be stored).
  template <class Token>
  auto async_close(std::chrono::nanoseconds limit, Token&& token)
    requires AsyncTransport<T>
  {
    return driver_->async_close(limit, std::forward<Token>(token));
  }

 private:
  static std::vector<K> copy(ListView<K> keys) { return {keys.begin(), keys.end()}; }

  void end() noexcept {
    if constexpr (BlockingTransport<T>) {
      if (driver_) driver_->end();
    }
  }

  /// What makes a claim of what it was granted.
  auto make_claim() const {
    return [driver = std::weak_ptr<Driver>(driver_)](std::shared_ptr<ClaimState<K>> state) {
      return ClaimType(driver, std::move(state));
    };
  }

  std::shared_ptr<Driver> driver_;
};

}  // namespace registry
