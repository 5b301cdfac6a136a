// SPDX-License-Identifier: Apache-2.0
// What can be done to a hub, as values that show themselves. All of it can be done at any time: what refers to
// something before it does so relative to the end, and does nothing where there is no such thing, so that a sequence
// from which some are left out still means something.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include <registry/message.hpp>

#include "model/texts.hpp"

namespace registry::test {

/// A value of a registration; with a life in seconds where 0 is for ever.
struct Put {
  Number key = 1;
  Number value = 0;
  std::uint32_t seconds = 0;
};
using Puts = std::vector<Put>;

enum class Way { pushed, acknowledged, lost };

struct CanOffload {
  std::size_t peer;
  Numbers keys;
};
struct Claim {
  std::size_t peer;
  std::uint64_t claim;
  Numbers keys;
  std::chrono::milliseconds wait;
};
/// The last claim of this client but `back` that was to wait is sent once more: it may wait still, and others behind
/// it.
struct ClaimAgain {
  std::size_t peer;
  std::size_t back = 0;
};
/// Who keeps its leases says who granted them: the truth, nobody, or, a lie, the hub before this one.
enum class Origin { truth, nobody, lie };
struct Renew {
  std::size_t peer;
  std::uint64_t claim;
  Numbers keys;
  Origin origin;
};
struct Release {
  std::size_t peer;
  std::uint64_t claim;
  Numbers keys;
};
/// Takes back what the last CanOffload or Claim but `back` has brought.
struct Withdraw {
  std::size_t peer;
  std::size_t back;
};
struct Match {
  std::size_t peer;
  Numbers keys;
};
struct Touch {
  std::size_t peer;
  Numbers keys;
};
/// `follows`: not before all registrations of its client.
struct Remove {
  std::size_t peer;
  Numbers keys;
  bool follows;
};
struct RemoveIf {
  std::size_t peer;
  Puts entries;
  bool follows;
};
struct Register {
  std::size_t peer;
  std::uint64_t claim;
  Puts entries;
  Way way;
  bool follows;
};
/// The last registration but `back`, whether or not it has come.
struct Resend {
  std::size_t peer;
  std::size_t back;
  Way way;
  bool is_marked;
  bool follows;
};
struct Sync {
  std::size_t peer;
  std::size_t back;
  bool follows;
};
/// Asks for the namespace of this hub, or for another one.
struct Hello {
  std::size_t peer;
  bool is_served;
};
/// A message of this type that is a byte too long or too short.
struct Malformed {
  std::size_t peer;
  MessageType type;
  Numbers keys;
  bool is_longer;
};
/// From now on the key of every entry that leaves is held, or no longer is.
struct Hold {
  bool is_holding;
};
/// One of those who hold this key lets it go.
struct LetGo {
  Number key;
};
/// By the wall clock it may go back.
struct Pass {
  std::chrono::milliseconds lease;
  std::chrono::milliseconds wall;
};
struct Tick {};
struct Cut {
  std::size_t peer;
  bool is_cut;
};
struct Restart {
  bool is_orderly;
};

using Command = std::variant<CanOffload, Claim, ClaimAgain, Renew, Release, Withdraw, Match, Touch, Remove, RemoveIf,
                             Register, Resend, Sync, Hello, Malformed, Hold, LetGo, Pass, Tick, Cut, Restart>;

/// How the hub is set up; zero: without a bound.
struct Setup {
  bool insists = false;
  std::size_t capacity = 0;
  std::size_t max_leases = 0;
  /// Then no claim waits: which of several keys is served first, and so which of them is one too many, is the hub's own
  /// affair.
  std::size_t max_leases_per_client = 0;
  std::size_t max_keys = 0;
  std::size_t max_clients = 0;
  std::size_t max_waiting = 0;
  std::size_t max_waiting_claims = 0;
  std::size_t max_waiting_bytes = 0;
  bool recovers = false;
};

struct Sequence {
  Setup setup;
  std::vector<Command> commands;
};

inline std::string show(const Numbers& keys) {
  std::string text = "{";
  for (const Number key : keys) text += (text.size() > 1 ? ", " : "") + std::to_string(key);
  return text + "}";
}

inline std::string show(const Puts& entries) {
  std::string text = "{";
  for (const Put& entry : entries) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(entry.key) + "=" + std::to_string(entry.value);
    if (entry.seconds > 0) text += " for " + std::to_string(entry.seconds) + " s";
  }
  return text + "}";
}

inline std::string show(std::size_t peer, std::uint64_t claim = 0) {
  return std::string{peer_names.at(peer)} + (claim > 0 ? ", claim " + std::to_string(claim) + "," : "");
}

