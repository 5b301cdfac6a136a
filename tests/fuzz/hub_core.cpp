// SPDX-License-Identifier: Apache-2.0
// Reads the input as what happens to a hub, in one of two ways. Either beside its model, which says what every answer
// must be; what is done then makes sense. Or with peers that say whatever bytes can say, to several namespaces with a
// policy that knows chains and a hook that throws: then nobody is granted what another relies on, every query is
// answered once, nobody waits for ever, and the numbers are consistent and within their bounds.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/claim_queue.hpp>
#include <registry/core/hub_namespaces.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/options.hpp>
#include <registry/envelope.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/holder.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/trailer.hpp>

#include "fuzz/commands.hpp"
#include "fuzz/input.hpp"
#include "model/beliefs.hpp"
#include "model/hub_beside_model.hpp"
#include "model/kinds.hpp"

namespace chain {

/// A block that may name its parent and may end.
struct Link {
  std::uint8_t parent = 0;  // 0: none
  std::uint8_t ttl = 0;     // seconds; 0: none
  friend bool operator==(const Link&, const Link&) = default;

  std::optional<std::chrono::sys_seconds> expires_at(std::chrono::sys_seconds arrival) const {
    return registry::TimestampMetadata{~std::uint64_t{0}, ttl == 0 ? std::nullopt : std::optional<std::uint32_t>{ttl}}
        .expires_at(arrival);
  }
};

inline std::optional<std::uint64_t> parent_key(std::uint64_t, const Link& link) {
  return link.parent == 0 ? std::nullopt : std::optional<std::uint64_t>{link.parent};
}

}  // namespace chain

template <>
struct registry::wire<chain::Link> : registry::wire_fields<&chain::Link::parent, &chain::Link::ttl> {};

namespace {

using namespace registry;
using registry::test::Beliefs;
using registry::test::Input;
using registry::test::Number;

using Storage = HashMapStorage<Number, Number, chain::Link>;
using Policy = TailEviction<Storage>;
using C = BinaryCodec<Number, Number, chain::Link>;
using ChainEntry = Entry<Number, Number, chain::Link>;

constexpr std::size_t capacity = 6;
constexpr std::size_t max_leases = 8;
constexpr std::size_t max_leases_per_client = 5;
constexpr std::size_t max_keys = 12;
constexpr std::size_t max_waiting = 3;
constexpr std::size_t max_waiting_claims = 4;
constexpr std::size_t max_waiting_bytes = 2500;
constexpr std::chrono::seconds lease_ttl{3};

void require(bool condition, std::source_location here = std::source_location::current()) {
  if (condition) return;
  std::cerr << here.file_name() << ':' << here.line() << ": not what was expected\n";
  std::abort();
}

HubOptions options(std::size_t max_namespaces) {
  HubOptions all;
  all.lease_ttl = lease_ttl;
  all.lease_cleanup_interval = std::chrono::seconds{2};
  all.max_leases = max_leases;
  all.max_leases_per_client = max_leases_per_client;
  all.max_keys_per_query = max_keys;
  all.registration_wait = std::chrono::seconds{1};
  all.max_waiting = max_waiting;
  all.max_clients = 3;
  all.max_waiting_claims = max_waiting_claims;
  all.max_waiting_bytes = max_waiting_bytes;
  all.max_namespaces = max_namespaces;
  all.incarnation = 7;
  all.log = [](LogLevel, std::string_view text) { require(!text.empty()); };
  return all;
}

/// Peers that keep to nothing.
class World {
 public:
  explicit World(std::size_t max_namespaces)
      : hub_([](std::string_view) { return Policy(Storage(1), capacity); }, options(max_namespaces),
             [this](std::string_view name_space, Number key, Number, const chain::Link&, EvictionReason reason,
                    const Departure<Number>& departure) {
               if (reason != EvictionReason::expired) beliefs_.forget({std::string{name_space}, key});
               if (hold_ && handles_.size() < 4) handles_.push_back(departure.hold());
               if (hook_throws_) throw 42;
             }) {}

