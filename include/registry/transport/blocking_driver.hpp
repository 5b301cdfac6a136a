// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/core/claim_state.hpp>
#include <registry/core/claimed_registration.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/live_claims.hpp>
#include <registry/core/loss_reports.hpp>
#include <registry/error.hpp>
#include <registry/register_result.hpp>
#include <registry/stats.hpp>
#include <registry/transport/transport.hpp>
#include <registry/undelivered.hpp>

namespace registry {

/// Drives a client core over a blocking transport: every caller does its own query on its own thread; the transport's
/// tick sends what has waited for its batch to fill. Safe from any thread. Calls throw RegistryError; after `close`
/// they throw Disconnected.
template <class Core, BlockingTransport T>
class BlockingDriver {
 public:
  using K = typename Core::key_type;
  using EntryType = typename Core::EntryType;
  using BatchType = Batch<typename Core::key_type>;
  using Rejected = Undelivered<typename Core::key_type, typename Core::value_type, typename Core::metadata_type>;
  using LossHookType = LossHook<typename Core::key_type, typename Core::value_type, typename Core::metadata_type>;

  /// Asks the hub whether it serves the client's namespace, if that is not the default one, and throws Unsupported if
  /// it does not.
  BlockingDriver(T transport, ClientOptions options, LossHookType on_undelivered = {})
      : transport_(std::move(transport)),
        core_(std::move(options), ClientId::random()),
        report_lost_(std::move(on_undelivered), core_.options().log) {
    if (core_.needs_hello()) run(Core::hello());
    transport_.start([this](SteadyTime now) { return tick(now); });
  }

  BlockingDriver(const BlockingDriver&) = delete;
  BlockingDriver& operator=(const BlockingDriver&) = delete;

  ~BlockingDriver() { end(); }

  /// Closes, if nobody has yet, and reports what was left.
  void end() noexcept {
    try {
      const auto limit = core_.options().close_timeout;
      report_lost_(close(limit), Timeout::after(limit));
    } catch (...) {
      log(LogLevel::error, "closing the client failed: " + failure_text());
    }
  }

  template <class AnyCall>
  typename AnyCall::Result run(AnyCall call) {
    fail_if_closed();
    return finish(try_once(call, transport_.now() + core_.options().request_timeout));
  }

  /// Asks for these keys in the name of a new claim, which may wait for `wait` for those that others hold.
  std::shared_ptr<ClaimState<K>> claim(std::vector<K> keys, std::chrono::nanoseconds wait) {
    fail_if_closed();
    const std::uint64_t number = next_claim();
    auto call = Core::claim(number, std::move(keys), wait);
    // The wait has a time of its own: only what the answer takes beyond it counts against the request's.
    const auto limit = core_.options().request_timeout + call.wait;
    auto outcome = try_once(call, transport_.now() + limit);
    // Of what an earlier request was granted the last one's withdrawal takes back nothing.
    if (call.was_repeated && std::holds_alternative<Error>(outcome)) abandon(number, call.keys);
    const auto state = watch(number, finish(std::move(outcome)), call.asked);
    wake_for_sync();
    return state;
  }

  /// Extends the leases of a claim; answers which of its keys it no longer holds.
  std::vector<K> renew(ClaimState<K>& claim) {
    fail_if_closed();
    auto gone = renew(claim, transport_.now() + core_.options().request_timeout);
    wake_for_sync();
    return gone;
  }

  /// Gives back leases of a claim, without waiting for the hub. What does not reach it runs out.
  void abandon(std::uint64_t claim, std::vector<K> keys) noexcept {
    if (keys.empty() || closed_) return;
    try {
      auto call = Core::release(claim, std::move(keys));
      {
        const std::lock_guard lock(mutex_);
        // Whoever returns no envelopes has granted nothing to a claim, and would answer without saying what.
        if (core_.echoes_envelopes() != true) return;
        core_.begin(call, ++last_request_, transport_.now());
      }
      transport_.post(call.envelope, call.message, [this](Frames frames) {
        const std::lock_guard lock(mutex_);
        if (const auto answer = core_.read(frames)) core_.drop_late(*answer);
      });
    } catch (const std::exception&) {
      // No memory for the message.
    }
  }

