// SPDX-License-Identifier: Apache-2.0
// A hub core and its model, which are told the same, and those who ask them.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/key_holds.hpp>
#include <registry/envelope.hpp>
#include <registry/trailer.hpp>

#include "model/beliefs.hpp"
#include "model/commands.hpp"
#include "model/hub_model.hpp"

namespace registry::test {

/// How often something has happened that a run must not do without.
using Seen = std::map<std::string, std::size_t>;

/// `Kind` names the policy, makes one with a capacity, and says whether it evicts.
template <class Kind>
class HubBesideModel {
 public:
  HubBesideModel(const Setup& setup, Seen& seen) : setup_(setup), seen_(seen) { start(); }
  HubBesideModel(const HubBesideModel&) = delete;
  HubBesideModel& operator=(const HubBesideModel&) = delete;
  ~HubBesideModel() { remember(); }

  /// Throws a Disagreement.
  void step(const Command& command) {
    account_ += show(command) + '\n';
    std::visit([&](const auto& one) { carry_out(one); }, command);
    look_at_entries();
    look_at_statistics();
    const auto needed = model_->next_deadline();
    const auto asked_for = hub_->next_deadline();
    if (needed && (!asked_for || *asked_for > *needed)) throw Disagreement{"the hub asks for no tick in time"};
  }

  /// All that was done and answered.
  const std::string& account() const noexcept { return account_; }

 private:
  using P = typename Kind::Policy;
  using M = typename P::metadata_type;
  using Codec = BinaryCodec<Number, Number, M>;
  using HubEntry = Entry<Number, Number, M>;
  using milliseconds = std::chrono::milliseconds;

  static constexpr milliseconds lease_ttl{3000};
  /// So few, of at most four keys, that the hub tells them all at once: of more it tells a slice, the rest at the next
  /// tick.
  static constexpr std::size_t most_who_wait = 48;

  struct Sent {
    std::uint64_t sequence;
    std::uint64_t claim;
    std::vector<ModelEntry> entries;
  };
  struct Asked {
    Who who;
    std::uint64_t number;
    Numbers keys;
    milliseconds wait;
  };
  struct Peer {
    std::uint64_t last_number = 0;
    std::vector<Sent> sent;
    std::vector<Asked> asked;
    std::vector<Asked> claims;  // those that were to wait
  };

  void start() {
    HubOptions options;
    options.lease_ttl = lease_ttl;
    options.lease_cleanup_interval = milliseconds{1000};
    options.registration_wait = milliseconds{3000};
    options.max_claim_wait = milliseconds{5000};
    options.incarnation = ++incarnation_;
    options.insist_on_holder = setup_.insists;
    if (setup_.max_leases > 0) options.max_leases = setup_.max_leases;
    if (setup_.max_leases_per_client > 0) options.max_leases_per_client = setup_.max_leases_per_client;
    if (setup_.max_keys > 0) options.max_keys_per_query = setup_.max_keys;
    if (setup_.max_clients > 0) options.max_clients = setup_.max_clients;
    if (setup_.max_waiting > 0) options.max_waiting = setup_.max_waiting;
    options.max_waiting_claims = setup_.max_waiting_claims > 0 ? setup_.max_waiting_claims : most_who_wait;
    if (setup_.max_waiting_bytes > 0) options.max_waiting_bytes = setup_.max_waiting_bytes;
    if (setup_.recovers) options.recovery_time = lease_ttl;
    options.log = {};
    const auto capacity = setup_.capacity > 0 ? std::optional{setup_.capacity} : std::nullopt;
    hub_ = std::make_unique<HubCore<P>>(
        Kind::make(capacity), options,
        [this](const Number& key, const Number&, const M&, EvictionReason reason, const Departure<Number>& departure) {
          if (model_->is_holding) held_.emplace(key, departure.hold());
          if (reason == EvictionReason::superseded) return;
          beliefs_.forget(key);
          confirmed_.erase(key);
          left_in_this_call_.insert(key);
        });
    auto unreachable = model_ ? model_->unreachable : std::set<std::size_t>{};
    const bool is_holding = model_ && model_->is_holding;
    model_ = std::make_unique<HubModel>(options, capacity, Kind::evicts, now_);
    model_->unreachable = std::move(unreachable);
    model_->is_holding = is_holding;
    hub_->begin(now_);
  }

