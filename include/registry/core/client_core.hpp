// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/batcher.hpp>
#include <registry/core/decode.hpp>
#include <registry/core/encode.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/joint_query.hpp>
#include <registry/core/key_counts.hpp>
#include <registry/core/known_keys.hpp>
#include <registry/core/options.hpp>
#include <registry/core/unconfirmed.hpp>
#include <registry/detail/counter.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/register_result.hpp>
#include <registry/stats.hpp>
#include <registry/trailer.hpp>

namespace registry {

using RequestId = std::uint64_t;

/// A result, or why there is none.
template <class T>
using Outcome = std::variant<T, Error>;

/// One query on its way: what is sent, and what is needed to read the answer. Owns all of it: nothing that the caller
/// passed in is referred to.
template <class K>
struct Call {
  MessageType type{};
  RequestId id = 0;
  Bytes envelope;
  Bytes message;
  std::vector<K> keys;  // as the caller named them
  /// The claim in whose name it asks, if it does in one's.
  std::optional<std::uint64_t> claim = std::nullopt;
};

template <class K>
struct OffloadCall : Call<K> {
  using Result = OffloadResult<K>;
  /// Where the client knew the answer itself; empty if it knew none.
  std::vector<bool> known;
};

template <class K, class V, class M>
struct MatchCall : Call<K> {
  using Result = std::vector<Entry<K, V, M>>;
  bool prefix_only = false;
};

/// remove, touch, release: answered with how many keys it applied to.
template <class K>
struct CountCall : Call<K> {
  using Result = std::uint64_t;
  std::uint64_t behind = 0;  // of a removal: the last registration before it
};

/// What a claim has been granted. The hub's lease ends no sooner than `waited + ttl` after the claim was sent.
template <class K>
struct ClaimAnswer {
  OffloadResult<K> result;
  std::uint64_t incarnation = 0;  ///< of the hub, 0 where it was not asked
  std::uint64_t token = 0;        ///< 0 where nothing was granted
  std::chrono::nanoseconds ttl{};
  std::chrono::nanoseconds waited{};
};

/// can_offload in the name of a claim, which may wait for keys that others hold.
template <class K>
struct ClaimCall : OffloadCall<K> {
  using Result = ClaimAnswer<K>;
  std::chrono::nanoseconds wait{};
  SteadyTime begun{};  // when it was asked for first
  SteadyTime asked{};  // ... and last: what its answer says is counted from then
  bool was_repeated = false;
};

/// What has become of the leases of a claim, in the order asked.
struct RenewAnswer {
  std::vector<RenewStatus> statuses;
  std::uint64_t incarnation = 0;
  std::chrono::nanoseconds ttl{};
};

/// Asks to keep leases, or, of a hub that has taken the place of the one of that incarnation, to have them back.
template <class K>
struct RenewCall : Call<K> {
  using Result = RenewAnswer;
  std::uint64_t incarnation = 0;
};

/// A registration that wants an answer; it may be sent again under its number until it has one.
template <class K>
struct RegisterCall : Call<K> {
  using Result = std::vector<RegisterStatus>;
  std::optional<std::uint64_t> sequence;  // from when it is first begun
  std::optional<std::uint64_t> after;
  std::optional<std::uint64_t> resent;
};

/// Removes entries where they still have the value that they are known by.
template <class K>
struct RemoveIfCall : Call<K> {
  using Result = std::uint64_t;
  std::uint64_t behind = 0;  // the last registration before it
};

/// What has become of a client's registrations, and what hub says so.
struct SyncAnswer {
  std::uint64_t applied = 0;  ///< the last of those that have come without a gap, from the first asked for on
  std::uint64_t incarnation = 0;
  std::uint64_t flags = 0;
  std::uint64_t first_refusal = 0;  ///< the first of which something was or may have been refused, or 0
};

/// Asks what has become of the registrations from `first` on, once `after` has come, if it is to wait for one.
template <class K>
struct SyncCall : Call<K> {
  using Result = SyncAnswer;
  std::uint64_t first = 0;
  std::optional<std::uint64_t> after;
};

/// What a sync calls for, once it was answered.
template <class K>
struct SyncFollowUp {
  bool is_new = false;          ///< another hub than the one before has answered
  bool has_progressed = false;  ///< it is new, or has confirmed something
  /// The unconfirmed batches from this number on that were last sent by this time are to be sent again.
  std::uint64_t resend_from = 0;
  SteadyTime sent_until;
  /// The first unconfirmed batch, if the hub has refused some of it: its outcomes are to be asked for.
  std::optional<Batch<K>> refused;
};

/// How a sync is asked: whether the hub keeps it until everything has come, how long its answer may take, and how long
/// after one that has brought nothing the next is due.
struct SyncTerms {
  bool waits = false;
  std::chrono::nanoseconds limit{};
  std::chrono::nanoseconds pause{};
};

/// Asks whether the hub serves the client's namespace.
template <class K>
struct HelloCall : Call<K> {
  using Result = std::monostate;
};

/// What arrived on a query connection: the message, and whose answer it is where the peer said so.
struct Answer {
  std::optional<RequestId> id;
  ByteView message;
};

/// What a client does, without sockets, clocks or threads: calls and the time go in, bytes come out, answers go in,
/// results come out. A driver moves the bytes. Not thread-safe: a driver that serves several threads locks around it.
template <Key K, Value V, Metadata M, class C = BinaryCodec<K, V, M>>
  requires Codec<C, K, V, M>
class ClientCore {
 public:
  using key_type = K;
  using value_type = V;
  using metadata_type = M;
  using EntryType = Entry<K, V, M>;
  using Offload = OffloadCall<K>;
  using Match = MatchCall<K, V, M>;
  using Count = CountCall<K>;
  using Claim = ClaimCall<K>;
  using Renew = RenewCall<K>;
  using Register = RegisterCall<K>;
  using RemoveIf = RemoveIfCall<K>;
  using Hello = HelloCall<K>;
  using Sync = SyncCall<K>;
  using BatchType = Batch<K>;
  using Joint = JointQuery<K, V, M, C>;

  /// Entries that were not stored, and why.
  struct Loss {
    std::vector<EntryType> entries;
    Error why;
  };