  /// Registers the entries, in the name of a claim if one is given, and says what became of each. Sent again until the
  /// hub has answered; throws Undelivered, with all entries, if that takes longer than `register_timeout` (they may be
  /// stored then, or be refused) or cannot be done.
  std::vector<RegisterStatus> add_acknowledged(std::span<const EntryType> entries, ClaimState<K>* claim = nullptr) {
    fail_if_closed();
    if (entries.empty()) return {};
    try {
      const SteadyTime deadline = transport_.now() + core_.options().register_timeout;
      if (claim == nullptr) return add_until(entries, std::nullopt, deadline);
      ClaimedRegistration<EntryType> registration(*claim, entries);
      auto outcomes = add_until(entries, claim->number(), deadline);
      if (!registration.is_refused_though_held(outcomes)) return outcomes;
      if (!registration.is_had_back()) {
        // Where that fails, what was answered stands.
        attempt("having a claim back",
                [&] { sync(std::min(deadline, transport_.now() + core_.options().request_timeout), false); });
      }
      register_once_more(registration, outcomes, claim->number(), deadline);
      return outcomes;
    } catch (const RegistryError& error) {
      send_number_given_up();
      throw Rejected(error.error(), {entries.begin(), entries.end()});
    } catch (const std::exception& failure) {
      send_number_given_up();
      throw Rejected(TransportError{failure.what()}, {entries.begin(), entries.end()});
    }
  }

  SteadyTime now() const { return transport_.now(); }

  ClientStats stats() const noexcept { return core_.stats(); }

  /// Accepts all entries or none. Waits while batches stand at the high-water mark, at most for `register_timeout`,
  /// and then throws Undelivered, which holds the entries; so it does if the transport fails before it accepted them.
  void add(std::span<const EntryType> entries) {
    fail_if_closed();
    if (entries.empty()) return;
    if (acknowledges_all()) return add_or_throw(entries);
    wait_for_room(entries);
    std::optional<SteadyTime> due;
    bool has_batch = false;
    {
      const std::lock_guard lock(mutex_);
      // Whoever closes takes what is pending under this lock: what came after that would be lost.
      if (closed_) throw Rejected(closed(), {entries.begin(), entries.end()});
      const bool was_waiting = core_.batcher().deadline().has_value();
      if (auto error = core_.add(entries, transport_.now())) {
        throw Rejected(std::move(*error), {entries.begin(), entries.end()});
      }
      if (!was_waiting) due = core_.batcher().deadline();
      has_batch = core_.batcher().has_batch();
    }
    // They are accepted now: whatever the transport does, their caller must not take them for lost. At the mark or
    // after a failure the batch stays here, the tick goes on trying, and the next call waits.
    bool sent = !has_batch;
    if (has_batch) attempt("handing over a registration", [&] { sent = send_batches(transport_.now()); });
    if (!sent) due = transport_.now() + core_.options().batch_timeout;
    if (due) attempt("setting a timer for a registration", [&] { transport_.wake_at(*due); });
  }

  /// Returns when every entry accepted before was handed to the transport; throws Timeout if that takes longer than
  /// `register_timeout`: they stay pending then.
  void flush() {
    fail_if_closed();
    hand_over(core_.options().register_timeout);
  }

  /// Hands over what is pending and has it confirmed by a hub that does so, for at most `limit` (and a year), closes
  /// the transport, and returns what was not handed over or not confirmed. A second call returns nothing.
  std::vector<EntryType> close(std::chrono::nanoseconds limit) {
    if (closed_.exchange(true)) return {};
    const SteadyTime deadline = transport_.now() + std::min(limit, longest_wait);
    seal();
    // Whatever the transport does: what is left is the caller's.
    attempt("handing over what is pending", [&] {
      if (send_batches(deadline)) confirm_all(deadline);
    });
    attempt("closing the transport", [&] {
      transport_.close(
          std::max<std::chrono::nanoseconds>(deadline - transport_.now(), std::chrono::nanoseconds::zero()));
    });
    // After the transport, which ends what the tick may be waiting for.
    attempt("stopping the transport", [&] { transport_.stop(); });
    std::unique_lock lock(mutex_);
    // A call on another thread may still have a batch in its hands, to be put back because the transport is closed.
    sender_left_.wait(lock, [&] { return !sending_; });
    sender_left_.notify_all();
    return core_.take_entries();
  }

