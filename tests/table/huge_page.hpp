// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace registry::test {

inline constexpr std::size_t huge_page = std::size_t{2} << 20U;

}  // namespace registry::test