  ClientCore(ClientOptions options, ClientId id)
      : options_(std::move(options)),
        id_(id),
        batcher_(options_.batch_size, options_.batch_timeout, id, options_.name_space),
        cache_(options_.local_cache, options_.local_cache_ttl),
        registered_(max_registered, options_.registered_ttl) {
    if (options_.name_space.empty() || options_.name_space.size() > Envelope::max_namespace) {
      throw RegistryError(ConfigError{"namespace", options_.name_space, "1 to 255 bytes"});
    }
  }

  const ClientOptions& options() const noexcept { return options_; }
  const ClientId& id() const noexcept { return id_; }
  Batcher<K, V, M, C>& batcher() noexcept { return batcher_; }

  /// Whether the hub must be asked for the namespace (a `Hello`) before anything else: whoever does not know
  /// envelopes would take us for a client of `default`.
  bool needs_hello() const noexcept { return !welcome_ && options_.name_space != default_namespace; }

  static Offload offload(std::vector<K> keys) { return {{MessageType::can_offload, 0, {}, {}, std::move(keys)}, {}}; }
  static Match match(std::vector<K> keys) { return {{MessageType::match, 0, {}, {}, std::move(keys)}, false}; }
  static Match match_prefix(std::vector<K> keys) { return {{MessageType::match, 0, {}, {}, std::move(keys)}, true}; }
  static Count remove(std::vector<K> keys) { return {{MessageType::remove, 0, {}, {}, std::move(keys)}}; }
  static Count touch(std::vector<K> keys) { return {{MessageType::touch, 0, {}, {}, std::move(keys)}}; }
  static Count release(std::vector<K> keys) { return {{MessageType::release, 0, {}, {}, std::move(keys)}}; }
  static Hello hello() { return {{MessageType::hello, 0, {}, {}, {}}}; }

  /// In the name of claim `number`; a key named twice is asked for once. Nobody waits for longer than `longest_wait`.
  static Claim claim(std::uint64_t number, std::vector<K> keys, std::chrono::nanoseconds wait) {
    detail::FlatSet<K> named;
    std::erase_if(keys, [&](const K& key) { return !named.insert(key).second; });
    return {{{MessageType::claim, 0, {}, {}, std::move(keys), number}, {}},
            std::clamp<std::chrono::nanoseconds>(wait, wait.zero(), longest_wait)};
  }
  static Count release(std::uint64_t number, std::vector<K> keys) {
    return {{MessageType::release, 0, {}, {}, std::move(keys), number}};
  }

  /// Throws RegistryError{EncodeError} if an entry has no wire form.
  static Register registration(std::span<const EntryType> entries, std::optional<std::uint64_t> claim) {
    Register call{{MessageType::register_entries, 0, {}, {}, {}, claim}, {}, {}, {}};
    encode_entries(entries, call);
    return call;
  }

  /// Asks for the outcomes of a batch that has been sent.
  Register repeat(const BatchType& batch) const {
    return {{MessageType::register_entries, 0, {}, batch.message, batch.keys},
            batch.sequence,
            {},
            batcher_.last_sequence()};
  }

  /// Only the keys and values count. Throws RegistryError{EncodeError} as `registration` does.
  static RemoveIf remove_if(std::span<const EntryType> entries) {
    RemoveIf call{{MessageType::remove_if, 0, {}, {}, {}}};
    encode_entries(entries, call);
    return call;
  }

  /// Whether registrations of this call's keys may still be on their way, so that the batcher must be emptied into the
  /// transport before `begin`: the call must not overtake them.
  template <class AnyCall>
  bool follows_registrations(const AnyCall& call, SteadyTime now) {
    return takes_place(call) && std::ranges::any_of(call.keys, [&](const K& key) {
             return pending_.contains(key) || registered_.contains(key, now);
           });
  }

  /// Whether the call changes what is stored, and is yet to take its place among those that do: it must not overtake
  /// what has changed its keys before.
  template <class AnyCall>
  static bool takes_place(const AnyCall& call) noexcept {
    if constexpr (std::same_as<AnyCall, Register>) return !call.sequence;
    return std::same_as<AnyCall, RemoveIf> || call.type == MessageType::remove;
  }

  /// Whether the call, which has begun, asks the hub for its keys as they stand, and so may become part of a `Joint`.
  template <class AnyCall>
  static bool asks_all(const AnyCall& call) noexcept {
    if constexpr (std::same_as<AnyCall, Offload>) return call.known.empty();
    return std::same_as<AnyCall, Match>;
  }

  /// Makes the frames of the call. False if there is nothing to ask the hub: then `finish_locally` has the result.
  /// Throws RegistryError{LimitExceeded} if the message is longer than any may be.
  template <class AnyCall>
  bool begin(AnyCall& call, RequestId id, SteadyTime now) {
    call.id = id;
    // Before it takes a number.
    if constexpr (is_encoded<AnyCall>) check_size(call.message);
    std::optional<std::uint64_t> after;
    if constexpr (std::same_as<AnyCall, Hello>) {
      C::encode_text(call.type, options_.name_space, call.message);
    } else if constexpr (std::derived_from<AnyCall, Offload>) {
      if constexpr (std::same_as<AnyCall, Claim>) call.begun = call.asked = now;
      if (!encode_unknown(call, now)) return false;
      if constexpr (std::same_as<AnyCall, Claim>) append_trailer<1>({count_of(call.wait)}, call.message);
    } else if constexpr (std::same_as<AnyCall, Sync>) {
      after = call.after;
      C::encode_count(call.type, call.first, call.message);
    } else if constexpr (std::same_as<AnyCall, Register>) {
      if (call.keys.empty()) return false;
      // Its number comes after those of what it follows, and both stay as they are when it is sent again.
      if (!call.sequence) {
        call.after = prepare(call, now);
        call.sequence = batcher_.next_sequence();
        acknowledging_.insert(*call.sequence);
      }
      after = call.after;
    } else {
      if (call.keys.empty()) return false;
      if (takes_place(call)) after = prepare(call, now);
      if constexpr (is_removal<AnyCall>) call.behind = batcher_.last_sequence();
      if constexpr (!is_encoded<AnyCall>) C::encode_keys(call.type, call.keys, call.message);
      if constexpr (std::same_as<AnyCall, Renew>) append_trailer<1>({call.incarnation}, call.message);
    }
    check_size(call.message);
    Envelope envelope{id, id_, after, options_.name_space, call.claim};
    if constexpr (std::same_as<AnyCall, Register>) {
      envelope.sequence = call.sequence;
      envelope.resent = call.resent;
    }
    envelope.encode(call.envelope);
    return true;
  }

