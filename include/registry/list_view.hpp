// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <ranges>
#include <span>
#include <type_traits>

namespace registry {

/// A `std::span<const T>` for parameters, which also takes a braced list: `match({1, 2, 3})`. Like any view it must not
/// outlive what it was made from; as a parameter it cannot.
template <class T>
class ListView : public std::span<const T> {
 public:
  ListView(std::initializer_list<T> list) noexcept : std::span<const T>(list.begin(), list.size()) {}

  template <std::ranges::contiguous_range R>
    requires std::ranges::sized_range<R> && std::is_convertible_v<R&&, std::span<const T>>
  ListView(R&& range) noexcept : std::span<const T>(range) {}
};

}  // namespace registry
