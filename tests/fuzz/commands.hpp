// SPDX-License-Identifier: Apache-2.0
// Reads an input as what is done to a hub beside its model. There is no input that is none.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <registry/message.hpp>

#include "fuzz/input.hpp"
#include "model/commands.hpp"

namespace registry::test {

/// A bound of some hubs.
inline std::size_t read_bound(Input& in, std::size_t most) {
  const std::size_t value = in.byte();
  return value < 128 ? 0 : 1 + value % most;
}

inline Setup read_setup(Input& in) {
  Setup setup;
  const std::size_t what = in.byte();
  setup.insists = what % 4 == 1;
  setup.max_waiting_bytes = what < 128 ? 0 : what < 192 ? 1000 : 100;
  setup.recovers = in.flag();
  setup.capacity = read_bound(in, 4);
  setup.max_leases = read_bound(in, 4);
  setup.max_leases_per_client = read_bound(in, 3);
  setup.max_keys = read_bound(in, 4);
  setup.max_clients = read_bound(in, 3);
  setup.max_waiting = read_bound(in, 2);
  setup.max_waiting_claims = read_bound(in, 3);
  return setup;
}

inline Numbers read_keys(Input& in) {
  Numbers keys(in.byte() % 5);
  for (Number& key : keys) key = 1 + in.byte() % last_key;
  return keys;
}

inline Puts read_entries(Input& in) {
  static constexpr std::array<std::uint32_t, 4> lives{0, 0, 1, 3};
  Puts entries(in.byte() % 4);
  for (Put& entry : entries) {
    const std::size_t key = in.byte();
    const std::size_t rest = in.byte();
    entry = {1 + key % last_key, rest % 3, lives[rest / 3 % lives.size()]};
  }
  return entries;
}

inline Command read_command(Input& in) {
  using std::chrono::milliseconds;
  static constexpr std::array waits{milliseconds{0}, milliseconds{1000}, milliseconds{2000}, milliseconds{10'000}};
  static constexpr std::array steps{
      milliseconds{100}, milliseconds{500}, milliseconds{1000}, milliseconds{2000}, milliseconds{3000}};
  static constexpr std::array more_by_the_wall{
      milliseconds{0}, milliseconds{0}, milliseconds{700}, milliseconds{-4000}};
  static constexpr std::array origins{Origin::truth, Origin::truth, Origin::nobody, Origin::lie};
  static constexpr std::array ways{Way::pushed, Way::acknowledged, Way::lost};
  static constexpr std::array types{
      MessageType::claim, MessageType::renew, MessageType::can_offload, MessageType::release,  MessageType::withdraw,
      MessageType::sync,  MessageType::match, MessageType::remove,      MessageType::remove_if};
  const std::size_t what = in.byte();
  const std::size_t who = in.byte();
  const std::size_t peer = who % peer_names.size();
  const std::size_t client = who % clients;
  const std::uint64_t claim = who / 16 % 3;
  const bool follows = who >= 128;
  // Elements of a braced list are read in their order, which arguments of a call are not.
  switch (what % 32) {
    default: return Claim{peer, claim, read_keys(in), in.one_of(waits)};
    case 8: return CanOffload{peer, read_keys(in)};
    case 9: return ClaimAgain{client};
    case 10:
    case 11: return Renew{peer, claim, read_keys(in), in.one_of(origins)};
    case 12:
    case 13: return Release{peer, claim, read_keys(in)};
    case 14: return Withdraw{client, in.byte() % std::size_t{4}};
    case 15: return Match{peer, read_keys(in)};
    case 16: return Touch{peer, read_keys(in)};
    case 17: return Remove{peer, read_keys(in), follows};
    case 18: return RemoveIf{peer, read_entries(in), follows};
    case 19:
    case 20: return Register{peer, claim, read_entries(in), in.one_of(ways), follows};
    case 21: return Resend{client, in.byte() % std::size_t{4}, in.one_of(ways), in.flag(), follows};
    case 22:
      if (what >= 192) return Hello{peer, follows};
      return Sync{peer, in.byte() % std::size_t{4}, follows};
    case 23: return Malformed{peer, in.one_of(types), read_keys(in), in.flag()};
    case 24: return Hold{follows};
    case 25: return LetGo{1 + who % last_key};
    case 26:
    case 27: {
      const milliseconds step = in.one_of(steps);
      return Pass{step, step + more_by_the_wall[who / 64]};
    }
    case 28:
    case 29: return Tick{};
    case 30: return Cut{peer, follows};
    case 31: return Restart{follows};
  }
}

}  // namespace registry::test