  /// Makes other frames for a claim whose request may be lost, to wait for the rest of its time: the hub takes them for
  /// the same claim, so that what the lost request was granted is its own.
  void ask_again(Claim& call, RequestId id, SteadyTime now) const {
    call.id = id;
    call.asked = now;
    call.was_repeated = true;
    C::encode_keys(call.type, asked(call), call.message);
    append_trailer<1>({count_of(call.wait - (now - call.begun))}, call.message);
    Envelope{id, id_, std::nullopt, options_.name_space, call.claim}.encode(call.envelope);
  }

  /// To be called before a registration that may have arrived is begun anew.
  void resend(Register& call) {
    call.resent = batcher_.last_sequence();
    if (!has_open_batches()) call.after.reset();
  }

  /// Whether a registration that the hub has refused so may be begun anew as it is: it has not been carried out.
  static bool may_repeat(const Error& refusal) {
    const auto* error = std::get_if<HubError>(&refusal);
    return error != nullptr && (error->text.starts_with(registration_missing) || error->text == hub_is_stopping);
  }

  /// To be called when an acknowledged registration has failed for good; there is a batch then. It may still come until
  /// the hub has that: what changes its keys next waits until then, unless half of what may be kept is unconfirmed.
  void give_up(const Register& call) {
    if (!call.sequence) return;
    acknowledging_.erase(*call.sequence);
    batcher_.give_up(*call.sequence);
    if (!keeps_unconfirmed() || is_unconfirmed_half_full() || unconfirmed_.contains(*call.sequence)) return;
    BatchType batch = batcher_.empty_batch(*call.sequence);
    batch.left_out = call.keys;
    // First what may fail for want of memory.
    unconfirmed_keys_.reserve(unconfirmed_keys_.size() + call.keys.size());
    unconfirmed_.add(std::move(batch), SteadyTime::max());
    for (const K& key : call.keys) {
      KeyUnconfirmed& unconfirmed = unconfirmed_keys_[key];
      ++unconfirmed.count;
      unconfirmed.last_given_up = std::max(unconfirmed.last_given_up, *call.sequence);
    }
  }

  /// Makes the frames of calls that travel together.
  void begin(const Joint& joint, RequestId id, Bytes& envelope, Bytes& message) const {
    joint.encode(message);
    encode_envelope(id, std::nullopt, envelope);
  }

  /// The result of a call for which `begin` said false.
  template <class AnyCall>
  typename AnyCall::Result finish_locally(AnyCall& call) {
    if constexpr (std::same_as<AnyCall, Claim>) {
      return {sorted(call, with_known(call, {}))};
    } else if constexpr (std::same_as<AnyCall, Offload>) {
      return sorted(call, with_known(call, {}));
    } else {
      return {};
    }
  }

  /// Takes what arrived on a query connection apart. Nothing where it is not for this client: an answer without an
  /// envelope from a hub that returns envelopes, or an envelope that is not ours.
  std::optional<Answer> read(Frames frames) {
    if (frames.size() == 1) {
      if (echoes_envelopes_ == true) return std::nullopt;
      echoes_envelopes_ = false;
      forget_unconfirmed();
      return Answer{std::nullopt, frames.front()};
    }
    if (frames.size() != 2) return std::nullopt;
    const auto envelope = Envelope::decode(frames.front());
    if (!envelope || envelope->client != id_) return std::nullopt;
    // A hub that returned none cannot have confirmed anything, and this is another one.
    if (std::exchange(echoes_envelopes_, true) == false) ask_hub_again();
    return Answer{envelope->number, frames.back()};
  }

  /// To be told of an answer that no call waits for any more. Those to what is sent without waiting are none.
  void drop_late(const Answer& answer) {
    MessageType type{};
    if (!C::decode_type(answer.message, type) && type != MessageType::release_response) late_answers_.add();
  }

  /// What has happened so far; from any thread.
  ClientStats stats() const noexcept { return {late_answers_.load(), batches_resent_.load(), hubs_met_.load()}; }

  /// Whether the hub returns envelopes; nothing before it has answered. To one that does not (the Rust one) only one
  /// request may be in flight on a connection, and none after one that was given up.
  std::optional<bool> echoes_envelopes() const noexcept { return echoes_envelopes_; }

  /// Reads the answer to a call.
  template <class AnyCall>
  Outcome<typename AnyCall::Result> finish(AnyCall& call, ByteView message, SteadyTime now) {
    if constexpr (std::same_as<AnyCall, Register>) acknowledging_.erase(*call.sequence);
    auto outcome = outcome_of(call, message, now);
    if constexpr (std::same_as<AnyCall, Register>) {
      // What may be repeated keeps its number: or an empty batch could take it in between.
      const auto* error = std::get_if<Error>(&outcome);
      if (error != nullptr && may_repeat(*error)) acknowledging_.insert(*call.sequence);
    }
    if (const auto* result = std::get_if<typename AnyCall::Result>(&outcome)) outdate(call, *result);
    return outcome;
  }

  /// What to send behind a call that failed or was given up, so that the hub takes back what its answer may have
  /// granted: a second frame pair. `call.id` is the number that it was sent under, alone or with others. Nothing if
  /// there is nothing to take back, or the hub is known not to understand.
  template <class AnyCall>
  std::optional<std::pair<Bytes, Bytes>> withdrawal(const AnyCall& call) const {
    if constexpr (std::derived_from<AnyCall, Offload>) {
      if (echoes_envelopes_ == false) return std::nullopt;
      std::pair<Bytes, Bytes> frames;
      Envelope{call.id, id_, std::nullopt, options_.name_space, call.claim}.encode(frames.first);
      C::encode_keys(MessageType::withdraw, asked(call), frames.second);
      return frames;
    } else {
      return std::nullopt;
    }
  }

  /// Takes entries for registration: all, or, with an EncodeError, none.
  std::optional<Error> add(std::span<const EntryType> entries, SteadyTime now) {
    if (auto error = batcher_.add(entries, now)) return error;
    for (const EntryType& entry : entries) pending_.add(entry.key);
    return std::nullopt;
  }

  /// These entries are about to be registered: until `expect_no_more` their keys count as registered.
  void expect(std::span<const EntryType> entries) {
    for (const EntryType& entry : entries) expected_.add(entry.key);
  }

