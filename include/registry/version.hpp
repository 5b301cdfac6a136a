// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The version of the library, as CMake's project version; the protocol has its own (`BinaryCodec::protocol_version`).
#define REGISTRY_VERSION "0.1.0"
