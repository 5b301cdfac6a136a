// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/catalogue.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/lease_manager.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/core/sequence_tracker.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/lease.hpp>
#include <registry/detail/look_ahead.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/eviction.hpp>
#include <registry/holder.hpp>
#include <registry/stats.hpp>

namespace registry {

/// What a hub does, without sockets, clocks or threads: a message and the time go in, answers come out.
///
/// Answers go to `reply(recipient, envelope, message) -> bool`, where `recipient` and `envelope` are what came with the
/// query, and false says that the recipient could not be reached: what the answer granted is then taken back. All
/// calls on one thread, except `stats`. Nothing that comes from outside makes a call throw.
template <Eviction P, class C = BinaryCodec<typename P::key_type, typename P::value_type, typename P::metadata_type>>
  requires Codec<C, typename P::key_type, typename P::value_type, typename P::metadata_type>
class HubCore {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using EntryType = Entry<K, V, M>;

  HubCore(P policy, HubOptions options, EvictionHook<K, V, M> on_evict = {})
      : options_(std::move(options)),
        catalogue_(std::move(policy), std::move(on_evict), options_.log),
        leases_(table(), options_.lease_ttl, options_.max_leases),
        sequences_(options_.max_clients) {}
  HubCore(const HubCore&) = delete;
  HubCore& operator=(const HubCore&) = delete;

  /// A query from `sender` (its routing id): the last frame is `message`, those before it `envelope`.
  template <class Reply>
  void query(ByteView sender, Frames envelope, ByteView message, Instant now, Reply&& reply) {
    queries_.add();
    statuses_.clear();
    const std::optional<Envelope> ours = envelope.size() == 1 ? Envelope::decode(envelope.front()) : std::nullopt;
    const Asker asker{ours ? Holder::client(ours->client) : Holder::connection(sender),
                      ours ? ours->number : ++anonymous_requests_, ours ? ours->name_space : default_namespace};
    if (ours && ours->after && must_wait(*ours, message)) {
      if (waiting_.size() < options_.max_waiting) {
        wait(sender, envelope, message, *ours, now);
        return;
      }
      refuse(LimitExceeded{"max_waiting", options_.max_waiting, waiting_.size() + 1});
      deliver(sender, envelope, asker, now, reply);
      return;
    }
    answer(asker, message, now);
    deliver(sender, envelope, asker, now, reply);
  }

  /// A registration: `envelope` is its second frame where it has one, `sender` what the transport knows of who sent it.
  template <class Reply>
  void registration(const PeerName& sender, std::optional<ByteView> envelope, ByteView message, Instant now,
                    Reply&& reply) {
    registrations_.add();
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
    if (!ours) return;
    sequences_.note(ours->client, ours->number);
    release_waiting(now, reply);
  }

  /// A message that the transport could not take apart: counted, reported, dropped.
  void malformed(std::string_view sender, std::string_view why, Instant now) {
    malformed_.add();
    report(now, "a message from " + std::string{sender} + " was dropped: " + std::string{why});
  }

  /// Does what time has made due: refuses queries that have waited long enough and collects, in bounded slices, leases
  /// and entries that are over.
  template <class Reply>
  void tick(Instant now, Reply&& reply) {
    while (!waiting_.empty() && now.lease >= waiting_.front().deadline) {
      // Carried out now it would be undone by a registration that comes still, and the caller would not know. He knows
      // now, and may ask again.
      sequences_.pass_over(waiting_.front().client, waiting_.front().after);
      const auto waited = std::chrono::ceil<std::chrono::milliseconds>(options_.registration_wait);
      refuse_first_waiting(
          now, reply,
          "the registration that this must follow has not arrived within " + std::to_string(waited.count()) + " ms");
    }
    if (now.lease < next_cleanup_.value_or(now.lease)) return;
    bool more = leases_.expire(now.lease, slice) == slice;
    try {
      more = catalogue_.expire(now.wall, slice) == slice || more;
    } catch (const std::exception& failure) {
      // What is over stays so, and is tried again at the next cleanup.
      report(now, std::string{"entries that are over could not be collected: "} + failure.what());
    }
    next_cleanup_ = more ? now.lease : now.lease + options_.lease_cleanup_interval;
  }

  /// Refuses all queries that wait, for a hub that stops: those who asked cannot be reached over another transport.
  template <class Reply>
  void end_waiting(Instant now, Reply&& reply) {
    while (!waiting_.empty()) refuse_first_waiting(now, reply, "the hub is stopping");
  }

