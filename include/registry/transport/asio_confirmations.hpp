// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <registry/core/batcher.hpp>
#include <registry/core/claim_state.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/live_claims.hpp>
#include <registry/core/loss_reports.hpp>
#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/register_result.hpp>
#include <registry/transport/asio_operation.hpp>

namespace registry::detail {

/// What a client on an executor asks its hub without being told to: what has become of registrations and, of a new hub,
/// that claims are had back. Part of a loop, on whose strand it is used, and which asks, sends and logs for it.
template <class Core, class Loop>
class AsioConfirmations {
 public:
  using K = typename Core::key_type;
  using Query = AsioQuery<Core>;
  using Losses = LossReports<K, typename Core::value_type, typename Core::metadata_type>;

  AsioConfirmations(Loop& loop, Core& core, Losses& report_lost)
      : loop_(loop), core_(core), report_lost_(report_lost) {}
  AsioConfirmations(const AsioConfirmations&) = delete;
  AsioConfirmations& operator=(const AsioConfirmations&) = delete;

  /// Has a claim back of every new hub for as long as it holds something.
  std::shared_ptr<ClaimState<K>> watch(std::uint64_t number, ClaimAnswer<K> answer, SteadyTime sent) {
    auto claim = claims_.make(number, std::move(answer), sent);
    if (claim->holds_any()) core_.schedule_sync(Loop::now() + core_.options().resend_interval);
    return claim;
  }

  /// Whether somebody waits for registrations to be confirmed; until `confirm` is called next.
  void await(bool is_awaited) noexcept { is_awaited_ = is_awaited; }

  /// As the core's; the question that this may take is asked.
  std::optional<bool> acknowledges_all(SteadyTime time) {
    if (is_asking_) return std::nullopt;
    const auto all = core_.acknowledges_all(true);
    is_asking_ = !all;
    if (is_asking_) core_.schedule_sync(time);
    return all;
  }

  /// When the hub is to be asked next, if it is not being asked.
  std::optional<SteadyTime> due() const noexcept { return confirming_ ? std::nullopt : core_.sync_due(); }

  /// The registration goes on once the claims were had back of a new hub, or the hub is none.
  void have_claim_back(RequestId registration, SteadyTime time) {
    refused_.push_back(registration);
    core_.schedule_sync(time);
  }

  /// Whether batches are left to be sent again.
  bool has_batches() const noexcept { return resend_.has_value(); }

  /// False if some have to wait for room.
  bool send_batches() {
    while (resend_) {
      if (!loop_.has_room_for_batches()) return false;  // no copy is made in vain
      const auto batch = core_.next_to_resend(resend_->sent_until, resend_->next, Loop::now());
      if (!batch) {
        resend_.reset();
      } else if (loop_.send_batch(*batch)) {
        core_.has_resent();
        resend_->next = batch->sequence + 1;
      } else {
        core_.not_resent(*batch);
        return false;
      }
    }
    return true;
  }

  /// Asks the hub what has become of what it was sent, when that is due.
  void confirm(SteadyTime time) {
    if (!is_awaited_ || !core_.has_unconfirmed()) {
      is_hastened_ = false;
    } else if (!std::exchange(is_hastened_, true)) {
      core_.schedule_sync(time);
    }
    if (due().value_or(SteadyTime::max()) > time) return;
    const SyncTerms terms = core_.sync_terms(is_awaited_);
    // Who waits to hear whether the hub insists shall not fail because of that.
    const auto limit = is_asking_ ? std::min(terms.limit, core_.options().register_timeout / 2) : terms.limit;
    resend_.reset();  // what this shows to be missing is sent again
    for (const RequestId id : std::exchange(refused_, {})) returning_.push_back(id);
    // Not the first question to a hub: until it has shown that it returns envelopes, all others would wait, too.
    auto call = core_.sync(terms.waits && core_.echoes_envelopes() == true);
    auto done = [this, call](const std::shared_ptr<void>&, std::error_code, const std::optional<Error>& error,
                             const SyncAnswer& answer) {
      confirming_.reset();
      is_asking_ = false;
      if (!error) return follow_up(core_.synced(call, answer, Loop::now()));
      if (const auto loss = core_.sync_failed(*error, Loop::now())) report_lost_(loss->entries, loss->why);
      go_on_with_refused();
      schedule_next(false);
    };
    confirming_ = loop_.ask(std::move(call), limit, std::move(done));
  }