  void expect_no_more(std::span<const EntryType> entries) {
    for (const EntryType& entry : entries) expected_.drop(entry.key);
  }

  /// The next batch to send, taken out of the batcher; `handed_over` says that it was, or else it is to be put back.
  BatchType take_batch() {
    BatchType batch = batcher_.take_batch();
    taken_ = batch.sequence;
    return batch;
  }

  /// A batch that could not be sent.
  void put_back(BatchType batch) {
    taken_.reset();
    batcher_.put_back(std::move(batch));
  }

  /// A batch of the batcher's is on its way; the hub applies it some time later.
  void handed_over(BatchType batch, SteadyTime now) {
    taken_.reset();
    if (cannot_sync_ && now >= ask_again_at_) ask_hub_again();
    for (const K& key : batch.keys) {
      registered_.add(key, now);
      pending_.drop(key);
    }
    if (unconfirmed_.mark_sent(batch.sequence, now)) return schedule_sync(now + options_.resend_interval);
    // Of a number that was given up nobody asks what has become: it is kept only so that it is sent again.
    if (batch.keys.empty() && is_unconfirmed_full()) return;
    if (!keeps_unconfirmed()) {
      last_unkept_ = std::max(last_unkept_, batch.sequence);
      return;
    }
    for (const K& key : batch.keys) {
      KeyUnconfirmed& unconfirmed = unconfirmed_keys_[key];
      ++unconfirmed.count;
      unconfirmed.last_batch = std::max(unconfirmed.last_batch, batch.sequence);
    }
    unconfirmed_.add(std::move(batch), now);
    schedule_sync(is_unconfirmed_half_full() ? now : now + options_.resend_interval);
  }

  /// Whether no more may be registered before the hub has confirmed some of what it was sent.
  bool is_unconfirmed_full() const noexcept {
    return !unconfirmed_.empty() && unconfirmed_.bytes() >= options_.max_unconfirmed_bytes;
  }

  /// Whether half of that is unconfirmed: then the hub is asked at once, and less is kept.
  bool is_unconfirmed_half_full() const noexcept { return unconfirmed_.bytes() > options_.max_unconfirmed_bytes / 2; }

  bool has_unconfirmed() const noexcept { return !unconfirmed_.empty(); }

  /// Whether the hub may be one that confirms registrations: it has not yet shown that it is none.
  bool may_confirm() const noexcept { return !cannot_sync_ && echoes_envelopes_ != false; }

  /// Whether every registration is to be acknowledged. Nothing where the hub is to be asked before by a sync whether it
  /// insists on the holder: once, and if it is not there soon it hears of what it was sent later; with `is_there` only
  /// a hub that has shown that it is.
  std::optional<bool> acknowledges_all(bool is_there) {
    if (options_.acknowledged || insists_) return true;
    if (incarnation_ || !may_confirm() || (is_there && echoes_envelopes_ != true) ||
        std::exchange(has_asked_hub_, true))
      return false;
    return std::nullopt;
  }

  /// The hub that last answered a sync.
  std::optional<std::uint64_t> incarnation() const noexcept { return incarnation_; }

  /// When a sync is due, if one is.
  std::optional<SteadyTime> sync_due() const noexcept { return sync_due_; }

  /// Somebody wants to hear of the hub at that time, if not before.
  void schedule_sync(SteadyTime time) {
    if (may_confirm()) sync_due_ = sync_due_ ? std::min(*sync_due_, time) : time;
  }

  /// For the usual sync, or for one that somebody waits for.
  SyncTerms sync_terms(bool is_awaited) const noexcept {
    const auto interval = options_.resend_interval;
    if (!is_awaited) return {false, std::min(options_.request_timeout, interval), interval};
    // Somewhat longer than a hub lets anyone wait. What a hub that answers has not got, or refuses for now, needs a
    // little time.
    return {true, interval + std::chrono::seconds{1}, std::chrono::milliseconds{20}};
  }

  /// Asks what has become of the unconfirmed batches; once all have come, if it is to wait for that.
  Sync sync(bool waits) {
    sync_due_.reset();
    Sync call{{MessageType::sync, 0, {}, {}, {}}, first_open(), std::nullopt};
    if (waits) call.after = batcher_.last_batch();
    return call;
  }

  /// Takes in what a sync has brought.
  SyncFollowUp<K> synced(const Sync& call, const SyncAnswer& answer, SteadyTime now) {
    const bool is_new = incarnation_ && *incarnation_ != answer.incarnation;
    if (is_new) {
      cache_.clear();
      registered_.clear();
      // First: where there is no memory for it, this is a new hub the next time, too.
      close_gaps();
    }
    if (incarnation_ != answer.incarnation) hubs_met_.add();
    incarnation_ = answer.incarnation;
    insists_ = (answer.flags & hub_insists_on_holder) != 0;
    const std::uint64_t whole = answer.first_refusal == 0 ? answer.applied : answer.first_refusal - 1;
    while (!unconfirmed_.empty() && unconfirmed_.first().sequence <= std::min(whole, answer.applied)) settle_first();
    last_unkept_ = 0;  // a hub that confirms takes what came before this question for come
    SyncFollowUp<K> next{is_new, is_new || answer.applied >= call.first, answer.applied + 1,
                         is_new ? now : now - options_.resend_interval, std::nullopt};
    if (!unconfirmed_.empty() && unconfirmed_.first().sequence == answer.first_refusal) {
      next.refused = unconfirmed_.first();
    }
    return next;
  }

  /// Takes in the outcomes of a batch that the hub has refused. False if it has not said them; otherwise `loss` is what
  /// was not stored, unless that was known before, and the client counts it as stored no longer.
  bool settle(const BatchType& batch, Outcome<std::vector<RegisterStatus>> outcome, std::optional<Loss>& loss) {
    const auto* error = std::get_if<Error>(&outcome);
    if (error != nullptr && !std::holds_alternative<HubError>(*error)) return false;
    if (unconfirmed_.empty() || unconfirmed_.first().sequence != batch.sequence) return true;
    settle_first();
    std::vector<EntryType> entries = batcher_.entries_of(batch);
    if (error != nullptr) {
      // It was refused as a whole, and is again.
      loss = Loss{std::move(entries), *error};
    } else {
      auto result = RegisterResult<EntryType>::of(entries, std::get<std::vector<RegisterStatus>>(std::move(outcome)));
      if (result.all_stored()) return true;
      Error why = result.why();
      loss = Loss{std::move(result.refused), std::move(why)};
    }
    forget(loss->entries);
    return true;
  }