 private:
  /// What the transport sees of a call.
  template <class AnyCall>
  struct Running {
    static constexpr bool is_claim = std::same_as<AnyCall, typename Core::Claim>;

    BlockingDriver& driver;
    AnyCall& call;
    std::optional<Outcome<typename AnyCall::Result>> outcome;

    ByteView envelope() const { return call.envelope; }
    ByteView message() const { return call.message; }

    bool accept(Frames frames) {
      const std::lock_guard lock(driver.mutex_);
      const std::optional<Answer> answer = driver.core_.read(frames);
      if (!answer) return false;
      if (answer->id && *answer->id != call.id) {
        driver.core_.drop_late(*answer);
        return false;
      }
      outcome = driver.core_.finish(call, answer->message, driver.transport_.now());
      return true;
    }

    std::optional<std::pair<Bytes, Bytes>> withdrawal() const {
      const std::lock_guard lock(driver.mutex_);
      return driver.core_.withdrawal(call);
    }

    bool keep_connection() const {
      const std::lock_guard lock(driver.mutex_);
      return driver.core_.echoes_envelopes() == true;
    }

    bool waits() const noexcept {
      if constexpr (is_claim) return call.wait > call.wait.zero();
      return false;
    }

    bool ask_again() {
      if constexpr (is_claim) {
        if (!waits()) return false;
        const std::lock_guard lock(driver.mutex_);
        driver.core_.ask_again(call, ++driver.last_request_, driver.transport_.now());
        return true;
      }
      return false;
    }
  };

  std::uint64_t next_claim() {
    const std::lock_guard lock(mutex_);
    return ++last_claim_;
  }

  /// Has a claim back of every new hub for as long as it holds something.
  std::shared_ptr<ClaimState<K>> watch(std::uint64_t number, ClaimAnswer<K> answer, SteadyTime sent) {
    const std::lock_guard lock(mutex_);
    auto claim = claims_.make(number, std::move(answer), sent);
    if (claim->holds_any()) core_.schedule_sync(transport_.now() + core_.options().resend_interval);
    return claim;
  }

  /// What a hub has just answered may have shown that it is another one.
  void wake_for_sync() {
    std::optional<SteadyTime> due;
    {
      const std::lock_guard lock(mutex_);
      due = core_.sync_due();
    }
    if (due) attempt("setting a timer for a confirmation", [&] { transport_.wake_at(*due); });
  }

  std::vector<K> renew(ClaimState<K>& claim, SteadyTime deadline) {
    const SteadyTime sent = transport_.now();
    auto call = claim.renewal(sent);
    if (call.keys.empty()) return {};
    const RenewAnswer answer = finish(try_once(call, deadline));
    std::vector<K> lost = claim.renewed(call.keys, answer, sent, transport_.now());
    abandon(claim.number(), claim.held_in_vain(call.keys, answer));
    return lost;
  }

  bool acknowledges_all() {
    std::unique_lock lock(mutex_);
    sender_left_.wait(lock, [&] { return !is_asking_; });
    if (const auto all = core_.acknowledges_all(false)) return *all;
    is_asking_ = true;
    lock.unlock();
    // If it insists and does not say so now, what it refuses is reported.
    attempt("asking the hub what it is", [&] {
      sync(transport_.now() + std::min(core_.options().request_timeout, core_.options().resend_interval), false);
    });
    lock.lock();
    is_asking_ = false;
    sender_left_.notify_all();
    return core_.acknowledges_all(false) == true;
  }

  /// Others may wait for the number of a registration that has failed: the tick says that it is nobody's.
  void send_number_given_up() {
    attempt("setting a timer for a registration", [&] { transport_.wake_at(transport_.now()); });
  }

  /// Registers once more what is to be, and puts what has become of it into the outcomes. Where there is no memory for
  /// that, or the hub refuses it, what was answered stands.
  void register_once_more(ClaimedRegistration<EntryType>& registration, std::vector<RegisterStatus>& outcomes,
                          std::uint64_t claim, SteadyTime deadline) {
    std::optional<typename Core::Register> call;
    attempt("registering once more", [&] {
      const auto again = registration.to_be_repeated(outcomes);
      if (!again.empty()) call = Core::registration(again, claim);
    });
    if (!call) return;
    try {
      registration.correct(outcomes, add_until(*call, deadline));
    } catch (const RegistryError& error) {
      if (!ClaimedRegistration<EntryType>::is_refusal(error.error(), *call)) throw;
      send_number_given_up();
    }
  }

