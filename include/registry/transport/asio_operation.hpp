// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/dispatch.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include <registry/bytes.hpp>
#include <registry/core/call_order.hpp>
#include <registry/core/claim_state.hpp>
#include <registry/core/claimed_registration.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_counts.hpp>
#include <registry/diagnostics.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>

// Asynchronous calls in progress, without the type of whoever waits for them.
namespace registry::detail {

/// Hands results to an asynchronous call's handler, on the handler's executor and never from within whoever calls it.
/// Until then that executor has work, so that its context goes on running. It is part of the operation that it ends,
/// and there the results wait: only a pointer travels through the executors.
template <class Handler, class... Results>
class AsioCompletion {
 public:
  AsioCompletion(Handler handler, asio::any_io_executor io, std::optional<Diagnostics> diagnostics)
      : io_(std::move(io)),
        work_(asio::get_associated_executor(handler, io_)),
        diagnostics_(std::move(diagnostics)),
        handler_(std::move(handler)) {}

  auto cancellation_slot() const noexcept { return asio::get_associated_cancellation_slot(handler_); }

  /// Once. `operation` owns this.
  void operator()(const std::shared_ptr<void>& operation, std::error_code code, std::optional<Error> error,
                  Results... results) {
    if (diagnostics_) diagnostics_->set(std::move(error));
    results_.emplace(code, std::move(results)...);
    // Posted to the I/O executor and dispatched from there: a post to the executor of a std::future's handler would
    // start Asio's system thread pool.
    asio::post(io_, [self = std::shared_ptr<AsioCompletion>(operation, this)]() mutable {
      const auto work = std::move(self->work_);
      asio::dispatch(work.get_executor(), [self = std::move(self)]() mutable { invoke(std::move(self)); });
    });
  }

 private:
  static void invoke(std::shared_ptr<AsioCompletion> self) {
    Handler handler = std::move(self->handler_);
    auto results = std::move(*self->results_);
    // The operation's memory is free for whatever the handler starts.
    self.reset();
    // The slot belongs to whoever emits on it, and that is the handler's executor.
    if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) slot.clear();
    std::apply(std::move(handler), std::move(results));
  }

  asio::any_io_executor io_;
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> work_;
  std::optional<Diagnostics> diagnostics_;
  Handler handler_;
  std::optional<std::tuple<std::error_code, Results...>> results_;
};

/// A query or a write that is in progress.
struct AsioCallName {
  RequestId id;
  bool is_query;
};

template <class Core>
using AsioCallOrder = CallOrder<typename Core::key_type, AsioCallName>;
template <class Core>
using PlaceAmongCalls = typename AsioCallOrder<Core>::Place;

/// Has a claim counted for as long as it lives.
class CountedClaim {
 public:
  using Counts = KeyCounts<std::uint64_t>;

  CountedClaim(std::shared_ptr<Counts> counts, std::uint64_t claim) : counts_(std::move(counts)), claim_(claim) {
    counts_->add(claim_);
  }
  CountedClaim(const CountedClaim&) = delete;
  CountedClaim& operator=(const CountedClaim&) = delete;
  ~CountedClaim() { counts_->drop(claim_); }

 private:
  std::shared_ptr<Counts> counts_;
  std::uint64_t claim_;
};

/// What is left to be done for a query that has been answered.
enum class AsioNextStep {
  none,
  begin_anew,
  /// Another hub may have answered it than has granted its claim: that is to be had back, if so.
  have_claim_back,
};

