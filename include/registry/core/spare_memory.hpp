// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace registry {

/// Of a buffer that is reused from message to message: what an unusually large message took, more than 4 MiB, is given
/// back, for there may be such a buffer for each namespace. The buffer is empty then.
template <class T>
void give_back_spare(std::vector<T>& buffer) noexcept {
  constexpr std::size_t max_kept = std::size_t{4} << 20U;
  if (buffer.capacity() > max_kept / sizeof(T)) std::vector<T>{}.swap(buffer);
}

}  // namespace registry