  /// When `tick` has something to do, by the lease clock; nothing while there is nothing to wait for.
  std::optional<SteadyTime> next_deadline() const {
    std::optional<SteadyTime> next;
    if (!waiting_.empty()) next = waiting_.front().deadline;
    if (leases_.next_deadline() || catalogue_.has_expiring()) {
      const SteadyTime cleanup = next_cleanup_.value_or(SteadyTime::min());
      next = next ? std::min(*next, cleanup) : cleanup;
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
    catalogue_.add_to(stats);
    stats.leases = leases_.stats();
    return stats;
  }

  /// The policy and the entries in it, for a hub that fills or reads its catalogue itself; on the hub's thread. What is
  /// inserted here is stored at once; a lease on it counts as active until it runs out, but stands in nobody's way.
  P& policy() noexcept { return catalogue_.policy(); }

  const HubOptions& options() const noexcept { return options_; }

 private:
  static constexpr std::size_t slice = 256;
  static constexpr std::uint64_t reports_per_second = 10;

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
  };

  /// A query that waits for registrations of its client, with all that is needed to answer it later.
  struct Waiting {
    Bytes sender;
    Bytes envelope;
    Bytes message;
    ClientId client;
    std::uint64_t after;
    SteadyTime deadline;
  };

  bool must_wait(const Envelope& ours, ByteView message) const {
    MessageType type{};
    return !C::decode_type(message, type) && type == MessageType::remove &&
           !sequences_.has_applied(ours.client, *ours.after);
  }

  void wait(ByteView sender, Frames envelope, ByteView message, const Envelope& ours, Instant now) {
    const auto copy = [](ByteView bytes) { return Bytes(bytes.begin(), bytes.end()); };
    waiting_.push_back({copy(sender), copy(envelope.front()), copy(message), ours.client, *ours.after,
                        now.lease + options_.registration_wait});
  }

  template <class Reply>
  void release_waiting(Instant now, Reply& reply) {
    for (std::size_t i = 0; i < waiting_.size();) {
      if (!sequences_.has_applied(waiting_[i].client, waiting_[i].after)) {
        ++i;
        continue;
      }
      const Waiting due = std::move(waiting_[i]);
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
      end_wait(due, now, reply, [&](const Asker& asker) { answer(asker, due.message, now); });
    }
  }

  template <class Reply>
  void refuse_first_waiting(Instant now, Reply& reply, std::string_view why) {
    const Waiting due = std::move(waiting_.front());
    waiting_.pop_front();
    end_wait(due, now, reply, [&](const Asker&) {
      statuses_.clear();
      C::encode_text(MessageType::error_response, why, answer_);
    });
  }

  /// Delivers what `make_answer` leaves in `answer_` to who asked a query that has waited.
  template <class Reply, class MakeAnswer>
  void end_wait(const Waiting& due, Instant now, Reply& reply, MakeAnswer make_answer) {
    const ByteView frame = due.envelope;
    const Envelope ours = *Envelope::decode(frame);
    const Asker asker{Holder::client(ours.client), ours.number, ours.name_space};
    make_answer(asker);
    deliver(due.sender, Frames{&frame, 1}, asker, now, reply);
  }

