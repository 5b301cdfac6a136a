#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What cannot be stored is reported and counted; the rest is stored.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir tree
echo good >tree/good
mkfifo tree/pipe
expect_status 0 dedup store --store store --manifest m --summary s tree
expect_text err 'left out tree/pipe: a device, socket or pipe'
expect_value s special 1
expect_value s files 1

# It can be opened, but the kernel refuses to read its first page, also for root.
expect_status 3 dedup store --store store --manifest m --summary s tree /proc/self/mem
expect_text err 'left out /proc/self/mem: Input/output error'
expect_value s unreadable 1
expect_value s files 1

if ((EUID != 0)); then
  echo secret >tree/secret
  mkdir tree/closed
  chmod 000 tree/secret tree/closed
  expect_status 3 dedup store --store store --manifest m --summary s tree
  expect_text err 'left out tree/secret: Permission denied' 'left out tree/closed: Permission denied'
  expect_value s unreadable 2
fi

expect_status 0 dedup restore --store store --manifest m --into back
[[ $(cat back/tree/good) == good ]] || fail "the readable file was not stored"