inline std::string but(std::size_t back) { return back == 0 ? "last" : "last but " + std::to_string(back); }
inline std::string following(bool follows) { return follows ? ", behind its registrations" : ""; }

inline std::string show(Way way) {
  return way == Way::pushed ? ", pushed" : way == Way::acknowledged ? ", to be acknowledged" : ", does not arrive";
}

inline std::string show(const CanOffload& one) { return show(one.peer) + " asks for " + show(one.keys); }
inline std::string show(const Claim& one) {
  return show(one.peer, one.claim) + " claims " + show(one.keys) +
         (one.wait > one.wait.zero() ? " and waits " + milliseconds(one.wait) : "");
}
inline std::string show(const ClaimAgain& one) {
  return show(one.peer) + " sends its claim, the " + but(one.back) + ", again";
}
inline std::string show(const Renew& one) {
  return show(one.peer, one.claim) + " renews " + show(one.keys) +
         (one.origin == Origin::truth    ? ""
          : one.origin == Origin::nobody ? ", granted by nobody"
                                         : ", granted by another hub, which is a lie");
}
inline std::string show(const Release& one) { return show(one.peer, one.claim) + " releases " + show(one.keys); }
inline std::string show(const Withdraw& one) {
  return show(one.peer) + " withdraws its question, the " + but(one.back);
}
inline std::string show(const Match& one) { return show(one.peer) + " matches " + show(one.keys); }
inline std::string show(const Touch& one) { return show(one.peer) + " touches " + show(one.keys); }
inline std::string show(const Remove& one) {
  return show(one.peer) + " removes " + show(one.keys) + following(one.follows);
}
inline std::string show(const RemoveIf& one) {
  return show(one.peer) + " removes, if it is so, " + show(one.entries) + following(one.follows);
}
inline std::string show(const Register& one) {
  return show(one.peer, one.claim) + " registers " + show(one.entries) + show(one.way) + following(one.follows);
}
inline std::string show(const Resend& one) {
  return show(one.peer) + " sends its registration, the " + but(one.back) + ", again" + show(one.way) +
         (one.is_marked ? ", marked as resent" : "") + following(one.follows);
}
inline std::string show(const Sync& one) {
  return show(one.peer) + " synchronises from the " + but(one.back) + following(one.follows);
}
inline std::string show(const Hello& one) {
  return show(one.peer) + (one.is_served ? " says hello" : " says hello to another namespace");
}
inline std::string show(const Malformed& one) {
  return show(one.peer) + " sends a message of type " + std::to_string(static_cast<unsigned>(one.type)) + " with " +
         show(one.keys) + ", a byte too " + (one.is_longer ? "long" : "short");
}
inline std::string show(const Hold& one) {
  return one.is_holding ? "what leaves is held from now on" : "what leaves is no longer held";
}
inline std::string show(const LetGo& one) { return "key " + std::to_string(one.key) + " is let go by one"; }
inline std::string show(const Pass& one) {
  return milliseconds(one.lease) + " pass" +
         (one.wall == one.lease ? "" : ", by the wall clock " + milliseconds(one.wall));
}
inline std::string show(const Tick&) { return "tick"; }
inline std::string show(const Cut& one) {
  return show(one.peer) + (one.is_cut ? " cannot be reached" : " can be reached again");
}
inline std::string show(const Restart& one) {
  return one.is_orderly ? "the hub stops and starts" : "the hub is killed and starts";
}

inline std::string show(const Command& command) {
  return std::visit([](const auto& one) { return show(one); }, command);
}

inline std::string show(const Setup& setup) {
  std::string text = "a hub";
  const auto bound = [&](const char* name, std::size_t most) {
    if (most > 0) text += std::string{", "} + name + " " + std::to_string(most);
  };
  bound("capacity", setup.capacity);
  bound("max_leases", setup.max_leases);
  bound("max_leases_per_client", setup.max_leases_per_client);
  bound("max_keys_per_query", setup.max_keys);
  bound("max_clients", setup.max_clients);
  bound("max_waiting", setup.max_waiting);
  bound("max_waiting_claims", setup.max_waiting_claims);
  bound("max_waiting_bytes", setup.max_waiting_bytes);
  return text + (setup.insists ? ", insists on the holder" : "") + (setup.recovers ? ", recovers after a restart" : "");
}

inline std::ostream& operator<<(std::ostream& out, const Sequence& sequence) {
  out << show(sequence.setup) << '\n';
  for (std::size_t i = 0; i < sequence.commands.size(); ++i) {
    out << "  " << i + 1 << ". " << show(sequence.commands[i]) << '\n';
  }
  return out;
}

}  // namespace registry::test