  void carry_out(const CanOffload& one) {
    const Question question = ask({one.peer, 0}, one.keys);
    remember_question(question, one.keys, {});
    query(question, keys_message(MessageType::can_offload, one.keys), [&] { model_->can_offload(question, one.keys); });
  }

  void carry_out(const Claim& one) {
    const bool may_wait = setup_.max_leases_per_client == 0 || may_pass_over();
    claim(ask(who(one), one.keys), one.keys, may_wait ? one.wait : milliseconds{0});
  }

  void carry_out(const ClaimAgain& one) {
    const auto& all = peers_[one.peer].claims;
    if (one.back >= all.size()) return;
    const Asked again = all[all.size() - 1 - one.back];
    claim({again.who, again.number}, again.keys, again.wait);
  }

  void claim(const Question& question, const Numbers& keys, milliseconds wait) {
    remember_question(question, keys, wait);
    Bytes message = keys_message(MessageType::claim, keys);
    append_trailer<1>({static_cast<std::uint64_t>(std::chrono::nanoseconds{wait}.count())}, message);
    query(question, message, [&] { model_->claim(question, keys, wait); });
  }

  void carry_out(const Renew& one) {
    const Who asker = who(one);
    Numbers keys = one.keys;
    std::uint64_t granted_by = one.origin == Origin::lie ? incarnation_ - 1 : 0;
    if (one.origin == Origin::truth) {
      granted_by = incarnation_;
      Numbers held;
      for (const Number key : keys) {
        const Belief* belief = beliefs_.find(key, asker, now_.lease);
        if (belief == nullptr) continue;
        if (held.empty()) granted_by = belief->incarnation;
        if (belief->incarnation == granted_by) held.push_back(key);
      }
      if (!held.empty()) keys = held;
    } else if (one.origin == Origin::lie) {
      for (const Number key : keys) beliefs_.doubt(key);
    }
    is_claiming_back_ = granted_by != incarnation_;
    const Question question = ask(asker, keys);
    Bytes message = keys_message(MessageType::renew, keys);
    append_trailer<1>({granted_by}, message);
    query(question, message, [&] { model_->renew(question, keys, granted_by); });
  }

  void carry_out(const Release& one) {
    give_up(who(one), one.keys);
    const Question question = ask(who(one), one.keys);
    query(question, keys_message(MessageType::release, one.keys), [&] { model_->release(question, one.keys); });
  }

  void carry_out(const Withdraw& one) {
    const auto& all = peers_[one.peer].asked;
    if (one.back >= all.size()) return;
    const Asked asked = all[all.size() - 1 - one.back];
    give_up(asked.who, asked.keys);
    const Question question{asked.who, asked.number};
    query(question, keys_message(MessageType::withdraw, asked.keys), [&] { model_->withdraw(question, asked.keys); });
  }

  void carry_out(const Match& one) {
    const Question question = ask({one.peer}, one.keys);
    query(question, keys_message(MessageType::match, one.keys), [&] { model_->match(question, one.keys); });
  }

  void carry_out(const Touch& one) {
    const Question question = ask({one.peer}, one.keys);
    query(question, keys_message(MessageType::touch, one.keys), [&] { model_->touch(question, one.keys); });
  }

  void carry_out(const Remove& one) {
    Question question = ask({one.peer}, one.keys);
    if (one.follows) question.after = last_sequence(one.peer);
    query(question, keys_message(MessageType::remove, one.keys), [&] { model_->remove(question, one.keys); });
  }

