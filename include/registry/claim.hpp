// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <registry/core/claim_state.hpp>
#include <registry/core/instant.hpp>
#include <registry/diagnostics.hpp>
#include <registry/error.hpp>
#include <registry/list_view.hpp>
#include <registry/register_result.hpp>

namespace registry {

namespace detail {

/// A driver whose calls complete on an executor; those of the others block.
template <class D>
concept AsyncDriver = requires { typename D::executor_type; };

}  // namespace detail

/// The right to store some blocks, from `client.claim(keys)`: what it has been granted is its alone, even among the
/// threads of one client. What is neither registered nor given back when it ends is given back then, at once and
/// without waiting for the network; what cannot be sent runs out by itself. For one thread at a time; its client may be
/// closed or gone before it. As with the client it depends on the transport whether there are blocking calls, which
/// throw RegistryError, or `async_` ones, which complete with a `std::error_code` first and throw only if the client is
/// gone, or the claim empty: then nothing is left to complete on.
template <class Driver>
class Claim {
 public:
  using key_type = typename Driver::K;
  using EntryType = typename Driver::EntryType;

  /// Holds nothing, as one that has been moved from: what an asynchronous call leaves behind an error.
  Claim() noexcept = default;
  Claim(std::weak_ptr<Driver> driver, std::shared_ptr<ClaimState<key_type>> state) noexcept
      : driver_(std::move(driver)), state_(std::move(state)) {}
  Claim(Claim&&) noexcept = default;
  Claim& operator=(Claim&& other) noexcept {
    if (this != &other) {
      release();
      driver_ = std::move(other.driver_);
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~Claim() { release(); }

  /// What the hub said at first: the blocks to store, those that are stored, and those that others are storing.
  const std::vector<key_type>& granted() const noexcept { return state().result().can_offload; }
  const std::vector<key_type>& already_stored() const noexcept { return state().result().already_stored; }
  const std::vector<key_type>& leased() const noexcept { return state().result().leased; }

  /// What has been granted and is neither registered nor given back nor lost; also what a registration has failed for
  /// that may have reached the hub.
  std::vector<key_type> held() const { return state().held(); }
  /// What has been granted and lost, as far as the hub has said so.
  std::vector<key_type> lost() const { return state().lost(); }
  /// What of that is stored now. By whom the hub does not say: whoever was granted it when the lease was over, or this
  /// client itself, by a registration outside the claim or one whose answer was lost.
  std::vector<key_type> stored_meanwhile() const { return state().stored_meanwhile(); }

  /// A number that is higher for every later grant of the same key, also after a restart of the hub, as long as its
  /// clock does not go back: for names of objects and for conditional writes, so that a late writer harms nobody. 0
  /// where nothing was granted.
  std::uint64_t token() const noexcept { return state().token(); }

  /// Until when the blocks are certainly this claim's, by the clock of its transport: the lease time, counted from when
  /// its request, or the last renewal, was sent. Not those that a registration has failed for: these may be stored.
  SteadyTime deadline() const { return state().deadline(); }

  /// Says that these blocks are stored, and what the hub made of each. Sent again until it has answered; Undelivered,
  /// with the entries, if that takes longer than `register_timeout`.
  [[nodiscard]] RegisterResult<EntryType> register_blocks(ListView<EntryType> entries)
    requires(!detail::AsyncDriver<Driver>)
  {
    auto result = RegisterResult<EntryType>::of(entries, driver()->add_acknowledged(entries, state_.get()));
    std::vector<key_type> keys;
    for (const EntryType& entry : entries) keys.push_back(entry.key);
    state_->registered(keys, result.statuses);
    return result;
  }

  /// Has the lease time begin anew for all that is held. Answers what turned out to be no longer held: stored or
  /// granted to others, because the lease was over.
  std::vector<key_type> renew()
    requires(!detail::AsyncDriver<Driver>)
  {
    return driver()->renew(*state_);
  }

  /// To be called by whoever works on the blocks, as often as he likes, as a sign that he does: renews the leases when
  /// a third of their time is over. Who hangs does not call it, and so does not hold them for ever.
  std::vector<key_type> progress()
    requires(!detail::AsyncDriver<Driver>)
  {
    const auto owner = driver();
    if (owner->now() < state_->renewal_due()) return {};
    return owner->renew(*state_);
  }

  /// The asynchronous counterparts: `async_register_blocks` completes with (std::error_code, RegisterResult), as the
  /// client's `async_register_acknowledged` does, the others with (std::error_code, std::vector of keys). Each may be
  /// cancelled as the client's calls may; a claim that ends meanwhile ends none of them, but gives back what it holds.
  template <class Token>
  auto async_register_blocks(ListView<EntryType> entries, Token&& token)
    requires detail::AsyncDriver<Driver>
  {
    return driver()->async_add_acknowledged(entries, state_, std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_register_blocks(ListView<EntryType> entries, Diagnostics diagnostics, Token&& token)
    requires detail::AsyncDriver<Driver>
  {
    return driver()->async_add_acknowledged(entries, state_, std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_renew(Token&& token)
    requires detail::AsyncDriver<Driver>
  {
    return driver()->async_renew(state_, std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_renew(Diagnostics diagnostics, Token&& token)
    requires detail::AsyncDriver<Driver>
  {
    return driver()->async_renew(state_, std::move(diagnostics), std::forward<Token>(token));
  }
  template <class Token>
  auto async_progress(Token&& token)
    requires detail::AsyncDriver<Driver>
  {
    return driver()->async_progress(state_, std::nullopt, std::forward<Token>(token));
  }
  template <class Token>
  auto async_progress(Diagnostics diagnostics, Token&& token)
    requires detail::AsyncDriver<Driver>
  {
    return driver()->async_progress(state_, std::move(diagnostics), std::forward<Token>(token));
  }

  /// Gives back these of the blocks held, or all, for others to store at once. Does not wait for the network.
  void release(ListView<key_type> keys) {
    if (const auto owner = driver_.lock()) owner->abandon(state_->number(), state_->give_back(keys));
  }
  void release() noexcept {
    if (state_ == nullptr) return;
    try {
      if (const auto owner = driver_.lock()) owner->abandon(state_->number(), state_->give_back_all());
    } catch (const std::exception&) {
      // No memory for the list of keys: they run out.
    }
  }

 private:
  const ClaimState<key_type>& state() const noexcept {
    static const ClaimState<key_type> nothing(0, {}, {});
    return state_ ? *state_ : nothing;
  }

  std::shared_ptr<Driver> driver() const {
    auto owner = driver_.lock();
    if (owner == nullptr) throw RegistryError(Disconnected{"the claim is empty, or its client is gone"});
    return owner;
  }

  std::weak_ptr<Driver> driver_;
  std::shared_ptr<ClaimState<key_type>> state_;
};

}  // namespace registry
