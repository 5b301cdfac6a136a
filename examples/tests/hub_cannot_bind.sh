#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A hub that cannot listen says where and why, and ends.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

start_hub --schema u64
expect_status 1 registry_hub --query-addr "$query" --register-addr 'tcp://127.0.0.1:*'
expect_text err 'registry_hub: ' "$query" 'Address already in use'
expect_status 1 registry_hub --query-addr 'tcp://127.0.0.1:*' --register-addr "$register"
expect_text err "$register" 'Address already in use'
expect_status 1 registry_hub --query-addr tcp://192.0.2.1:5555
expect_text err tcp://192.0.2.1:5555 'assign requested address'
stop_hub TERM