  void carry_out(const RemoveIf& one) {
    const auto entries = made_now(one.entries);
    Question question = ask({one.peer}, keys_of(entries));
    if (one.follows) question.after = last_sequence(one.peer);
    query(question, entries_message(MessageType::remove_if, entries), [&] { model_->remove_if(question, entries); });
  }

  void carry_out(const Register& one) {
    Peer& peer = peers_[one.peer];
    const Sent sent{peer.sent.size() + 1, one.claim, made_now(one.entries)};
    if (one.peer == anonymous) {
      if (one.way != Way::lost) send_anonymous(sent.entries, one.way);
      return;
    }
    peer.sent.push_back(sent);
    send(one.peer, sent, one.way, false, one.follows);
  }

  void carry_out(const Resend& one) {
    const auto& all = peers_[one.peer].sent;
    if (one.back >= all.size()) return;
    send(one.peer, Sent{all[all.size() - 1 - one.back]}, one.way, one.is_marked, one.follows);
  }

  void send(std::size_t peer, const Sent& sent, Way way, bool is_resent, bool follows) {
    const Who asker{peer, sent.claim};
    if (way == Way::lost) return;
    if (way == Way::pushed) {
      const Question question{asker, sent.sequence, std::nullopt, sent.sequence, is_resent};
      push(question, envelope_of(question, true), sent.entries);
      return;
    }
    Question question = ask(asker, keys_of(sent.entries));
    question.sequence = sent.sequence;
    question.is_resent = is_resent;
    if (follows && sent.sequence > 1) question.after = sent.sequence - 1;
    query(question, entries_message(MessageType::register_entries, sent.entries),
          [&] { model_->register_acknowledged(question, sent.entries); });
  }

  void send_anonymous(const std::vector<ModelEntry>& entries, Way way) {
    const Question question = ask({anonymous}, keys_of(entries));
    if (way == Way::pushed) return push(question, std::nullopt, entries);
    query(question, entries_message(MessageType::register_entries, entries),
          [&] { model_->register_acknowledged(question, entries); });
  }

  void carry_out(const Sync& one) {
    const std::size_t sent = peers_[one.peer].sent.size();
    const std::uint64_t first = sent + 1 - std::min(one.back, sent);
    Question question = ask({one.peer}, {});
    if (one.follows) question.after = last_sequence(one.peer);
    Bytes message;
    Codec::encode_count(MessageType::sync, first, message);
    query(question, message, [&] { model_->sync(question, first); });
  }

  void carry_out(const Hello& one) {
    const Question question = ask({one.peer}, {});
    const std::string name{one.is_served ? default_namespace : "elsewhere"};
    Bytes message;
    Codec::encode_text(MessageType::hello, name, message);
    query(question, message, [&] { model_->hello(question, name); });
  }

  void carry_out(const Malformed& one) {
    const Question question = ask({one.peer}, one.keys);
    Bytes message = keys_message(one.type, one.keys);
    if (one.type == MessageType::claim || one.type == MessageType::renew) append_trailer<1>({1}, message);
    message.resize(one.is_longer ? message.size() + 1 : message.size() - 1);
    is_malformed_ = true;
    query(question, message, [&] { model_->malformed(question); });
    is_malformed_ = false;
  }

  void carry_out(const Hold& one) { model_->is_holding = one.is_holding && !may_pass_over(); }

  void carry_out(const LetGo& one) {
    const auto first = held_.find(one.key);
    if (first == held_.end()) return;
    held_.erase(first);
    model_->held_keys.erase(model_->held_keys.find(one.key));
    ++seen_["let go"];
  }

  void carry_out(const Pass& one) {
    now_.lease += one.lease;
    now_.wall += one.wall;
    if (now_.wall < latest_wall_) ++seen_["the wall clock went back"];
    latest_wall_ = std::max(latest_wall_, now_.wall);
  }

  void carry_out(const Tick&) {
    call([&] { hub_->tick(now_, replies()); }, [&] { model_->tick(); });
    if (const auto next = hub_->next_deadline(); next && *next <= now_.lease) {
      throw Disagreement{"the hub asks for the next tick at once"};
    }
  }