  std::vector<RegisterStatus> add_until(std::span<const EntryType> entries, std::optional<std::uint64_t> claim,
                                        SteadyTime deadline) {
    auto call = Core::registration(entries, claim);
    return add_until(call, deadline);
  }

  std::vector<RegisterStatus> add_until(typename Core::Register& call, SteadyTime deadline) {
    while (true) {
      const SteadyTime next = transport_.now() + core_.options().resend_interval;
      auto outcome = try_to_add(call, std::min(deadline, next));
      auto* error = std::get_if<Error>(&outcome);
      if (error == nullptr) return finish(std::move(outcome));
      const bool has_timed_out = std::holds_alternative<Timeout>(*error);
      const bool is_over = transport_.now() >= deadline;
      const std::lock_guard lock(mutex_);
      if (!is_over && Core::may_repeat(*error)) continue;
      if (!is_over && has_timed_out) {
        core_.resend(call);
        continue;
      }
      core_.give_up(call);
      if (has_timed_out) throw RegistryError(Timeout::after(core_.options().register_timeout));
      throw RegistryError(std::move(*error));
    }
  }

  /// Once, and if that throws, for want of memory say, never again.
  Outcome<std::vector<RegisterStatus>> try_to_add(typename Core::Register& call, SteadyTime deadline) {
    try {
      return try_once(call, deadline);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      core_.give_up(call);
      throw;
    }
  }

  void add_or_throw(std::span<const EntryType> entries) {
    auto result = RegisterResult<EntryType>::of(entries, add_acknowledged(entries));
    if (result.all_stored()) return;
    Error why = result.why();
    throw Rejected(std::move(why), std::move(result.refused));
  }

  /// Asks the hub what has become of what it was sent, sends again what it has not got, and reports what it refused.
  /// Whether it has confirmed or refused anything, or is another one than before.
  bool sync(SteadyTime deadline, bool waits) {
    bool has_progressed = false;
    while (true) {
      typename Core::Sync call;
      {
        const std::lock_guard lock(mutex_);
        call = core_.sync(waits);
      }
      auto outcome = try_once(call, deadline);
      if (const auto* error = std::get_if<Error>(&outcome)) {
        std::optional<typename Core::Loss> loss;
        {
          const std::lock_guard lock(mutex_);
          loss = core_.sync_failed(*error, transport_.now());
        }
        if (loss) report_lost_(loss->entries, loss->why);
        return has_progressed;
      }
      SyncFollowUp<K> next;
      {
        const std::lock_guard lock(mutex_);
        next = core_.synced(call, std::get<SyncAnswer>(outcome), transport_.now());
      }
      has_progressed = has_progressed || next.has_progressed;
      if (next.is_new) log(LogLevel::warning, "the hub has been restarted: what it has not confirmed is sent again");
      send_again(next.resend_from, next.sent_until, deadline);
      claim_back(deadline);
      // There may be more of them, and each is told by itself.
      if (!next.refused || !learn_refusal(*next.refused, deadline) || transport_.now() >= deadline) {
        return has_progressed;
      }
    }
  }

  /// Asks which entries of a batch were refused, and reports them.
  bool learn_refusal(const BatchType& batch, SteadyTime deadline) {
    typename Core::Register call;
    {
      const std::lock_guard lock(mutex_);
      call = core_.repeat(batch);
    }
    auto outcome = try_once(call, deadline);
    std::optional<typename Core::Loss> loss;
    bool is_known = false;
    {
      const std::lock_guard lock(mutex_);
      is_known = core_.settle(batch, std::move(outcome), loss);
    }
    if (loss) report_lost_(loss->entries, loss->why);
    return is_known;
  }

  /// The unconfirmed batches from number `next` on that were last sent by `sent_until`.
  void send_again(std::uint64_t next, SteadyTime sent_until, SteadyTime deadline) {
    const Sender sender(*this, deadline);
    if (!sender) return;
    while (true) {
      const SteadyTime start = transport_.now();
      std::optional<BatchType> batch;
      {
        const std::lock_guard lock(mutex_);
        batch = core_.next_to_resend(sent_until, next, start);
      }
      if (!batch) return;
      // Not for long with this copy: others may remove meanwhile what it holds.
      const bool is_sent =
          transport_.push(batch->message, batch->envelope, std::min(deadline, start + longest_with_copy));
      const std::lock_guard lock(mutex_);
      if (is_sent) {
        core_.has_resent();
        next = batch->sequence + 1;
        continue;
      }
      core_.not_resent(*batch);
      // Where time stands still nothing does.
      if (const SteadyTime now = transport_.now(); now >= deadline || now == start) return;
    }
  }

