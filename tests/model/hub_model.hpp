// SPDX-License-Identifier: Apache-2.0
// What a hub must answer, written so that one sees that it is right: maps, and loops over all that is in them.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <registry/core/claim_queue.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/options.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/stats.hpp>

#include "model/disagreement.hpp"
#include "model/texts.hpp"

namespace registry::test {

/// Who asks: a peer by itself, or one of its claims, which are counted from 1.
struct Who {
  std::size_t peer = 0;
  std::uint64_t claim = 0;
  friend auto operator<=>(const Who&, const Who&) = default;
};

/// A query or a registration without its message; nothing is known of an anonymous one but the peer.
struct Question {
  Who who;
  std::optional<std::uint64_t> number;
  std::optional<std::uint64_t> after = std::nullopt;
  std::optional<std::uint64_t> sequence = std::nullopt;
  bool is_resent = false;
};

/// What the hub said to whom, as a text; with the statuses where it is an answer to a claim.
struct Answer {
  std::size_t peer = 0;
  std::optional<std::uint64_t> number;
  std::string text;
  Statuses statuses = {};
};

/// Which registrations of each client have come.
class ModelOfSequences {
 public:
  explicit ModelOfSequences(std::size_t max_clients) : max_clients_(max_clients) {}

  bool has_come(std::size_t client, std::uint64_t sequence) const {
    return known_.contains(client) && known_.at(client).come.contains(sequence);
  }

  /// Whether nobody has to wait for this one or one before it.
  bool has_applied(std::size_t client, std::uint64_t sequence) const {
    return known_.contains(client) && sequence <= known_.at(client).mark;
  }

  void note(std::size_t client, std::uint64_t sequence, const std::optional<Outcomes>& refused, bool keeps_order) {
    Client& one = speak(client, sequence - 1);
    if (one.come.empty() && keeps_order && one.passed_over.empty()) one.start = std::max(one.start, sequence - 1);
    one.come.insert(sequence);
    while (one.come.contains(one.mark + 1)) ++one.mark;
    if (refused) one.refused[sequence] = *refused;
  }

  /// Whether it was waited for in vain, and a later one has come since.
  bool was_overtaken(std::size_t client, std::uint64_t sequence) const {
    if (!known_.contains(client)) return false;
    const Client& one = known_.at(client);
    return one.passed_over.contains(sequence) && one.come.upper_bound(sequence) != one.come.end();
  }

  /// Whether none is missing up to this one, but for what went to another hub and what the client was told of.
  bool is_whole(std::size_t client, std::uint64_t sequence, std::uint64_t told, SteadyTime now) const {
    if (!known_.contains(client)) return false;
    const Client& one = known_.at(client);
    return one.whole_from(std::max({one.start, told, now >= one.lost_at ? one.missing : 0})) >= sequence;
  }

  /// Up to which one the client knows that something was missing when it asked this.
  std::uint64_t told_missing(std::size_t client, const std::string& question) const {
    return known_.contains(client) && known_.at(client).told.contains(question)
               ? known_.at(client).told.at(question)
               : 0;
  }

  void tell_missing(std::size_t client, std::uint64_t sequence, const std::string& question) {
    speak(client, 0).told[question] = sequence;
  }

  /// By `lost_at` what is missing up to there is lost.
  void pass_over(std::size_t client, std::uint64_t sequence, SteadyTime now, SteadyTime lost_at) {
    Client& one = speak(client, sequence);
    if (now >= one.lost_at) one.start = std::max(one.start, one.missing);
    if (one.missing <= one.whole_from(one.start)) {
      one.missing = sequence;
      one.lost_at = lost_at;
    }
    for (std::uint64_t n = 1; n <= sequence; ++n) one.passed_over.insert(n);
    one.mark = std::max(one.mark, sequence);
    while (one.come.contains(one.mark + 1)) ++one.mark;
  }

  /// It has said something that changes nothing.
  void hear_of(std::size_t client) {
    if (known_.contains(client)) speak(client, 0);
  }

  /// The client has the outcomes of all before `first`.
  void settle(std::size_t client, std::uint64_t first) {
    if (!known_.contains(client) && first <= 1) return;
    Client& one = speak(client, first > 0 ? first - 1 : 0);
    if (first > 0) one.start = std::max(one.start, first - 1);
    for (; !one.refused.empty() && one.refused.begin()->first < first; one.refused.erase(one.refused.begin())) {
      one.settled = std::max(one.settled, one.refused.begin()->first);
    }
  }

  /// Whether it may have been refused, and nobody knows any more.
  bool is_outcome_forgotten(std::size_t client, std::uint64_t sequence) const {
    return known_.contains(client) && sequence <= known_.at(client).settled;
  }

  std::uint64_t applied_from(std::size_t client, std::uint64_t first) const {
    std::uint64_t last = first - 1;
    while (has_come(client, last + 1)) ++last;
    return last;
  }

  std::optional<Outcomes> refusal(std::size_t client, std::uint64_t sequence) const {
    if (!known_.contains(client) || !known_.at(client).refused.contains(sequence)) return std::nullopt;
    return known_.at(client).refused.at(sequence);
  }