  void carry_out(const Cut& one) {
    if (one.is_cut) {
      model_->unreachable.insert(one.peer);
    } else {
      model_->unreachable.erase(one.peer);
    }
  }

  void carry_out(const Restart& one) {
    if (one.is_orderly) {
      call([&] { hub_->end_waiting(now_, replies()); }, [&] { model_->end_waiting(); });
      look_at_statistics();
    }
    remember();
    carry_out(Pass{milliseconds{100}, milliseconds{100}});
    if (!setup_.recovers) beliefs_.doubt_all();
    confirmed_.clear();
    start();
    held_.clear();
  }

  /// Whether a claim that waits may be passed over since its client has its share of leases. That cannot be seen, and
  /// is only certain where the hub looks at every key as soon as it is free: without anything that makes it wait for
  /// that.
  bool may_pass_over() const { return setup_.max_leases_per_client > 0 && setup_.max_leases == 0 && !setup_.recovers; }

  /// Without an envelope there are no claims.
  template <class OfClaim>
  static Who who(const OfClaim& one) {
    return {one.peer, one.peer == anonymous ? 0 : one.claim};
  }

  Question ask(const Who& asker, const Numbers& keys) {
    Question question{asker, std::nullopt};
    if (asker.peer != anonymous) question.number = ++peers_[asker.peer].last_number;
    asked_[{asker.peer, question.number}] = {question, keys};
    return question;
  }

  void remember_question(const Question& question, const Numbers& keys, milliseconds wait) {
    if (!question.number) return;
    Peer& peer = peers_[question.who.peer];
    const Asked asked{question.who, *question.number, keys, wait};
    peer.asked.push_back(asked);
    if (wait > milliseconds{0}) peer.claims.push_back(asked);
  }

  std::optional<std::uint64_t> last_sequence(std::size_t peer) const {
    const std::size_t sent = peers_[peer].sent.size();
    return sent > 0 ? std::optional<std::uint64_t>{sent} : std::nullopt;
  }

  static ClientId id_of(std::size_t peer) { return {peer + 1, 7}; }

  std::optional<Bytes> envelope_of(const Question& question, bool is_pushed) const {
    if (!question.number) return std::nullopt;
    Envelope envelope{*question.number, id_of(question.who.peer), question.after};
    if (question.who.claim > 0) envelope.claim = question.who.claim;
    if (!is_pushed) envelope.sequence = question.sequence;
    if (question.is_resent) envelope.resent = last_sequence(question.who.peer);
    Bytes bytes;
    envelope.encode(bytes);
    return bytes;
  }

  static Bytes keys_message(MessageType type, const Numbers& keys) {
    Bytes message;
    Codec::encode_keys(type, keys, message);
    return message;
  }

  static Bytes entries_message(MessageType type, const std::vector<ModelEntry>& entries) {
    Bytes message;
    Codec::begin_entries(type, message);
    for (const ModelEntry& entry : entries) {
      M metadata{};
      if constexpr (!std::is_same_v<M, NoMetadata>) metadata = entry.metadata;
      must_work(Codec::append_entry(entry.key, entry.value, metadata, message));
    }
    return message;
  }

  std::vector<ModelEntry> made_now(const Puts& puts) const {
    std::vector<ModelEntry> entries;
    for (const Put& put : puts) {
      entries.push_back({put.key, put.value, {}});
      if (std::is_same_v<M, NoMetadata> || put.seconds == 0) continue;
      const auto now = std::chrono::floor<std::chrono::seconds>(now_.wall).time_since_epoch();
      entries.back().metadata = {static_cast<std::uint64_t>(now.count()), put.seconds};
    }
    return entries;
  }

  static Numbers keys_of(const std::vector<ModelEntry>& entries) {
    Numbers keys;
    for (const ModelEntry& entry : entries) keys.push_back(entry.key);
    return keys;
  }