  void run(Input& in) {
    while (!in.empty()) {
      step(in);
      check();
    }
    // Whatever still waits is answered when it has waited long enough.
    reachable_ = true;
    handles_.clear();
    pass(std::chrono::hours{1});
    tick();
    require(outstanding_.empty() && hub_.stats().waiting_claims == 0);
  }

 private:
  /// The same number in two namespaces is two keys.
  using Key = std::pair<std::string, Number>;
  using Name = std::pair<ClientId, bool>;  // of a Holder

  struct Peer {
    std::string sender;
    std::optional<ClientId> id;
    std::string name_space;
    std::uint64_t sequence = 0;
  };

  /// What has been asked, with what an answer to it may grant.
  struct Question {
    std::string name_space;
    ClientId client;
    Name holder;
    bool is_of_claim = false;
    std::optional<std::uint64_t> number;
    std::vector<Number> keys;
    std::size_t bytes = 0;
    /// Another one came from the same address, and to which of them an answer is cannot be told.
    bool is_ambiguous = false;
  };
  using Address = std::pair<std::string, std::vector<Bytes>>;

  void step(Input& in) {
    const std::uint8_t what = in.byte();
    Peer& peer = peers_[in.byte() % peers_.size()];
    switch (what % 12) {
      case 10: return query(peer.sender, claim_envelope(peer, in), claim_message(in));
      case 11: return query(peer.sender, claim_envelope(peer, in), entries_message(in));
      case 0:
      case 1:
      case 2: return query(peer.sender, envelope(peer, in), keys_message(in));
      case 3: return query(peer.sender, envelope(peer, in), in.take(in.byte()));
      case 4: return query(peer.sender, foreign_envelope(in), keys_message(in));
      case 5: return registration(peer.sender, second_frame(peer, in), entries_message(in));
      case 6: {
        const bool has_frame = in.byte() % 2 == 0;
        std::optional<Bytes> frame;
        if (has_frame) frame = in.take(in.byte() % 48);
        return registration(peer.sender, frame, in.take(in.byte()));
      }
      case 7: pass(std::chrono::milliseconds{in.byte() * 16}); return tick();
      case 8: return pass(std::chrono::milliseconds{in.byte() * 8});
      default: return change(in.byte());
    }
  }

  void change(std::uint8_t what) {
    if (what >= 224) return end_waiting();
    switch (what % 4) {
      case 0: reachable_ = !reachable_; break;
      case 1: hold_ = !hold_; break;
      case 2: hook_throws_ = !hook_throws_; break;
      default:
        if (!handles_.empty()) handles_.erase(handles_.begin());
        break;
    }
  }

  std::vector<Bytes> envelope(const Peer& peer, Input& in) {
    if (!peer.id) return {};
    const std::uint8_t after = in.byte();
    std::vector<Bytes> frames(1);
    Envelope{
        ++request_, *peer.id, after < 128 ? std::nullopt : std::optional<std::uint64_t>{after - 128U}, peer.name_space}
        .encode(frames[0]);
    return frames;
  }

  std::vector<Bytes> claim_envelope(const Peer& peer, Input& in) {
    if (!peer.id) return {};
    const std::uint8_t what = in.byte();
    const auto number = [&](unsigned bit) {
      return (what >> bit & 1U) != 0 ? std::optional<std::uint64_t>{in.byte() % 8} : std::nullopt;
    };
    std::vector<Bytes> frames(1);
    Envelope{
        (what & 1U) != 0 ? ++request_ : request_, *peer.id, number(1), peer.name_space, number(2), number(3), number(4)}
        .encode(frames[0]);
    return frames;
  }

  static std::vector<Bytes> foreign_envelope(Input& in) {
    std::vector<Bytes> frames(in.byte() % 3);
    for (Bytes& frame : frames) frame = in.take(in.byte() % 48);
    return frames;
  }

  static std::optional<Bytes> second_frame(Peer& peer, Input& in) {
    if (!peer.id) return std::nullopt;
    const std::uint8_t step = in.byte();
    peer.sequence = step < 200 ? peer.sequence + 1 : step % 8U;
    Bytes frame;
    Envelope{peer.sequence, *peer.id, std::nullopt, peer.name_space}.encode(frame);
    return frame;
  }