  /// The hub has refused entries of these keys: what it says of them counts again.
  void forget(std::span<const EntryType> refused) {
    for (const EntryType& entry : refused) {
      cache_.forget(entry.key);
      // There may be a later registration on its way.
      if (!unconfirmed_keys_.contains(entry.key)) registered_.forget(entry.key);
    }
  }

  /// A copy, to be sent, of the next unconfirmed batch from this number on that was last sent by `time`, without what
  /// this client has registered anew or removed since: the hub may be another one, which knows of neither. If there is
  /// no room for it at once it is `not_resent`.
  std::optional<BatchType> next_to_resend(SteadyTime time, std::uint64_t sequence, SteadyTime now) {
    std::optional<BatchType> batch =
        unconfirmed_.next_sent_by(time, sequence, now, [&](BatchType& next) { drop_outdated(next); });
    if (batch) {
      batcher_.mark_resent(*batch);
      for (const K& key : batch->keys) registered_.add(key, now);
    }
    return batch;
  }

  /// The copy was sent.
  void has_resent() noexcept { batches_resent_.add(); }

  /// There was no room: the copy is outdated once there is, and to be had anew.
  void not_resent(const BatchType& batch) noexcept { unconfirmed_.mark_sent(batch.sequence, SteadyTime::min()); }

  /// What a sync that was not answered as one says of the hub: nothing if nobody answered, or if it could not now. If
  /// it is that the client's key does not allow what it registers, that is lost, and answered.
  std::optional<Loss> sync_failed(const Error& error, SteadyTime now) {
    if (std::holds_alternative<Unsupported>(error)) {
      cannot_sync_ = true;
      ask_again_at_ = now + ask_again_after;
      forget_unconfirmed();
    }
    const auto* refusal = std::get_if<HubError>(&error);
    if (refusal == nullptr || !refusal->text.starts_with(key_may_not_use)) return std::nullopt;
    Loss loss{{}, error};
    while (!unconfirmed_.empty()) {
      const std::vector<EntryType> some = batcher_.entries_of(unconfirmed_.first());
      settle_first();
      loss.entries.insert(loss.entries.end(), some.begin(), some.end());
    }
    forget(loss.entries);
    if (loss.entries.empty()) return std::nullopt;
    return loss;
  }

