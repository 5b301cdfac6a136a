#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The coroutine worker does what the blocking one does.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

start_hub --schema u64
expect_status 0 coroutine_worker "$query" "$register"
expect_text out '4 to store, 0 stored already, 0 being stored by others' 'block 11 is at 1011' 'block 14 is at 1014'
expect_status 0 worker "$query" "$register"
expect_text out '0 to store, 4 stored already, 0 being stored by others'
stop_hub TERM
expect_value hub.out granted 4
expect_value hub.out leases_converted 4