  /// Leaves the answer to `message` in `answer_`.
  void answer(const Asker& asker, ByteView message, Instant now) {
    statuses_.clear();
    MessageType type{};
    std::optional<Error> error = C::decode_type(message, type);
    if (!error && asker.name_space != default_namespace) {
      return refuse(Unsupported{"namespace \"" + std::string{asker.name_space} + "\"; this hub serves \"" +
                                std::string{default_namespace} + "\""});
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

  /// A `wire` of the user's may throw on bytes that it did not expect: that must not end the hub.
  template <class Decode>
  static std::optional<Error> decode(ByteView message, Decode decode) {
    try {
      return decode();
    } catch (const std::exception& failure) {
      return DecodeError{std::string{"bytes for which a decoder threw \""} + failure.what() + "\"", 0, message.size()};
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
      case MessageType::register_entries:
      case MessageType::can_offload_response:
      case MessageType::match_response:
      case MessageType::remove_response:
      case MessageType::touch_response:
      case MessageType::error_response:
      case MessageType::hello_response:
      case MessageType::release_response: return InvalidMessageType{static_cast<unsigned>(type)};
    }
    if (auto error = decode(message, [&] { return C::decode_keys(message, keys_); })) return error;
    if (keys_.size() > options_.max_keys_per_query) {
      refuse(LimitExceeded{"max_keys_per_query", options_.max_keys_per_query, keys_.size()});
      return std::nullopt;
    }
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
      count(MessageType::release_response, [&](const K& key, Hash hash) {
        return leases_.withdraw(key, hash, asker.holder, asker.request, now.lease);
      });
    }
    return std::nullopt;
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

  void can_offload(const Asker& asker, Instant now) {
    drop_what_is_over(now);
    // Until its turn has come a key is Leased: so nothing is taken back that was not granted.
    statuses_.assign(keys_.size(), OffloadStatus::leased);
    bool is_full = false;
    std::uint64_t granted = 0;
    std::uint64_t stored = 0;
    for_each_key([&](std::size_t i, Hash hash, Number hint) {
      const K& key = keys_[i];
      const Found found = look_up(key, hash, hint);
      if (found.kind == Table::Kind::stored) {
        statuses_[i] = OffloadStatus::already_stored;
        ++stored;
      } else if (!is_full && !catalogue_.is_held(key)) {
        const LeaseAnswer answer = leases_.acquire(found, key, hash, asker.holder, asker.request, now.lease);
        is_full = answer == LeaseAnswer::full;
        if (answer == LeaseAnswer::granted) {
          statuses_[i] = OffloadStatus::granted;
          ++granted;
        }
      }
    });
    if (is_full) {
      take_back(asker, now);
      return refuse(LimitExceeded{"max_leases", leases_.max_leases(), leases_.max_leases() + 1});
    }
    granted_.add(granted);
    already_stored_.add(stored);
    leased_.add(keys_.size() - granted - stored);
    C::encode_statuses(statuses_, answer_);
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

  template <class Reply>
  void deliver(ByteView sender, Frames envelope, const Asker& asker, Instant now, Reply& reply) {
    if (reply(sender, envelope, ByteView{answer_})) return;
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
    MessageType type{};
    std::optional<Error> error = C::decode_type(message, type);
    if (!error && type != MessageType::register_entries) error = InvalidMessageType{static_cast<unsigned>(type)};
    if (!error) error = decode(message, [&] { return C::decode_entries(message, entries_); });
    if (error) {
      malformed_.add();
      return report(now, "a registration from " + std::string{sender} + " was dropped: " + to_string(*error));
    }
    const std::string_view name_space = ours ? ours->name_space : default_namespace;
    if (name_space != default_namespace) {
      entries_refused_.add(entries_.size());
      return report(now, "a registration from " + std::string{sender} + " was dropped: " +
                             std::to_string(entries_.size()) + " entries for namespace \"" + std::string{name_space} +
                             "\"; this hub serves \"" + std::string{default_namespace} + "\"");
    }
    std::size_t refused = 0;
    std::optional<Error> why;
    hashes_.resize(entries_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) hashes_[i] = table().hash(entries_[i].key);
    detail::look_ahead(table(), hashes_, [&](std::size_t i, Number) {
      if (auto refusal = store(entries_[i], hashes_[i], ours, now)) {
        ++refused;
        why = std::move(refusal);
      }
    });
    entries_registered_.add(entries_.size() - refused);
    entries_refused_.add(refused);
    if (why) {
      report(now, std::to_string(refused) + " of " + std::to_string(entries_.size()) + " entries from " +
                      std::string{sender} + " were refused: " + to_string(*why));
    }
  }

  std::optional<Error> store(EntryType& entry, Hash hash, const std::optional<Envelope>& ours, Instant now) {
    const K key = entry.key;
    if (options_.insist_on_holder) {
      const Found found = table().find(key, hash);
      const Holder* holder = found.kind == Table::Kind::leased ? leases_.holder(found.number, now.lease) : nullptr;
      if (holder == nullptr || !ours || *holder != Holder::client(ours->client)) return LeaseConflict{key_hex(key)};
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

  /// Bytes from outside must not flood the log: beyond a few reports a second only their number is told.
  void report(Instant now, const std::string& text) {
    if (!options_.log) return;
    if (now.lease - report_second_ >= std::chrono::seconds{1}) {
      if (unreported_ > 0) options_.log(LogLevel::warning, std::to_string(unreported_) + " more reports were left out");
      report_second_ = now.lease;
      reported_ = unreported_ = 0;
    }
    if (reported_ == reports_per_second) {
      ++unreported_;
      return;
    }
    ++reported_;
    options_.log(LogLevel::warning, text);
  }

  HubOptions options_;
  Catalogue<P> catalogue_;
  [[no_unique_address]] OwnTable own_table_;
  LeaseManager<Table> leases_;
  SequenceTracker sequences_;
  std::deque<Waiting> waiting_;
  std::optional<SteadyTime> next_cleanup_;
  std::uint64_t anonymous_requests_ = 0;

  // Reused from message to message, so that a message costs no allocation once they have grown.
  std::vector<K> keys_;
  std::vector<Hash> hashes_;
  std::vector<EntryType> entries_;
  std::vector<OffloadStatus> statuses_;
  std::string text_;
  Bytes answer_;

  SteadyTime report_second_{};
  std::uint64_t reported_ = 0;
  std::uint64_t unreported_ = 0;

  detail::Counter queries_, registrations_, entries_registered_, entries_refused_, granted_, already_stored_, leased_,
      malformed_, undeliverable_;
};

}  // namespace registry
