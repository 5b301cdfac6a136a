// SPDX-License-Identifier: Apache-2.0
// What holders may rely on, by what a hub has told them, whatever it thinks itself.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include <registry/core/instant.hpp>

#include "model/disagreement.hpp"

namespace registry::test {

struct Belief {
  SteadyTime until;
  std::uint64_t incarnation = 0;
  /// Not if the hub was restarted without the time that it needs to recover, or if somebody has lied to it.
  bool is_guaranteed = true;
};

/// Who believes to hold which key. Two at a time must not.
template <class Key, class Holder>
class Beliefs {
 public:
  /// Throws a Disagreement if somebody else was told the same.
  void believe(const Key& key, const Holder& holder, SteadyTime now, const Belief& belief) {
    for (const auto& [name, other] : all_) {
      if (name.first == key && name.second != holder && other.until > now && other.is_guaranteed) {
        throw Disagreement{"a key is granted to two"};
      }
    }
    all_[{key, holder}] = belief;
  }

  void give_up(const Key& key, const Holder& holder) { all_.erase({key, holder}); }

  /// It is stored: nobody holds it.
  void forget(const Key& key) {
    std::erase_if(all_, [&](const auto& one) { return one.first.first == key; });
  }

  /// What the holder believes of the key, or null.
  const Belief* find(const Key& key, const Holder& holder, SteadyTime now) const {
    const auto found = all_.find({key, holder});
    return found == all_.end() || found->second.until <= now ? nullptr : &found->second;
  }

  /// Whether somebody else still believes what is not guaranteed.
  bool is_doubtful(const Key& key, const Holder& holder, SteadyTime now) const {
    return std::any_of(all_.begin(), all_.end(), [&](const auto& one) {
      return one.first.first == key && one.first.second != holder && one.second.until > now &&
             !one.second.is_guaranteed;
    });
  }

  void doubt(const Key& key) {
    for (auto& [name, belief] : all_) {
      if (name.first == key) belief.is_guaranteed = false;
    }
  }

  void doubt_all() {
    for (auto& [name, belief] : all_) belief.is_guaranteed = false;
  }

  /// How many keys are held, by those of whom `is_meant(key, holder)` says so.
  template <class Predicate>
  std::size_t count(SteadyTime now, Predicate is_meant) const {
    std::size_t n = 0;
    for (const auto& [name, belief] : all_) n += belief.until > now && is_meant(name.first, name.second) ? 1U : 0U;
    return n;
  }

 private:
  std::map<std::pair<Key, Holder>, Belief> all_;
};

}  // namespace registry::test