  std::uint64_t first_refusal(std::size_t client, std::uint64_t first) const {
    if (is_outcome_forgotten(client, first)) return first;
    return known_.contains(client) && !known_.at(client).refused.empty() ? known_.at(client).refused.begin()->first : 0;
  }

 private:
  struct Client {
    std::uint64_t start = 0;
    std::uint64_t missing = 0;
    SteadyTime lost_at = {};
    std::uint64_t mark = 0;
    std::map<std::string, std::uint64_t> told;
    std::set<std::uint64_t> come;
    std::set<std::uint64_t> passed_over;
    std::map<std::uint64_t, Outcomes> refused;
    std::uint64_t settled = 0;
    std::uint64_t spoke = 0;

    std::uint64_t whole_from(std::uint64_t n) const {
      while (come.contains(n + 1)) ++n;
      return n;
    }
  };

  Client& speak(std::size_t client, std::uint64_t mark_of_new) {
    if (!known_.contains(client)) {
      if (known_.size() >= max_clients_) {
        known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
          return a.second.spoke < b.second.spoke;
        }));
      }
      known_[client].mark = mark_of_new;
    }
    known_[client].spoke = ++moment_;
    return known_[client];
  }

  std::size_t max_clients_;
  std::map<std::size_t, Client> known_;
  std::uint64_t moment_ = 0;
};

/// A hub with one namespace. Each call is told what the hub was told, and leaves the answers that this must bring in
/// `expected_`, except for those to claims that wait: which keys are looked at first is the hub's own affair, so
/// `compare` takes these answers from the hub, one by one, and says whether each is right.
class HubModel {
 public:
  /// With a capacity beyond which either the least recently used leave, or what is new is refused.
  HubModel(HubOptions options, std::optional<std::size_t> capacity, bool evicts, Instant start)
      : options_(std::move(options)),
        capacity_(capacity),
        evicts_(evicts),
        now_(start),
        recovered_at_(start.lease + options_.recovery_time),
        sequences_(options_.max_clients) {}
  HubModel(const HubModel&) = delete;
  HubModel& operator=(const HubModel&) = delete;

  /// Peers that answers do not reach.
  std::set<std::size_t> unreachable;
  /// Whether the key of every entry that leaves is held, and which ones are, once for each.
  bool is_holding = false;
  std::multiset<Number> held_keys;
  /// Of the query that the next call is about, in bytes.
  struct Sizes {
    std::size_t sender_and_envelope = 0;
    std::size_t message = 0;
  } sizes;
  HubStats stats;
  /// First copies that came behind what did not wait for them any more.
  std::uint64_t overtaken = 0;

  void begin_call(Instant now) {
    now_ = now;
    expected_.clear();
    are_all_waits_over_ = false;
    is_tick_ = false;
  }

  void can_offload(const Question& question, const Numbers& keys) {
    if (is_too_much(question, keys.size())) return;
    const std::uint64_t request = request_of(question);
    const auto statuses = decide(question.who, request, keys);
    if (!statuses) return refuse(question, refusal_);
    if (!answer(question, offload_text(*statuses))) take_back(question.who, request, keys, *statuses);
  }

  void claim(const Question& question, const Numbers& keys, std::chrono::nanoseconds wait) {
    if (is_too_much(question, keys.size())) return;
    if (!question.number) return refuse(question, Unsupported{"a claim without an envelope"});
    const auto statuses = decide(question.who, *question.number, keys);
    if (!statuses) return refuse(question, refusal_);
    const bool has_grant = contains(*statuses, OffloadStatus::granted);
    const auto before = std::ranges::find_if(waiters_, [&](const Waiter& waiter) {
      return waiter.who == question.who && (question.who.claim > 0 || waiter.number == *question.number);
    });
    // What comes behind its repetition, from a connection that was cut.
    const bool is_stale = before != waiters_.end() && *question.number < before->number;
    if (wait > wait.zero() && !has_grant && contains(*statuses, OffloadStatus::leased) && !is_stale) {
      if (before == waiters_.end() && waiters_.size() >= options_.max_waiting_claims) {
        return refuse(question, LimitExceeded{"max_waiting_claims", options_.max_waiting_claims, waiters_.size() + 1});
      }
      WaitingClaim<Number> measure;
      measure.keys = keys;
      const std::size_t bytes = measure.bytes() + sizes.sender_and_envelope;
      if (is_too_much_to_keep(question, bytes, before == waiters_.end() ? 0 : before->bytes)) return;
      const SteadyTime deadline = now_.lease + std::min(wait, options_.max_claim_wait);
      const Waiter waiter{question.who, *question.number, keys, *statuses, now_.lease, deadline, bytes};
      const bool waits_for_the_same = before != waiters_.end() && before->keys == keys &&
                                      before->statuses == *statuses && before->passed_over.empty();
      if (waits_for_the_same) {
        *before = waiter;
        return;
      }
      if (before != waiters_.end()) waiters_.erase(before);
      waiters_.push_back(waiter);
      return;
    }
    if (before != waiters_.end() && !is_stale) waiters_.erase(before);
    if (!answer(question, claim_text(*statuses, has_grant, {}))) {
      take_back(question.who, *question.number, keys, *statuses);
    }
  }

