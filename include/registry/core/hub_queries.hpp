// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/admission.hpp>
#include <registry/core/catalogue.hpp>
#include <registry/core/claim_queue.hpp>
#include <registry/core/decode.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/hub_answer.hpp>
#include <registry/core/hub_registrations.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_states.hpp>
#include <registry/core/lease_manager.hpp>
#include <registry/core/options.hpp>
#include <registry/core/query_asker.hpp>
#include <registry/core/sequence_tracker.hpp>
#include <registry/core/spare_memory.hpp>
#include <registry/core/waiting_claims.hpp>
#include <registry/detail/counter.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/holder.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>
#include <registry/trailer.hpp>

namespace registry {

/// Decides queries: reads one, does what it asks for, and leaves its answer in a HubAnswer. One thread; the counters
/// may be read from any.
template <Eviction P, class C>
class HubQueries {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;

  HubQueries(KeyStates<P>& states, WaitingClaims<P>& claims, HubRegistrations<P, C>& registrations,
             HubAnswer<C>& answer, const Admission& admission, const HubOptions& options)
      : states_(states),
        catalogue_(states.catalogue()),
        leases_(states.leases()),
        claims_(claims),
        registrations_(registrations),
        answer_(answer),
        admission_(admission),
        options_(options) {}
  HubQueries(const HubQueries&) = delete;
  HubQueries& operator=(const HubQueries&) = delete;

  /// Leaves the answer to `message`; or answers for how long a claim is to wait, and there is no answer yet.
  std::optional<std::chrono::nanoseconds> decide(const QueryAsker& asker, ByteView message, Instant now) {
    statuses_.clear();
    claim_wait_.reset();
    MessageType type{};
    std::optional<Error> error = C::decode_type(message, type);
    if (!error) {
      if (const auto why = admission_.refusal_of_namespace(asker.name_space)) {
        answer_.refuse(*why);
        return std::nullopt;
      }
      try {
        error = dispatch(asker, type, message, now);
      } catch (...) {
        take_back(asker, now);
        answer_.refuse(StorageError{failure_text()});
        return std::nullopt;
      }
    }
    if (error) {
      malformed_.add();
      answer_.refuse(*error);
    }
    return claim_wait_;
  }

  /// What the last query asked for and was told, if it was a claim.
  const std::vector<K>& keys() const noexcept { return keys_; }
  const std::vector<OffloadStatus>& statuses() const noexcept { return statuses_; }

  /// Gives back what an unusually large query took, and what its values did.
  void give_back_spare_memory() noexcept {
    entries_.clear();
    give_back_spare(keys_);
    give_back_spare(entries_);
    give_back_spare(statuses_);
    give_back_spare(renewals_);
  }

  /// Takes back what the last query, of this asker, was granted.
  void take_back(const QueryAsker& asker, Instant now) {
    for (std::size_t i = 0; i < statuses_.size(); ++i) {
      if (statuses_[i] != OffloadStatus::granted) continue;
      leases_.withdraw(keys_[i], states_.table().hash(keys_[i]), asker.holder, asker.request, now.lease);
    }
    statuses_.clear();
  }

  /// Leaves the answer to a claim that has waited.
  void answer_claim(const WaitingClaim<K>& claim, Instant now) {
    const bool has_grant = std::ranges::find(claim.statuses, OffloadStatus::granted) != claim.statuses.end();
    if (has_grant) granted_.add();
    encode_claim_answer(claim.statuses, has_grant, now.lease - claim.since, now);
  }

  void add_to(HubStats& stats) const noexcept {
    stats.granted += granted_.load();
    stats.already_stored += already_stored_.load();
    stats.leased += leased_.load();
    stats.malformed += malformed_.load();
  }

 private:
  using Table = typename KeyStates<P>::Table;
  using Hash = typename KeyStates<P>::Hash;
  using Found = typename KeyStates<P>::Found;
  using Number = typename KeyStates<P>::Number;