/// A query in progress. It ends once: with an `answer` after which there is no next step, `finish_locally` or `fail`.
template <class Core>
class AsioQuery : public std::enable_shared_from_this<AsioQuery<Core>> {
 public:
  virtual ~AsioQuery() = default;
  virtual bool begin(Core& core, SteadyTime now) = 0;
  virtual bool follows_registrations(Core& core, SteadyTime now) = 0;
  /// The keys of which it changes what is stored, if it is yet to take its place among the calls that do.
  virtual std::span<const typename Core::key_type> changes() const noexcept { return {}; }
  /// Whether it was taken into a message of several. After `begin`.
  virtual bool join(typename Core::Joint& joint) const = 0;
  /// In whose name it asks, if it does in a claim's.
  virtual std::optional<std::uint64_t> claim() const noexcept { return std::nullopt; }
  virtual ByteView envelope() const noexcept = 0;
  virtual ByteView message() const noexcept = 0;
  /// What to send behind it if its answer is not waited for; `number` is that of the message that it was sent in.
  virtual std::optional<std::pair<Bytes, Bytes>> withdrawal(const Core& core, RequestId number) = 0;
  /// What an earlier request of it may have been granted, which the last one's withdrawal does not take back.
  virtual std::vector<typename Core::key_type> granted_before() const { return {}; }
  virtual AsioNextStep answer(Core& core, ByteView message, SteadyTime now) = 0;
  /// The claim was had back, or could not be.
  virtual AsioNextStep go_on() { return AsioNextStep::none; }
  virtual void finish_locally(Core& core) = 0;
  virtual void fail(std::error_code code, std::optional<Error> error) = 0;
  /// It has failed for good: if it has a place among the registrations, nobody shall wait for it.
  virtual void give_up_number(Core&) {}

  void fail(Error error) {
    const std::error_code code = make_error_code(error);
    fail(code, std::move(error));
  }

  RequestId id = 0;
  /// For how long the hub may keep it before it answers.
  std::chrono::nanoseconds wait{};
  /// Whether it is begun anew, and sent again, until there is an answer.
  bool is_resent = false;
  /// Whether it returns leases of a claim, with nobody who waits for the answer.
  bool is_give_back = false;
  /// When it fails with Timeout.
  SteadyTime deadline{};
  std::optional<SteadyTime> sent_at;
  /// Whether it was sent since it was begun anew, also where that is not waited for any more: it may have arrived.
  bool was_sent = false;
  /// The message of several that it was sent in; 0 if it was sent by itself.
  RequestId joined = 0;
  /// Among the calls that change something, until it ends.
  std::optional<PlaceAmongCalls<Core>> place;
  /// Has its claim counted among those of which a call has not begun.
  std::optional<CountedClaim> unbegun;
};

/// A completion for a caller who gets something else than the call's result: what `Convert` makes of the query, the
/// code and, unless that is an error, the result.
template <class Completion, class Convert>
class AsioConversion {
 public:
  AsioConversion(Completion completion, Convert convert)
      : completion_(std::move(completion)), convert_(std::move(convert)) {}

  auto cancellation_slot() const noexcept { return completion_.cancellation_slot(); }

  template <class Core, class Result>
  void operator()(const std::shared_ptr<AsioQuery<Core>>& query, std::error_code code, std::optional<Error> error,
                  Result result) {
    std::invoke_result_t<Convert&, const AsioQuery<Core>&, std::error_code, Result> converted{};
    try {
      converted = convert_(*query, code, std::move(result));
    } catch (...) {
      error = TransportError{"reading the answer failed: " + failure_text()};
      code = make_error_code(*error);
    }
    completion_(query, code, std::move(error), std::move(converted));
  }

 private:
  Completion completion_;
  Convert convert_;
};

/// `Completion` is called with (owner, std::error_code, std::optional<Error>, Result).
template <class Core, class AnyCall, class Completion>
class AsioQueryOf : public AsioQuery<Core> {
 public:
  AsioQueryOf(AnyCall call, Completion completion) : call_(std::move(call)), completion_(std::move(completion)) {}

  Completion& completion() noexcept { return completion_; }

  bool begin(Core& core, SteadyTime now) override { return core.begin(call_, this->id, now); }

  bool follows_registrations(Core& core, SteadyTime now) override { return core.follows_registrations(call_, now); }

  std::span<const typename Core::key_type> changes() const noexcept override {
    if (!Core::takes_place(call_)) return {};
    return call_.keys;
  }

