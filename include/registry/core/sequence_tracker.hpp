// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <registry/core/instant.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/detail/linked_slab.hpp>
#include <registry/envelope.hpp>
#include <registry/message.hpp>

namespace registry {

/// What is known of a registration that arrives.
enum class Arrival {
  first,     ///< it has not been applied
  repeated,  ///< it has been applied
  unknown,   ///< it is sent again, or comes too late: applied or not, it is older than what may have been done since
};

/// Which registrations of each client have come, by their numbers. They may come in any order: after a reconnect the
/// old and the new connection are read in turns. Bounded: the client silent for longest is forgotten first. One thread.
class SequenceTracker {
 public:
  /// Runs of consecutive numbers kept per client; what is missing between more of them is given up as lost.
  static constexpr std::size_t max_runs = 64;
  /// Registrations kept per client of which something was refused.
  static constexpr std::size_t max_refusals = 64;
  /// Questions kept per client that were refused because a registration before them was missing.
  static constexpr std::size_t max_told = 64;
  /// Outcomes kept of all of them together, a byte each.
  static constexpr std::size_t max_outcomes = 16'000'000;

  using Outcomes = std::vector<RegisterStatus>;

  /// Remembers at most `max_clients`, and at least one.
  explicit SequenceTracker(std::size_t max_clients) : max_clients_(std::max<std::size_t>(max_clients, 1)) {}

  /// What to make of a registration, which its client may have sent before; it has spoken with it in any case.
  Arrival arrival(const ClientId& client, std::uint64_t sequence, bool is_resent) {
    const Client* known = find(client);
    if (known != nullptr && known->run_with(sequence) != known->runs.end()) return Arrival::repeated;
    // Also if it has certainly not come: others may have registered or removed its keys since.
    if (is_resent) return Arrival::unknown;
    return known != nullptr && known->was_overtaken(sequence) ? Arrival::unknown : Arrival::first;
  }

  /// Notes that this registration has been applied; one that was noted before changes nothing. `keeps_order`: whether
  /// those before it would have come before it, had they been sent to this hub.
  void note(const ClientId& client, std::uint64_t sequence, bool keeps_order = true) {
    Client* known = find(client);
    if (known == nullptr) {
      // What a client that is not known sent before this went to a hub before this one, or is forgotten: nothing is
      // left to wait for.
      known = add(client, sequence == 0 ? 0 : sequence - 1);
    }
    known->insert(sequence, keeps_order);
  }

  /// Nobody shall wait any more for this registration or for one before it: they may be lost, and by `lost_at` they
  /// are. Should one come all the same, then what was to follow it may have been applied.
  void pass_over(const ClientId& client, std::uint64_t sequence, SteadyTime now, SteadyTime lost_at) {
    Client* known = find(client);
    if (known == nullptr) known = add(client, sequence);
    known->mark = std::max(known->mark, sequence);
    known->passed_over = std::max(known->passed_over, sequence);
    if (now >= known->lost_at) known->whole = std::max(known->whole, known->missing);
    known->advance();
    if (known->missing > known->whole) return;
    known->missing = sequence;
    known->lost_at = lost_at;
  }

  /// Whether nobody has to wait for this registration or one before it.
  bool has_applied(const ClientId& client, std::uint64_t sequence) const {
    const Client* known = look_up(client);
    return known != nullptr && sequence <= known->mark;
  }

  /// Whether all up to this registration has come, but for what its client no longer asks about, what is lost by now,
  /// or has too many runs behind it, and what is not above `waived`. Unlike `has_applied` it does not give up at once
  /// what somebody has waited for in vain.
  bool has_come(const ClientId& client, std::uint64_t sequence, std::uint64_t waived, SteadyTime now) const {
    const Client* known = look_up(client);
    if (known == nullptr) return false;
    const std::uint64_t lost = now >= known->lost_at ? known->missing : 0;
    const std::uint64_t seen = std::max({known->whole, waived, lost});
    if (sequence <= seen) return true;
    const auto run = known->run_with(seen + 1);
    return run != known->runs.end() && sequence <= run->last;
  }

