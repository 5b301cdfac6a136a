// SPDX-License-Identifier: Apache-2.0
// Random sequences of commands. There are few keys, values and clients, so that they meet.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rapidcheck.h>

#include <registry/message.hpp>

#include "model/commands.hpp"

namespace registry::test {

inline constexpr int most_commands = 60;

/// One of these; it shrinks towards the first.
template <class T>
rc::Gen<T> one_of(std::vector<T> values) {
  const std::size_t count = values.size();
  return rc::gen::map(
      rc::gen::inRange<std::size_t>(0, count), [values = std::move(values)](std::size_t i) -> T { return values[i]; });
}

/// However far rapidcheck has come, for it begins with what is small.
template <class T>
rc::Gen<std::vector<T>> up_to(int most, rc::Gen<T> one) {
  return rc::gen::resize(most, rc::gen::container<std::vector<T>>(rc::gen::resize(rc::kNominalSize, std::move(one))));
}

template <class C, class... Fields>
rc::Gen<Command> command_of(rc::Gen<Fields>... fields) {
  return rc::gen::apply([](Fields... values) { return Command{C{std::move(values)...}}; }, std::move(fields)...);
}

inline rc::Gen<Command> commands() {
  using namespace std::chrono_literals;
  using rc::gen::inRange;
  using std::chrono::milliseconds;
  const auto peer = one_of<std::size_t>({0, 0, 0, 1, 1, 2, anonymous});
  const auto client = one_of<std::size_t>({0, 0, 0, 1, 1, 2});
  const auto claim = inRange<std::uint64_t>(0, 3);
  const auto key = inRange<Number>(1, last_key + 1);
  const auto keys = up_to(4, key);
  const auto back = one_of<std::size_t>({0, 1, 0, 1, 2, 3});
  const auto follows = one_of<bool>({false, true});
  const auto value = inRange<Number>(0, 3);
  const auto seconds = one_of<std::uint32_t>({0, 0, 1, 3});
  const auto entries =
      up_to(3, rc::gen::apply([](Number k, Number v, std::uint32_t s) { return Put{k, v, s}; }, key, value, seconds));
  const auto way = one_of<Way>({Way::pushed, Way::acknowledged, Way::lost});
  const auto step = one_of<milliseconds>({100ms, 500ms, 1000ms, 2000ms, 3000ms});
  const auto more_by_the_wall = one_of<milliseconds>({0ms, 0ms, 0ms, 0ms, 0ms, 700ms, 700ms, -4000ms});

  return rc::gen::weightedOneOf<Command>({
      {8, command_of<CanOffload>(peer, keys)},
      {24, command_of<Claim>(peer, claim, keys, one_of<milliseconds>({0ms, 1000ms, 2000ms, 10'000ms}))},
      {6, command_of<ClaimAgain>(client, back)},
      {8, command_of<Renew>(peer, claim, keys,
                            one_of<Origin>({Origin::truth, Origin::truth, Origin::truth, Origin::truth, Origin::nobody,
                                            Origin::lie}))},
      {9, command_of<Release>(peer, claim, keys)},
      {5, command_of<Withdraw>(client, back)},
      {4, command_of<Match>(peer, keys)},
      {3, command_of<Touch>(peer, keys)},
      {8, command_of<Remove>(peer, keys, follows)},
      {3, command_of<RemoveIf>(peer, entries, follows)},
      {18, command_of<Register>(peer, claim, entries, way, follows)},
      {14, command_of<Resend>(client, back, one_of<Way>({Way::pushed, Way::acknowledged}), follows, follows)},
      {4, command_of<Sync>(peer, back, follows)},
      {1, command_of<Hello>(peer, one_of<bool>({true, false}))},
      {3, command_of<Malformed>(peer,
                                one_of<MessageType>({MessageType::claim, MessageType::renew, MessageType::can_offload,
                                                     MessageType::release, MessageType::withdraw, MessageType::sync}),
                                keys, one_of<bool>({false, true}))},
      {3, command_of<Hold>(one_of<bool>({false, true}))},
      {5, command_of<LetGo>(key)},
      {10, rc::gen::apply([](milliseconds by, milliseconds more) { return Command{Pass{by, by + more}}; }, step,
                          more_by_the_wall)},
      {12, command_of<Tick>()},
      {3, command_of<Cut>(peer, one_of<bool>({false, true}))},
      {2, command_of<Restart>(one_of<bool>({false, true}))},
  });
}

inline rc::Gen<Setup> setups() {
  return rc::gen::apply(
      [](bool insists, std::size_t capacity, std::size_t max_leases, std::size_t max_leases_per_client,
         std::size_t max_keys, std::size_t max_clients, std::size_t max_waiting, std::size_t max_waiting_claims,
         std::size_t max_waiting_bytes, bool recovers) {
        return Setup{insists,     capacity,    max_leases,         max_leases_per_client, max_keys,
                     max_clients, max_waiting, max_waiting_claims, max_waiting_bytes,     recovers};
      },
      one_of<bool>({false, false, false, true}), one_of<std::size_t>({0, 0, 4, 2}), one_of<std::size_t>({0, 0, 3, 1}),
      one_of<std::size_t>({0, 0, 0, 0, 0, 2}), one_of<std::size_t>({0, 0, 0, 3}), one_of<std::size_t>({0, 0, 0, 2}),
      one_of<std::size_t>({0, 0, 0, 1}), one_of<std::size_t>({0, 0, 0, 1}),
      one_of<std::size_t>({0, 0, 0, 0, 0, 1000, 100}), one_of<bool>({false, true}));
}

/// Hardly anything but claims of two keys, so that there are queues for them.
inline rc::Gen<Command> commands_of_those_who_wait() {
  using namespace std::chrono_literals;
  using std::chrono::milliseconds;
  const auto client = one_of<std::size_t>({0, 1, 2});
  const auto claim = rc::gen::inRange<std::uint64_t>(1, 3);
  const auto keys = one_of<Numbers>({{1}, {1}, {1, 2}, {2, 1}});
  return rc::gen::weightedOneOf<Command>({
      {10, command_of<Claim>(client, claim, keys, one_of<milliseconds>({10'000ms, 2000ms}))},
      {6, command_of<ClaimAgain>(client, one_of<std::size_t>({0, 1}))},
      {6, command_of<Release>(client, claim, rc::gen::just(Numbers{1, 2}))},
      {2, command_of<Withdraw>(client, one_of<std::size_t>({0, 1}))},
      {1, rc::gen::just(Command{Pass{1000ms, 1000ms}})},
      {1, command_of<Tick>()},
  });
}

inline rc::Gen<Sequence> sequences_of_those_who_wait() {
  return rc::gen::map(up_to(most_commands, commands_of_those_who_wait()), [](std::vector<Command> all) {
    return Sequence{Setup{}, std::move(all)};
  });
}

/// Always as long, however far rapidcheck has come.
inline rc::Gen<Sequence> sequences() {
  return rc::gen::apply([](std::vector<Command> all, Setup setup) { return Sequence{setup, std::move(all)}; },
                        up_to(most_commands, commands()), rc::gen::resize(rc::kNominalSize, setups()));
}

}  // namespace registry::test