  bool join(typename Core::Joint& joint) const override {
    return Core::asks_all(call_) && joint.add(call_.type, call_.keys);
  }

  std::optional<std::uint64_t> claim() const noexcept override { return call_.claim; }
  ByteView envelope() const noexcept override { return call_.envelope; }
  ByteView message() const noexcept override { return call_.message; }

  std::optional<std::pair<Bytes, Bytes>> withdrawal(const Core& core, RequestId number) override {
    call_.id = number;
    return core.withdrawal(call_);
  }

  AsioNextStep answer(Core& core, ByteView message, SteadyTime now) override {
    Outcome<Result> outcome;
    try {
      outcome = core.finish(call_, message, now);
    } catch (...) {
      // A wire or codec of the user's: nobody else's calls may suffer for it.
      outcome = Error{TransportError{"reading the answer failed: " + failure_text()}};
    }
    if (auto* error = std::get_if<Error>(&outcome)) {
      if (now < this->deadline && may_repeat(*error)) return AsioNextStep::begin_anew;
      this->give_up_number(core);
      AsioQuery<Core>::fail(std::move(*error));
      return AsioNextStep::none;
    }
    return succeed(std::get<Result>(std::move(outcome)));
  }

  void finish_locally(Core& core) override { complete({}, std::nullopt, core.finish_locally(call_)); }

  void fail(std::error_code code, std::optional<Error> error) override { complete(code, std::move(error), {}); }

 protected:
  AnyCall& call() noexcept { return call_; }
  const AnyCall& call() const noexcept { return call_; }

  virtual AsioNextStep succeed(typename AnyCall::Result result) {
    complete({}, std::nullopt, std::move(result));
    return AsioNextStep::none;
  }

  /// Whether what the hub has refused is begun anew.
  virtual bool may_repeat(const Error&) { return false; }

 private:
  using Result = typename AnyCall::Result;

  void complete(std::error_code code, std::optional<Error> error, Result result) {
    this->unbegun.reset();
    this->place.reset();
    completion_(this->shared_from_this(), code, std::move(error), std::move(result));
  }

  AnyCall call_;
  Completion completion_;
};

/// A claim. Begun anew it is asked for again, for the rest of its time.
template <class Core, class Completion>
class AsioClaimQuery final : public AsioQueryOf<Core, typename Core::Claim, Completion> {
  using Base = AsioQueryOf<Core, typename Core::Claim, Completion>;

 public:
  AsioClaimQuery(typename Core::Claim claim, Completion completion) : Base(std::move(claim), std::move(completion)) {
    this->wait = this->call().wait;
  }

  bool begin(Core& core, SteadyTime now) override {
    if (!std::exchange(has_begun_, true)) return Base::begin(core, now);
    core.ask_again(this->call(), this->id, now);
    return true;
  }

  std::vector<typename Core::key_type> granted_before() const override {
    return this->call().was_repeated ? this->call().keys : std::vector<typename Core::key_type>{};
  }

 private:
  bool has_begun_ = false;
};

/// A query about entries, which the core encodes when it begins: a registration has its place among the others from
/// then on, and what has no wire form fails nobody else's call. Begun anew, a registration keeps its place.
template <class Core, class AnyCall, class Completion>
class AsioEntriesQuery : public AsioQueryOf<Core, AnyCall, Completion> {
  using Base = AsioQueryOf<Core, AnyCall, Completion>;

 public:
  using Entries = std::vector<typename Core::EntryType>;

  AsioEntriesQuery(std::shared_ptr<const Entries> entries, std::optional<std::uint64_t> claim, Completion completion)
      : Base(naming(*entries, claim), std::move(completion)), entries_(std::move(entries)) {}

  bool begin(Core& core, SteadyTime now) override {
    if (entries_->empty()) return false;
    AnyCall& call = this->call();
    if constexpr (std::same_as<AnyCall, typename Core::Register>) {
      if (std::exchange(has_begun_, true)) {
        if (!std::exchange(is_refused_, false)) core.resend(call);
      } else {
        call = core.registration(*entries_, call.claim);
      }
    } else {
      call = core.remove_if(*entries_);
    }
    return Base::begin(core, now);
  }