  static Bytes keys_message(Input& in) {
    static constexpr std::array types{
        MessageType::can_offload, MessageType::can_offload, MessageType::match,    MessageType::remove,
        MessageType::touch,       MessageType::release,     MessageType::withdraw, MessageType::hello};
    return keys_message(in.one_of(types), in);
  }

  static Bytes keys_message(MessageType type, Input& in) {
    std::vector<Number> keys(in.byte() % (max_keys + 2));
    for (Number& key : keys) key = in.byte() % 16;
    Bytes message;
    C::encode_keys(type, std::span<const Number>{keys}, message);
    return message;
  }

  /// A claim, perhaps with a wait, a renewal, a claim-back, a release, a withdrawal or a question about registrations.
  static Bytes claim_message(Input& in) {
    static constexpr std::array types{MessageType::claim,   MessageType::claim,    MessageType::renew,
                                      MessageType::release, MessageType::withdraw, MessageType::sync};
    const MessageType type = in.one_of(types);
    Bytes message;
    if (type == MessageType::sync) {
      C::encode_count(type, in.byte() % 8, message);
      return message;
    }
    message = keys_message(type, in);
    if (type == MessageType::claim) append_trailer<1>({in.byte() * std::uint64_t{16'000'000}}, message);
    if (type == MessageType::renew) append_trailer<1>({in.byte() % std::uint64_t{8}}, message);
    return message;
  }

  static Bytes entries_message(Input& in) {
    Bytes message;
    C::begin_entries(MessageType::register_entries, message);
    for (std::uint8_t left = in.byte() % 6; left > 0; --left) {
      const Number key = in.byte() % 16;
      const Number value = in.byte() % 3;
      require(!C::append_entry(
          key, value, {static_cast<std::uint8_t>(in.byte() % 16), static_cast<std::uint8_t>(in.byte() % 8)}, message));
    }
    return message;
  }

  void pass(std::chrono::milliseconds time) {
    now_.lease += time;
    now_.wall += time;
  }

  auto reply() {
    return [this](ByteView recipient, Frames envelope, ByteView message) {
      Address address{std::string{as_text(recipient)}, {}};
      for (const ByteView frame : envelope) address.second.emplace_back(frame.begin(), frame.end());
      auto& where = outstanding_.contains(address) ? outstanding_ : dropped_;
      const auto question = where.find(address);
      require(question != where.end());  // else an answer to nobody, or a second one
      if (reachable_ && !question->second.is_ambiguous) believe(question->second, message);
      where.erase(question);
      has_answered_ = true;
      return reachable_;
    };
  }

  /// What whoever has asked may rely on from now on.
  void believe(const Question& question, ByteView message) {
    MessageType type{};
    require(!C::decode_type(message, type));
    const auto believe_those = [&](const auto& statuses, auto granted) {
      require(statuses.size() == question.keys.size());
      for (std::size_t i = 0; i < statuses.size(); ++i) {
        if (statuses[i] != granted) continue;
        beliefs_.believe(
            {question.name_space, question.keys[i]}, question.holder, now_.lease, {now_.lease + lease_ttl});
        clients_[question.holder] = question.client;
      }
    };
    if (type == MessageType::can_offload_response || type == MessageType::claim_response) {
      if (type == MessageType::claim_response) message = split_trailer<4>(message).value().first;
      std::vector<OffloadStatus> statuses;
      require(!C::decode_statuses(message, statuses));
      believe_those(statuses, OffloadStatus::granted);
    } else if (type == MessageType::renew_response) {
      std::vector<RenewStatus> statuses;
      require(!C::decode_statuses(split_trailer<2>(message).value().first, statuses));
      believe_those(statuses, RenewStatus::held);
    }
  }

  void tick() {
    hub_.tick(now_, reply());
    if (const auto next = hub_.next_deadline()) require(*next > now_.lease);
  }

  void end_waiting() {
    hub_.end_waiting(now_, reply());
    require(outstanding_.empty() && hub_.stats().waiting_claims == 0);
  }

