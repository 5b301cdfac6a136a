#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A restore notices objects that are missing or not what their names say, and leaves no half file.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

printf 'first block.second block.' >file
expect_status 0 dedup store --store store --manifest m --block-size 13 file
digest=$(printf 'first block.s' | b2sum -l 128 | cut -d' ' -f1)
object=objects/${digest:0:2}/${digest:2}
[[ $(cat "store/$object") == 'first block.s' ]] || fail "the object is not where its digest says"

refused() {
  rm -rf into
  expect_status 1 dedup restore --store store --manifest m --into into
  expect_text err 'file, block 1: ' "$@"
  [[ -z $(ls -A into) ]] || fail "a damaged file was restored: $(ls -A into)"
}

printf 'first BLOCK.s' >"store/$object"
refused "object $object: expected content of the digest $digest, got "
printf 'first' >"store/$object"
refused "object $object: expected 13 bytes, got 5"
printf 'first block.second' >"store/$object"
refused "object $object: expected 13 bytes, got more"
rm "store/$object"
refused "open store/$object: No such file or directory"
mkdir "store/$object"
refused "$object"
rmdir "store/$object"

# Storing again repairs it.
expect_status 0 dedup store --store store --manifest m --block-size 13 --summary s file
expect_value s written 1
rm -rf into
expect_status 0 dedup restore --store store --manifest m --into into
cmp file into/file