 private:
  /// What a sync has shown to be lost, on its way again.
  struct Resend {
    std::uint64_t next;
    SteadyTime sent_until;
  };

  void follow_up(SyncFollowUp<K> next) {
    if (next.is_new) {
      loop_.log("the hub has been restarted: what it has not confirmed is sent again", LogLevel::warning);
    }
    resend_ = Resend{next.resend_from, next.sent_until};
    send_batches();
    claim_back();
    if (next.refused) return learn_refusal(std::move(*next.refused));
    schedule_next(next.has_progressed);
  }

  /// Asks which entries of a batch were refused, and reports them.
  void learn_refusal(Batch<K> batch) {
    auto call = core_.repeat(batch);
    auto done = [this, batch = std::move(batch)](const std::shared_ptr<void>&, std::error_code,
                                                 std::optional<Error> error, std::vector<RegisterStatus> statuses) {
      confirming_.reset();
      Outcome<std::vector<RegisterStatus>> outcome = std::move(statuses);
      if (error) outcome = std::move(*error);
      std::optional<typename Core::Loss> loss;
      const bool is_known = core_.settle(batch, std::move(outcome), loss);
      if (loss) report_lost_(loss->entries, loss->why);
      // There may be more of them, and each is told by itself.
      if (is_known) core_.schedule_sync(Loop::now());
      schedule_next(is_known);
    };
    confirming_ = loop_.ask(std::move(call), core_.sync_terms(is_awaited_).limit, std::move(done));
  }

  void claim_back() {
    for (const auto& claim : claims_.foreign_to(*core_.incarnation())) {
      auto call = claim->renewal(Loop::now());
      if (call.keys.empty()) continue;
      auto done = [this, claim, keys = call.keys](const std::shared_ptr<Query>& query, std::error_code code,
                                                  const std::optional<Error>&, const RenewAnswer& answer) {
        --claims_on_their_way_;
        if (!code) loop_.renewed(*claim, keys, answer, *query->sent_at);
        go_on_with_refused();
      };
      ++claims_on_their_way_;
      loop_.ask(std::move(call), core_.sync_terms(false).limit, std::move(done));
    }
    go_on_with_refused();
  }

  /// With the registrations that have waited for claims to be had back.
  void go_on_with_refused() {
    if (claims_on_their_way_ > 0) return;
    for (const RequestId id : std::exchange(returning_, {})) loop_.go_on(id);
  }

  void schedule_next(bool has_progressed) {
    if (!core_.has_unconfirmed() && !claims_.any()) return;
    const bool at_once = is_awaited_ && has_progressed;
    core_.schedule_sync(at_once ? Loop::now() : Loop::now() + core_.sync_terms(is_awaited_).pause);
  }

  Loop& loop_;
  Core& core_;
  Losses& report_lost_;
  LiveClaims<K> claims_;
  std::shared_ptr<Query> confirming_;  // a sync, or the question that follows it
  std::optional<Resend> resend_;
  std::vector<RequestId> refused_;    // registrations that wait until the next sync has had the claims back
  std::vector<RequestId> returning_;  // ... until this one has
  std::size_t claims_on_their_way_ = 0;
  bool is_asking_ = false;    // registrations wait for the hub to say whether they are to be acknowledged
  bool is_awaited_ = false;   // somebody waits for confirmations
  bool is_hastened_ = false;  // ... and the next sync is not later than that calls for
};

}  // namespace registry::detail