  void give_up_number(Core& core) override {
    if constexpr (std::same_as<AnyCall, typename Core::Register>) core.give_up(this->call());
  }

 protected:
  /// The next time it begins it is another query, about these.
  void become(std::shared_ptr<const Entries> entries) {
    this->call() = naming(*entries, this->call().claim);
    entries_ = std::move(entries);
    has_begun_ = false;
  }

  bool may_repeat(const Error& refusal) override {
    if constexpr (std::same_as<AnyCall, typename Core::Register>) {
      is_refused_ = Core::may_repeat(refusal);
    }
    return is_refused_;
  }

 private:
  /// The keys are needed before: by them it finds its place behind the registrations that it must not overtake.
  static AnyCall naming(const Entries& entries, std::optional<std::uint64_t> claim) {
    AnyCall call;
    for (const auto& entry : entries) call.keys.push_back(entry.key);
    call.claim = claim;
    return call;
  }

  std::shared_ptr<const Entries> entries_;
  bool has_begun_ = false;
  bool is_refused_ = false;  // what was sent last: the hub has not applied it
};

/// A registration in the name of a claim, part of which may be registered once more. Where the hub has not got that or
/// has refused it, what was answered at first stands; where nobody knows, because there is no answer, it has failed.
template <class Core, class Completion>
class AsioClaimedQuery final : public AsioEntriesQuery<Core, typename Core::Register, Completion> {
  using Base = AsioEntriesQuery<Core, typename Core::Register, Completion>;
  using EntryType = typename Core::EntryType;
  using Claim = ClaimState<typename Core::key_type>;

 public:
  AsioClaimedQuery(std::shared_ptr<const std::vector<EntryType>> entries, std::shared_ptr<const Claim> claim,
                   Completion completion)
      : Base(entries, claim->number(), std::move(completion)),
        entries_(std::move(entries)),
        claim_(std::move(claim)),
        registration_(*claim_, *entries_) {}

  AsioNextStep go_on() override {
    try {
      auto again = registration_.to_be_repeated(*outcomes_);
      if (!again.empty()) {
        this->become(std::make_shared<const std::vector<EntryType>>(std::move(again)));
        return AsioNextStep::begin_anew;
      }
    } catch (...) {
      // No memory, or a key or value of the user's.
    }
    return Base::succeed(*std::exchange(outcomes_, std::nullopt));
  }

  void fail(std::error_code code, std::optional<Error> error) override {
    if (!outcomes_ || may_have_been_repeated(error)) return Base::fail(code, std::move(error));
    Base::succeed(*std::exchange(outcomes_, std::nullopt));
  }

 private:
  bool may_have_been_repeated(const std::optional<Error>& error) const {
    return this->was_sent && !(error && ClaimedRegistration<EntryType>::is_refusal(*error, this->call()));
  }

  AsioNextStep succeed(std::vector<RegisterStatus> outcomes) override {
    if (outcomes_) {
      registration_.correct(*outcomes_, outcomes);
      return Base::succeed(*std::exchange(outcomes_, std::nullopt));
    }
    if (!registration_.is_refused_though_held(outcomes)) return Base::succeed(std::move(outcomes));
    outcomes_ = std::move(outcomes);
    return registration_.is_had_back() ? go_on() : AsioNextStep::have_claim_back;
  }

  std::shared_ptr<const std::vector<EntryType>> entries_;
  std::shared_ptr<const Claim> claim_;
  ClaimedRegistration<EntryType> registration_;
  std::optional<std::vector<RegisterStatus>> outcomes_;  // the first ones, until it is clear whether they stand
};

/// Small calls that travel as one message. It has no caller of its own to tell: they stay in progress one by one.
template <class Core>
class AsioJointQuery final : public AsioQuery<Core> {
 public:
  using Call = std::shared_ptr<AsioQuery<Core>>;
  /// Called with this and the answer.
  using Deliver = std::function<void(AsioJointQuery&, ByteView message, SteadyTime now)>;