  /// Everything that was not handed over or not confirmed, in order; nothing of it is pending afterwards.
  std::vector<EntryType> take_entries() {
    std::vector<EntryType> all;
    while (!unconfirmed_.empty()) {
      std::vector<EntryType> some = batcher_.entries_of(unconfirmed_.take_first());
      all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    std::vector<EntryType> rest = batcher_.take_entries();
    all.insert(all.end(), std::make_move_iterator(rest.begin()), std::make_move_iterator(rest.end()));
    return all;
  }

 private:
  /// How long a hub that returns envelopes and could not say what has come is left alone: another one may have taken
  /// its place.
  static constexpr std::chrono::seconds ask_again_after{10};

  /// A key in `unconfirmed_`: how often, and last in which batch, and in the place of which registration that was given
  /// up. What batches before `outdated_before` say of it is not so any more.
  struct KeyUnconfirmed {
    std::uint32_t count = 0;
    std::uint64_t last_batch = 0;
    std::uint64_t last_given_up = 0;
    std::uint64_t outdated_before = 0;
  };

  /// Keys handed over that the hub may not have applied yet; beyond that the oldest are asked for again.
  static constexpr std::size_t max_registered = 1'000'000;

  /// It may be another hub by now, that confirms registrations, or insists on their holder.
  void ask_hub_again() noexcept {
    cannot_sync_ = false;
    has_asked_hub_ = false;
  }

  bool keeps_unconfirmed() const noexcept { return options_.max_unconfirmed_bytes > 0 && may_confirm(); }

  /// Whether there are batches that the hub may not have applied.
  bool has_open_batches() const {
    return !keeps_unconfirmed() || taken_ || batcher_.has_batch() || !unconfirmed_.empty();
  }

  /// The lowest number of which the client does not know what has become of it.
  std::uint64_t first_open() const {
    std::uint64_t first = batcher_.last_sequence() + 1;
    const auto consider = [&](std::optional<std::uint64_t> other) { first = std::min(first, other.value_or(first)); };
    consider(taken_);
    consider(batcher_.first_sealed());
    if (!unconfirmed_.empty()) consider(unconfirmed_.first().sequence);
    if (!acknowledging_.empty()) consider(*acknowledging_.begin());
    return first;
  }

  /// What another hub has answered this one would wait for for ever: empty batches take those numbers.
  void close_gaps() {
    if (!keeps_unconfirmed()) return;
    const std::vector<std::uint64_t> sealed = batcher_.sealed_numbers();
    for (std::uint64_t n = first_open() + 1; n <= batcher_.last_sequence() && !is_unconfirmed_full(); ++n) {
      const bool is_to_be_sent = n == taken_ || std::ranges::binary_search(sealed, n);
      if (is_to_be_sent || unconfirmed_.contains(n) || acknowledging_.contains(n)) continue;
      unconfirmed_.add(batcher_.empty_batch(n), SteadyTime::min());
    }
  }

  /// The hub confirms nothing.
  void forget_unconfirmed() {
    sync_due_.reset();
    if (!unconfirmed_.empty()) last_unkept_ = batcher_.last_batch();
    while (!unconfirmed_.empty()) settle_first();
  }

  /// What has become of the first unconfirmed batch is known.
  void settle_first() {
    const BatchType batch = unconfirmed_.take_first();
    for (const K& key : batch.keys) drop_unconfirmed(key);
    for (const K& key : batch.left_out) drop_unconfirmed(key);
  }

  void drop_unconfirmed(const K& key) {
    const auto it = unconfirmed_keys_.find(key);
    if (--it->second.count == 0) unconfirmed_keys_.erase(it);
  }

  /// What a call that the hub has carried out says of registrations before it.
  template <class AnyCall>
  void outdate(const AnyCall& call, const typename AnyCall::Result& result) {
    if constexpr (std::same_as<AnyCall, Count>) {
      if (call.type != MessageType::remove) return;
      for (const K& key : call.keys) outdate(key, call.behind + 1);
    } else if constexpr (std::same_as<AnyCall, Register>) {
      for (std::size_t i = 0; i < call.keys.size(); ++i) {
        if (result[i] == RegisterStatus::stored) outdate(call.keys[i], *call.sequence);
      }
    } else if constexpr (std::same_as<AnyCall, RemoveIf>) {
      outdate_if(call);
    }
  }

  /// What was registered of this key before that number is not stored any more.
  void outdate(const K& key, std::uint64_t before) {
    const auto it = unconfirmed_keys_.find(key);
    if (it != unconfirmed_keys_.end()) it->second.outdated_before = std::max(it->second.outdated_before, before);
  }

  /// Only of these values: another is stored still. Where there is no memory for it, nothing is left out.
  void outdate_if(const RemoveIf& call) {
    try {
      std::vector<EntryType> removed;
      detail::FlatMap<K, std::vector<std::size_t>> places;
      for (std::size_t i = 0; i < call.keys.size(); ++i) {
        if (unconfirmed_keys_.contains(call.keys[i])) places[call.keys[i]].push_back(i);
      }
      if (places.empty() || decode_guarded(call.message, [&] { return C::decode_entries(call.message, removed); }) ||
          removed.size() != call.keys.size()) {
        return;
      }
      unconfirmed_.revise_up_to(call.behind, [&](BatchType& batch) {
        if (std::ranges::none_of(batch.keys, [&](const K& key) { return places.contains(key); })) return;
        const std::vector<EntryType> entries = decoded(batch);
        for (std::size_t i = 0; i < entries.size(); ++i) {
          const auto it = places.find(batch.keys[i]);
          if (it == places.end()) continue;
          const auto is_same = [&](std::size_t place) { return removed[place].value == entries[i].value; };
          if (std::ranges::none_of(it->second, is_same)) continue;
          batch.dropped.resize(entries.size());
          batch.dropped[i] = true;
        }
      });
    } catch (const std::bad_alloc&) {
      // The removal was carried out all the same.
    }
  }

  /// None if a `wire` of the user's does not read what it wrote.
  static std::vector<EntryType> decoded(const BatchType& batch) {
    std::vector<EntryType> entries;
    if (decode_guarded(batch.message, [&] { return C::decode_entries(batch.message, entries); })) return {};
    return entries.size() == batch.keys.size() ? std::move(entries) : std::vector<EntryType>{};
  }

  /// Leaves out what is not so any more, and what stands of its keys before it. Those are unconfirmed still: what was
  /// sent with them may be on its way. The batch stays as it is if a `wire` of the user's does not read what it wrote.
  void drop_outdated(BatchType& batch) {
    const auto is_outdated = [&](const K& key) {
      const KeyUnconfirmed& unconfirmed = unconfirmed_keys_.find(key)->second;
      return batch.sequence < std::max(unconfirmed.last_batch, unconfirmed.outdated_before);
    };
    if (batch.dropped.empty() && std::ranges::none_of(batch.keys, is_outdated)) return;
    const std::vector<EntryType> entries = decoded(batch);
    detail::FlatSet<K> gone;
    std::vector<bool> stays(entries.size());
    for (std::size_t i = entries.size(); i-- > 0;) {
      const K& key = batch.keys[i];
      if (is_outdated(key) || (!batch.dropped.empty() && batch.dropped[i])) gone.insert(key);
      stays[i] = !gone.contains(key);
    }
    if (gone.empty()) return;
    BatchType rest;
    rest.left_out = batch.left_out;
    C::begin_entries(MessageType::register_entries, rest.message);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (stays[i] && append_guarded<C>(entries[i], rest.message)) return;
      (stays[i] ? rest.keys : rest.left_out).push_back(batch.keys[i]);
    }
    batch.message = std::move(rest.message);
    batch.keys = std::move(rest.keys);
    batch.left_out = std::move(rest.left_out);
    batch.dropped.clear();
  }

  template <class AnyCall>
  Outcome<typename AnyCall::Result> outcome_of(AnyCall& call, ByteView message, SteadyTime now) {
    MessageType type{};
    if (auto error = C::decode_type(message, type)) {
      if (is_extension<AnyCall>(call.type)) return Error{Unsupported{operation(call.type)}};
      return std::move(*error);
    }
    if (type == MessageType::error_response) return refusal(call, message);
    if (type != answer_type(call.type)) return Error{InvalidMessageType{static_cast<unsigned>(type)}};
    return read_answer(call, message, now);
  }

  void check_size(ByteView message) const {
    if (message.size() <= options_.max_message_size) return;
    throw RegistryError(LimitExceeded{"max_message_size", options_.max_message_size, message.size()});
  }

  template <class AnyCall>
  static constexpr bool is_removal = std::same_as<AnyCall, Count> || std::same_as<AnyCall, RemoveIf>;

  /// Calls whose message is made with them, of their entries.
  template <class AnyCall>
  static constexpr bool is_encoded = std::same_as<AnyCall, Register> || std::same_as<AnyCall, RemoveIf>;

  /// An acknowledged registration is one, though its message is not: the Rust hub takes none as a query.
  template <class AnyCall>
  static bool is_extension(MessageType type) noexcept {
    return static_cast<std::uint8_t>(type) >= 32 || std::same_as<AnyCall, Register>;
  }

  static std::uint64_t count_of(std::chrono::nanoseconds time) noexcept {
    return static_cast<std::uint64_t>(std::max<std::chrono::nanoseconds::rep>(time.count(), 0));
  }

  static std::chrono::nanoseconds time_of(std::uint64_t count) noexcept {
    // Above that it is no hub that says so.
    constexpr auto most = static_cast<std::uint64_t>(longest_wait.count());
    return std::chrono::nanoseconds{static_cast<std::int64_t>(std::min(count, most))};
  }

  static void encode_entries(std::span<const EntryType> entries, Call<K>& call) {
    C::begin_entries(call.type, call.message);
    for (const EntryType& entry : entries) {
      if (auto error = append_guarded<C>(entry, call.message)) throw RegistryError(std::move(*error));
      call.keys.push_back(entry.key);
    }
  }

