#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A worker that cannot write gives its leases back, so that nobody has to wait for their end; one whose hub does not
# answer says so.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

echo content >file
digest=$(b2sum -l 128 file | cut -d' ' -f1)
# A file where the directory of the object belongs.
mkdir -p store/objects
touch "store/objects/${digest:0:2}"

start_hub --schema blocks
expect_status 1 dedup store --store store --manifest m --query "$query" --register "$register" file
expect_text err "objects/${digest:0:2}/${digest:2}: Not a directory"
[[ ! -e m ]] || fail "a manifest was written"
[[ -z $(find . -name '.tmp-*') ]] || fail "a temporary file was left"

rm "store/objects/${digest:0:2}"
expect_status 0 dedup store --store store --manifest m --summary s --query "$query" --register "$register" file
expect_value s written 1
expect_value s leased 0
stop_hub TERM
expect_value hub.out leases_released 1
expect_value hub.out leases_expired 0

export DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS=50
expect_status 1 dedup store --store store --manifest m2 --query "ipc://$work/nobody" \
  --register "ipc://$work/nobody" file
expect_text err 'the hub does not answer: timed out after 50 ms; asking again' 'dedup: timed out after 50 ms'
expect_status 1 dedup restore --store store --manifest m --into into --query "ipc://$work/nobody"
expect_text err 'dedup: ' 'timed out after 50 ms'
[[ ! -e m2 ]] || fail "a manifest was written"