  AsioJointQuery(std::size_t max_answer, Deliver deliver) : deliver_(std::move(deliver)), joint_(max_answer) {}

  bool add(const Call& call) {
    if (!call->join(joint_)) return false;
    calls_.push_back(call);
    return true;
  }

  const std::vector<Call>& calls() const noexcept { return calls_; }

  /// As new; memory is kept.
  void clear() noexcept {
    joint_.clear();
    calls_.clear();
    left_ = 0;
    this->sent_at.reset();
  }

  /// Counts a call that is no longer waited for; true if it was the last.
  bool leave() noexcept { return ++left_ == calls_.size(); }

  /// Whether the answer is one to all of them, so that each has its `part`.
  bool read(ByteView message) { return joint_.read(message); }
  ByteView part(std::size_t call) { return joint_.answer(call); }

  /// False if a codec of the user's does not take as many keys.
  bool begin(Core& core, SteadyTime) override {
    try {
      core.begin(joint_, this->id, envelope_, message_);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  bool follows_registrations(Core&, SteadyTime) override { return false; }
  bool join(typename Core::Joint&) const override { return false; }
  ByteView envelope() const noexcept override { return envelope_; }
  ByteView message() const noexcept override { return message_; }
  std::optional<std::pair<Bytes, Bytes>> withdrawal(const Core&, RequestId) override { return std::nullopt; }
  AsioNextStep answer(Core&, ByteView message, SteadyTime now) override {
    deliver_(*this, message, now);
    return AsioNextStep::none;
  }
  void finish_locally(Core&) override {}
  void fail(std::error_code, std::optional<Error>) override {}

 private:
  Deliver deliver_;
  typename Core::Joint joint_;
  std::vector<Call> calls_;
  std::size_t left_ = 0;
  Bytes envelope_;
  Bytes message_;
};

/// Entries on their way to the batcher, or a wait until it is empty.
template <class Core>
class AsioWrite : public std::enable_shared_from_this<AsioWrite<Core>> {
 public:
  using EntryType = typename Core::EntryType;

  AsioWrite(std::vector<EntryType> new_entries, bool until_handed_over)
      : entries(std::move(new_entries)), drain(until_handed_over) {}
  virtual ~AsioWrite() = default;

  /// Once; after a failure `entries` go back to whoever brought them.
  virtual void complete(std::error_code code, std::optional<Error> error) = 0;

  void fail(Error error) {
    const std::error_code code = make_error_code(error);
    complete(code, std::move(error));
  }

  std::vector<EntryType> entries;
  bool drain;
  RequestId id = 0;
  /// When it fails with Timeout, also as what it has become.
  SteadyTime deadline{};
  /// What it has become, if the hub is to answer it.
  std::weak_ptr<AsioQuery<Core>> acknowledged_as;
  /// Among the calls that change something, if it could not be carried out at once, until it ends.
  std::optional<PlaceAmongCalls<Core>> place;
};

/// `Completion` is called with (owner, std::error_code, std::optional<Error>), and behind them the entries if they go
/// back.
template <class Core, class Completion, bool returns_entries>
class AsioWriteOf final : public AsioWrite<Core> {
 public:
  AsioWriteOf(std::vector<typename Core::EntryType> new_entries, bool until_handed_over, Completion completion)
      : AsioWrite<Core>(std::move(new_entries), until_handed_over), completion_(std::move(completion)) {}

  Completion& completion() noexcept { return completion_; }

  void complete(std::error_code code, std::optional<Error> error) override {
    this->place.reset();
    if constexpr (returns_entries) {
      completion_(this->shared_from_this(), code, std::move(error),
                  code ? std::move(this->entries) : std::vector<typename Core::EntryType>{});
    } else {
      completion_(this->shared_from_this(), code, std::move(error));
    }
  }

 private:
  Completion completion_;
};

}  // namespace registry::detail