  static MessageType answer_type(MessageType query) noexcept {
    switch (query) {
      case MessageType::can_offload: return MessageType::can_offload_response;
      case MessageType::match: return MessageType::match_response;
      case MessageType::remove: return MessageType::remove_response;
      case MessageType::touch: return MessageType::touch_response;
      case MessageType::release: return MessageType::release_response;
      case MessageType::hello: return MessageType::hello_response;
      case MessageType::claim: return MessageType::claim_response;
      case MessageType::renew: return MessageType::renew_response;
      case MessageType::register_entries: return MessageType::register_response;
      case MessageType::remove_if: return MessageType::remove_response;
      case MessageType::sync: return MessageType::sync_response;
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
      case MessageType::sync_response:
      case MessageType::withdraw: break;
    }
    return MessageType::error_response;
  }

  void encode_envelope(RequestId id, std::optional<std::uint64_t> after, Bytes& out) const {
    Envelope{id, id_, after, options_.name_space}.encode(out);
  }

  std::string operation(MessageType type) const {
    switch (type) {
      case MessageType::hello: return "namespace \"" + options_.name_space + "\"";
      case MessageType::claim: return "claim";
      case MessageType::renew: return "renew";
      case MessageType::register_entries: return "acknowledged registration";
      case MessageType::remove_if: return "remove_if";
      case MessageType::sync: return "sync";
      default: return "release";
    }
  }

  /// Whether this client has registered the key and the hub may not know yet.
  bool is_registered(const K& key, SteadyTime now) {
    return expected_.contains(key) || pending_.contains(key) || registered_.contains(key, now);
  }

  bool knows_of_none_registered() const noexcept {
    return expected_.empty() && pending_.empty() && registered_.empty();
  }

  /// Whether there is a key left that only the hub can answer for.
  bool encode_unknown(Offload& call, SteadyTime now) {
    if (call.keys.empty()) return false;
    if (!knows_of_none_registered() || !cache_.empty()) {
      call.known.resize(call.keys.size());
      for (std::size_t i = 0; i < call.keys.size(); ++i) {
        call.known[i] = is_registered(call.keys[i], now) || cache_.contains(call.keys[i], now);
      }
      if (std::ranges::none_of(call.known, std::identity{})) call.known.clear();
    }
    if (call.known.empty()) {
      C::encode_keys(call.type, call.keys, call.message);
      return true;
    }
    const std::vector<K> unknown = asked(call);
    if (unknown.empty()) return false;
    C::encode_keys(call.type, unknown, call.message);
    return true;
  }

  std::vector<K> asked(const Offload& call) const {
    if (call.known.empty()) return call.keys;
    std::vector<K> unknown;
    for (std::size_t i = 0; i < call.keys.size(); ++i) {
      if (!call.known[i]) unknown.push_back(call.keys[i]);
    }
    return unknown;
  }

  /// Takes the keys out of what the client knows; the call travels behind their registrations.
  std::optional<std::uint64_t> prepare(const Call<K>& call, SteadyTime now) {
    std::optional<std::uint64_t> after;
    for (const K& key : call.keys) {
      if (const auto batch = last_open_batch(key, now)) after = std::max(after.value_or(0), *batch);
      registered_.forget(key);
      cache_.forget(key);
    }
    return after;
  }

  /// The last batch with this key that the hub may not have applied, or one behind it. What is pending now comes later:
  /// what came before has been handed over.
  std::optional<std::uint64_t> last_open_batch(const K& key, SteadyTime now) {
    std::uint64_t last = registered_.contains(key, now) ? last_unkept_ : 0;
    const auto it = unconfirmed_keys_.find(key);
    if (it != unconfirmed_keys_.end()) last = std::max({last, it->second.last_batch, it->second.last_given_up});
    return last > 0 ? std::optional{last} : std::nullopt;
  }

  template <class AnyCall>
  Outcome<typename AnyCall::Result> refusal(const AnyCall& call, ByteView message) {
    std::string text;
    if (auto error = C::decode_text(message, text)) return std::move(*error);
    // A hub that returns envelopes knows extensions, but perhaps not this one, or not the namespace.
    const bool knows_type =
        echoes_envelopes_ == true && text != to_string(InvalidMessageType{static_cast<unsigned>(call.type)});
    if (call.type == MessageType::hello || (is_extension<AnyCall>(call.type) && !knows_type)) {
      return Error{Unsupported{operation(call.type) + " (the hub says: " + text + ")"}};
    }
    return Error{HubError{std::move(text)}};
  }

  Outcome<ClaimAnswer<K>> read_answer(Claim& call, ByteView message, SteadyTime now) {
    const auto parts = split_trailer<4>(message);
    if (!parts) return Error{MessageTooShort{32, message.size()}};
    hear_of(parts->second[0], now);
    Outcome<OffloadResult<K>> outcome = read_answer(static_cast<Offload&>(call), parts->first, now);
    if (auto* error = std::get_if<Error>(&outcome)) return std::move(*error);
    const auto& [incarnation, token, ttl, waited] = parts->second;
    return ClaimAnswer<K>{
        std::get<OffloadResult<K>>(std::move(outcome)), incarnation, token, time_of(ttl), time_of(waited)};
  }

  Outcome<RenewAnswer> read_answer(Renew& call, ByteView message, SteadyTime now) {
    const auto parts = split_trailer<2>(message);
    if (!parts) return Error{MessageTooShort{16, message.size()}};
    RenewAnswer answer{{}, parts->second[0], time_of(parts->second[1])};
    if (auto error = C::decode_statuses(parts->first, answer.statuses)) return std::move(*error);
    if (answer.statuses.size() != call.keys.size()) {
      return Error{DecodeError{"statuses, one per key", call.keys.size(), answer.statuses.size()}};
    }
    hear_of(answer.incarnation, now);
    return answer;
  }

  /// Whatever it answers, a hub that is another one than before is to be asked what has become of everything.
  void hear_of(std::uint64_t incarnation, SteadyTime now) {
    if (cannot_sync_) {
      ask_hub_again();
      schedule_sync(now);
    }
    if (!incarnation_ || *incarnation_ == incarnation) return;
    cache_.clear();
    registered_.clear();
    schedule_sync(now);
  }

  Outcome<SyncAnswer> read_answer(Sync&, ByteView message, SteadyTime) {
    const auto parts = split_trailer<3>(message);
    if (!parts) return Error{MessageTooShort{24, message.size()}};
    SyncAnswer answer{0, parts->second[0], parts->second[1], parts->second[2]};
    if (auto error = C::decode_count(parts->first, answer.applied)) return std::move(*error);
    return answer;
  }