  /// The client knows that when it asked this, something up to `sequence` was missing: asked again, it does not wait
  /// for that. Of too many such questions the first is forgotten.
  void tell_missing(const ClientId& client, std::size_t question, std::uint64_t sequence) {
    Client* known = find(client);
    if (known == nullptr) return;
    std::erase_if(known->told, [&](const Told& told) { return told.question == question; });
    if (known->told.size() >= max_told) known->told.erase(known->told.begin());
    known->told.push_back({question, sequence});
  }

  /// Up to which registration the client was told so, or 0.
  std::uint64_t told_missing(const ClientId& client, std::size_t question) const {
    const Client* known = look_up(client);
    if (known == nullptr) return 0;
    const auto told = std::ranges::find(known->told, question, &Told::question);
    return told == known->told.end() ? 0 : told->sequence;
  }

  /// Up to which number, counted from `first`, all registrations have certainly been applied; first - 1 if not even
  /// that.
  std::uint64_t applied_from(const ClientId& client, std::uint64_t first) const {
    if (const Client* known = look_up(client)) {
      const auto run = known->run_with(first);
      if (run != known->runs.end()) return run->last;
    }
    return first - 1;
  }

  /// Keeps what was answered to a registration that was not stored whole. Beyond the bounds the client's oldest is
  /// forgotten, or this one.
  void keep_refusal(const ClientId& client, std::uint64_t sequence, std::span<const RegisterStatus> outcomes) {
    Client* known = find(client);
    if (known == nullptr) return;
    const auto is_too_much = [&] {
      return known->refusals.size() >= max_refusals || kept_outcomes_ + outcomes.size() > max_outcomes;
    };
    while (is_too_much() && !known->refusals.empty()) {
      known->forgotten_up_to = std::max(known->forgotten_up_to, known->refusals.front().sequence);
      drop_refusals(*known, known->refusals.begin() + 1);
    }
    if (is_too_much()) {
      known->forgotten_up_to = std::max(known->forgotten_up_to, sequence);
      return;
    }
    const auto place = std::ranges::lower_bound(known->refusals, sequence, {}, &Refusal::sequence);
    known->refusals.insert(place, {sequence, Outcomes(outcomes.begin(), outcomes.end())});
    kept_outcomes_ += outcomes.size();
  }

  /// The answer kept for a registration, or null if it was stored whole; valid until the next change.
  const Outcomes* refusal(const ClientId& client, std::uint64_t sequence) const {
    const Client* known = look_up(client);
    if (known == nullptr) return nullptr;
    const auto place = std::ranges::lower_bound(known->refusals, sequence, {}, &Refusal::sequence);
    return place != known->refusals.end() && place->sequence == sequence ? &place->outcomes : nullptr;
  }

  /// Whether this registration may have been refused although `refusal` knows of nothing: there were too many since.
  bool is_outcome_forgotten(const ClientId& client, std::uint64_t sequence) const {
    const Client* known = look_up(client);
    return known != nullptr && sequence <= known->forgotten_up_to;
  }

  /// The first registration, from `first` on, of which something was or may have been refused, or 0.
  std::uint64_t first_refusal(const ClientId& client, std::uint64_t first) const {
    const Client* known = look_up(client);
    if (known == nullptr) return 0;
    if (first <= known->forgotten_up_to) return first;
    const auto refusal = std::ranges::lower_bound(known->refusals, first, {}, &Refusal::sequence);
    return refusal == known->refusals.end() ? 0 : refusal->sequence;
  }

  /// The client has the outcomes of all registrations before this one.
  void settle(const ClientId& client, std::uint64_t before) {
    Client* known = find(client);
    // What it has sent it has sent to a hub before this one.
    if (known == nullptr && before > 1) known = add(client, before - 1);
    if (known == nullptr) return;
    if (before > 0) known->whole = std::max(known->whole, before - 1);
    known->advance();
    const auto end = std::ranges::lower_bound(known->refusals, before, {}, &Refusal::sequence);
    // Should it be sent again all the same, it is not to be answered as stored.
    if (end != known->refusals.begin()) known->forgotten_up_to = std::max(known->forgotten_up_to, (end - 1)->sequence);
    drop_refusals(*known, end);
  }

 private:
  struct Run {
    std::uint64_t first;
    std::uint64_t last;
  };
  struct Refusal {
    std::uint64_t sequence;
    Outcomes outcomes;
  };

  struct Told {
    std::size_t question;
    std::uint64_t sequence;
  };

