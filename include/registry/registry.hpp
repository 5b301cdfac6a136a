// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <registry/builder.hpp>
#include <registry/client.hpp>
#include <registry/config.hpp>
#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/hub.hpp>
#include <registry/settings.hpp>
#include <registry/transport/in_process.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>
#include <registry/version.hpp>