  Outcome<std::vector<RegisterStatus>> read_answer(Register& call, ByteView message, SteadyTime) {
    std::vector<RegisterStatus> outcomes;
    if (auto error = C::decode_statuses(message, outcomes)) return std::move(*error);
    if (outcomes.size() != call.keys.size()) {
      return Error{DecodeError{"outcomes, one per entry", call.keys.size(), outcomes.size()}};
    }
    return outcomes;
  }

  Outcome<std::uint64_t> read_answer(RemoveIf&, ByteView message, SteadyTime) { return read_count(message); }

  Outcome<OffloadResult<K>> read_answer(Offload& call, ByteView message, SteadyTime now) {
    std::vector<OffloadStatus> statuses;
    if (auto error = C::decode_statuses(message, statuses)) return std::move(*error);
    const auto asked_count = call.keys.size() - static_cast<std::size_t>(std::ranges::count(call.known, true));
    if (statuses.size() != asked_count)
      return Error{DecodeError{"statuses, one per key", asked_count, statuses.size()}};
    if (options_.local_cache > 0) learn(call, statuses, now);
    settle(call, statuses, now);
    return sorted(call, call.known.empty() ? std::move(statuses) : with_known(call, statuses));
  }

  Outcome<std::vector<EntryType>> read_answer(Match& call, ByteView message, SteadyTime) {
    std::vector<EntryType> found;
    if (auto error = C::decode_entries(message, found)) return std::move(*error);
    std::size_t next = 0;
    std::size_t prefix = 0;
    bool unbroken = true;
    for (const K& key : call.keys) {
      if (next < found.size() && found[next].key == key) {
        ++next;
        if (unbroken) prefix = next;
      } else {
        unbroken = false;
        cache_.forget(key);
      }
    }
    if (next != found.size()) return Error{DecodeError{"matched entries that were asked for", next, found.size()}};
    if (call.prefix_only) found.erase(found.begin() + static_cast<std::ptrdiff_t>(prefix), found.end());
    return found;
  }

  Outcome<std::uint64_t> read_answer(Count&, ByteView message, SteadyTime) { return read_count(message); }

  static Outcome<std::uint64_t> read_count(ByteView message) {
    std::uint64_t count = 0;
    if (auto error = C::decode_count(message, count)) return std::move(*error);
    return count;
  }

  Outcome<std::monostate> read_answer(Hello&, ByteView message, SteadyTime) {
    std::string text;
    if (auto error = C::decode_text(message, text)) return std::move(*error);
    if (text != options_.name_space) return Error{Unsupported{operation(MessageType::hello)}};
    welcome_ = true;
    return std::monostate{};
  }

  /// Only what the hub itself has just said: a key known before would never age if it were added again.
  void learn(const Offload& call, std::span<const OffloadStatus> said, SteadyTime now) {
    std::size_t next = 0;
    for (std::size_t i = 0; i < call.keys.size(); ++i) {
      if (!call.known.empty() && call.known[i]) continue;
      if (said[next++] == OffloadStatus::already_stored) cache_.add(call.keys[i], now);
    }
  }

  /// What this client registered while the query was on its way is stored, whatever the hub had applied by then.
  void settle(const Offload& call, std::span<OffloadStatus> said, SteadyTime now) {
    if (knows_of_none_registered()) return;
    std::size_t next = 0;
    for (std::size_t i = 0; i < call.keys.size(); ++i) {
      if (!call.known.empty() && call.known[i]) continue;
      // But for a lease of a claim's where only its holder may register, as far as is known: nothing else ends it.
      const bool stays = (insists_ || !incarnation_) && call.claim && said[next] == OffloadStatus::granted;
      if (!stays && is_registered(call.keys[i], now)) said[next] = OffloadStatus::already_stored;
      ++next;
    }
  }

  /// What the client knew, and what the hub said of the rest.
  static std::vector<OffloadStatus> with_known(const Offload& call, std::span<const OffloadStatus> said) {
    std::vector<OffloadStatus> statuses(call.known.size(), OffloadStatus::already_stored);
    auto next = said.begin();
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      if (!call.known[i]) statuses[i] = *next++;
    }
    return statuses;
  }

  /// The caller's view. Takes the keys out of the call if they all have the same status.
  static OffloadResult<K> sorted(Offload& call, std::vector<OffloadStatus> statuses) {
    OffloadResult<K> result;
    const auto list = [&](OffloadStatus status) -> std::vector<K>& {
      return status == OffloadStatus::granted  ? result.can_offload
             : status == OffloadStatus::leased ? result.leased
                                               : result.already_stored;
    };
    for (const OffloadStatus status : {OffloadStatus::granted, OffloadStatus::already_stored, OffloadStatus::leased}) {
      const auto count = static_cast<std::size_t>(std::ranges::count(statuses, status));
      if (count == statuses.size()) {
        list(status) = std::move(call.keys);
        result.statuses = std::move(statuses);
        return result;
      }
      list(status).reserve(count);
    }
    for (std::size_t i = 0; i < statuses.size(); ++i) list(statuses[i]).push_back(call.keys[i]);
    result.statuses = std::move(statuses);
    return result;
  }

  ClientOptions options_;
  ClientId id_;
  Batcher<K, V, M, C> batcher_;
  KnownKeys<K> cache_;
  KeyCounts<K> expected_;  // of what is not yet in a batch
  KeyCounts<K> pending_;   // of what is, and is not handed over
  detail::FlatMap<K, KeyUnconfirmed> unconfirmed_keys_;
  KnownKeys<K> registered_;
  Unconfirmed<K> unconfirmed_;
  std::uint64_t last_unkept_ = 0;          // the last batch handed over that was not kept to be confirmed
  std::optional<std::uint64_t> taken_;     // the number of the batch that is being sent
  std::set<std::uint64_t> acknowledging_;  // numbers of registrations that wait for their answer
  std::optional<SteadyTime> sync_due_;
  std::optional<std::uint64_t> incarnation_;
  bool insists_ = false;
  bool has_asked_hub_ = false;
  bool cannot_sync_ = false;
  SteadyTime ask_again_at_{};
  std::optional<bool> echoes_envelopes_;
  bool welcome_ = false;
  detail::Counter late_answers_, batches_resent_, hubs_met_;
};

}  // namespace registry
