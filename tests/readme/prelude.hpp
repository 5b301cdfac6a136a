// SPDX-License-Identifier: Apache-2.0
// What the README's fragments stand behind. It holds only what the text around a fragment has said already.
#pragma once

#include <asio/awaitable.hpp>
#include <registry/registry.hpp>

using namespace registry;
using namespace std::chrono_literals;
