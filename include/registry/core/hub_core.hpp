// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/admission.hpp>
#include <registry/core/catalogue.hpp>
#include <registry/core/claim_queue.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/hub_answer.hpp>
#include <registry/core/hub_queries.hpp>
#include <registry/core/hub_registrations.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_states.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/core/query_asker.hpp>
#include <registry/core/refusal_hook.hpp>
#include <registry/core/reports.hpp>
#include <registry/core/waiting_claims.hpp>
#include <registry/core/waiting_queries.hpp>
#include <registry/detail/counter.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/holder.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>

namespace registry {

/// What a hub does, without sockets, clocks or threads: a message and the time go in, answers come out.
///
/// Answers go to `reply(recipient, envelope, message) -> bool`, where `recipient` and `envelope` are what came with the
/// query, and false says that the recipient could not be reached: what the answer granted is then taken back. All
/// calls on one thread, except `stats`. Nothing that comes from outside makes a call throw, nor a storage that throws,
/// nor want of memory; what else `reply` throws passes through.
template <Eviction P, class C = BinaryCodec<typename P::key_type, typename P::value_type, typename P::metadata_type>>
  requires Codec<C, typename P::key_type, typename P::value_type, typename P::metadata_type>
class HubCore {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using EntryType = Entry<K, V, M>;

  /// The catalogue of the namespace `name`: what is meant for another one is refused.
  HubCore(P policy, HubOptions options, EvictionHook<K, V, M> on_evict = {}, RefusalHook<K, V, M> on_refused = {},
          std::string name = std::string{default_namespace})
      : options_(std::move(options)),
        reports_(options_.log),
        admission_(std::move(name), options_.max_keys_per_query),
        states_(std::move(policy), std::move(on_evict), options_),
        claims_(states_, options_, reports_),
        registrations_(states_, claims_, admission_, options_, std::move(on_refused), reports_),
        queries_(states_, claims_, registrations_, answer_, admission_, options_) {}
  HubCore(const HubCore&) = delete;
  HubCore& operator=(const HubCore&) = delete;

  /// When the hub has started: its recovery time runs from then. Without this call, from the first one.
  void begin(Instant now) { states_.begin(now); }