  void renew(const Question& question, const Numbers& keys, std::uint64_t granted_by) {
    if (is_too_much(question, keys.size())) return;
    const std::uint64_t request = request_of(question);
    for (const Number key : keys) drop_if_over(key);
    const bool may_claim_back = granted_by != 0 && granted_by != options_.incarnation && accepts_claim_backs();
    std::vector<RenewStatus> statuses;
    for (const Number key : keys) {
      statuses.push_back(RenewStatus::lost);
      if (entries_.contains(key)) {
        statuses.back() = RenewStatus::stored;
      } else if (holds(question.who, key)) {
        ++stats.leases.renewed;
        leases_.at(key).is_shared = true;
        prolong(leases_.at(key));
        statuses.back() = RenewStatus::held;
      } else if (!leases_.contains(key) && may_claim_back && !held_keys.contains(key) &&
                 acquire(question.who, request, key) == Acquired::granted) {
        statuses.back() = RenewStatus::held;
      }
    }
    answer(question, renew_text(statuses));
  }

  void release(const Question& question, const Numbers& keys) {
    if (is_too_much(question, keys.size())) return;
    std::uint64_t count = 0;
    for (const Number key : keys) {
      if (!holds(question.who, key)) continue;
      give_back(key);
      ++count;
    }
    answer(question, count_text(MessageType::release_response, count));
  }

  void withdraw(const Question& question, const Numbers& keys) {
    if (is_too_much(question, keys.size())) return;
    const std::uint64_t request = request_of(question);
    stop_waiting(question.who, request);
    std::uint64_t count = 0;
    for (const Number key : keys) count += withdraw_one(question.who, request, key) ? 1U : 0U;
    answer(question, count_text(MessageType::release_response, count));
  }

  void match(const Question& question, const Numbers& keys) {
    if (is_too_much(question, keys.size())) return;
    std::vector<ModelEntry> found;
    for (const Number key : keys) {
      drop_if_over(key);
      if (entries_.contains(key)) found.push_back({key, entries_.at(key).value, entries_.at(key).metadata});
    }
    answer(question, match_text(found));
  }

  void touch(const Question& question, const Numbers& keys) {
    if (is_too_much(question, keys.size())) return;
    std::uint64_t count = 0;
    for (const Number key : keys) {
      drop_if_over(key);
      if (!entries_.contains(key)) continue;
      entries_.at(key).used = ++moment_;
      ++count;
    }
    answer(question, count_text(MessageType::touch_response, count));
  }

  void remove(const Question& question, const Numbers& keys) {
    in_its_turn(question, Kind::removal_of("remove", keys), [=, this] {
      if (is_too_much(question, keys.size())) return;
      std::uint64_t count = 0;
      for (const Number key : keys) {
        drop_if_over(key);
        if (entries_.erase(key) == 0) continue;
        depart(key);
        ++stats.removed;
        ++count;
      }
      answer(question, count_text(MessageType::remove_response, count));
    });
  }

  void remove_if(const Question& question, const std::vector<ModelEntry>& entries) {
    Numbers fields;
    // The metadata is part of the question, though it does not count.
    for (const auto& [key, value, metadata] : entries) {
      fields.insert(fields.end(), {key, value, metadata.created_at, metadata.ttl_secs.value_or(0)});
    }
    in_its_turn(question, Kind::removal_of("remove_if", fields), [=, this] {
      if (is_too_much(question, entries.size())) return;
      std::uint64_t count = 0;
      for (const ModelEntry& entry : entries) {
        drop_if_over(entry.key);
        if (!entries_.contains(entry.key) || entries_.at(entry.key).value != entry.value) continue;
        entries_.erase(entry.key);
        depart(entry.key);
        ++stats.removed;
        ++count;
      }
      answer(question, count_text(MessageType::remove_response, count));
    });
  }

  /// A registration that travels as a query.
  void register_acknowledged(const Question& question, const std::vector<ModelEntry>& entries) {
    const bool waits = in_its_turn(question, Kind{}, [=, this] {
      if (is_too_much(question, entries.size())) return;
      answer(question, register_text(question.sequence ? store_once(question, *question.sequence, entries, !is_pushed)
                                                       : store_all(question, entries, false)));
    });
    if (!waits && question.sequence) carry_out_what_waited();
  }

  /// One that is pushed.
  void registration(const Question& question, const std::vector<ModelEntry>& entries) {
    const bool is_dropped = entries.size() > options_.max_keys_per_query;
    if (is_dropped) stats.entries_refused += entries.size();
    if (!question.sequence) {
      if (!is_dropped) store_all(question, entries, false);
      return;
    }
    if (!is_dropped) {
      store_once(question, *question.sequence, entries, is_pushed);
    } else if (!sequences_.has_come(question.who.peer, *question.sequence)) {
      sequences_.note(question.who.peer, *question.sequence, Outcomes{}, is_pushed);
    }
    carry_out_what_waited();
  }

  /// A message that none can read.
  void malformed(const Question& question) {
    ++stats.malformed;
    answer(question, error_text(what_is_malformed));
  }