  template <class TellHub, class TellModel>
  void call(TellHub tell_hub, TellModel tell_model) {
    given_.clear();
    left_in_this_call_.clear();
    repeated_before_ = hub_->stats().repeated;
    model_->begin_call(now_);
    tell_hub();
    tell_model();
    model_->compare(given_, hub_->stats().stored, hub_->stats().leases.active);
  }

  template <class TellModel>
  void query(const Question& question, const Bytes& message, TellModel tell_model) {
    const auto envelope = envelope_of(question, false);
    const ByteView frame = envelope ? ByteView{*envelope} : ByteView{};
    const auto sender = as_bytes(peer_names[question.who.peer]);
    model_->sizes = {sender.size() + frame.size(), message.size()};
    call([&] { hub_->query(sender, Frames{&frame, envelope ? 1U : 0U}, message, now_, replies()); }, tell_model);
  }

  void push(const Question& question, const std::optional<Bytes>& envelope, const std::vector<ModelEntry>& entries) {
    const std::optional<ByteView> frame = envelope ? std::optional<ByteView>{*envelope} : std::nullopt;
    const std::string_view sender = peer_names[question.who.peer];
    const Bytes message = entries_message(MessageType::register_entries, entries);
    call([&] { hub_->registration(sender, frame, message, now_, replies()); },
         [&] { model_->registration(question, entries); });
  }

  auto replies() {
    return [this](ByteView recipient, Frames envelope, ByteView message) {
      Answer answer;
      answer.peer = static_cast<std::size_t>(std::ranges::find(peer_names, as_text(recipient)) - peer_names.begin());
      if (!envelope.empty()) answer.number = Envelope::decode(envelope.front()).value().number;
      const bool is_reached = !model_->unreachable.contains(answer.peer);
      const auto asked = asked_.find({answer.peer, answer.number});
      if (asked == asked_.end()) throw Disagreement{"an answer to what nobody has asked"};
      read(asked->second.first.who, asked->second.second, message, is_reached, answer);
      account_ += "    " + answer_text(answer.peer, answer.number, answer.text) + (is_reached ? "\n" : " (lost)\n");
      given_.push_back(std::move(answer));
      return is_reached;
    };
  }

  /// Says what the answer says, and if it arrives, what `holder` may now believe of these keys.
  void read(const Who& holder, const Numbers& keys, ByteView message, bool is_reached, Answer& answer) {
    MessageType type{};
    must_work(Codec::decode_type(message, type));
    if (type == MessageType::can_offload_response) {
      must_work(Codec::decode_statuses(message, answer.statuses));
      answer.text = offload_text(answer.statuses);
      if (is_reached) believe_granted(holder, keys, answer.statuses);
    } else if (type == MessageType::claim_response) {
      read_claim(message, answer);
      if (is_reached) believe_granted(holder, keys, answer.statuses);
    } else if (type == MessageType::renew_response) {
      const auto statuses = read_renewal(message);
      answer.text = renew_text(statuses);
      if (is_reached) believe_renewed(holder, keys, statuses);
    } else if (type == MessageType::register_response) {
      Outcomes outcomes;
      must_work(Codec::decode_statuses(message, outcomes));
      answer.text = register_text(outcomes);
      for (const RegisterStatus outcome : outcomes) ++seen_["registration " + std::string{text_of(outcome)}];
      if (is_reached) believe_confirmed(keys, outcomes);
    } else if (type == MessageType::match_response) {
      answer.text = match_text(read_entries(message));
    } else if (type == MessageType::sync_response) {
      const auto parts = split_trailer<3>(message).value();
      std::uint64_t applied = 0;
      must_work(Codec::decode_count(parts.first, applied));
      must_be_ours(parts.second[0]);
      answer.text = sync_text(applied, (parts.second[1] & hub_insists_on_holder) != 0, parts.second[2]);
    } else if (type == MessageType::hello_response) {
      std::string name;
      must_work(Codec::decode_text(message, name));
      answer.text = hello_text(name);
    } else if (type == MessageType::error_response) {
      std::string text;
      must_work(Codec::decode_text(message, text));
      ++seen_[text.substr(0, text.find(" allows"))];
      answer.text = error_text(is_malformed_ ? what_is_malformed : text);
    } else {
      std::uint64_t count = 0;
      must_work(Codec::decode_count(message, count));
      answer.text = count_text(type, count);
    }
  }

