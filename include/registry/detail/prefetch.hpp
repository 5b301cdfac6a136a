// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace registry::detail {

/// Starts fetching the cache line at an address; any address will do. Whatever calls it must be inlined as well
/// (`gnu::always_inline`): GCC takes a function that only prefetches for one without effect, and drops the call.
[[gnu::always_inline]] inline void prefetch_line(const void* address) noexcept { __builtin_prefetch(address); }

}  // namespace registry::detail