  /// One that has waited for long enough is answered all the same.
  void sync(const Question& question, std::uint64_t first) {
    const bool waits = in_its_turn(question, Kind{.is_refused_in_the_end = false}, [=, this] {
      if (!question.number) return refuse(question, Unsupported{"sync without an envelope"});
      sequences_.settle(question.who.peer, first);
      answer(question, sync_text(sequences_.applied_from(question.who.peer, first), options_.insist_on_holder,
                                 sequences_.first_refusal(question.who.peer, first)));
    });
    if (!waits && question.number) carry_out_what_waited();
  }

  void hello(const Question& question, const std::string& name) {
    if (name == default_namespace) {
      answer(question, hello_text(name));
    } else {
      refuse(question, Unsupported{"hello for namespace \"" + name + "\" in an envelope for \"default\""});
    }
  }

  void tick() {
    is_tick_ = true;
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(options_.registration_wait);
    const bool has_ended_waits = !held_.empty() && now_.lease >= held_.front().deadline;
    while (!held_.empty() && now_.lease >= held_.front().deadline) {
      const Held first = held_.front();
      const Question& question = first.question;
      held_.erase(held_.begin());
      if (!first.kind.is_refused_in_the_end || has_come(question, first.kind)) {
        first.carry_out();
        continue;
      }
      sequences_.pass_over(
          question.who.peer, *question.after, now_.lease, now_.lease + 10 * options_.registration_wait);
      if (first.kind.removal) sequences_.tell_missing(question.who.peer, *question.after, *first.kind.removal);
      answer(question, error_text("the registration that this must follow has not arrived within " +
                                  std::to_string(wait.count()) + " ms"));
    }
    // Others may be behind those that nobody waits for any more.
    if (has_ended_waits) carry_out_what_waited();
    const bool is_cleanup_due = !next_cleanup_ || now_.lease >= *next_cleanup_;
    if (is_cleanup_due || !waiters_.empty()) {
      while (collect_lease_that_is_over()) {
      }
    }
    if (!is_cleanup_due) return;
    while (collect_entry_that_is_over()) {
    }
    next_cleanup_ = now_.lease + options_.lease_cleanup_interval;
  }

  /// For a hub that stops.
  void end_waiting() {
    for (const Held& one : std::exchange(held_, {})) answer(one.question, error_text("the hub is stopping"));
    are_all_waits_over_ = true;
  }

