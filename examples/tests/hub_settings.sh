#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The hub's variables and flags: each has its effect, flags win, and malformed ones are named.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

refused() {
  local name=$1 value=$2 expected=$3
  shift 3
  expect_status 2 registry_hub "$@"
  expect_text err "$name=\"$value\": expected $expected"
}

refused --capacity 0 'a whole number from 1' --capacity 0
refused --capacity -1 'a whole number from 1' --capacity=-1
refused --capacity 4000000001 'a whole number from 1 to 4000000000' --capacity 4000000001
refused --lease-timeout-secs 1.5 'a whole number from 1' --lease-timeout-secs 1.5
refused --query-addr localhost:5555 'an address such as tcp://host:5555' --query-addr localhost:5555
refused --register-addr tcp://x 'an address such as tcp://host:5555' --register-addr tcp://x
refused --schema U64 'u64, blocks or chains' --schema U64
refused --eviction lru 'none, recency or tail' --eviction lru
refused --max-leases 0 'a whole number from 1' --max-leases 0
refused --max-namespaces 0 'a whole number from 1' --max-namespaces 0
refused --reserve-entries -1 'a whole number from 0' --reserve-entries=-1
refused --reserve-leases 1000000001 'a whole number from 0 to 1000000000' --reserve-leases 1000000001
DYN_REGISTRY_HUB_SECURITY=yes refused DYN_REGISTRY_HUB_SECURITY yes 'required or optional'
DYN_REGISTRY_HUB_CAPACITY=many refused DYN_REGISTRY_HUB_CAPACITY many 'a whole number from 1'
DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS='' refused DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS '' 'a whole number from 1'
DYN_REGISTRY_HUB_QUERY_ADDR=5555 refused DYN_REGISTRY_HUB_QUERY_ADDR 5555 'an address such as'
DYN_REGISTRY_HUB_REGISTER_ADDR=x refused DYN_REGISTRY_HUB_REGISTER_ADDR x 'an address such as'

expect_status 2 registry_hub --no-such-flag
expect_text err '--no-such-flag'
expect_status 2 registry_hub --capacity
expect_text err '--capacity'
expect_status 2 registry_hub --capacity ''
expect_text err '--capacity'
expect_status 0 registry_hub --help
expect_text out DYN_REGISTRY_HUB_QUERY_ADDR DYN_REGISTRY_HUB_REGISTER_ADDR DYN_REGISTRY_HUB_CAPACITY \
  DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS --schema --eviction --max-leases --max-namespaces DYN_REGISTRY_HUB_SECURITY \
  DYN_REGISTRY_HUB_CURVE_SECRET_KEY_FILE DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE --new-key

# The flags of start_hub win over addresses that could not be bound.
export DYN_REGISTRY_HUB_QUERY_ADDR=tcp://192.0.2.1:1 DYN_REGISTRY_HUB_REGISTER_ADDR=tcp://192.0.2.1:2
export DYN_REGISTRY_HUB_CAPACITY=3
start_hub --schema u64
expect_status 0 worker "$query" "$register"
stop_hub TERM
expect_value hub.out entries_registered 4
expect_value hub.out stored 3
expect_value hub.out evicted 1

start_hub --eviction none --reserve-entries 100000 --reserve-leases 1000
expect_status 0 worker "$query" "$register"
stop_hub TERM
expect_value hub.out entries_registered 3
expect_value hub.out entries_refused 1
expect_value hub.out evicted 0

start_hub --max-leases 3
expect_status 1 worker "$query" "$register"
expect_text err max_leases
stop_hub TERM
start_hub --max-leases-per-client 3
expect_status 1 worker "$query" "$register"
expect_text err max_leases_per_client
stop_hub TERM
unset DYN_REGISTRY_HUB_QUERY_ADDR DYN_REGISTRY_HUB_REGISTER_ADDR DYN_REGISTRY_HUB_CAPACITY

# Only default, unless it is told otherwise.
export DYN_REGISTRY_CLIENT_NAMESPACE=models
start_hub
expect_status 1 worker "$query" "$register"
expect_text err 'max_namespaces allows 1, got 2'
stop_hub TERM
expect_value hub.out namespaces 1
start_hub --max-namespaces 2
expect_status 0 worker "$query" "$register"
stop_hub TERM
expect_value hub.out namespaces 2
expect_value hub.out stored 4
unset DYN_REGISTRY_CLIENT_NAMESPACE

start_hub --schema chains --lease-timeout-secs 5
expect_text hub.out 'schema chains'
stop_hub TERM

# The addresses of the environment.
export DYN_REGISTRY_HUB_QUERY_ADDR=ipc://$work/queries DYN_REGISTRY_HUB_REGISTER_ADDR=ipc://$work/registrations
run_hub
expect_text hub.out "queries at ipc://$work/queries, registrations at ipc://$work/registrations"
export DYN_REGISTRY_CLIENT_QUERY_ADDR=ipc://$work/queries DYN_REGISTRY_CLIENT_REGISTER_ADDR=ipc://$work/registrations
expect_status 0 worker
expect_text out '4 to store'
stop_hub TERM
