// SPDX-License-Identifier: Apache-2.0
// Reads the input as what happens to a hub (queries, registrations, arbitrary bytes, time, lost answers, handles held),
// and compares every answer with a model of leases that is too simple to be wrong. It knows no claims: once there has
// been one, what is left to compare is that every query is answered once, that nobody waits for ever, and what the
// numbers say.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/envelope.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/storage.hpp>
#include <registry/trailer.hpp>

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

using Number = std::uint64_t;
using Storage = HashMapStorage<Number, Number, chain::Link>;
using Policy = TailEviction<Storage>;
using C = BinaryCodec<Number, Number, chain::Link>;
using ChainEntry = Entry<Number, Number, chain::Link>;

constexpr std::size_t capacity = 6;
constexpr std::size_t max_leases = 8;
constexpr std::size_t max_keys = 12;
constexpr std::size_t max_parked = 4;
constexpr std::chrono::seconds lease_ttl{3};
constexpr std::uint64_t incarnation = 7;

void require(bool condition, std::source_location here = std::source_location::current()) {
  if (condition) return;
  std::cerr << here.file_name() << ':' << here.line() << ": not what was expected\n";
  std::abort();
}

class Input {
 public:
  explicit Input(ByteView bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = std::to_integer<std::uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }
  Bytes take(std::size_t size) {
    const ByteView some = bytes_.first(std::min(size, bytes_.size()));
    bytes_ = bytes_.subspan(some.size());
    return {some.begin(), some.end()};
  }

 private:
  ByteView bytes_;
};

HubOptions options() {
  HubOptions all;
  all.lease_ttl = lease_ttl;
  all.lease_cleanup_interval = std::chrono::seconds{2};
  all.max_leases = max_leases;
  all.max_keys_per_query = max_keys;
  all.registration_wait = std::chrono::seconds{1};
  all.max_waiting = 3;
  all.max_clients = 3;
  all.max_waiting_claims = max_parked;
  all.incarnation = incarnation;
  all.log = [](LogLevel, std::string_view text) { require(!text.empty()); };
  return all;
}

class World {
 public:
  World()
      : core_(Policy(Storage(1), capacity), options(),
              [this](const Number& key, const Number&, const chain::Link&, EvictionReason reason,
                     const Departure<Number>& departure) {
                if (reason != EvictionReason::expired) left_.insert(key);
                if (hold_ && handles_.size() < 4) handles_.emplace_back(key, departure.hold());
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
    // A claim that is withdrawn, or sent again, while it waits is not answered any more.
    require(!knows_leases_ || outstanding_.empty());
    require(core_.stats().waiting_claims == 0);
  }

 private:
  struct Lease {
    Holder holder;
    std::uint64_t request = 0;
    bool shared = false;
    SteadyTime deadline;
  };

  struct Peer {
    std::string sender;
    std::optional<ClientId> id;
    std::string name_space;
    std::uint64_t sequence = 0;
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
    return keys_message(types[in.byte() % types.size()], in);
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
    const MessageType type = types[in.byte() % types.size()];
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
      const auto it = outstanding_.find(address);
      require(it != outstanding_.end());  // else an answer to nobody, or a second one
      outstanding_.erase(it);
      answer_ = Bytes{message.begin(), message.end()};
      MessageType type{};
      require(!C::decode_type(message, type));
      return reachable_;
    };
  }

  void tick() { core_.tick(now_, reply()); }

  void query(const std::string& sender, const std::vector<Bytes>& envelope, const Bytes& message) {
    ++queries_;
    outstanding_.emplace(sender, envelope);
    answer_.reset();
    const std::vector<ByteView> frames(envelope.begin(), envelope.end());
    core_.query(as_bytes(sender), frames, message, now_, reply());

    const auto ours = frames.size() == 1 ? Envelope::decode(frames[0]) : std::nullopt;
    if (!ours) ++anonymous_;
    const Holder holder = ours ? Holder::client(ours->client) : Holder::connection(as_bytes(sender));
    // A request that is unlike all others where the peer has no numbers of its own.
    const std::uint64_t request = ours ? ours->number : anonymous_;
    MessageType type{};
    const bool known = !C::decode_type(message, type);
    if ((ours && ours->claim) || (known && is_beyond_model(type))) knows_leases_ = false;
    if (!knows_leases_) return;
    if (!answer_) {
      require(known && type == MessageType::remove && ours && ours->after);
      return;
    }
    const bool served = !ours || ours->name_space == default_namespace;
    std::vector<Number> keys;
    if (!known || !is_about_keys(type) || C::decode_keys(message, keys) || !served || keys.size() > max_keys) {
      return require(is_refusal() || (type == MessageType::hello && served));
    }
    if (type == MessageType::can_offload) {
      can_offload(keys, holder, request);
    } else if (type == MessageType::release || type == MessageType::withdraw) {
      std::uint64_t released = 0;
      for (const Number key : keys) {
        const auto it = leases_.find(key);
        if (it == leases_.end() || now_.lease >= it->second.deadline || !(it->second.holder == holder)) continue;
        if (type == MessageType::withdraw && (it->second.shared || it->second.request != request)) continue;
        leases_.erase(it);
        ++released;
      }
      std::uint64_t count = 0;
      require(!C::decode_count(*answer_, count) && count == released);
    }
  }

