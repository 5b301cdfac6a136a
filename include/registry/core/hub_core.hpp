// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/catalogue.hpp>
#include <registry/core/claim_queue.hpp>
#include <registry/core/decode.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/lease_manager.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/core/refusal_hook.hpp>
#include <registry/core/reports.hpp>
#include <registry/core/sequence_tracker.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/detail/lease.hpp>
#include <registry/detail/look_ahead.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/holder.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>
#include <registry/trailer.hpp>

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
        name_(std::move(name)),
        reports_(options_.log),
        catalogue_(std::move(policy), std::move(on_evict), options_.log),
        refusals_(std::move(on_refused), reports_),
        leases_(table(), options_.lease_ttl, options_.max_leases, options_.max_leases_per_client),
        sequences_(options_.max_clients) {}
  HubCore(const HubCore&) = delete;
  HubCore& operator=(const HubCore&) = delete;

  /// When the hub has started: its recovery time runs from then. Without this call, from the first one.
  void begin(Instant now) {
    if (std::exchange(has_begun_, true)) return;
    recovered_at_ = now.lease + options_.recovery_time;
  }

  /// A query from `sender` (its routing id): the last frame is `message`, those before it `envelope`.
  template <class Reply>
  void query(ByteView sender, Frames envelope, ByteView message, Instant now, Reply&& reply) try {
    queries_.add();
    begin(now);
    const std::optional<Envelope> ours = envelope.size() == 1 ? Envelope::decode(envelope.front()) : std::nullopt;
    const Asker asker =
        ours ? asker_of(*ours)
             : Asker{Holder::connection(sender), ++anonymous_requests_, default_namespace, std::nullopt};
    if (const auto type = type_that_waits(ours, message)) {
      if (wait(sender, envelope, message, *type, *ours, now)) return;
      deliver(sender, envelope, asker, now, reply);
      return;
    }
    claim_wait_.reset();
    answer(asker, message, now);
    if (claim_wait_ && wait_for_claim(sender, envelope, asker, now)) return;
    deliver(sender, envelope, asker, now, reply);
    if (ours && ours->sequence) release_waiting(now, reply);
    serve_claims(now, reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// A registration: `envelope` is its second frame where it has one, `sender` what the transport knows of who sent it.
  template <class Reply>
  void registration(const PeerName& sender, std::optional<ByteView> envelope, ByteView message, Instant now,
                    Reply&& reply) try {
    registrations_.add();
    begin(now);
    std::optional<Envelope> ours;
    if (envelope) {
      ours = Envelope::decode(*envelope);
      if (!ours) {
        malformed_.add();
        report(now, "a registration from " + std::string{sender} + " was dropped: its second frame is no envelope");
        return;
      }
    }
    apply(sender, ours, message, now);
    if (ours) release_waiting(now, reply);
    serve_claims(now, reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// A message that the transport could not take apart: counted, reported, dropped.
  void malformed(std::string_view sender, std::string_view why, Instant now) try {
    malformed_.add();
    report(now, "a message from " + std::string{sender} + " was dropped: " + std::string{why});
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// A registration that the transport has denied, with what it knows of why: it changes nothing, and the hook is told.
  void denied(std::string_view name_space, ByteView message, const Error& why, Instant now) {
    refusals_.hand_over_denied(name_space, message, why, now.lease);
  }

  /// Does what time has made due: refuses queries that have waited long enough and collects, in bounded slices, leases
  /// and entries that are over.
  template <class Reply>
  void tick(Instant now, Reply&& reply) try {
    begin(now);
    while (!waiting_.empty() && now.lease >= waiting_.front().deadline) {
      if (waiting_.front().type == MessageType::sync) {
        answer_waiting(0, now, reply);
        continue;
      }
      // Carried out now it would be undone by a registration that comes still, and the caller would not know. He knows
      // now, and may ask again.
      sequences_.pass_over(waiting_.front().client, waiting_.front().after);
      const auto waited = std::chrono::ceil<std::chrono::milliseconds>(options_.registration_wait);
      refuse_first_waiting(
          now, reply, std::string{registration_missing} + " within " + std::to_string(waited.count()) + " ms");
    }
    collect(now);
    end_claim_waits(now, reply);
    serve_claims(now, reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// Refuses all queries that wait, for a hub that stops: those who asked cannot be reached over another transport.
  template <class Reply>
  void end_waiting(Instant now, Reply&& reply) try {
    while (!waiting_.empty()) refuse_first_waiting(now, reply, "the hub is stopping");
    end_claims(now, reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// Answers all claims that wait as if their time were over.
  template <class Reply>
  void end_claims(Instant now, Reply&& reply) try {
    while (const auto claim = claims_.first_due()) end_claim(claims_.take(*claim), now, reply);
    serve_claims(now, reply);
  } catch (const std::bad_alloc&) {
    reports_.add_no_memory(now.lease);
  }

  /// When `tick` has something to do, by the lease clock; nothing while there is nothing to wait for.
  std::optional<SteadyTime> next_deadline() const {
    if (!freed_.empty()) return SteadyTime::min();
    std::optional<SteadyTime> next;
    const auto consider = [&](std::optional<SteadyTime> other) {
      if (other) next = next ? std::min(*next, *other) : *other;
    };
    if (!waiting_.empty()) consider(waiting_.front().deadline);
    consider(claims_.next_deadline());
    if (!claims_.empty()) consider(leases_.next_deadline());
    if (leases_.next_deadline() || catalogue_.has_expiring() || !claims_.empty()) {
      consider(next_cleanup_.value_or(SteadyTime::min()));
    }
    return next;
  }

  /// What has happened so far; from any thread.
  HubStats stats() const noexcept {
    HubStats stats;
    stats.queries = queries_.load();
    stats.registrations = registrations_.load();
    stats.entries_registered = entries_registered_.load();
    stats.entries_refused = entries_refused_.load();
    stats.granted = granted_.load();
    stats.already_stored = already_stored_.load();
    stats.leased = leased_.load();
    stats.malformed = malformed_.load();
    stats.undeliverable = undeliverable_.load();
    stats.repeated = repeated_.load();
    stats.waiting_claims = waiting_claims_.load();
    catalogue_.add_to(stats);
    refusals_.add_to(stats);
    stats.leases = leases_.stats();
    return stats;
  }

  /// The policy and the entries in it, for a hub that fills or reads its catalogue itself; on the hub's thread. What is
  /// inserted here is stored at once; a lease on it counts as active until it runs out, but stands in nobody's way.
  P& policy() noexcept { return catalogue_.policy(); }

  const HubOptions& options() const noexcept { return options_; }

 private:
  static constexpr std::size_t slice = 256;
  /// The memory of a larger answer is given back, not kept for the next one.
  static constexpr std::size_t max_kept_answer = std::size_t{4} << 20U;

  /// Leases are kept in the table of the entries, if it can be had, or else in one of their own.
  struct NoTable {};
  static auto table_type() {
    if constexpr (detail::SharesTable<P>) {
      return std::type_identity<typename P::Table>{};
    } else {
      return std::type_identity<detail::BlockTable<K, NoMetadata, detail::Lease>>{};
    }
  }
  using Table = typename decltype(table_type())::type;
  using OwnTable = std::conditional_t<detail::SharesTable<P>, NoTable, Table>;
  using Hash = typename Table::Hash;
  using Found = typename Table::Found;
  using Number = typename Table::Number;

  Table& table() noexcept {
    if constexpr (detail::SharesTable<P>) {
      return catalogue_.policy().table();
    } else {
      return own_table_;
    }
  }

  struct Asker {
    Holder holder;
    std::uint64_t request;
    std::string_view name_space;
    std::optional<Envelope> envelope;
  };

  static Asker asker_of(const Envelope& ours) {
    return {ours.claim ? Holder::claim(ours.client, *ours.claim) : Holder::client(ours.client), ours.number,
            ours.name_space, ours};
  }

  /// A query that waits for registrations of its client, with all that is needed to answer it later.
  struct Waiting {
    Bytes sender;
    Bytes envelope;
    Bytes message;
    MessageType type;
    ClientId client;
    std::uint64_t after;
    SteadyTime deadline;
  };

  void collect(Instant now) {
    const bool is_due = now.lease >= next_cleanup_.value_or(now.lease);
    // Whoever waits for a key is told at once when its lease is over, everybody else finds out when he asks.
    const auto first_over = leases_.next_deadline();
    if (!is_due && (claims_.empty() || !first_over || now.lease < *first_over)) return;
    bool more = leases_.expire(now.lease, slice) == slice;
    if (!is_due) return;
    try {
      more = catalogue_.expire(now.wall, slice) == slice || more;
    } catch (const std::exception& failure) {
      // What is over stays so, and is tried again at the next cleanup.
      report(now, std::string{"entries that are over could not be collected: "} + failure.what());
    }
    next_cleanup_ = more ? now.lease : now.lease + options_.lease_cleanup_interval;
  }

  /// The type of the message, if it must not overtake registrations that have not come yet.
  std::optional<MessageType> type_that_waits(const std::optional<Envelope>& ours, ByteView message) const {
    MessageType type{};
    if (!ours || !ours->after || C::decode_type(message, type)) return std::nullopt;
    const bool keeps_order = type == MessageType::remove || type == MessageType::remove_if ||
                             type == MessageType::register_entries || type == MessageType::sync;
    // Nothing can follow itself.
    const bool is_sensible = !ours->sequence || *ours->after < *ours->sequence;
    if (!keeps_order || !is_sensible || sequences_.has_applied(ours->client, *ours->after)) return std::nullopt;
    return type;
  }

  static Bytes copy(ByteView bytes) { return Bytes(bytes.begin(), bytes.end()); }

  /// False, with the refusal in `answer_`, if there is no room.
  bool wait(ByteView sender, Frames envelope, ByteView message, MessageType type, const Envelope& ours, Instant now) {
    statuses_.clear();
    const std::size_t bytes = sender.size() + envelope.front().size() + message.size();
    if (waiting_.size() >= options_.max_waiting) {
      refuse(LimitExceeded{"max_waiting", options_.max_waiting, waiting_.size() + 1});
      return false;
    }
    if (!may_keep(bytes)) return false;
    waiting_.push_back({copy(sender), copy(envelope.front()), copy(message), type, ours.client, *ours.after,
                        now.lease + options_.registration_wait});
    waiting_bytes_ += bytes;
    return true;
  }

  /// `replaced`: bytes that go when these come.
  bool may_keep(std::size_t bytes, std::size_t replaced = 0) {
    const std::size_t all = waiting_bytes_ + claims_.bytes() + bytes - replaced;
    if (all <= options_.max_waiting_bytes) return true;
    refuse(LimitExceeded{"max_waiting_bytes", options_.max_waiting_bytes, all});
    return false;
  }

  Waiting take_waiting(std::size_t i) {
    Waiting taken = std::move(waiting_[i]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    waiting_bytes_ -= taken.sender.size() + taken.envelope.size() + taken.message.size();
    return taken;
  }

  template <class Reply>
  void release_waiting(Instant now, Reply& reply) {
    for (std::size_t i = 0; i < waiting_.size();) {
      if (!sequences_.has_applied(waiting_[i].client, waiting_[i].after)) {
        ++i;
        continue;
      }
      // It may be what one that came before it waits for.
      const bool may_release = waiting_[i].type == MessageType::register_entries;
      answer_waiting(i, now, reply);
      if (may_release) i = 0;
    }
  }

  template <class Reply>
  void answer_waiting(std::size_t i, Instant now, Reply& reply) {
    const Waiting due = take_waiting(i);
    end_wait(due, now, reply, [&](const Asker& asker) { answer(asker, due.message, now); });
  }

  template <class Reply>
  void refuse_first_waiting(Instant now, Reply& reply, std::string_view why) {
    const Waiting due = take_waiting(0);
    end_wait(due, now, reply, [&](const Asker&) {
      statuses_.clear();
      C::encode_text(MessageType::error_response, why, answer_);
    });
  }

  /// Delivers what `make_answer` leaves in `answer_` to who asked a query that has waited.
  template <class Reply, class MakeAnswer>
  void end_wait(const Waiting& due, Instant now, Reply& reply, MakeAnswer make_answer) {
    const ByteView frame = due.envelope;
    const Asker asker = asker_of(*Envelope::decode(frame));
    make_answer(asker);
    deliver(due.sender, Frames{&frame, 1}, asker, now, reply);
  }

  /// Leaves the answer to `message` in `answer_`.
  void answer(const Asker& asker, ByteView message, Instant now) {
    statuses_.clear();
    MessageType type{};
    std::optional<Error> error = C::decode_type(message, type);
    if (!error && asker.name_space != name_) {
      return refuse(
          Unsupported{"namespace \"" + std::string{asker.name_space} + "\"; this hub serves \"" + name_ + "\""});
    }
    if (!error) {
      try {
        error = dispatch(asker, type, message, now);
      } catch (const std::exception& failure) {
        take_back(asker, now);
        return refuse(StorageError{failure.what()});
      }
    }
    if (error) {
      malformed_.add();
      refuse(*error);
    }
  }

  /// An error here means a malformed message, before which nothing has changed.
  std::optional<Error> dispatch(const Asker& asker, MessageType type, ByteView message, Instant now) {
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
    if (auto error = decode_guarded(message, [&] { return C::decode_keys(message, keys_); })) return error;
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
      const auto waiting = claims_.find(asker.holder, place_of(asker));
      if (waiting && claims_[*waiting].request == asker.request) claims_.take(*waiting);
      count(MessageType::release_response, [&](const K& key, Hash hash) {
        return leases_.withdraw(key, hash, asker.holder, asker.request, now.lease);
      });
    }
    return std::nullopt;
  }

  /// False, with the refusal in `answer_`, if that is too many.
  bool may_ask_for(std::size_t keys) {
    if (keys <= options_.max_keys_per_query) return true;
    refuse(LimitExceeded{"max_keys_per_query", options_.max_keys_per_query, keys});
    return false;
  }

  /// Calls `action(i, hash, hint)` for the keys of a query in turn.
  template <class Action>
  void for_each_key(Action action) {
    hashes_.resize(keys_.size());
    for (std::size_t i = 0; i < keys_.size(); ++i) hashes_[i] = table().hash(keys_[i]);
    detail::look_ahead(table(), hashes_, [&](std::size_t i, Number hint) { action(i, hashes_[i], hint); });
  }

  /// Before `for_each_key`, not within: what goes makes hints void.
  void drop_what_is_over(Instant now) {
    if constexpr (ExpiringMetadata<M>) {
      for (const K& key : keys_) catalogue_.drop_if_over(key, now.wall);
    }
  }

  /// Whether the key is stored, leased or neither.
  Found look_up(const K& key, Hash hash, Number hint) {
    if constexpr (!detail::SharesTable<P>) {
      if (catalogue_.find(key) != nullptr) return {Table::Kind::stored, Table::none};
    }
    return table().find(key, hash, hint);
  }

  struct Decision {
    std::uint64_t granted = 0;
    std::uint64_t stored = 0;
    LeaseAnswer last = LeaseAnswer::leased;

    bool is_full() const noexcept { return last == LeaseAnswer::full || last == LeaseAnswer::client_full; }
  };

  /// Grants what can be granted of `keys_`; the answers are in `statuses_`. If there is no room for a lease, all is
  /// taken back, and the refusal is in `answer_`.
  Decision decide(const Asker& asker, Instant now) {
    drop_what_is_over(now);
    // Until its turn has come a key is Leased: so nothing is taken back that was not granted.
    statuses_.assign(keys_.size(), OffloadStatus::leased);
    Decision decision;
    const bool recovering = is_recovering(now);
    const auto account = leases_.account(client_of(asker));
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const Found found = look_up(key, hash, hint);
      if (found.kind == Table::Kind::stored) {
        statuses_[i] = OffloadStatus::already_stored;
        ++decision.stored;
      } else if (!decision.is_full() && !catalogue_.is_held(key) && !comes_later(asker, key, found, recovering, now)) {
        decision.last = leases_.acquire(found, key, hash, asker.holder, account, asker.request, now.lease);
        if (decision.last == LeaseAnswer::granted) {
          statuses_[i] = OffloadStatus::granted;
          ++decision.granted;
        }
      }
    });
    if (decision.is_full()) {
      take_back(asker, now);
      refuse(decision.last == LeaseAnswer::full
                 ? LimitExceeded{"max_leases", leases_.max_leases(), leases_.max_leases() + 1}
                 : LimitExceeded{
                       "max_leases_per_client", options_.max_leases_per_client, options_.max_leases_per_client + 1});
    } else {
      granted_.add(decision.granted);
      already_stored_.add(decision.stored);
      leased_.add(keys_.size() - decision.granted - decision.stored);
    }
    return decision;
  }

  static ClientId client_of(const Asker& asker) { return asker.envelope ? asker.envelope->client : asker.holder.id; }

  /// Whether others have a better right to a key that may be free: those who wait for it, or, after a restart, whoever
  /// may have been granted it by the hub before this one. Not so if the asker has it already.
  bool comes_later(const Asker& asker, const K& key, const Found& found, bool recovering, Instant now) const {
    if (!recovering && (claims_.empty() || !claims_.is_awaited(key))) return false;
    if (found.kind != Table::Kind::leased) return true;
    const Holder* holder = leases_.holder(found.number, now.lease);
    return holder == nullptr || !(*holder == asker.holder);
  }

  void can_offload(const Asker& asker, Instant now) {
    if (decide(asker, now).is_full()) return;
    C::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{statuses_}, answer_);
  }

  void match(Instant now) {
    drop_what_is_over(now);
    C::begin_entries(MessageType::match_response, answer_);
    std::optional<Error> failure;
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const auto* stored = stored_under(key, hash, hint);
      if (stored == nullptr || failure) return;
      if (auto error = C::append_entry(key, stored->value, stored->metadata, answer_)) {
        failure = StorageError{"key " + key_hex(key) + ": " + to_string(*error)};
      } else if (answer_.size() > options_.max_answer_bytes) {
        failure = LimitExceeded{"max_answer_bytes", options_.max_answer_bytes, answer_.size()};
      }
    });
    if (failure) refuse(*failure);
  }

  const Stored<V, M>* stored_under(const K& key, [[maybe_unused]] Hash hash, [[maybe_unused]] Number hint) {
    if constexpr (detail::SharesTable<P>) {
      const Found found = table().find(key, hash, hint);
      return found.kind == Table::Kind::stored ? &table()[found.number].value : nullptr;
    } else {
      return catalogue_.find(key);
    }
  }

  template <class Action>
  void count(MessageType type, Action action) {
    std::uint64_t n = 0;
    for_each_key([&](std::size_t i, Hash hash, Number) { n += action(keys_[i], hash) ? 1U : 0U; });
    C::encode_count(type, n, answer_);
  }

  std::optional<Error> claim(const Asker& asker, ByteView message, Instant now) {
    const auto parts = split_trailer<1>(message);
    if (!parts) return MessageTooShort{8, message.size()};
    if (auto error = decode_guarded(parts->first, [&] { return C::decode_keys(parts->first, keys_); })) return error;
    if (!may_ask_for(keys_.size())) return std::nullopt;
    if (!asker.envelope) {
      refuse(Unsupported{"a claim without an envelope"});
      return std::nullopt;
    }
    const Decision decision = decide(asker, now);
    if (decision.is_full()) return std::nullopt;
    // A call does not wait while it has been granted something: its lease would tick away unseen, and two calls could
    // wait for each other.
    bool waits = parts->second[0] > 0 && decision.granted == 0 && decision.stored < keys_.size();
    if (const auto before = claims_.find(asker.holder, place_of(asker))) {
      // A client whose connection was cut asks again. What is read from the old one afterwards is nobody's any more.
      const bool is_stale = asker.request < claims_[*before].request;
      waits = waits && !is_stale;
      if (!waits && !is_stale) claims_.take(*before);
    }
    if (waits) {
      const auto most = static_cast<std::uint64_t>(options_.max_claim_wait.count());
      claim_wait_ = std::chrono::nanoseconds{static_cast<std::int64_t>(std::min(parts->second[0], most))};
    } else {
      encode_claim_answer(statuses_, decision.granted > 0, {}, now);
    }
    return std::nullopt;
  }

  static std::uint64_t place_of(const Asker& asker) {
    return asker.envelope && asker.envelope->claim ? 0 : asker.request;
  }

  void encode_claim_answer(std::span<const OffloadStatus> statuses, bool has_grant, std::chrono::nanoseconds waited,
                           Instant now) {
    // Also across restarts it only grows, as long as the wall clock does.
    if (has_grant) {
      const auto wall = std::chrono::duration_cast<std::chrono::nanoseconds>(now.wall.time_since_epoch()).count();
      token_ = std::max(token_ + 1, static_cast<std::uint64_t>(wall));
    }
    C::encode_statuses(MessageType::claim_response, statuses, answer_);
    append_trailer<4>({options_.incarnation, has_grant ? token_ : 0, static_cast<std::uint64_t>(leases_.ttl().count()),
                       static_cast<std::uint64_t>(waited.count())},
                      answer_);
  }

  /// Lets the claim that has just been decided wait. False, with the refusal in `answer_`, if there is no room.
  bool wait_for_claim(ByteView sender, Frames envelope, const Asker& asker, Instant now) {
    const auto before = claims_.find(asker.holder, place_of(asker));
    if (!before && claims_.size() >= options_.max_waiting_claims) {
      refuse(LimitExceeded{"max_waiting_claims", options_.max_waiting_claims, claims_.size() + 1});
      return false;
    }
    WaitingClaim<K> claim{
        copy(sender), copy(envelope.front()),  asker.holder, asker.request, place_of(asker), keys_, statuses_,
        now.lease,    now.lease + *claim_wait_};
    if (!may_keep(claim.bytes(), before ? claims_[*before].bytes() : 0)) return false;
    try {
      claims_.add(std::move(claim));
    } catch (const std::exception& failure) {
      refuse(StorageError{failure.what()});
      return false;
    }
    leases_.watch(&freed_);
    waiting_claims_.store(claims_.size());
    for (const K& key : keys_) {
      if (is_recovering(now) || catalogue_.is_held(key)) block(key, now);
    }
    return true;
  }

  /// Tells those who wait what has become of the keys that have been freed or stored; a slice of them at a time.
  template <class Reply>
  void serve_claims(Instant now, Reply& reply) {
    if (!blocked_.empty() && !is_recovering(now) && now.lease >= retry_claims_at_) {
      freed_.insert(freed_.end(), blocked_.begin(), blocked_.end());
      blocked_.clear();
    }
    for (std::size_t left = slice; left > 0 && !freed_.empty() && !claims_.empty();) {
      const K key = freed_.back();
      freed_.pop_back();
      if (!serve_claims_for(key, now, reply, left)) freed_.push_back(key);
    }
    if (claims_.empty()) {
      freed_.clear();
      blocked_.clear();
      leases_.watch(nullptr);
    }
    waiting_claims_.store(claims_.size());
  }

  /// Whether all is said about the key for now; false if `left` has become 0 before.
  template <class Reply>
  bool serve_claims_for(const K& key, Instant now, Reply& reply, std::size_t& left) {
    const Hash hash = table().hash(key);
    for (; left > 0; --left) {
      const auto first = claims_.first(key);
      if (!first) return true;
      const auto found = attempt(now, [&] {
        catalogue_.drop_if_over(key, now.wall);
        return look_up(key, hash, Table::none);
      });
      if (!found) return block(key, now);
      if (found->kind == Table::Kind::stored) {
        const auto done = claims_.decide_first(key, OffloadStatus::already_stored);
        if (done) end_claim(claims_.take(*done), now, reply);
        continue;
      }
      if (is_recovering(now) || catalogue_.is_held(key)) return block(key, now);
      const Holder holder = claims_[*first].holder;
      const std::uint64_t request = claims_[*first].request;
      const auto account = leases_.account(Envelope::decode(claims_[*first].envelope)->client);
      const auto answer =
          attempt(now, [&] { return leases_.acquire(*found, key, hash, holder, account, request, now.lease); });
      if (!answer || answer == LeaseAnswer::full) return block(key, now);
      if (answer == LeaseAnswer::leased) return true;
      if (answer == LeaseAnswer::client_full) {
        if (const auto done = claims_.decide_first(key, OffloadStatus::leased))
          end_claim(claims_.take(*done), now, reply);
        continue;
      }
      claims_.decide_first(key, OffloadStatus::granted);
      // To the next one at once, if it does not reach this one.
      if (!end_claim(claims_.take(*first), now, reply)) leases_.withdraw(key, hash, holder, request, now.lease);
    }
    return false;
  }

  /// Looks at a key that somebody waits for. Nothing, and a report, where the storage throws.
  template <class Look>
  auto attempt(Instant now, Look look) -> std::optional<decltype(look())> {
    try {
      return look();
    } catch (const std::exception& failure) {
      report(now, std::string{"what has become of a key that a claim waits for is not known: "} + failure.what());
      return std::nullopt;
    }
  }

  /// Nothing will say when the key is free: it is looked at again at the next cleanup.
  bool block(const K& key, Instant now) {
    if (blocked_.empty()) retry_claims_at_ = now.lease + options_.lease_cleanup_interval;
    blocked_.insert(key);
    return true;
  }

  /// Answers a claim that has waited; whether that reached it.
  template <class Reply>
  bool end_claim(const WaitingClaim<K>& claim, Instant now, Reply& reply) {
    const bool has_grant = std::ranges::find(claim.statuses, OffloadStatus::granted) != claim.statuses.end();
    if (has_grant) granted_.add();
    encode_claim_answer(claim.statuses, has_grant, now.lease - claim.since, now);
    const ByteView frame = claim.envelope;
    if (reaches(claim.sender, Frames{&frame, 1}, reply)) return true;
    undeliverable_.add();
    return false;
  }

  template <class Reply>
  void end_claim_waits(Instant now, Reply& reply) {
    for (std::size_t left = slice; left > 0; --left) {
      const auto deadline = claims_.next_deadline();
      if (!deadline || now.lease < *deadline) return;
      end_claim(claims_.take(*claims_.first_due()), now, reply);
    }
  }

  std::optional<Error> renew(const Asker& asker, ByteView message, Instant now) {
    const auto parts = split_trailer<1>(message);
    if (!parts) return MessageTooShort{8, message.size()};
    if (auto error = decode_guarded(parts->first, [&] { return C::decode_keys(parts->first, keys_); })) return error;
    if (!may_ask_for(keys_.size())) return std::nullopt;
    const std::uint64_t granted_by = parts->second[0];  // 0: by nobody, any more
    const bool may_claim_back = granted_by != 0 && granted_by != options_.incarnation && accepts_claim_backs(now);
    drop_what_is_over(now);
    renewals_.assign(keys_.size(), RenewStatus::lost);
    const auto account = leases_.account(client_of(asker));
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const Found found = look_up(key, hash, hint);
      if (found.kind == Table::Kind::stored) {
        renewals_[i] = RenewStatus::stored;
      } else if (found.kind == Table::Kind::leased) {
        if (leases_.renew(found.number, asker.holder, now.lease)) renewals_[i] = RenewStatus::held;
      } else if (may_claim_back && !catalogue_.is_held(key) &&
                 leases_.acquire(found, key, hash, asker.holder, account, asker.request, now.lease) ==
                     LeaseAnswer::granted) {
        renewals_[i] = RenewStatus::held;
      }
    });
    C::encode_statuses(MessageType::renew_response, std::span<const RenewStatus>{renewals_}, answer_);
    append_trailer<2>({options_.incarnation, static_cast<std::uint64_t>(leases_.ttl().count())}, answer_);
    return std::nullopt;
  }

  bool is_recovering(Instant now) const { return now.lease < recovered_at_; }

  /// Whether a lease of the hub before this one may go on here: certainly not if somebody else has been granted the key
  /// meanwhile. Of what has gone again nothing is known, so then none may.
  bool accepts_claim_backs(Instant now) const {
    if (is_recovering(now)) return true;
    if (now.lease >= recovered_at_ + leases_.ttl()) return false;
    const LeaseStats ended = leases_.stats();
    HubStats gone;
    catalogue_.add_to(gone);
    return ended.released + ended.expired == 0 && gone.removed + gone.evicted + gone.expired == 0;
  }

  std::optional<Error> register_acknowledged(const Asker& asker, ByteView message, Instant now) {
    const std::optional<Envelope>& ours = asker.envelope;
    if (auto error = decode_guarded(message, [&] { return C::decode_entries(message, entries_); })) return error;
    if (!may_ask_for(entries_.size())) return std::nullopt;
    if (ours && ours->sequence) {
      store_once(ours, *ours->sequence, now);
    } else {
      store_all(ours, false, now);
    }
    C::encode_statuses(MessageType::register_response, std::span<const RegisterStatus>{outcomes_}, answer_);
    return std::nullopt;
  }

  std::optional<Error> remove_if(ByteView message, Instant now) {
    if (auto error = decode_guarded(message, [&] { return C::decode_entries(message, entries_); })) return error;
    if (!may_ask_for(entries_.size())) return std::nullopt;
    std::uint64_t removed = 0;
    for (const EntryType& entry : entries_) removed += catalogue_.remove_if(entry.key, entry.value, now.wall) ? 1U : 0U;
    C::encode_count(MessageType::remove_response, removed, answer_);
    return std::nullopt;
  }

  /// Says which registrations of the client, from the first that it is not sure of, have come.
  std::optional<Error> sync(const Asker& asker, ByteView message) {
    std::uint64_t first = 0;
    if (auto error = C::decode_count(message, first)) return error;
    if (!asker.envelope) {
      refuse(Unsupported{"sync without an envelope"});
      return std::nullopt;
    }
    const ClientId& client = asker.envelope->client;
    first = std::max<std::uint64_t>(first, 1);
    sequences_.settle(client, first);
    C::encode_count(MessageType::sync_response, sequences_.applied_from(client, first), answer_);
    append_trailer<3>({options_.incarnation, flags(), sequences_.first_refusal(client, first)}, answer_);
    return std::nullopt;
  }

  std::uint64_t flags() const noexcept { return options_.insist_on_holder ? hub_insists_on_holder : 0; }

  /// A client that needs a namespace asks for it by name and hears it back: a hub that ignores envelopes cannot.
  std::optional<Error> hello(const Asker& asker, ByteView message) {
    if (auto error = C::decode_text(message, text_)) return error;
    if (text_ != asker.name_space) {
      refuse(Unsupported{
          "hello for namespace \"" + text_ + "\" in an envelope for \"" + std::string{asker.name_space} + "\""});
      return std::nullopt;
    }
    C::encode_text(MessageType::hello_response, asker.name_space, answer_);
    return std::nullopt;
  }

  void refuse(const Error& error) { C::encode_text(MessageType::error_response, to_string(error), answer_); }

  /// Hands over what is in `answer_`; false if the recipient could not be reached, also for want of memory.
  template <class Reply>
  bool reaches(ByteView recipient, Frames envelope, Reply& reply) {
    try {
      return reply(recipient, envelope, ByteView{answer_});
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  template <class Reply>
  void deliver(ByteView sender, Frames envelope, const Asker& asker, Instant now, Reply& reply) {
    const bool is_delivered = reaches(sender, envelope, reply);
    if (answer_.capacity() > max_kept_answer) answer_ = Bytes{};
    if (is_delivered) return;
    undeliverable_.add();
    take_back(asker, now);
  }

  void take_back(const Asker& asker, Instant now) {
    for (std::size_t i = 0; i < statuses_.size(); ++i) {
      if (statuses_[i] != OffloadStatus::granted) continue;
      leases_.withdraw(keys_[i], table().hash(keys_[i]), asker.holder, asker.request, now.lease);
    }
    statuses_.clear();
  }

  void apply(const PeerName& sender, const std::optional<Envelope>& ours, ByteView message, Instant now) {
    if (const auto error = decode_registration<C>(message, entries_)) {
      malformed_.add();
      note_dropped(ours);
      return report(now, "a registration from " + std::string{sender} + " was dropped: " + to_string(*error));
    }
    const std::string_view name_space = ours ? ours->name_space : default_namespace;
    if (name_space != name_) {
      return drop(sender, ours, name_space,
                  Unsupported{"namespace \"" + std::string{name_space} + "\"; this hub serves \"" + name_ + "\""}, now);
    }
    if (entries_.size() > options_.max_keys_per_query) {
      return drop(sender, ours, name_space,
                  LimitExceeded{"max_keys_per_query", options_.max_keys_per_query, entries_.size()}, now);
    }
    if (ours) {
      store_once(ours, ours->number, now);
    } else {
      store_all(ours, false, now);
    }
    if (!last_refusal_) return;
    report(now, std::to_string(refused_) + " of " + std::to_string(entries_.size()) + " entries from " +
                    std::string{sender} + " were refused: " + to_string(*last_refusal_));
    // What was refused may have been moved from.
    if (!refusals_.hook() || decode_registration<C>(message, entries_)) return;
    std::size_t i = 0;
    std::erase_if(entries_, [&](const EntryType&) { return outcomes_[i++] == RegisterStatus::stored; });
    refusals_.hand_over(name_, entries_, *last_refusal_, now.lease);
  }

  /// Refuses all of `entries_`.
  void drop(const PeerName& sender, const std::optional<Envelope>& ours, std::string_view name_space, const Error& why,
            Instant now) {
    entries_refused_.add(entries_.size());
    note_dropped(ours);
    report(now, "a registration from " + std::string{sender} + " was dropped, with " + std::to_string(entries_.size()) +
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
  void store_once(const std::optional<Envelope>& ours, std::uint64_t sequence, Instant now) {
    const ClientId& client = ours->client;
    const Arrival arrival = sequences_.arrival(client, sequence, ours->resent.has_value());
    if (arrival == Arrival::repeated) {
      repeated_.add();
      last_refusal_.reset();
      repeat_outcomes(client, sequence);
      return;
    }
    store_all(ours, arrival == Arrival::unknown, now);
    sequences_.note(client, sequence);
    if (last_refusal_) sequences_.keep_refusal(client, sequence, outcomes_);
  }

  /// What was answered to this registration at first. Where that is forgotten, an entry counts as stored if it is.
  void repeat_outcomes(const ClientId& client, std::uint64_t sequence) {
    const auto* refusal = sequences_.refusal(client, sequence);
    const bool is_whole = refusal != nullptr && refusal->size() == entries_.size();
    outcomes_.assign(entries_.size(), refusal == nullptr ? RegisterStatus::stored : RegisterStatus::storage_error);
    if (is_whole) outcomes_ = *refusal;
    if (refusal != nullptr || !sequences_.is_outcome_forgotten(client, sequence)) return;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!is_stored(entries_[i])) outcomes_[i] = RegisterStatus::storage_error;
    }
  }

  /// A storage that throws does not say so.
  bool is_stored(const EntryType& entry) const {
    try {
      const auto* stored = catalogue_.find(entry.key);
      return stored != nullptr && stored->value == entry.value;
    } catch (const std::exception&) {
      return false;
    }
  }

  /// Stores `entries_`, or only those whose keys are not; what became of each is in `outcomes_`.
  void store_all(const std::optional<Envelope>& ours, bool absent_only, Instant now) {
    last_refusal_.reset();
    refused_ = 0;
    outcomes_.assign(entries_.size(), RegisterStatus::stored);
    // Whatever the storage throws for one entry is its refusal.
    const auto attempt_for = [&](std::size_t i, auto action) {
      try {
        action();
      } catch (const std::exception& failure) {
        refuse_entry(i, StorageError{failure.what()}, RegisterStatus::storage_error);
      }
    };
    if (absent_only) {
      for (std::size_t i = 0; i < entries_.size(); ++i) {
        attempt_for(i, [&] { catalogue_.drop_if_over(entries_[i].key, now.wall); });
      }
    }
    hashes_.resize(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) hashes_[i] = table().hash(entries_[i].key);
    detail::FlatSet<K> came_with_it;  // where it counts what was absent before
    detail::look_ahead(table(), hashes_, [&](std::size_t i, Number hint) {
      attempt_for(i, [&] {
        if (absent_only) {
          if (outcomes_[i] != RegisterStatus::stored) return;
          const auto* stored = stored_under(entries_[i].key, hashes_[i], hint);
          if (stored != nullptr && !came_with_it.contains(entries_[i].key)) {
            if (stored->value == entries_[i].value) return;
            return refuse_entry(
                i, StorageError{"key " + key_hex(entries_[i].key) + " has another value, and this came late"},
                RegisterStatus::superseded);
          }
          came_with_it.insert(entries_[i].key);
        }
        if (!claims_.empty() && claims_.is_awaited(entries_[i].key)) freed_.push_back(entries_[i].key);
        if (auto refusal = store(entries_[i], hashes_[i], ours, now)) {
          const RegisterStatus status = status_of(*refusal);
          refuse_entry(i, *std::move(refusal), status);
        }
      });
    });
    entries_registered_.add(entries_.size() - refused_);
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

  std::optional<Error> store(EntryType& entry, Hash hash, const std::optional<Envelope>& ours, Instant now) {
    const K key = entry.key;
    if (options_.insist_on_holder) {
      const Found found = table().find(key, hash);
      const Holder* holder = found.kind == Table::Kind::leased ? leases_.holder(found.number, now.lease) : nullptr;
      if (holder == nullptr || !ours || *holder != asker_of(*ours).holder) return LeaseConflict{key_hex(key)};
    }
    try {
      if (!catalogue_.insert(std::move(entry), now.wall)) {
        const std::size_t capacity = catalogue_.policy().capacity().value_or(catalogue_.policy().size());
        return LimitExceeded{"capacity", capacity, capacity + 1};
      }
    } catch (const std::exception& failure) {
      return StorageError{failure.what()};
    }
    if (const Number lease = lease_on_stored(key, hash); lease != Table::none) leases_.convert(lease, hash, now.lease);
    return std::nullopt;
  }

  /// The lease, if any, on a key that has just been stored.
  Number lease_on_stored(const K& key, [[maybe_unused]] Hash hash) {
    if constexpr (detail::SharesTable<P>) {
      return table().superseded(key);
    } else {
      return table().find(key, hash).number;
    }
  }

  void report(Instant now, const std::string& text) { reports_.add(now.lease, text); }

  HubOptions options_;
  std::string name_;
  Reports reports_;
  Catalogue<P> catalogue_;
  Refusals<K, V, M, C> refusals_;
  [[no_unique_address]] OwnTable own_table_;
  LeaseManager<Table> leases_;
  SequenceTracker sequences_;
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
  ClaimQueue<K> claims_;
  std::vector<K> freed_;  // keys that somebody may wait for and whose lease has ended or that have been stored
  std::optional<std::chrono::nanoseconds> claim_wait_;  // of the claim that was decided last, if it is to wait
  detail::FlatSet<K> blocked_;  // keys that somebody waits for and that nothing will say is free
  SteadyTime retry_claims_at_{};
  bool has_begun_ = false;
  SteadyTime recovered_at_{};
  std::uint64_t token_ = 0;
  std::optional<SteadyTime> next_cleanup_;
  std::uint64_t anonymous_requests_ = 0;

  // Reused from message to message, so that a message costs no allocation once they have grown.
  std::vector<K> keys_;
  std::vector<Hash> hashes_;
  std::vector<EntryType> entries_;
  std::vector<OffloadStatus> statuses_;
  std::vector<RenewStatus> renewals_;
  std::vector<RegisterStatus> outcomes_;
  std::size_t refused_ = 0;            // of `outcomes_`
  std::optional<Error> last_refusal_;  // of `outcomes_`
  std::string text_;
  Bytes answer_;

  detail::Counter queries_, registrations_, entries_registered_, entries_refused_, granted_, already_stored_, leased_,
      malformed_, undeliverable_, repeated_, waiting_claims_;
};

}  // namespace registry