  /// What was granted by another hub than the one that answers now is to be had back of this one.
  void claim_back(SteadyTime deadline) {
    std::vector<std::shared_ptr<ClaimState<K>>> foreign;
    {
      const std::lock_guard lock(mutex_);
      foreign = claims_.foreign_to(*core_.incarnation());
    }
    for (const auto& claim : foreign) attempt("claiming back", [&] { renew(*claim, deadline); });
  }

  /// Until the hub has confirmed everything, or time is over.
  void confirm_all(SteadyTime deadline) {
    while (has_unconfirmed() && confirm_some(deadline)) {
    }
  }

  /// Waits for the hub to confirm something. Whether more may come.
  bool confirm_some(SteadyTime deadline) {
    const SyncTerms terms = core_.sync_terms(true);
    const SteadyTime start = transport_.now();
    if (sync(std::min(deadline, start + terms.limit), terms.waits)) return true;
    const SteadyTime now = transport_.now();
    // Where time stands still nothing does.
    if (now >= deadline || now == start) return false;
    std::unique_lock lock(mutex_);
    sender_left_.wait_for(lock, terms.pause);
    return true;
  }

  bool has_unconfirmed() {
    const std::lock_guard lock(mutex_);
    return core_.has_unconfirmed() && core_.may_confirm();
  }

  bool is_unconfirmed_full() {
    const std::lock_guard lock(mutex_);
    return core_.is_unconfirmed_full();
  }

  template <class AnyCall>
  Outcome<typename AnyCall::Result> try_once(AnyCall& call, SteadyTime deadline) {
    const SteadyTime start = transport_.now();
    hand_over_before(call, start);
    {
      const std::lock_guard lock(mutex_);
      if (!core_.begin(call, ++last_request_, start)) return core_.finish_locally(call);
    }
    Running<AnyCall> running{*this, call, std::nullopt};
    if (auto error = transport_.exchange(running, deadline)) return std::move(*error);
    return std::move(*running.outcome);
  }

  template <class Result>
  static Result finish(Outcome<Result> outcome) {
    if (auto* error = std::get_if<Error>(&outcome)) throw RegistryError(std::move(*error));
    return std::get<Result>(std::move(outcome));
  }

  static Error closed() { return Disconnected{"the client is closed"}; }

  void fail_if_closed() const {
    if (closed_) throw RegistryError(closed());
  }

  void log(LogLevel level, const std::string& text) {
    if (core_.options().log) core_.options().log(level, text);
  }

  void seal() {
    const std::lock_guard lock(mutex_);
    core_.batcher().seal();
  }

  void hand_over(std::chrono::nanoseconds limit) {
    seal();
    if (!send_batches(transport_.now() + limit)) throw RegistryError(Timeout::after(limit));
    // There may be nothing left to send only because somebody closed the client and has it.
    fail_if_closed();
  }

  void wait_for_room(std::span<const EntryType> entries) {
    std::optional<Error> error;
    try {
      const auto limit = core_.options().register_timeout;
      const SteadyTime deadline = transport_.now() + limit;
      if (!send_batches(deadline)) error = Timeout::after(limit);
      while (!error && is_unconfirmed_full()) {
        fail_if_closed();
        if (!confirm_some(deadline) && is_unconfirmed_full()) error = Timeout::after(limit);
      }
    } catch (const RegistryError& failure) {
      error = failure.error();
    } catch (const std::exception& failure) {
      error = TransportError{failure.what()};
    }
    if (error) throw Rejected(std::move(*error), {entries.begin(), entries.end()});
  }

  /// For what may fail without harm to the call at hand.
  template <class Action>
  void attempt(const char* what, Action action) {
    try {
      action();
    } catch (...) {
      log(LogLevel::warning, std::string{what} + " failed: " + failure_text());
    }
  }

