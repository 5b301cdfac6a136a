// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <limits>
#include <string>

#include <registry/log.hpp>
#include <registry/message.hpp>

namespace registry {

/// What a hub can be told; every option has a method of its name on the builder.
struct HubOptions {
  /// How long a granted key stays with its holder.
  std::chrono::nanoseconds lease_ttl = std::chrono::seconds{30};
  /// How often leases and entries that are over are collected. They are over at their deadline all the same.
  std::chrono::nanoseconds lease_cleanup_interval = std::chrono::seconds{1};
  /// Leases at a time; a query that would exceed it is refused whole with LimitExceeded.
  std::size_t max_leases = 10'000'000;
  /// Leases of one client, its claims included, at a time; a query that would exceed it is refused whole with
  /// LimitExceeded. From max_leases on there is no such bound, and nothing to count.
  std::size_t max_leases_per_client = std::numeric_limits<std::size_t>::max();
  /// Keys in one query, entries in one registration; more are refused with LimitExceeded.
  std::size_t max_keys_per_query = 1'000'000;
  /// Bytes in the answer to one match; one that would need more is refused with LimitExceeded.
  std::size_t max_answer_bytes = std::size_t{64} << 20U;
  /// Whether only the holder of the lease may register a key. Refused entries are counted and logged.
  bool insist_on_holder = false;
  /// How long a `remove` waits for the registrations that it must not overtake before it is refused; asked for again it
  /// overtakes them, and after ten such times any does.
  std::chrono::nanoseconds registration_wait = std::chrono::seconds{1};
  /// Queries waiting for a registration; more are refused with LimitExceeded.
  std::size_t max_waiting = 1'024;
  /// Claims waiting for keys that others hold; more are refused with LimitExceeded.
  std::size_t max_waiting_claims = 65'536;
  /// What all queries that wait may take in memory, in bytes; more are refused with LimitExceeded.
  std::size_t max_waiting_bytes = std::size_t{64} << 20U;
  /// The longest that a claim may wait; one that asks for more waits for so long.
  std::chrono::nanoseconds max_claim_wait = std::chrono::hours{1};
  /// For how long a hub that has just started grants nothing but what clients claim back, so that no lease of the hub
  /// before it is granted to another. Zero: not at all; to be of use it must be at least that hub's lease_ttl.
  std::chrono::nanoseconds recovery_time{};
  /// What tells this hub from the one that was there before a restart; 0: a number by chance.
  std::uint64_t incarnation = 0;
  /// Clients whose registrations are kept in order; the ones silent for longest are forgotten first.
  std::size_t max_clients = 65'536;
  /// Namespaces of a hub that makes them on demand, `default` among them; messages for one more are refused with
  /// LimitExceeded. The bounds above hold for each namespace by itself.
  std::size_t max_namespaces = 64;
  /// By how much a turn of the hub's loop may exceed what it meant to sleep before the rest no longer counts against
  /// the holders of leases.
  std::chrono::nanoseconds stall_tolerance = std::chrono::milliseconds{100};
  LogHook log = log_to_stderr;
};

/// What a client can be told; every option has a method of its name on the builder.
struct ClientOptions {
  /// Entries before a batch is sent.
  std::size_t batch_size = 100;
  /// The longest that an entry waits for its batch to fill.
  std::chrono::nanoseconds batch_timeout = std::chrono::milliseconds{10};
  /// After which a query fails with Timeout.
  std::chrono::nanoseconds request_timeout = std::chrono::seconds{5};
  /// How long a registration waits at the high-water mark before it fails with an error that holds its entries.
  std::chrono::nanoseconds register_timeout = std::chrono::seconds{5};
  /// How long a registration waits for its answer or its confirmation before it is sent again, and how often the hub is
  /// asked for confirmations.
  std::chrono::nanoseconds resend_interval = std::chrono::seconds{1};
  /// What registrations that the hub has not confirmed may take in memory, in bytes; beyond that registering waits, as
  /// it does at the high-water mark. 0: none is kept, and what does not reach the hub is lost without notice.
  std::size_t max_unconfirmed_bytes = std::size_t{64} << 20U;
  /// Bytes in a query or an acknowledged registration; a longer one fails with LimitExceeded. No more than the hub
  /// takes in, which ends the connection that brings more: see ZmqHubConfig::max_message_size. Batches have up to 1.2
  /// MiB.
  std::size_t max_message_size = std::size_t{256} << 20U;
  /// Whether every registration is acknowledged, not only those to a hub that insists on the holder.
  bool acknowledged = false;
  /// What the destructor allows for handing over, and having confirmed, what is pending.
  std::chrono::nanoseconds close_timeout = std::chrono::seconds{1};
  /// Keys known to be stored that the client remembers (0: none). A block may be evicted meanwhile: see README.
  std::size_t local_cache = 0;
  /// For how long the local cache believes what it knows.
  std::chrono::nanoseconds local_cache_ttl = std::chrono::seconds{10};
  /// For how long a key registered by this client is AlreadyStored to it without asking, once its batch was handed over
  /// (at least half of it): longer than the hub needs to apply a registration.
  std::chrono::nanoseconds registered_ttl = std::chrono::seconds{5};
  /// The catalogue that this client sees.
  std::string name_space{default_namespace};
  LogHook log = log_to_stderr;
};

}  // namespace registry
