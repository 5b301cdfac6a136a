#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A manifest is checked before anything is made of it; what is wrong is named with its line.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

echo content >file
expect_status 0 dedup store --store store --manifest good file
digest=$(b2sum -l 128 file | cut -d' ' -f1)
mkdir outside

# refused 'LINE: WHAT' MANIFEST
refused() {
  printf '%b' "$2" >bad
  expect_status 1 dedup restore --store store --manifest bad --into into
  expect_text err "dedup: bad:$1"
  [[ ! -e into ]] || fail "something was made of a bad manifest"
}

head='dedup-manifest 1\nblock-size 65536\n'
refused '1: expected more, got the end' ''
refused '1: expected "dedup-manifest 1", got "dedup-manifest 2"' 'dedup-manifest 2\n'
refused '2: expected "block-size" and a number from 1 to 16777216' 'dedup-manifest 1\nblock-size 0\nend 0\n'
refused '2: expected "block-size"' 'dedup-manifest 1\nblock-size 99999999999999999999\nend 0\n'
refused '3: expected more, got the end' "$head"
refused '3: expected "end 0", got "end 1"' "${head}end 1\n"
refused '4: expected nothing behind the end, got "x"' "${head}end 0\nx\n"
refused '3: expected "dir MODE NAME", "file MODE BYTES NAME"' "${head}pipe 644 x\nend 1\n"
refused '3: expected "dir MODE NAME"' "${head}\n"
refused '3: expected a mode of three octal digits in the second place' "${head}dir 0755 x\nend 1\n"
refused '3: expected a mode of three octal digits' "${head}dir 788 x\nend 1\n"
refused '3: expected a number of bytes in the third place, got "file 644 -1 x"' "${head}file 644 -1 x\nend 1\n"
refused '4: expected a digest of 32 hexadecimal digits (block 1 of 1), got "end 1"' "${head}file 644 8 x\nend 1\n"
refused '4: expected a digest' "${head}file 644 8 x\nABCDEF00000000000000000000000000\nend 1\n"
refused '4: expected a digest of 32 hexadecimal digits (block 1 of 281474976710656)' \
  "${head}file 644 18446744073709551615 x\nend 1\n"
refused '4: expected "dir MODE NAME"' "${head}file 644 0 x\n$digest\nend 1\n"
refused '4: expected a name that line 3 does not have' "${head}dir 755 x\nfile 644 0 x\nend 2\n"
refused '3: expected a target' "${head}link x \nend 1\n"
refused '3: expected a relative name' "${head}dir 755 a%0\nend 1\n"
refused '3: expected a relative name' "${head}dir 755 a%zz\nend 1\n"
refused '3: expected a relative name' "${head}dir 755 a%00b\nend 1\n"

# Nothing leads out of the directory.
for name in .. ../outside/x /etc/x a/../../outside/x a//b ./a a/. '' %2e%2e/outside/x a/; do
  refused '3: expected a relative name without ".", ".." or empty parts' \
    "${head}file 644 8 ${name//%/%%}\n$digest\nend 1\n"
done
refused '4: expected a name below directories only, got "l/x" below what is no directory in line 3' \
  "${head}link l $work/outside\nfile 644 8 l/x\n$digest\nend 2\n"
refused '3: expected a name below directories only' "${head}file 644 8 l/x\n$digest\nlink l $work/outside\nend 2\n"
refused '5: expected a name below directories only' "${head}file 644 8 f\n$digest\ndir 755 f/d\nend 2\n"
[[ -z $(ls outside) ]] || fail "something was written outside"

# Nor does what is there already.
mkdir full
ln -s "$work/outside" full/link
expect_status 1 dedup restore --store store --manifest good --into full
expect_text err 'expected a new or empty directory'
expect_status 1 dedup restore --store store --manifest nothing-here --into into
expect_text err 'open nothing-here: No such file or directory'
expect_status 1 dedup restore --store nothing-here --manifest good --into into
expect_text err 'nothing-here: expected a directory'
expect_status 0 dedup restore --store store --manifest good --into into
cmp file into/file
