#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A worker waits for a block that another one holds, and stores it itself when that one was killed.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

head -c 3000 /dev/urandom >file
digest=$(head -c 1024 file | b2sum -l 128 | cut -d' ' -f1)
object=store/objects/${digest:0:2}/${digest:2}

start_hub --schema blocks --lease-timeout-secs 3
: >holder.out
: >err
"$EXAMPLES/tests/lease_holder" "$query" "$register" "$digest" >>holder.out 2>holder.err &
holder=$!
started+=("$holder")
poll grep -q granted holder.out

timeout 60 "$EXAMPLES/dedup" store --store store --manifest m --block-size 1024 --summary s \
  --query "$query" --register "$register" file >out 2>>err &
worker=$!
started+=("$worker")
poll grep -q 'waiting for blocks that others are storing: 1' err
[[ ! -e $object && ! -e m ]] || fail "the worker did not wait"
[[ $(find store/objects -type f | wc -l) == 2 ]] || fail "the worker did not store the other blocks meanwhile"

kill -KILL "$holder"
status=0
wait "$worker" || status=$?
((status == 0)) || fail "expected the worker to take over, got status $status"
expect_value s leased 1
expect_value s granted 3
expect_value s written 3
[[ $(b2sum -l 128 "$object" | cut -d' ' -f1) == "$digest" ]] || fail "the object is not the block"
stop_hub TERM
expect_value hub.out stored 3
expect_value hub.out leases_expired 1
expect_value hub.out leases_active 0