  void read_claim(ByteView message, Answer& answer) {
    const auto parts = split_trailer<4>(message).value();
    const auto& [incarnation, token, ttl, waited] = parts.second;
    must_work(Codec::decode_statuses(parts.first, answer.statuses));
    must_be_ours(incarnation);
    if (ttl != static_cast<std::uint64_t>(std::chrono::nanoseconds{lease_ttl}.count())) {
      throw Disagreement{"a lease of another length"};
    }
    if (token > 0) look_at_token(token);
    const std::chrono::nanoseconds time{static_cast<std::int64_t>(waited)};
    answer.text = claim_text(answer.statuses, token > 0, time);
    if (waited == 0) return;
    const bool is_over = std::ranges::find(answer.statuses, OffloadStatus::leased) != answer.statuses.end();
    ++seen_[token > 0 ? "wait that brought a grant" : is_over ? "wait that was over" : "wait until all was stored"];
  }

  /// It is higher than all before it, those of other hubs only where the wall clock has not gone back.
  void look_at_token(std::uint64_t token) {
    const bool is_comparable = last_token_by_ == incarnation_ || now_.wall > latest_wall_of_token_;
    if (is_comparable && token <= last_token_) throw Disagreement{"a token that is not higher"};
    last_token_ = token;
    last_token_by_ = incarnation_;
    latest_wall_of_token_ = std::max(latest_wall_of_token_, now_.wall);
  }

  std::vector<RenewStatus> read_renewal(ByteView message) {
    const auto parts = split_trailer<2>(message).value();
    std::vector<RenewStatus> statuses;
    must_work(Codec::decode_statuses(parts.first, statuses));
    must_be_ours(parts.second[0]);
    for (const RenewStatus status : statuses) {
      ++seen_[(is_claiming_back_ ? "claimed back " : "renewed ") + std::string{text_of(status)}];
    }
    return statuses;
  }

  static std::vector<ModelEntry> read_entries(ByteView message) {
    std::vector<HubEntry> entries;
    must_work(Codec::decode_entries(message, entries));
    std::vector<ModelEntry> found;
    for (const HubEntry& entry : entries) {
      found.push_back({entry.key, entry.value, {}});
      if constexpr (!std::is_same_v<M, NoMetadata>) found.back().metadata = entry.metadata;
    }
    return found;
  }

  static void must_work(const std::optional<Error>& error) {
    if (error) throw Disagreement{"no answer: " + to_string(*error)};
  }

  void must_be_ours(std::uint64_t incarnation) const {
    if (incarnation != incarnation_) throw Disagreement{"another incarnation"};
  }

  void believe_granted(const Who& holder, const Numbers& keys, const Statuses& statuses) {
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      if (statuses[i] == OffloadStatus::granted) believe(holder, keys.at(i));
    }
  }

