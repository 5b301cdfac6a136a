// SPDX-License-Identifier: Apache-2.0
// What the README's fragments stand behind. It holds only what the text around a fragment has said already, and the
// standard headers that a fragment would draw attention away from itself by naming.
#pragma once

#include <asio/awaitable.hpp>
#include <registry/registry.hpp>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace registry;
using namespace std::chrono_literals;
