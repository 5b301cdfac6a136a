// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <registry/key.hpp>

namespace registry::detail {

/// The one choice of hash table for all but the catalogue, which has a BlockTable: open addressing in groups of 15 with
/// a byte of hash each (Boost 1.81 or newer).
template <Key K, class T>
using FlatMap = boost::unordered_flat_map<K, T, KeyHash<K>>;

template <Key K>
using FlatSet = boost::unordered_flat_set<K, KeyHash<K>>;

}  // namespace registry::detail