  template <class AnyCall>
  void hand_over_before(const AnyCall& call, SteadyTime now) {
    bool follows = false;
    {
      const std::lock_guard lock(mutex_);
      follows = core_.follows_registrations(call, now);
    }
    if (follows) hand_over(core_.options().request_timeout);
  }

  /// Sends batches in order until there are none; false if the deadline came first.
  bool send_batches(SteadyTime deadline) {
    std::optional<SteadyTime> sync_due;
    const bool sent = send_batches(deadline, sync_due);
    if (sync_due) attempt("setting a timer for a confirmation", [&] { transport_.wake_at(*sync_due); });
    return sent;
  }

  /// `sync_due`: when the hub is to be asked about them, if nobody has yet arranged for that.
  bool send_batches(SteadyTime deadline, std::optional<SteadyTime>& sync_due) {
    const Sender sender(*this, deadline);
    if (!sender) return false;
    while (true) {
      std::optional<BatchType> batch;
      {
        const std::lock_guard lock(mutex_);
        if (!core_.batcher().has_batch()) return true;
        batch = core_.take_batch();
      }
      bool sent = false;
      try {
        sent = transport_.push(batch->message, batch->envelope, deadline);
      } catch (...) {
        put_back(std::move(*batch));
        throw;
      }
      if (!sent) {
        put_back(std::move(*batch));
        return false;
      }
      const std::lock_guard lock(mutex_);
      const auto due_before = core_.sync_due();
      core_.handed_over(std::move(*batch), transport_.now());
      if (core_.sync_due() != due_before) sync_due = core_.sync_due();
    }
  }

  void put_back(BatchType batch) {
    const std::lock_guard lock(mutex_);
    core_.put_back(std::move(batch));
  }

  /// The right to send: one thread at a time, so that batches travel in the order of their numbers.
  class Sender {
   public:
    Sender(BlockingDriver& driver, SteadyTime deadline) : driver_(driver) {
      std::unique_lock lock(driver_.mutex_);
      const auto limit = deadline - driver_.transport_.now();
      owns_ = driver_.sender_left_.wait_for(
          lock, std::max(limit, SteadyTime::duration::zero()), [&] { return !driver_.sending_; });
      if (owns_) driver_.sending_ = true;
    }
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;
    ~Sender() {
      if (!owns_) return;
      {
        const std::lock_guard lock(driver_.mutex_);
        driver_.sending_ = false;
      }
      driver_.sender_left_.notify_all();
    }
    explicit operator bool() const noexcept { return owns_; }

   private:
    BlockingDriver& driver_;
    bool owns_ = false;
  };

  std::optional<SteadyTime> tick(SteadyTime now) {
    if (closed_) return std::nullopt;
    try {
      return work(now);
    } catch (const RegistryError&) {
      // Whoever closes takes what is left.
      if (closed_) return std::nullopt;
      throw;
    }
  }

  std::optional<SteadyTime> work(SteadyTime now) {
    bool is_sync_due = false;
    {
      const std::lock_guard lock(mutex_);
      core_.batcher().seal_if_due(now);
      is_sync_due = core_.sync_due().value_or(SteadyTime::max()) <= now;
    }
    const bool sent = send_batches(now);
    const SyncTerms terms = core_.sync_terms(false);
    // Batches that fall due meanwhile wait for the answer: it must not take long.
    if (is_sync_due) sync(now + terms.limit, terms.waits);
    const std::lock_guard lock(mutex_);
    if (claims_.any() || core_.has_unconfirmed()) core_.schedule_sync(now + terms.pause);
    auto next = core_.batcher().deadline();
    if (!sent) next = now + core_.options().batch_timeout;
    if (const auto due = core_.sync_due()) next = next ? std::min(*next, *due) : *due;
    return next;
  }

  static constexpr std::chrono::milliseconds longest_with_copy{20};

  T transport_;
  std::mutex mutex_;
  std::condition_variable sender_left_;
  bool is_asking_ = false;  // a thread asks whether the hub insists, and others wait for it
  bool sending_ = false;
  Core core_;
  LossReports<K, typename Core::value_type, typename Core::metadata_type> report_lost_;
  LiveClaims<K> claims_;
  RequestId last_request_ = 0;
  std::uint64_t last_claim_ = 0;
  std::atomic<bool> closed_ = false;
};

}  // namespace registry
