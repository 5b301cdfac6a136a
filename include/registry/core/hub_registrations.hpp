// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/admission.hpp>
#include <registry/core/decode.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_states.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/core/query_asker.hpp>
#include <registry/core/refusal_hook.hpp>
#include <registry/core/reports.hpp>
#include <registry/core/sequence_tracker.hpp>
#include <registry/core/spare_memory.hpp>
#include <registry/core/waiting_claims.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/holder.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>

namespace registry {

/// What becomes of registrations: each is applied once, by its number, an entry may be refused, and who registered can
/// find out. One thread; the counters may be read from any.
template <Eviction P, class C>
class HubRegistrations {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using EntryType = Entry<K, V, M>;

  HubRegistrations(KeyStates<P>& states, WaitingClaims<P>& claims, const Admission& admission,
                   const HubOptions& options, RefusalHook<K, V, M> on_refused, Reports& reports)
      : states_(states),
        claims_(claims),
        admission_(admission),
        options_(options),
        reports_(reports),
        refusals_(std::move(on_refused), reports),
        sequences_(options.max_clients) {}
  HubRegistrations(const HubRegistrations&) = delete;
  HubRegistrations& operator=(const HubRegistrations&) = delete;

  /// One that nobody waits for an answer to: what is refused of it is reported, and handed to the hook.
  void take_in(const PeerName& sender, const std::optional<Envelope>& ours, ByteView message, Instant now) {
    if (const auto error = read(message)) {
      malformed_.add();
      note_dropped(ours);
      return report(now, "a registration from " + std::string{sender} + " was dropped: " + to_string(*error));
    }
    const std::string_view name_space = ours ? ours->name_space : default_namespace;
    if (const auto why = admission_.refusal_of_namespace(name_space)) return drop(sender, ours, name_space, *why, now);
    if (const auto why = admission_.refusal_of_size(size())) return drop(sender, ours, name_space, *why, now);
    store(ours, ours ? std::optional{ours->number} : std::nullopt, now);
    if (!last_refusal_) return;
    report(now, std::to_string(refused_) + " of " + std::to_string(size()) + " entries from " + std::string{sender} +
                    " were refused: " + to_string(*last_refusal_));
    // What was refused may have been moved from.
    if (!refusals_.hook() || read(message)) return;
    std::size_t i = 0;
    std::erase_if(entries_, [&](const EntryType&) { return outcomes_[i++] == RegisterStatus::stored; });
    refusals_.hand_over(name_space, entries_, *last_refusal_, now.lease);
  }

  /// Reads the entries of a registration for `store`; an error if it is none.
  std::optional<Error> read(ByteView message) { return decode_registration<C>(message, entries_); }

  /// Entries in what was read.
  std::size_t size() const noexcept { return entries_.size(); }

  /// Stores what was read, unless a registration of this client's with this number, if it has one, has been before.
  void store(const std::optional<Envelope>& ours, std::optional<std::uint64_t> sequence, Instant now) {
    if (ours && sequence) {
      store_once(*ours, *sequence, now);
    } else {
      store_all(ours, false, now);
    }
  }

  /// Gives back what an unusually large registration took, and what its values did.
  void give_back_spare_memory() noexcept {
    entries_.clear();
    give_back_spare(entries_);
    give_back_spare(outcomes_);
  }

  /// What became of each entry in the last `store`.
  std::span<const RegisterStatus> outcomes() const noexcept { return outcomes_; }

  /// Which registrations have come.
  SequenceTracker& sequences() noexcept { return sequences_; }
  const SequenceTracker& sequences() const noexcept { return sequences_; }

  Refusals<K, V, M, C>& refusals() noexcept { return refusals_; }

  void add_to(HubStats& stats) const noexcept {
    stats.entries_registered += entries_registered_.load();
    stats.entries_refused += entries_refused_.load();
    stats.malformed += malformed_.load();
    stats.repeated += repeated_.load();
    refusals_.add_to(stats);
  }

 private:
  using Table = typename KeyStates<P>::Table;
  using Hash = typename KeyStates<P>::Hash;
  using Number = typename KeyStates<P>::Number;

  /// Refuses all of `entries_`.
  void drop(const PeerName& sender, const std::optional<Envelope>& ours, std::string_view name_space, const Error& why,
            Instant now) {
    entries_refused_.add(size());
    note_dropped(ours);
    report(now, "a registration from " + std::string{sender} + " was dropped, with " + std::to_string(size()) +
                    " entries: " + to_string(why));
    refusals_.hand_over(name_space, entries_, why, now.lease);
  }

  /// It has come, and nobody waits for it; if its client asks what has become of it, it hears that it was refused.
  void note_dropped(const std::optional<Envelope>& ours) {
    if (!ours || sequences_.arrival(ours->client, ours->number, false) == Arrival::repeated) return;
    sequences_.note(ours->client, ours->number);
    sequences_.keep_refusal(ours->client, ours->number, {});
  }

  /// Stores `entries_`, unless a registration of this number has been stored before; `outcomes_` is as it was then.
  void store_once(const Envelope& ours, std::uint64_t sequence, Instant now) {
    const Arrival arrival = sequences_.arrival(ours.client, sequence, ours.resent.has_value());
    if (arrival == Arrival::repeated) {
      repeated_.add();
      last_refusal_.reset();
      repeat_outcomes(ours.client, sequence);
      return;
    }
    store_all(ours, arrival == Arrival::unknown, now);
    // What is acknowledged comes by another way than what is pushed.
    sequences_.note(ours.client, sequence, !ours.sequence);
    if (last_refusal_) sequences_.keep_refusal(ours.client, sequence, outcomes_);
  }