  /// Whether the hub gave these answers rightly, in an order that is right. How many entries and leases it has then
  /// says whether it looked at those that are over on its way to what ended a wait, or might have: it need not.
  void compare(const std::vector<Answer>& given, std::size_t stored, std::size_t leased) {
    const auto awaited_before = awaited_keys();
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      if (i == given.size()) throw Disagreement{"not answered: " + show(expected_[i])};
      expect(given[i], expected_[i]);
    }
    std::size_t next = expected_.size();
    for (auto deadline = first_wait_that_is_over(); deadline; deadline = first_wait_that_is_over()) {
      if (next == given.size()) throw Disagreement{"a wait that is over was not answered"};
      end_wait(given[next++], *deadline);
    }
    for (; next < given.size(); ++next) serve(given[next]);
    for (const Number key : awaited_keys()) drop_if_over(key);
    for (const Number key : awaited_before) {
      if (entries_.size() > stored) drop_if_over(key);
      const bool has_looked = leases_.size() > leased && leases_.contains(key) && is_over(leases_.at(key));
      while (has_looked && first_for(key) != waiters_.end()) pass_over_first(key, "its lease is over");
    }
    tell_what_is_stored();
    look_for_who_waits_for_nothing();
    stats.stored = entries_.size();
    stats.waiting_claims = waiters_.size();
    stats.leases.active = leases_.size();
  }

  /// By when the hub must be told the time, for somebody waits.
  std::optional<SteadyTime> next_deadline() const {
    std::set<SteadyTime> all;
    for (const Held& one : held_) all.insert(one.deadline);
    for (const Waiter& waiter : waiters_) all.insert(waiter.deadline);
    if (!waiters_.empty()) {
      for (const auto& [key, lease] : leases_) all.insert(lease.deadline);
    }
    return all.empty() ? std::nullopt : std::optional{*all.begin()};
  }

 private:
  struct StoredEntry {
    Number value;
    TimestampMetadata metadata;
    std::optional<std::chrono::sys_seconds> end;
    std::uint64_t registered;
    std::uint64_t used;
  };
  struct ModelLease {
    Who who;
    std::uint64_t request;
    bool is_shared;
    SteadyTime deadline;
    std::uint64_t prolonged;
  };
  /// A claim that waits for those of its keys which are leased.
  struct Waiter {
    Who who;
    std::uint64_t number;
    Numbers keys;
    Statuses statuses;
    SteadyTime since;
    SteadyTime deadline;
    std::size_t bytes;
    /// What came free when its client had its share of leases.
    std::set<Number> passed_over = {};

    bool awaits(Number key) const {
      return first_position(key) < keys.size() && statuses[first_position(key)] == leased && !passed_over.contains(key);
    }
    bool awaits_any() const {
      return std::ranges::any_of(keys, [&](Number key) { return awaits(key); });
    }
    std::size_t first_position(Number key) const {
      return static_cast<std::size_t>(std::ranges::find(keys, key) - keys.begin());
    }
    static constexpr auto leased = OffloadStatus::leased;
  };
  /// A query that must follow a registration.
  /// How something waits for registrations.
  struct Kind {
    /// What a removal is to remove: one that overtakes a registration is undone by it, and its client does not know,
    /// unless he was told when he asked for the same before.
    std::optional<std::string> removal = std::nullopt;
    std::uint64_t told = 0;
    bool is_refused_in_the_end = true;

    static Kind removal_of(std::string what, const Numbers& fields) {
      for (const Number field : fields) what += " " + std::to_string(field);
      return {.removal = std::move(what)};
    }
  };

  struct Held {
    Question question;
    SteadyTime deadline;
    std::function<void()> carry_out;
    Kind kind;
    std::size_t bytes;
  };
  /// What is pushed comes in order; what travels as a query comes by another way.
  static constexpr bool is_pushed = true;

  enum class Acquired { granted, leased, full, client_full };

  static bool contains(const Statuses& statuses, OffloadStatus status) {
    return std::ranges::find(statuses, status) != statuses.end();
  }

  static std::string show(const Answer& answer) { return answer_text(answer.peer, answer.number, answer.text); }

  static void expect(const Answer& given, const Answer& expected) {
    if (show(given) != show(expected)) {
      throw Disagreement{"the hub said \"" + show(given) + "\", the model \"" + show(expected) + "\""};
    }
  }

  bool is_recovering() const { return now_.lease < recovered_at_; }

  /// Of one that sends no number each query is another.
  std::uint64_t request_of(const Question& question) {
    return question.number ? *question.number : ++anonymous_requests_;
  }

  bool reaches(std::size_t peer) {
    if (!unreachable.contains(peer)) return true;
    ++stats.undeliverable;
    return false;
  }

  bool answer(const Question& question, std::string text) {
    expected_.push_back({question.who.peer, question.number, std::move(text)});
    return reaches(question.who.peer);
  }

  void refuse(const Question& question, const Error& error) { answer(question, error_text(to_string(error))); }

  bool is_too_much_to_keep(const Question& question, std::size_t bytes, std::size_t replaced = 0) {
    bytes -= replaced;
    for (const Held& one : held_) bytes += one.bytes;
    for (const Waiter& waiter : waiters_) bytes += waiter.bytes;
    if (bytes <= options_.max_waiting_bytes) return false;
    refuse(question, LimitExceeded{"max_waiting_bytes", options_.max_waiting_bytes, bytes});
    return true;
  }

  bool is_too_much(const Question& question, std::size_t count) {
    if (count <= options_.max_keys_per_query) return false;
    refuse(question, LimitExceeded{"max_keys_per_query", options_.max_keys_per_query, count});
    return true;
  }

  bool is_over(const StoredEntry& entry) const { return entry.end && now_.wall >= *entry.end; }
  bool is_over(const ModelLease& lease) const { return now_.lease >= lease.deadline; }

  void depart(Number key) {
    if (is_holding) held_keys.insert(key);
  }

  bool is_stored(Number key) const { return entries_.contains(key) && !is_over(entries_.at(key)); }

  void drop_if_over(Number key) {
    if (!entries_.contains(key) || is_stored(key)) return;
    entries_.erase(key);
    depart(key);
    ++stats.expired;
  }

  /// The one that ended first, of several in one second the one that was registered first.
  bool collect_entry_that_is_over() {
    std::optional<Number> first;
    for (const auto& [key, entry] : entries_) {
      if (!is_over(entry)) continue;
      if (!first ||
          std::pair{entry.end, entry.registered} < std::pair{entries_.at(*first).end, entries_.at(*first).registered}) {
        first = key;
      }
    }
    if (first) drop_if_over(*first);
    return first.has_value();
  }

  /// The one that was granted or renewed first.
  bool collect_lease_that_is_over() {
    const auto first = std::min_element(leases_.begin(), leases_.end(), [](const auto& a, const auto& b) {
      return a.second.prolonged < b.second.prolonged;
    });
    if (first == leases_.end() || !is_over(first->second)) return false;
    leases_.erase(first);
    ++stats.leases.expired;
    return true;
  }

  bool holds(const Who& who, Number key) const {
    return leases_.contains(key) && !is_over(leases_.at(key)) && leases_.at(key).who == who;
  }

  void prolong(ModelLease& lease) {
    lease.deadline = now_.lease + options_.lease_ttl;
    lease.prolonged = ++moment_;
  }

  Acquired acquire(const Who& who, std::uint64_t request, Number key) {
    if (leases_.contains(key) && !is_over(leases_.at(key))) {
      ModelLease& lease = leases_.at(key);
      if (lease.who != who || lease.request == request) return Acquired::leased;
      lease.request = request;
      lease.is_shared = true;
      prolong(lease);
      ++stats.leases.renewed;
      return Acquired::granted;
    }
    if (leases_.contains(key)) {
      leases_.erase(key);
      ++stats.leases.expired;
    } else if (has_no_room_for_leases()) {
      return Acquired::full;
    } else if (leases_.size() >= options_.max_leases) {
      collect_lease_that_is_over();
    }
    if (has_its_share_of_leases_now(who)) return Acquired::client_full;
    leases_[key] = {who, request, false, {}, 0};
    prolong(leases_[key]);
    ++stats.leases.granted;
    return Acquired::granted;
  }

  bool has_no_room_for_leases() const {
    return leases_.size() >= options_.max_leases &&
           std::ranges::none_of(leases_, [&](const auto& one) { return is_over(one.second); });
  }

  /// Without leases that are over.
  bool has_its_share_of_leases_now(const Who& who) {
    if (!has_its_share_of_leases(who)) return false;
    while (collect_lease_that_is_over()) {
    }
    return has_its_share_of_leases(who);
  }

  bool has_its_share_of_leases(const Who& who) const {
    const auto count = std::ranges::count_if(leases_, [&](const auto& one) { return one.second.who.peer == who.peer; });
    return static_cast<std::size_t>(count) >= options_.max_leases_per_client;
  }

  void give_back(Number key) {
    leases_.erase(key);
    ++stats.leases.released;
  }

  bool withdraw_one(const Who& who, std::uint64_t request, Number key) {
    if (!holds(who, key) || leases_.at(key).request != request || leases_.at(key).is_shared) return false;
    give_back(key);
    return true;
  }

  void take_back(const Who& who, std::uint64_t request, const Numbers& keys, const Statuses& statuses) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (statuses[i] == OffloadStatus::granted) withdraw_one(who, request, keys[i]);
    }
  }

  /// The first who waits for the key.
  std::vector<Waiter>::iterator first_for(Number key) {
    return std::ranges::find_if(waiters_, [&](const Waiter& waiter) { return waiter.awaits(key); });
  }

  std::set<Number> awaited_keys() const {
    std::set<Number> keys;
    for (const Waiter& waiter : waiters_) {
      for (const Number key : waiter.keys) {
        if (waiter.awaits(key)) keys.insert(key);
      }
    }
    return keys;
  }

  void stop_waiting(const Who& who, std::uint64_t number) {
    std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.who == who && waiter.number == number; });
  }

  /// Nothing if there is no room for a lease.
  std::optional<Statuses> decide(const Who& who, std::uint64_t request, const Numbers& keys) {
    for (const Number key : keys) drop_if_over(key);
    Statuses statuses(keys.size(), OffloadStatus::leased);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (entries_.contains(keys[i])) {
        statuses[i] = OffloadStatus::already_stored;
        continue;
      }
      if (held_keys.contains(keys[i])) continue;
      const bool others_come_first = is_recovering() || awaited_keys().contains(keys[i]);
      if (others_come_first && !holds(who, keys[i])) continue;
      const Acquired acquired = acquire(who, request, keys[i]);
      if (acquired == Acquired::granted) statuses[i] = OffloadStatus::granted;
      if (acquired == Acquired::full || acquired == Acquired::client_full) {
        take_back(who, request, keys, statuses);
        refusal_ = acquired == Acquired::full
                       ? LimitExceeded{"max_leases", options_.max_leases, options_.max_leases + 1}
                       : LimitExceeded{"max_leases_per_client", options_.max_leases_per_client,
                                       options_.max_leases_per_client + 1};
        return std::nullopt;
      }
    }
    for (const OffloadStatus status : statuses) {
      ++(status == OffloadStatus::granted  ? stats.granted
         : status == OffloadStatus::leased ? stats.leased
                                           : stats.already_stored);
    }
    return statuses;
  }

  bool accepts_claim_backs() const {
    if (is_recovering()) return true;
    if (now_.lease >= recovered_at_ + options_.lease_ttl) return false;
    return stats.leases.released + stats.leases.expired + stats.removed + stats.evicted + stats.expired == 0;
  }

  /// Carries it out, or lets it wait for the registration that it must follow; whether it waits.
  bool in_its_turn(const Question& question, Kind kind, std::function<void()> carry_out) {
    if (kind.removal) kind.told = sequences_.told_missing(question.who.peer, *kind.removal);
    if (!question.after || has_come(question, kind)) {
      carry_out();
      return false;
    }
    const std::size_t bytes = sizes.sender_and_envelope + sizes.message;
    if (held_.size() >= options_.max_waiting) {
      refuse(question, LimitExceeded{"max_waiting", options_.max_waiting, held_.size() + 1});
    } else if (!is_too_much_to_keep(question, bytes)) {
      held_.push_back(
          {question, now_.lease + options_.registration_wait, std::move(carry_out), std::move(kind), bytes});
    }
    return true;
  }

  /// What it must follow.
  bool has_come(const Question& question, const Kind& kind) const {
    const std::size_t client = question.who.peer;
    return kind.removal ? sequences_.is_whole(client, *question.after, kind.told, now_.lease)
                        : sequences_.has_applied(client, *question.after);
  }

  /// In the order in which they came, as far as what they wait for has come.
  void carry_out_what_waited() {
    const auto may_go = [&](const Held& one) { return has_come(one.question, one.kind); };
    for (auto one = std::ranges::find_if(held_, may_go); one != held_.end();
         one = std::ranges::find_if(held_, may_go)) {
      const auto carry_out = one->carry_out;
      held_.erase(one);
      carry_out();
    }
  }

  Outcomes store_once(const Question& question, std::uint64_t sequence, const std::vector<ModelEntry>& entries,
                      bool has_been_pushed) {
    const std::size_t client = question.who.peer;
    sequences_.hear_of(client);
    if (sequences_.has_come(client, sequence)) {
      ++stats.repeated;
      if (const auto refused = sequences_.refusal(client, sequence)) return *refused;
      Outcomes outcomes(entries.size(), RegisterStatus::stored);
      if (!sequences_.is_outcome_forgotten(client, sequence)) return outcomes;
      for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto entry = entries_.find(entries[i].key);
        const bool stands = entry != entries_.end() && entry->second.value == entries[i].value;
        if (!stands) outcomes[i] = RegisterStatus::storage_error;
      }
      return outcomes;
    }
    const bool is_overtaken = !question.is_resent && sequences_.was_overtaken(client, sequence);
    overtaken += is_overtaken ? 1U : 0U;
    const Outcomes outcomes = store_all(question, entries, question.is_resent || is_overtaken);
    const bool is_whole = std::ranges::count(outcomes, RegisterStatus::stored) == std::ssize(outcomes);
    sequences_.note(client, sequence, is_whole ? std::nullopt : std::optional{outcomes}, has_been_pushed);
    return outcomes;
  }

  Outcomes store_all(const Question& question, const std::vector<ModelEntry>& entries, bool absent_only) {
    Outcomes outcomes;
    if (absent_only) {
      for (const ModelEntry& entry : entries) drop_if_over(entry.key);
    }
    std::set<Number> came_with_it;
    for (const ModelEntry& entry : entries) {
      const bool is_left_as_it_is = absent_only && entries_.contains(entry.key) && !came_with_it.contains(entry.key);
      outcomes.push_back(is_left_as_it_is ? kept(entry) : store(question, entry));
      if (!is_left_as_it_is && outcomes.back() == RegisterStatus::stored) came_with_it.insert(entry.key);
      ++(outcomes.back() == RegisterStatus::stored ? stats.entries_registered : stats.entries_refused);
    }
    return outcomes;
  }

  RegisterStatus kept(const ModelEntry& entry) const {
    return entries_.at(entry.key).value == entry.value ? RegisterStatus::stored : RegisterStatus::superseded;
  }

  RegisterStatus store(const Question& question, const ModelEntry& entry) {
    const Number key = entry.key;
    if (options_.insist_on_holder && !(question.number && holds(question.who, key))) {
      return RegisterStatus::lease_conflict;
    }
    drop_if_over(key);
    if (!entries_.contains(key) && !make_room()) return RegisterStatus::limit_exceeded;
    if (entries_.contains(key) && entries_.at(key).value != entry.value) {
      depart(key);
      ++stats.superseded;
    }
    const auto arrival = std::chrono::floor<std::chrono::seconds>(now_.wall);
    ++moment_;
    entries_[key] = {entry.value, entry.metadata, entry.metadata.expires_at(arrival), moment_, moment_};
    if (const auto lease = leases_.find(key); lease != leases_.end()) {
      ++(is_over(lease->second) ? stats.leases.expired : stats.leases.converted);
      leases_.erase(lease);
    }
    return RegisterStatus::stored;
  }

  /// For one entry: what is over goes first, then what was not used for longest, if anything may leave.
  bool make_room() {
    while (capacity_ && entries_.size() >= *capacity_) {
      if (collect_entry_that_is_over()) continue;
      if (!evicts_) return false;
      const auto oldest = std::min_element(
          entries_.begin(), entries_.end(), [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
      depart(oldest->first);
      entries_.erase(oldest);
      ++stats.evicted;
    }
    return true;
  }

  std::vector<Waiter>::iterator waiter_of(const Answer& given) {
    return std::ranges::find_if(waiters_, [&](const Waiter& waiter) {
      return given.number && waiter.who.peer == given.peer && waiter.number == *given.number;
    });
  }

  std::optional<SteadyTime> first_wait_that_is_over() const {
    std::optional<SteadyTime> first;
    for (const Waiter& waiter : waiters_) {
      const bool has_ended = are_all_waits_over_ || (is_tick_ && now_.lease >= waiter.deadline);
      if (has_ended && (!first || waiter.deadline < *first)) first = waiter.deadline;
    }
    return first;
  }

  /// An answer to one who has waited for long enough.
  void end_wait(const Answer& given, SteadyTime deadline) {
    const auto waiter = waiter_of(given);
    if (waiter == waiters_.end() || waiter->deadline != deadline) {
      throw Disagreement{"the hub said \"" + show(given) + "\" when another's wait was over"};
    }
    answer_waiter(given, *waiter, waiter->statuses);
    waiters_.erase(waiter);
  }

  /// Whether the hub told this waiter this, and it arrived.
  bool answer_waiter(const Answer& given, const Waiter& waiter, const Statuses& statuses) {
    const bool has_grant = contains(statuses, OffloadStatus::granted);
    const std::string text = claim_text(statuses, has_grant, now_.lease - waiter.since);
    expect(given, {waiter.who.peer, waiter.number, text});
    return reaches(waiter.who.peer);
  }

  /// An answer to one who is granted what has come free, or told that all is stored.
  void serve(const Answer& given) {
    const auto found = waiter_of(given);
    if (found == waiters_.end()) throw Disagreement{"nobody waits for \"" + show(given) + "\""};
    const Waiter waiter = *found;
    if (given.statuses.size() != waiter.keys.size()) throw Disagreement{"of another size: " + show(given)};
    Statuses statuses = waiter.statuses;
    std::optional<Number> grant;
    for (std::size_t i = 0; i < waiter.keys.size(); ++i) {
      if (statuses[i] == given.statuses[i]) continue;
      statuses[i] = given.statuses[i];
      const Number key = waiter.keys[i];
      if (waiter.passed_over.contains(key)) throw Disagreement{"passed over, and told more: " + show(given)};
      if (statuses[i] == OffloadStatus::already_stored && is_stored(key)) continue;
      if (statuses[i] != OffloadStatus::granted || grant || i != waiter.first_position(key)) {
        throw Disagreement{"key " + std::to_string(key) + " is not so: " + show(given)};
      }
      grant = key;
    }
    if (grant) {
      serve_grant(given, found, *grant, statuses);
    } else {
      found->statuses = statuses;
      for (const Number key : waiter.keys) {
        while (found->awaits(key)) pass_over_first(key, "too early: " + show(given));
      }
      for (const Waiter& before : waiters_) {
        if (before.number == waiter.number && before.who == waiter.who) break;
        if (waits_only_for_some_of(before, waiter)) throw Disagreement{"told before others: " + show(given)};
      }
      answer_waiter(given, waiter, statuses);
      waiters_.erase(found);
    }
  }

  void serve_grant(const Answer& given, std::vector<Waiter>::iterator found, Number key, const Statuses& statuses) {
    const Waiter waiter = *found;
    drop_if_over(key);
    if (entries_.contains(key)) throw Disagreement{"granted although it is stored: " + show(given)};
    if (is_recovering()) throw Disagreement{"granted before the hub has recovered: " + show(given)};
    if (held_keys.contains(key)) throw Disagreement{"granted although it is held: " + show(given)};
    while (first_for(key) != found) pass_over_first(key, "granted before others: " + show(given));
    if (acquire(waiter.who, waiter.number, key) != Acquired::granted) {
      throw Disagreement{"granted what is not free: " + show(given)};
    }
    ++stats.granted;
    const bool arrived = answer_waiter(given, waiter, statuses);
    waiters_.erase(found);
    if (!arrived) withdraw_one(waiter.who, waiter.number, key);
  }

  /// The first who waits for the key, which must be free, although it is not granted to him.
  void pass_over_first(Number key, const std::string& why) {
    const bool is_leased = leases_.contains(key) && !is_over(leases_.at(key));
    if (is_stored(key) || is_leased || !has_its_share_of_leases_now(first_for(key)->who)) {
      throw Disagreement{"nobody may be passed over for key " + std::to_string(key) + ": " + why};
    }
    first_for(key)->passed_over.insert(key);
  }

  /// Whether whatever decides about `other` has decided about `waiter` before.
  static bool waits_only_for_some_of(const Waiter& waiter, const Waiter& other) {
    return std::ranges::all_of(waiter.keys, [&](Number key) { return !waiter.awaits(key) || other.awaits(key); });
  }

  void tell_what_is_stored() {
    for (Waiter& waiter : waiters_) {
      for (std::size_t i = 0; i < waiter.keys.size(); ++i) {
        const Number key = waiter.keys[i];
        if (entries_.contains(key) && !waiter.passed_over.contains(key)) {
          waiter.statuses[i] = OffloadStatus::already_stored;
        }
      }
    }
  }

  /// Whoever waits does so for a key that somebody holds. After a time in which nothing could be granted, it may take
  /// until the next cleanup.
  void look_for_who_waits_for_nothing() {
    std::map<Number, SteadyTime> may_wait_until;
    for (const Number key : awaited_keys()) {
      if (leases_.contains(key)) continue;
      if (is_recovering() || has_no_room_for_leases() || held_keys.contains(key)) {
        may_wait_until[key] = now_.lease + options_.lease_cleanup_interval;
      } else if (may_wait_until_.contains(key) && !(is_tick_ && now_.lease >= may_wait_until_.at(key))) {
        may_wait_until[key] = may_wait_until_.at(key);
      } else {
        while (first_for(key) != waiters_.end()) pass_over_first(key, "it is free, and somebody waits for it");
      }
    }
    for (const Waiter& waiter : waiters_) {
      if (!waiter.awaits_any()) throw Disagreement{"all is decided, and somebody waits"};
    }
    may_wait_until_ = std::move(may_wait_until);
  }

  HubOptions options_;
  std::optional<std::size_t> capacity_;
  bool evicts_;
  Instant now_;
  SteadyTime recovered_at_;
  std::map<Number, StoredEntry> entries_;
  std::map<Number, ModelLease> leases_;
  std::vector<Waiter> waiters_;  // in the order in which they came
  std::vector<Held> held_;       // likewise
  ModelOfSequences sequences_;
  std::optional<SteadyTime> next_cleanup_;
  std::map<Number, SteadyTime> may_wait_until_;  // by key, while it is free
  std::uint64_t anonymous_requests_ = 0;
  std::uint64_t moment_ = 0;
  LimitExceeded refusal_;  // why the last decision refused
  std::vector<Answer> expected_;
  bool are_all_waits_over_ = false;
  bool is_tick_ = false;
};

}  // namespace registry::test
