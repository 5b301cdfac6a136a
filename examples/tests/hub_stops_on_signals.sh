#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The hub says where it is, stops on SIGTERM and SIGINT, and says what it has done.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for signal in TERM INT; do
  start_hub --schema u64
  expect_text hub.out 'registry_hub: schema u64, queries at tcp://127.0.0.1:'
  expect_status 0 worker "$query" "$register"
  expect_text out '4 to store, 0 stored already, 0 being stored by others' 'block 11 is at 1011' 'block 14 is at 1014'
  expect_status 0 worker "$query" "$register"
  expect_text out '0 to store, 4 stored already, 0 being stored by others'
  stop_hub "$signal"
  expect_value hub.out granted 4
  expect_value hub.out already_stored 4
  expect_value hub.out stored 4
  expect_value hub.out leases_active 0
  expect_value hub.out malformed 0
done