  void query(const std::string& sender, const std::vector<Bytes>& envelope, const Bytes& message) {
    ++queries_;
    const std::vector<ByteView> frames(envelope.begin(), envelope.end());
    Question question = read(sender, frames, message);
    MessageType type{};
    if (!C::decode_type(message, type)) prepare(type, question);
    const Address address{sender, envelope};
    for (auto* some : {&outstanding_, &dropped_}) {
      const auto [begin, end] = some->equal_range(address);
      for (auto other = begin; other != end; ++other) {
        if (other->second.keys == question.keys && other->second.bytes == question.bytes) continue;
        other->second.is_ambiguous = question.is_ambiguous = true;
      }
    }
    outstanding_.emplace(address, std::move(question));
    hub_.query(as_bytes(sender), frames, message, now_, reply());
  }

  static Question read(const std::string& sender, const std::vector<ByteView>& frames, ByteView message) {
    Question question;
    const auto ours = frames.size() == 1 ? Envelope::decode(frames[0]) : std::nullopt;
    Holder holder = Holder::connection(as_bytes(sender));
    if (ours) holder = ours->claim ? Holder::claim(ours->client, *ours->claim) : Holder::client(ours->client);
    question.name_space = ours ? ours->name_space : default_namespace;
    question.client = ours ? ours->client : holder.id;
    question.holder = {holder.id, holder.by_connection};
    if (ours) question.number = ours->number;
    question.is_of_claim = ours && ours->claim;
    question.bytes = sender.size() + message.size();
    for (const ByteView frame : frames) question.bytes += frame.size();
    MessageType type{};
    if (C::decode_type(message, type)) return question;
    if (type == MessageType::claim || type == MessageType::renew) {
      const auto parts = split_trailer<1>(message);
      if (parts) message = parts->first;
    }
    if (C::decode_keys(message, question.keys)) question.keys.clear();
    if (type == MessageType::claim && frames.size() == 1) {
      const WaitingClaim<Number> claim{
          Bytes(sender.size()), Bytes(frames[0].size()), holder, 0, 0, question.keys, {}, {}, {}};
      question.bytes = claim.bytes();
    }
    return question;
  }

  /// What is given back must not be relied on, and a claim that is withdrawn, or replaced, may never be answered.
  void prepare(MessageType type, const Question& question) {
    if (type == MessageType::release || type == MessageType::withdraw) {
      for (const Number key : question.keys) beliefs_.give_up({question.name_space, key}, question.holder);
    }
    if (type != MessageType::claim && type != MessageType::withdraw) return;
    for (auto it = outstanding_.begin(); it != outstanding_.end();) {
      const Question& other = it->second;
      const bool is_meant = other.number == question.number || (type == MessageType::claim && question.is_of_claim);
      const bool may_be_dropped =
          other.number && is_meant && other.name_space == question.name_space && other.holder == question.holder;
      if (may_be_dropped) dropped_.insert(*it);
      it = may_be_dropped ? outstanding_.erase(it) : std::next(it);
    }
  }

  void registration(const std::string& sender, const std::optional<Bytes>& frame, const Bytes& message) {
    ++registrations_;
    has_answered_ = false;
    const std::optional<ByteView> second = frame ? std::optional<ByteView>{*frame} : std::nullopt;
    const HubStats before = hub_.stats();
    hub_.registration(sender, second, message, now_, reply());
    const HubStats after = hub_.stats();
    const std::uint64_t settled =
        after.entries_registered + after.entries_refused - before.entries_registered - before.entries_refused;
    std::vector<ChainEntry> entries;
    MessageType type{};
    if ((second && !Envelope::decode(*second)) || C::decode_type(message, type) ||
        type != MessageType::register_entries || C::decode_entries(message, entries)) {
      return require(settled == 0);
    }
    // Whatever number it has, one that can be read is not dropped, unless it has come before. (An acknowledged one that
    // has waited for it may follow, and counts as well.)
    const std::uint64_t ours = after.repeated > before.repeated ? 0 : entries.size();
    require(has_answered_ ? settled >= ours || after.repeated > before.repeated : settled == ours);
  }