  static bool is_beyond_model(MessageType type) {
    return type == MessageType::register_entries || static_cast<unsigned>(type) > 36;
  }

  static bool is_about_keys(MessageType type) {
    return type == MessageType::can_offload || type == MessageType::match || type == MessageType::remove ||
           type == MessageType::touch || type == MessageType::release || type == MessageType::withdraw;
  }

  bool is_refusal() const {
    MessageType type{};
    return !C::decode_type(*answer_, type) && type == MessageType::error_response;
  }

  void can_offload(const std::vector<Number>& keys, const Holder& holder, std::uint64_t request) {
    std::vector<OffloadStatus> expected;
    std::set<Number> granted;
    bool full = false;
    for (const Number key : keys) {
      if (core_.policy().find(key) != nullptr) {
        expected.push_back(OffloadStatus::already_stored);
        continue;
      }
      std::erase_if(leases_, [&](const auto& one) { return now_.lease >= one.second.deadline; });
      const auto it = leases_.find(key);
      const bool held = std::ranges::any_of(handles_, [&](const auto& one) { return one.first == key; });
      if (held || (it != leases_.end() && (!(it->second.holder == holder) || it->second.request == request))) {
        expected.push_back(OffloadStatus::leased);
        continue;
      }
      if (it == leases_.end() && leases_.size() == max_leases) {
        full = true;
        break;
      }
      leases_[key] = {holder, request, it != leases_.end(), now_.lease + lease_ttl};
      granted.insert(key);
      expected.push_back(OffloadStatus::granted);
    }
    if (full) {
      require(is_refusal());
    } else {
      std::vector<OffloadStatus> statuses;
      require(!C::decode_statuses(*answer_, statuses) && statuses == expected);
    }
    if (full || !reachable_) {
      for (const Number key : granted) {
        if (!leases_.at(key).shared) leases_.erase(key);
      }
    }
  }

  void registration(const std::string& sender, const std::optional<Bytes>& frame, const Bytes& message) {
    ++registrations_;
    left_.clear();
    const std::optional<ByteView> second = frame ? std::optional<ByteView>{*frame} : std::nullopt;
    const HubStats before = core_.stats();
    core_.registration(sender, second, message, now_, reply());
    const HubStats after = core_.stats();
    const std::uint64_t settled =
        after.entries_registered + after.entries_refused - before.entries_registered - before.entries_refused;
    // What is stored now, or was stored and has left again, is leased no more.
    std::vector<ChainEntry> entries;
    MessageType type{};
    if ((second && !Envelope::decode(*second)) || C::decode_type(message, type) ||
        type != MessageType::register_entries || C::decode_entries(message, entries)) {
      return require(settled == 0);
    }
    // Whatever number it has, a registration that can be read is not dropped, unless it has come before.
    // (An acknowledged one that has waited for it may follow, and counts as well.)
    if (knows_leases_) require(settled == (after.repeated > before.repeated ? 0 : entries.size()));
    for (const ChainEntry& entry : entries) {
      if (core_.policy().find(entry.key) != nullptr || left_.contains(entry.key)) leases_.erase(entry.key);
    }
  }

  void check() {
    const HubStats stats = core_.stats();
    require(stats.queries == queries_ && stats.registrations == registrations_);
    require(stats.stored == core_.policy().size() && stats.stored <= capacity);
    require(!knows_leases_ || outstanding_.size() <= 3);
    require(stats.waiting_claims <= max_parked);
    const LeaseStats& leases = stats.leases;
    require(leases.active <= max_leases);
    require(leases.granted == leases.active + leases.expired + leases.released + leases.converted);
    require(stats.malformed <= stats.queries + stats.registrations);
    require(!outstanding_.empty() || leases.active == 0 || core_.next_deadline());
  }

  std::array<Peer, 7> peers_{
      {{"one", ClientId{1, 1}, "default"},
       {"two", ClientId{1, 2}, "default"},
       {"three", ClientId{1, 3}, "default"},
       {"four", ClientId{1, 4}, "default"},
       {"tenant", ClientId{1, 1}, "tenant-a"},
       {"rust1", std::nullopt, ""},
       {"a routing id of more than fifteen bytes", std::nullopt, ""}}};
  Instant now_{SteadyTime{std::chrono::seconds{1000}}, WallTime{std::chrono::seconds{1'700'000'000}}};
  std::uint64_t request_ = 0;
  std::uint64_t anonymous_ = 0;
  std::uint64_t queries_ = 0;
  std::uint64_t registrations_ = 0;
  bool reachable_ = true;
  bool hold_ = false;
  bool hook_throws_ = false;
  std::multiset<Address> outstanding_;
  std::optional<Bytes> answer_;
  bool knows_leases_ = true;
  std::map<Number, Lease> leases_;
  std::set<Number> left_;
  std::vector<std::pair<Number, EvictionHandle>> handles_;
  HubCore<Policy, C> core_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(std::as_bytes(std::span{data, size}));
  World world;
  world.run(in);
  return 0;
}
