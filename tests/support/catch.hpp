// SPDX-License-Identifier: Apache-2.0
// Debian 12 has Catch2 v2, newer systems have v3; the tests keep to what both offer.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