  /// An error here means a malformed message, before which nothing has changed.
  std::optional<Error> dispatch(const QueryAsker& asker, MessageType type, ByteView message, Instant now) {
    switch (type) {
      case MessageType::can_offload:
      case MessageType::match:
      case MessageType::remove:
      case MessageType::touch:
      case MessageType::release:
      case MessageType::withdraw: break;
      case MessageType::hello: return hello(asker, message);
      case MessageType::claim: return claim(asker, message, now);
      case MessageType::renew: return renew(asker, message, now);
      case MessageType::register_entries: return register_acknowledged(asker, message, now);
      case MessageType::remove_if: return remove_if(message, now);
      case MessageType::sync: return sync(asker, message);
      case MessageType::can_offload_response:
      case MessageType::match_response:
      case MessageType::remove_response:
      case MessageType::touch_response:
      case MessageType::error_response:
      case MessageType::hello_response:
      case MessageType::release_response:
      case MessageType::claim_response:
      case MessageType::renew_response:
      case MessageType::register_response:
      case MessageType::sync_response: return InvalidMessageType{static_cast<unsigned>(type)};
    }
    if (auto error = read_keys(message)) return error;
    if (!may_ask_for(keys_.size())) return std::nullopt;
    if (type == MessageType::can_offload) {
      can_offload(asker, now);
    } else if (type == MessageType::match) {
      match(now);
    } else if (type == MessageType::remove) {
      count(MessageType::remove_response, [&](const K& key, Hash) { return catalogue_.remove(key, now.wall); });
    } else if (type == MessageType::touch) {
      count(MessageType::touch_response, [&](const K& key, Hash) { return catalogue_.touch(key, now.wall); });
    } else if (type == MessageType::release) {
      count(MessageType::release_response,
            [&](const K& key, Hash hash) { return leases_.release(key, hash, asker.holder, now.lease); });
    } else {
      const auto* waiting = claims_.find(asker);
      if (waiting != nullptr && waiting->request == asker.request) claims_.withdraw(asker);
      count(MessageType::release_response, [&](const K& key, Hash hash) {
        return leases_.withdraw(key, hash, asker.holder, asker.request, now.lease);
      });
    }
    return std::nullopt;
  }

  std::optional<Error> read_keys(ByteView message) {
    return decode_guarded(message, [&] { return C::decode_keys(message, keys_); });
  }

  /// False, with the refusal as the answer, if that is too many.
  bool may_ask_for(std::size_t keys) {
    const auto why = admission_.refusal_of_size(keys);
    if (why) answer_.refuse(*why);
    return !why;
  }

  /// Calls `action(i, hash, hint)` for the keys of a query in turn.
  template <class Action>
  void for_each_key(Action action) {
    states_.for_each(keys_, std::identity{}, action);
  }

  struct Decision {
    std::uint64_t granted = 0;
    std::uint64_t stored = 0;
    LeaseAnswer last = LeaseAnswer::leased;

    bool is_full() const noexcept { return last == LeaseAnswer::full || last == LeaseAnswer::client_full; }
  };