  /// What was answered to this registration at first. Where that is forgotten, or was said of other entries than the
  /// client asks for now, one counts as stored if it is.
  void repeat_outcomes(const ClientId& client, std::uint64_t sequence) {
    const auto* refusal = sequences_.refusal(client, sequence);
    outcomes_.assign(size(), RegisterStatus::stored);
    if (refusal == nullptr && !sequences_.is_outcome_forgotten(client, sequence)) return;
    if (refusal != nullptr && refusal->size() == size()) {
      outcomes_ = *refusal;
      return;
    }
    for (std::size_t i = 0; i < size(); ++i) {
      if (!is_stored(entries_[i])) outcomes_[i] = RegisterStatus::storage_error;
    }
  }

  /// A storage that throws does not say so.
  bool is_stored(const EntryType& entry) const {
    try {
      const auto* stored = states_.catalogue().find(entry.key);
      return stored != nullptr && stored->value == entry.value;
    } catch (...) {
      return false;
    }
  }

  /// Stores `entries_`, or only those whose keys are not; what became of each is in `outcomes_`.
  void store_all(const std::optional<Envelope>& ours, bool absent_only, Instant now) {
    last_refusal_.reset();
    refused_ = 0;
    outcomes_.assign(size(), RegisterStatus::stored);
    // Whatever the storage throws for one entry is its refusal.
    const auto attempt_for = [&](std::size_t i, auto action) {
      try {
        action();
      } catch (...) {
        refuse_entry(i, StorageError{failure_text()}, RegisterStatus::storage_error);
      }
    };
    if (absent_only) {
      for (std::size_t i = 0; i < size(); ++i) {
        attempt_for(i, [&] { states_.catalogue().drop_if_over(entries_[i].key, now.wall); });
      }
    }
    detail::FlatSet<K> came_with_it;  // where it counts what was absent before
    const auto key_of = [](const EntryType& entry) -> const K& { return entry.key; };
    states_.for_each(entries_, key_of, [&](std::size_t i, Hash hash, Number hint) {
      attempt_for(i, [&] {
        if (absent_only) {
          if (outcomes_[i] != RegisterStatus::stored) return;
          const auto* stored = states_.stored_under(entries_[i].key, hash, hint);
          if (stored != nullptr && !came_with_it.contains(entries_[i].key)) {
            if (stored->value == entries_[i].value) return;
            return refuse_entry(
                i, StorageError{"key " + key_hex(entries_[i].key) + " has another value, and this came late"},
                RegisterStatus::superseded);
          }
          came_with_it.insert(entries_[i].key);
        }
        claims_.note_registration_of(entries_[i].key, hash, hint);
        if (auto refusal = store_entry(entries_[i], hash, hint, ours, now)) {
          const RegisterStatus status = status_of(*refusal);
          refuse_entry(i, *std::move(refusal), status);
        }
      });
    });
    entries_registered_.add(size() - refused_);
    entries_refused_.add(refused_);
  }

  void refuse_entry(std::size_t i, Error why, RegisterStatus outcome) {
    ++refused_;
    outcomes_[i] = outcome;
    last_refusal_ = std::move(why);
  }

  static RegisterStatus status_of(const Error& refusal) {
    if (std::holds_alternative<LeaseConflict>(refusal)) return RegisterStatus::lease_conflict;
    if (std::holds_alternative<LimitExceeded>(refusal)) return RegisterStatus::limit_exceeded;
    return RegisterStatus::storage_error;
  }

  std::optional<Error> store_entry(EntryType& entry, Hash hash, Number hint, const std::optional<Envelope>& ours,
                                   Instant now) {
    const K key = entry.key;
    if (options_.insist_on_holder && !is_holder(ours, key, hash, now)) return LeaseConflict{key_hex(key)};
    try {
      if (!states_.store(std::move(entry), hash, hint, now)) {
        const P& policy = states_.catalogue().policy();
        const std::size_t capacity = policy.capacity().value_or(policy.size());
        return LimitExceeded{"capacity", capacity, capacity + 1};
      }
    } catch (...) {
      return StorageError{failure_text()};
    }
    states_.convert_lease(key, hash, now);
    return std::nullopt;
  }

  bool is_holder(const std::optional<Envelope>& ours, const K& key, Hash hash, Instant now) {
    const auto found = states_.table().find(key, hash);
    if (!ours || found.kind != Table::Kind::leased) return false;
    const Holder* holder = states_.leases().holder(found.number, now.lease);
    return holder != nullptr && *holder == QueryAsker::holder_of(*ours);
  }

  void report(Instant now, const std::string& text) { reports_.add(now.lease, text); }

  KeyStates<P>& states_;
  WaitingClaims<P>& claims_;
  const Admission& admission_;
  const HubOptions& options_;
  Reports& reports_;
  Refusals<K, V, M, C> refusals_;
  SequenceTracker sequences_;

  // Reused from message to message.
  std::vector<EntryType> entries_;
  std::vector<RegisterStatus> outcomes_;
  std::size_t refused_ = 0;            // of `outcomes_`
  std::optional<Error> last_refusal_;  // of `outcomes_`

  detail::Counter entries_registered_, entries_refused_, malformed_, repeated_;
};

}  // namespace registry