  struct Client {
    ClientId client;
    /// Nobody has to wait for a registration up to this one.
    std::uint64_t mark = 0;
    /// Up to this one, what has not come was waited for, and then no more. Not as `mark`, which also passes what was
    /// sent before its client was known, and may come by another connection.
    std::uint64_t passed_over = 0;
    /// Nothing up to this one is missing: see `has_come`.
    std::uint64_t whole = 0;
    /// What is missing up to this one is lost at that time.
    std::uint64_t missing = 0;
    SteadyTime lost_at = {};
    /// Of registrations up to this one it is not certain that all refusals are kept.
    std::uint64_t forgotten_up_to = 0;
    /// What has been applied; ascending, with something missing between any two.
    std::vector<Run> runs = {};
    std::vector<Refusal> refusals = {};  // ascending
    std::vector<Told> told = {};

    std::vector<Run>::const_iterator run_with(std::uint64_t sequence) const {
      const auto run = std::ranges::lower_bound(runs, sequence, {}, &Run::last);
      return run != runs.end() && run->first <= sequence ? run : runs.end();
    }

    /// Whether a later one has been applied, which did not wait for this one. Without such a one it is only late.
    bool was_overtaken(std::uint64_t sequence) const {
      return sequence <= passed_over && !runs.empty() && runs.back().last > sequence;
    }

    void insert(std::uint64_t sequence, bool keeps_order) {
      // What it sent before the first that comes here went to a hub before this one, unless somebody has waited for it.
      if (runs.empty() && keeps_order && passed_over == 0 && sequence > 0) whole = std::max(whole, sequence - 1);
      // The first run that ends at the number before this one, or behind it.
      const auto run = std::ranges::lower_bound(runs, sequence == 0 ? 0 : sequence - 1, {}, &Run::last);
      if (run == runs.end() || run->first > sequence + 1 || sequence == std::numeric_limits<std::uint64_t>::max()) {
        if (run != runs.end() && run->first <= sequence && sequence <= run->last) return;
        if (run != runs.end() && run->last + 1 == sequence) {
          run->last = sequence;
        } else {
          runs.insert(run, {sequence, sequence});
        }
      } else {
        run->first = std::min(run->first, sequence);
        run->last = std::max(run->last, sequence);
        if (const auto next = run + 1; next != runs.end() && next->first == run->last + 1) {
          run->last = next->last;
          runs.erase(next);
        }
      }
      if (runs.size() > max_runs) give_up_first_gap();
      advance();
    }

    void give_up_first_gap() {
      mark = std::max(mark, runs[1].last);
      whole = std::max(whole, runs[1].last);
      passed_over = std::max(passed_over, runs[1].first - 1);
      runs.erase(runs.begin());
    }

    void advance() {
      for (const Run& run : runs) {
        if (run.first == 0 || run.first - 1 <= mark) mark = std::max(mark, run.last);
        if (run.first == 0 || run.first - 1 <= whole) whole = std::max(whole, run.last);
      }
    }
  };
  using Clients = detail::LinkedSlab<Client>;

  const Client* look_up(const ClientId& client) const {
    const auto it = by_client_.find(client);
    return it == by_client_.end() ? nullptr : &clients_[it->second];
  }

  /// Whoever is found here has spoken.
  Client* find(const ClientId& client) {
    const auto it = by_client_.find(client);
    if (it == by_client_.end()) return nullptr;
    clients_.move_to_back(order_, it->second);
    return &clients_[it->second];
  }

  void drop_refusals(Client& client, std::vector<Refusal>::iterator end) {
    for (auto refusal = client.refusals.begin(); refusal != end; ++refusal) kept_outcomes_ -= refusal->outcomes.size();
    client.refusals.erase(client.refusals.begin(), end);
  }

  Client* add(const ClientId& client, std::uint64_t mark) {
    if (clients_.size() >= max_clients_) {
      Client& silent = clients_[order_.front];
      drop_refusals(silent, silent.refusals.end());
      by_client_.erase(silent.client);
      clients_.erase(order_, order_.front);
    }
    const auto index = clients_.push_back(order_, {.client = client, .mark = mark});
    by_client_.emplace(client, index);
    return &clients_[index];
  }

  std::size_t max_clients_;
  std::size_t kept_outcomes_ = 0;
  Clients clients_;
  Clients::List order_;
  detail::FlatMap<ClientId, Clients::Index> by_client_;
};

}  // namespace registry
