#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The hub with types of one's own evicts, keeps the key while its object is deleted, and grants it again.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

expect_status 0 own_hub
expected='3 tiles to store
1 being deleted
deleting tiles/1-1
1 to store again'
[[ $(cat out) == "$expected" ]] || fail "own_hub: other output"