  /// Grants what can be granted of `keys_`; the answers are in `statuses_`. If there is no room for a lease, all is
  /// taken back, and the answer is the refusal.
  Decision grant(const QueryAsker& asker, Instant now) {
    states_.drop_what_is_over(keys_, now);
    // Until its turn has come a key is Leased: so nothing is taken back that was not granted.
    statuses_.assign(keys_.size(), OffloadStatus::leased);
    Decision decision;
    const bool recovering = states_.is_recovering(now);
    // Granting lets no entry leave and no claim wait, so that this holds for all of them.
    const bool is_plain = !recovering && claims_.empty() && !catalogue_.has_held();
    leases_.ask_for(asker.holder, asker.client(), asker.request, now.lease);
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const Found found = states_.look_up(key, hash, hint);
      if (found.kind == Table::Kind::stored) {
        statuses_[i] = OffloadStatus::already_stored;
        ++decision.stored;
      } else if (!decision.is_full() && (is_plain || is_free(asker, key, found, recovering, now))) {
        decision.last = leases_.acquire(found, key, hash);
        if (decision.last == LeaseAnswer::granted) {
          statuses_[i] = OffloadStatus::granted;
          ++decision.granted;
        }
      }
    });
    if (decision.is_full()) {
      take_back(asker, now);
      answer_.refuse(decision.last == LeaseAnswer::full
                         ? LimitExceeded{"max_leases", leases_.max_leases(), leases_.max_leases() + 1}
                         : LimitExceeded{"max_leases_per_client", options_.max_leases_per_client,
                                         options_.max_leases_per_client + 1});
    } else {
      granted_.add(decision.granted);
      already_stored_.add(decision.stored);
      leased_.add(keys_.size() - decision.granted - decision.stored);
    }
    return decision;
  }

  /// Whether nobody is deleting an object of this key, and no others have a better right to it: those who wait for it,
  /// or, after a restart, whoever may have been granted it by the hub before this one. Not so if the asker has it.
  bool is_free(const QueryAsker& asker, const K& key, const Found& found, bool recovering, Instant now) {
    if (catalogue_.is_held(key)) return false;
    if (!recovering && !claims_.is_awaited(key)) return true;
    if (found.kind != Table::Kind::leased) return false;
    const Holder* holder = leases_.holder(found.number, now.lease);
    return holder != nullptr && *holder == asker.holder;
  }

  void can_offload(const QueryAsker& asker, Instant now) {
    if (grant(asker, now).is_full()) return;
    C::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{statuses_}, answer_.bytes());
  }

  void match(Instant now) {
    states_.drop_what_is_over(keys_, now);
    Bytes& out = answer_.bytes();
    C::begin_entries(MessageType::match_response, out);
    std::optional<Error> failure;
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const auto* stored = states_.stored_under(key, hash, hint);
      if (stored == nullptr || failure) return;
      if (auto error = C::append_entry(key, stored->value, stored->metadata, out)) {
        failure = StorageError{"key " + key_hex(key) + ": " + to_string(*error)};
      } else if (out.size() > options_.max_answer_bytes) {
        failure = LimitExceeded{"max_answer_bytes", options_.max_answer_bytes, out.size()};
      }
    });
    if (failure) answer_.refuse(*failure);
  }

  template <class Action>
  void count(MessageType type, Action action) {
    std::uint64_t n = 0;
    for_each_key([&](std::size_t i, Hash hash, Number) { n += action(keys_[i], hash) ? 1U : 0U; });
    C::encode_count(type, n, answer_.bytes());
  }

  std::optional<Error> claim(const QueryAsker& asker, ByteView message, Instant now) {
    const auto parts = split_trailer<1>(message);
    if (!parts) return MessageTooShort{8, message.size()};
    if (auto error = read_keys(parts->first)) return error;
    if (!may_ask_for(keys_.size())) return std::nullopt;
    if (!asker.envelope) {
      answer_.refuse(Unsupported{"a claim without an envelope"});
      return std::nullopt;
    }
    const Decision decision = grant(asker, now);
    if (decision.is_full()) return std::nullopt;
    // A call does not wait while it has been granted something: its lease would tick away unseen, and two calls could
    // wait for each other.
    bool waits = parts->second[0] > 0 && decision.granted == 0 && decision.stored < keys_.size();
    if (const auto* before = claims_.find(asker)) {
      // A client whose connection was cut asks again. What is read from the old one afterwards is nobody's any more.
      const bool is_stale = asker.request < before->request;
      waits = waits && !is_stale;
      if (!waits && !is_stale) claims_.withdraw(asker);
    }
    if (waits) {
      const auto most = static_cast<std::uint64_t>(options_.max_claim_wait.count());
      claim_wait_ = std::chrono::nanoseconds{static_cast<std::int64_t>(std::min(parts->second[0], most))};
    } else {
      encode_claim_answer(statuses_, decision.granted > 0, {}, now);
    }
    return std::nullopt;
  }

  void encode_claim_answer(std::span<const OffloadStatus> statuses, bool has_grant, std::chrono::nanoseconds waited,
                           Instant now) {
    // Also across restarts it only grows, as long as the wall clock does.
    if (has_grant) {
      const auto wall = std::chrono::duration_cast<std::chrono::nanoseconds>(now.wall.time_since_epoch()).count();
      token_ = std::max(token_ + 1, static_cast<std::uint64_t>(wall));
    }
    C::encode_statuses(MessageType::claim_response, statuses, answer_.bytes());
    append_trailer<4>({options_.incarnation, has_grant ? token_ : 0, static_cast<std::uint64_t>(leases_.ttl().count()),
                       static_cast<std::uint64_t>(waited.count())},
                      answer_.bytes());
  }

  std::optional<Error> renew(const QueryAsker& asker, ByteView message, Instant now) {
    const auto parts = split_trailer<1>(message);
    if (!parts) return MessageTooShort{8, message.size()};
    if (auto error = read_keys(parts->first)) return error;
    if (!may_ask_for(keys_.size())) return std::nullopt;
    const std::uint64_t granted_by = parts->second[0];  // 0: by nobody, any more
    states_.drop_what_is_over(keys_, now);              // before: an entry whose time is over is one that has gone
    const bool may_claim_back =
        granted_by != 0 && granted_by != options_.incarnation && states_.accepts_claim_backs(now);
    renewals_.assign(keys_.size(), RenewStatus::lost);
    leases_.ask_for(asker.holder, asker.client(), asker.request, now.lease);
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const Found found = states_.look_up(key, hash, hint);
      if (found.kind == Table::Kind::stored) {
        renewals_[i] = RenewStatus::stored;
      } else if (found.kind == Table::Kind::leased) {
        if (leases_.renew(found.number)) renewals_[i] = RenewStatus::held;
      } else if (may_claim_back && !catalogue_.is_held(key) &&
                 leases_.acquire(found, key, hash) == LeaseAnswer::granted) {
        renewals_[i] = RenewStatus::held;
      }
    });
    C::encode_statuses(MessageType::renew_response, std::span<const RenewStatus>{renewals_}, answer_.bytes());
    append_trailer<2>({options_.incarnation, static_cast<std::uint64_t>(leases_.ttl().count())}, answer_.bytes());
    return std::nullopt;
  }

  std::optional<Error> register_acknowledged(const QueryAsker& asker, ByteView message, Instant now) {
    const std::optional<Envelope>& ours = asker.envelope;
    if (auto error = registrations_.read(message)) return error;
    if (!may_ask_for(registrations_.size())) return std::nullopt;
    registrations_.store(ours, ours ? ours->sequence : std::nullopt, now);
    C::encode_statuses(MessageType::register_response, registrations_.outcomes(), answer_.bytes());
    return std::nullopt;
  }

  std::optional<Error> remove_if(ByteView message, Instant now) {
    if (auto error = decode_guarded(message, [&] { return C::decode_entries(message, entries_); })) return error;
    if (!may_ask_for(entries_.size())) return std::nullopt;
    std::uint64_t removed = 0;
    for (const auto& entry : entries_) removed += catalogue_.remove_if(entry.key, entry.value, now.wall) ? 1U : 0U;
    C::encode_count(MessageType::remove_response, removed, answer_.bytes());
    return std::nullopt;
  }

  /// Says which registrations of the client, from the first that it is not sure of, have come.
  std::optional<Error> sync(const QueryAsker& asker, ByteView message) {
    std::uint64_t first = 0;
    if (auto error = C::decode_count(message, first)) return error;
    if (!asker.envelope) {
      answer_.refuse(Unsupported{"sync without an envelope"});
      return std::nullopt;
    }
    const ClientId& client = asker.envelope->client;
    first = std::max<std::uint64_t>(first, 1);
    SequenceTracker& sequences = registrations_.sequences();
    sequences.settle(client, first);
    C::encode_count(MessageType::sync_response, sequences.applied_from(client, first), answer_.bytes());
    append_trailer<3>({options_.incarnation, flags(), sequences.first_refusal(client, first)}, answer_.bytes());
    return std::nullopt;
  }

  std::uint64_t flags() const noexcept { return options_.insist_on_holder ? hub_insists_on_holder : 0; }

  /// A client that needs a namespace asks for it by name and hears it back: a hub that ignores envelopes cannot.
  std::optional<Error> hello(const QueryAsker& asker, ByteView message) {
    if (auto error = C::decode_text(message, text_)) return error;
    if (text_ != asker.name_space) {
      answer_.refuse(Unsupported{
          "hello for namespace \"" + text_ + "\" in an envelope for \"" + std::string{asker.name_space} + "\""});
      return std::nullopt;
    }
    C::encode_text(MessageType::hello_response, asker.name_space, answer_.bytes());
    return std::nullopt;
  }

  KeyStates<P>& states_;
  Catalogue<P>& catalogue_;
  LeaseManager<Table>& leases_;
  WaitingClaims<P>& claims_;
  HubRegistrations<P, C>& registrations_;
  HubAnswer<C>& answer_;
  const Admission& admission_;
  const HubOptions& options_;
  std::optional<std::chrono::nanoseconds> claim_wait_;  // of the last query, if it is a claim that is to wait
  std::uint64_t token_ = 0;

  // Reused from message to message, so that a message costs no allocation once they have grown.
  std::vector<K> keys_;
  std::vector<Entry<K, V, M>> entries_;
  std::vector<OffloadStatus> statuses_;
  std::vector<RenewStatus> renewals_;
  std::string text_;

  detail::Counter granted_, already_stored_, leased_, malformed_;
};

}  // namespace registry
