#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Workers whose hub does not answer, or whose settings are wrong, say so and end.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for worker in worker coroutine_worker; do
  DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS=50 expect_status 1 $worker "ipc://$work/nobody" "ipc://$work/nobody"
  expect_text err "$worker: " 'timed out'
  expect_status 1 $worker here there
  expect_text err 'QUERY_ADDR="here": expected an address'
  DYN_REGISTRY_CLIENT_BATCH_SIZE=0 expect_status 1 $worker
  expect_text err 'DYN_REGISTRY_CLIENT_BATCH_SIZE="0": expected a whole number from 1'
done