  void believe_renewed(const Who& holder, const Numbers& keys, const std::vector<RenewStatus>& statuses) {
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      if (statuses[i] == RenewStatus::held) {
        believe(holder, keys.at(i));
      } else {
        beliefs_.give_up(keys.at(i), holder);
      }
    }
  }

  /// Of a repeat it is only said what it has brought at first.
  void believe_confirmed(const Numbers& keys, const Outcomes& outcomes) {
    if (hub_->stats().repeated != repeated_before_) return;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      if (outcomes[i] == RegisterStatus::stored && !left_in_this_call_.contains(keys.at(i))) {
        confirmed_.insert(keys[i]);
      }
    }
  }

  void believe(const Who& holder, Number key) {
    // Where one has lied, the next hub will hear both, and may believe the other.
    const bool is_guaranteed = !setup_.recovers || !beliefs_.is_doubtful(key, holder, now_.lease);
    beliefs_.believe(key, holder, now_.lease, {now_.lease + lease_ttl, incarnation_, is_guaranteed});
  }

  void give_up(const Who& holder, const Numbers& keys) {
    for (const Number key : keys) beliefs_.give_up(key, holder);
  }

  void look_at_entries() {
    for (Number key = 1; key <= last_key; ++key) {
      const bool is_stored = std::as_const(hub_->policy()).find(key) != nullptr;
      if (is_stored) beliefs_.forget(key);
      if (!is_stored && confirmed_.contains(key)) {
        throw Disagreement{"key " + std::to_string(key) + " was confirmed, and is gone"};
      }
    }
  }

  void look_at_statistics() const {
    const HubStats hub = hub_->stats();
    const HubStats& model = model_->stats;
    const auto same = [](const char* name, std::uint64_t of_hub, std::uint64_t of_model) {
      if (of_hub == of_model) return;
      throw Disagreement{std::string{name} + ": " + std::to_string(of_hub) + " in the hub, " +
                         std::to_string(of_model) + " in the model"};
    };
    same("granted", hub.granted, model.granted);
    same("already_stored", hub.already_stored, model.already_stored);
    same("leased", hub.leased, model.leased);
    same("stored", hub.stored, model.stored);
    same("entries_registered", hub.entries_registered, model.entries_registered);
    same("entries_refused", hub.entries_refused, model.entries_refused);
    same("repeated", hub.repeated, model.repeated);
    same("malformed", hub.malformed, model.malformed);
    same("undeliverable", hub.undeliverable, model.undeliverable);
    same("waiting_claims", hub.waiting_claims, model.waiting_claims);
    same("removed", hub.removed, model.removed);
    same("evicted", hub.evicted, model.evicted);
    same("superseded", hub.superseded, model.superseded);
    same("expired", hub.expired, model.expired);
    same("leases.active", hub.leases.active, model.leases.active);
    same("leases.granted", hub.leases.granted, model.leases.granted);
    same("leases.renewed", hub.leases.renewed, model.leases.renewed);
    same("leases.expired", hub.leases.expired, model.leases.expired);
    same("leases.released", hub.leases.released, model.leases.released);
    same("leases.converted", hub.leases.converted, model.leases.converted);
  }

  void remember() {
    const HubStats stats = hub_->stats();
    seen_["undeliverable"] += stats.undeliverable;
    seen_["repeated"] += stats.repeated;
    seen_["overtaken"] += model_->overtaken;
    seen_["removed"] += stats.removed;
    seen_["evicted"] += stats.evicted;
    seen_["superseded"] += stats.superseded;
    seen_["expired"] += stats.expired;
    seen_["lease expired"] += stats.leases.expired;
    seen_["lease released"] += stats.leases.released;
    seen_["lease converted"] += stats.leases.converted;
  }

  Setup setup_;
  Seen& seen_;
  Instant now_{SteadyTime{std::chrono::seconds{1000}}, std::chrono::sys_seconds{std::chrono::seconds{1'700'000'000}}};
  std::uint64_t incarnation_ = 100;
  std::unique_ptr<HubCore<P>> hub_;
  std::unique_ptr<HubModel> model_;
  std::array<Peer, peer_names.size()> peers_;
  std::map<std::pair<std::size_t, std::optional<std::uint64_t>>, std::pair<Question, Numbers>> asked_;
  std::vector<Answer> given_;
  std::set<Number> left_in_this_call_;
  std::uint64_t repeated_before_ = 0;
  bool is_claiming_back_ = false;
  bool is_malformed_ = false;
  std::uint64_t last_token_ = 0;
  std::uint64_t last_token_by_ = 0;
  WallTime latest_wall_of_token_{};
  WallTime latest_wall_ = now_.wall;
  std::multimap<Number, EvictionHandle> held_;
  Beliefs<Number, Who> beliefs_;
  std::set<Number> confirmed_;
  std::string account_;
};

}  // namespace registry::test