  /// A query from `sender` (its routing id): the last frame is `message`, those before it `envelope`.
  template <class Reply>
  void query(ByteView sender, Frames envelope, ByteView message, Instant now, Reply&& reply) try {
    const SpareMemory spare{*this};
    queries_received_.add();
    begin(now);
    const std::optional<Envelope> ours = envelope.size() == 1 ? Envelope::decode(envelope.front()) : std::nullopt;
    const QueryAsker asker =
        ours ? QueryAsker::of(*ours)
             : QueryAsker{Holder::connection(sender), ++anonymous_requests_, default_namespace, std::nullopt};
    if (const auto turn = turn_to_wait_for(ours, message, now)) {
      if (!wait(sender, envelope, message, *turn, now)) answer_.deliver(sender, envelope, reply);
      return;
    }
    const auto claim_wait = queries_.decide(asker, message, now);
    if (claim_wait && wait_for_claim(sender, envelope, asker, *claim_wait, now)) return;
    if (!answer_.deliver(sender, envelope, reply)) queries_.take_back(asker, now);
    if (ours && (ours->sequence || is_sync(message))) release_waiting(now, reply);
    claims_.serve(now, claim_end(now, reply));
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// A registration: `envelope` is its second frame where it has one, `sender` what the transport knows of who sent it.
  template <class Reply>
  void registration(const PeerName& sender, std::optional<ByteView> envelope, ByteView message, Instant now,
                    Reply&& reply) try {
    const SpareMemory spare{*this};
    registrations_received_.add();
    begin(now);
    std::optional<Envelope> ours;
    if (envelope) {
      ours = Envelope::decode(*envelope);
      if (!ours) {
        malformed_.add();
        reports_.add(
            now.lease, "a registration from " + std::string{sender} + " was dropped: its second frame is no envelope");
        return;
      }
    }
    registrations_.take_in(sender, ours, message, now);
    if (ours) release_waiting(now, reply);
    claims_.serve(now, claim_end(now, reply));
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// A message that the transport could not take apart: counted, reported, dropped.
  void malformed(std::string_view sender, std::string_view why, Instant now) try {
    malformed_.add();
    reports_.add(now.lease, "a message from " + std::string{sender} + " was dropped: " + std::string{why});
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// A registration that the transport has denied, with what it knows of why: it changes nothing, and the hook is told.
  void denied(std::string_view name_space, ByteView message, const Error& why, Instant now) {
    registrations_.refusals().hand_over_denied(name_space, message, why, now.lease);
  }

  /// Does what time has made due: refuses queries that have waited long enough and collects, in bounded slices, leases
  /// and entries that are over.
  template <class Reply>
  void tick(Instant now, Reply&& reply) try {
    const SpareMemory spare{*this};
    begin(now);
    end_waits(now, reply);
    collect(now);
    claims_.end_due(now, claim_end(now, reply));
    claims_.serve(now, claim_end(now, reply));
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// Refuses all queries that wait, for a hub that stops: those who asked cannot be reached over another transport.
  template <class Reply>
  void end_waiting(Instant now, Reply&& reply) try {
    while (!waiting_.empty()) refuse(waiting_.take(0), hub_is_stopping, reply);
    end_claims(now, reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// Answers all claims that wait as if their time were over.
  template <class Reply>
  void end_claims(Instant now, Reply&& reply) try {
    claims_.end_all(claim_end(now, reply));
    claims_.serve(now, claim_end(now, reply));
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// When `tick` has something to do, by the lease clock; nothing while there is nothing to wait for.
  std::optional<SteadyTime> next_deadline() const {
    std::optional<SteadyTime> next;
    const auto consider = [&](std::optional<SteadyTime> other) {
      if (other) next = next ? std::min(*next, *other) : *other;
    };
    consider(waiting_.next_deadline());
    consider(claims_.next_deadline());
    if (states_.leases().next_deadline() || states_.catalogue().has_expiring() || !claims_.empty()) {
      consider(next_cleanup_.value_or(SteadyTime::min()));
    }
    return next;
  }

  /// What has happened so far; from any thread.
  HubStats stats() const noexcept {
    HubStats stats;
    states_.catalogue().add_to(stats);
    stats.leases = states_.leases().stats();
    stats.queries = queries_received_.load();
    stats.registrations = registrations_received_.load();
    stats.malformed = malformed_.load();
    registrations_.add_to(stats);
    queries_.add_to(stats);
    claims_.add_to(stats);
    answer_.add_to(stats);
    return stats;
  }

  /// The policy and the entries in it, for a hub that fills or reads its catalogue itself; on the hub's thread. What is
  /// inserted here is stored at once; a lease on it counts as active until it runs out, but stands in nobody's way.
  P& policy() noexcept { return states_.catalogue().policy(); }

  const HubOptions& options() const noexcept { return options_; }

 private:
  /// Given back when a message has been dealt with.
  struct SpareMemory {
    HubCore& core;
    ~SpareMemory() {
      core.queries_.give_back_spare_memory();
      core.registrations_.give_back_spare_memory();
      core.states_.give_back_spare_memory();
    }
  };

  static constexpr std::size_t slice = 256;
  /// So many waits after a registration was waited for in vain it is lost: who sends it again has done so long ago.
  static constexpr int lost_after = 10;

  void collect(Instant now) {
    auto& leases = states_.leases();
    const bool is_due = now.lease >= next_cleanup_.value_or(now.lease);
    // Whoever waits for a key is told at once when its lease is over, everybody else finds out when he asks.
    const auto first_over = leases.next_deadline();
    if (!is_due && (claims_.empty() || !first_over || now.lease < *first_over)) return;
    bool more = leases.expire(now.lease, slice) == slice;
    if (!is_due) return;
    try {
      more = states_.catalogue().expire(now.wall, slice) == slice || more;
    } catch (...) {
      // What is over stays so, and is tried again at the next cleanup.
      reports_.add(now.lease, "entries that are over could not be collected: " + failure_text());
    }
    next_cleanup_ = more ? now.lease : now.lease + options_.lease_cleanup_interval;
  }

  /// What the query must not overtake, if there is something, and it has not come.
  std::optional<Turn> turn_to_wait_for(const std::optional<Envelope>& ours, ByteView message, Instant now) const {
    MessageType type{};
    if (!ours || !ours->after || C::decode_type(message, type)) return std::nullopt;
    // Nothing can follow itself.
    if (ours->sequence && *ours->after >= *ours->sequence) return std::nullopt;
    Turn turn{type, ours->client, *ours->after, 0};
    if (!turn.is_removal() && type != MessageType::register_entries && type != MessageType::sync) return std::nullopt;
    const SequenceTracker& sequences = registrations_.sequences();
    if (turn.has_come(sequences, now.lease)) return std::nullopt;
    if (!turn.is_removal()) return turn;
    turn.waived = sequences.told_missing(turn.client, question_of(message));
    if (turn.has_come(sequences, now.lease)) return std::nullopt;
    return turn;
  }

  /// Its client says what it does not ask about any more: nobody waits for that.
  static bool is_sync(ByteView message) {
    MessageType type{};
    return !C::decode_type(message, type) && type == MessageType::sync;
  }

  /// By which a removal is known when it is asked for again.
  static std::size_t question_of(ByteView message) noexcept { return std::hash<std::string_view>{}(as_text(message)); }

  static Bytes copy(ByteView bytes) { return Bytes(bytes.begin(), bytes.end()); }

  /// False, with the refusal as the answer, if there is no room.
  bool wait(ByteView sender, Frames envelope, ByteView message, const Turn& turn, Instant now) {
    if (waiting_.size() >= options_.max_waiting) {
      answer_.refuse(LimitExceeded{"max_waiting", options_.max_waiting, waiting_.size() + 1});
      return false;
    }
    if (!may_keep(sender.size() + envelope.front().size() + message.size())) return false;
    waiting_.add({copy(sender), copy(envelope.front()), copy(message), turn, now.lease + options_.registration_wait});
    return true;
  }

  /// Lets the claim that has just been decided wait. False, with the refusal as the answer, if there is no room.
  bool wait_for_claim(ByteView sender, Frames envelope, const QueryAsker& asker, std::chrono::nanoseconds time,
                      Instant now) {
    const auto* before = claims_.find(asker);
    if (before == nullptr && claims_.size() >= options_.max_waiting_claims) {
      answer_.refuse(LimitExceeded{"max_waiting_claims", options_.max_waiting_claims, claims_.size() + 1});
      return false;
    }
    WaitingClaim<K> claim{copy(sender),    copy(envelope.front()), asker.holder, asker.request,   asker.place(),
                          queries_.keys(), queries_.statuses(),    now.lease,    now.lease + time};
    if (!may_keep(claim.bytes(), before != nullptr ? before->bytes() : 0)) return false;
    try {
      claims_.add(std::move(claim), now);
    } catch (...) {
      answer_.refuse(StorageError{failure_text()});
      return false;
    }
    return true;
  }

  /// Whether there is room for something more that waits; `replaced`: bytes that go when these come.
  bool may_keep(std::size_t bytes, std::size_t replaced = 0) {
    const std::size_t all = waiting_.bytes() + claims_.bytes() + bytes - replaced;
    if (all <= options_.max_waiting_bytes) return true;
    answer_.refuse(LimitExceeded{"max_waiting_bytes", options_.max_waiting_bytes, all});
    return false;
  }

  template <class Reply>
  void release_waiting(Instant now, Reply& reply) {
    std::size_t i = 0;
    while (const auto ready = waiting_.first_ready(registrations_.sequences(), now.lease, i)) {
      const WaitingQuery query = waiting_.take(*ready);
      answer(query, now, reply);
      // It may be, or say, what one that came before it waits for.
      i = query.turn.is_removal() ? *ready : 0;
    }
  }

  template <class Reply>
  void end_waits(Instant now, Reply& reply) {
    if (waiting_.empty() || now.lease < waiting_.front().deadline) return;
    while (!waiting_.empty() && now.lease >= waiting_.front().deadline) end_first_wait(now, reply);
    // Others may be behind those that nobody waits for any more.
    release_waiting(now, reply);
  }

  /// The query that waits for longest has waited long enough.
  template <class Reply>
  void end_first_wait(Instant now, Reply& reply) {
    const WaitingQuery query = waiting_.take(0);
    const Turn& turn = query.turn;
    if (turn.type == MessageType::sync || turn.has_come(registrations_.sequences(), now.lease)) {
      return answer(query, now, reply);
    }
    // Carried out now it would be undone by a registration that comes still, and the caller would not know. He knows
    // now, and may ask again.
    SequenceTracker& sequences = registrations_.sequences();
    const auto time_to_come = lost_after * std::min<std::chrono::nanoseconds>(options_.registration_wait, longest_wait);
    sequences.pass_over(turn.client, turn.after, now.lease, now.lease + time_to_come);
    if (turn.is_removal()) sequences.tell_missing(turn.client, question_of(query.message), turn.after);
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(options_.registration_wait);
    refuse(query, std::string{registration_missing} + " within " + std::to_string(waited.count()) + " ms", reply);
  }

  template <class Reply>
  void answer(const WaitingQuery& query, Instant now, Reply& reply) {
    queries_.decide(QueryAsker::of(*Envelope::decode(query.envelope)), query.message, now);
    deliver(query, reply);
  }

  template <class Reply>
  void refuse(const WaitingQuery& query, std::string_view why, Reply& reply) {
    answer_.refuse(why);
    deliver(query, reply);
  }

  /// Delivers the answer to something that has waited.
  template <class Waited, class Reply>
  bool deliver(const Waited& waited, Reply& reply) {
    const ByteView envelope = waited.envelope;
    return answer_.deliver(waited.sender, Frames{&envelope, 1}, reply);
  }

  /// What answers claims that have waited: see WaitingClaims.
  template <class Reply>
  auto claim_end(Instant now, Reply& reply) {
    return [this, now, &reply](const WaitingClaim<K>& claim) {
      try {
        queries_.answer_claim(claim, now);
      } catch (const std::bad_alloc&) {
        return false;  // it has been taken out: as if it had not been reached
      }
      return deliver(claim, reply);
    };
  }

  HubOptions options_;
  Reports reports_;
  Admission admission_;
  KeyStates<P> states_;
  WaitingClaims<P> claims_;
  HubRegistrations<P, C> registrations_;
  HubAnswer<C> answer_;
  HubQueries<P, C> queries_;
  WaitingQueries waiting_;
  std::optional<SteadyTime> next_cleanup_;
  std::uint64_t anonymous_requests_ = 0;
  detail::Counter queries_received_, registrations_received_, malformed_;
};

}  // namespace registry