  void check() {
    const HubStats stats = hub_.stats();
    require(stats.queries == queries_ && stats.registrations == registrations_);
    require(stats.malformed <= queries_ + registrations_);
    const std::vector<std::string> names = hub_.namespaces();
    require(names.size() <= hub_.options().max_namespaces);
    require(outstanding_.size() <= names.size() * max_waiting + stats.waiting_claims);
    require(outstanding_.size() + dropped_.size() >= stats.waiting_claims);
    require((outstanding_.empty() && stats.leases.active == 0) || hub_.next_deadline());
    for (const std::string& name : names) check(name, hub_.stats(name).value());
  }

  void check(const std::string& name, const HubStats& stats) {
    const Policy& policy = hub_.find(name)->policy();
    require(stats.stored == policy.size() && stats.stored <= capacity);
    for (Number key = 0; key < 16; ++key) {
      if (policy.find(key) != nullptr) beliefs_.forget({name, key});
    }
    require(stats.waiting_claims <= max_waiting_claims);
    std::size_t waiting_bytes = 0;
    for (const auto& [address, question] : outstanding_)
      waiting_bytes += question.name_space == name && !question.is_ambiguous ? question.bytes : 0;
    require(waiting_bytes <= max_waiting_bytes);
    const LeaseStats& leases = stats.leases;
    require(leases.active <= max_leases);
    require(leases.granted == leases.active + leases.expired + leases.released + leases.converted);
    require(leases.granted + leases.renewed >= stats.granted);
    const auto held = [&](auto is_meant) {
      return beliefs_.count(
          now_.lease, [&](const Key& key, const Name& holder) { return key.first == name && is_meant(holder); });
    };
    require(held([](const Name&) { return true; }) <= leases.active);
    for (const auto& [holder, client] : clients_) {
      require(held([&](const Name& other) { return clients_.at(other) == client; }) <= max_leases_per_client);
    }
  }

  std::array<Peer, 7> peers_{
      {{"one", ClientId{1, 1}, "default"},
       {"two", ClientId{2, 1}, "default"},
       {"three", ClientId{3, 1}, "default"},
       {"four", ClientId{4, 1}, "default"},
       {"tenant", ClientId{1, 1}, "tenant-a"},
       {"rust1", std::nullopt, ""},
       {"a routing id of more than fifteen bytes", std::nullopt, ""}}};
  Instant now_{SteadyTime{std::chrono::seconds{1000}}, WallTime{std::chrono::seconds{1'700'000'000}}};
  std::uint64_t request_ = 0;
  std::uint64_t queries_ = 0;
  std::uint64_t registrations_ = 0;
  bool reachable_ = true;
  bool hold_ = false;
  bool hook_throws_ = false;
  bool has_answered_ = false;
  std::multimap<Address, Question> outstanding_;
  std::multimap<Address, Question> dropped_;
  Beliefs<Key, Name> beliefs_;
  std::map<Name, ClientId> clients_;
  std::vector<EvictionHandle> handles_;
  HubNamespaces<Policy, C> hub_;
};

template <class Kind>
void run_beside_model(Input& in) {
  test::Seen seen;
  test::HubBesideModel<Kind> both(test::read_setup(in), seen);
  try {
    while (!in.empty()) both.step(test::read_command(in));
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << "\n\nWhat was done and answered:\n" << both.account();
    std::abort();
  }
}

void run_among_strangers(Input& in, std::size_t max_namespaces) {
  World world(max_namespaces);
  try {
    world.run(in);
  } catch (const std::exception& failure) {
    std::cerr << failure.what() << '\n';
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(std::as_bytes(std::span{data, size}));
  const unsigned way = in.byte();
  switch (way % 4) {
    case 0: run_beside_model<test::WithoutEnd>(in); break;
    case 1: run_beside_model<test::WithoutTable>(in); break;
    case 2: run_beside_model<test::Evicting>(in); break;
    default: run_among_strangers(in, 1 + way / 4 % 2); break;
  }
  return 0;
}
