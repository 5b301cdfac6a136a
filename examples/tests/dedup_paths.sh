#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How the paths given to dedup are walked and named.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p here/a/b there/a
echo 1 >here/a/b/file
echo 2 >here/other
echo 3 >there/a/file

names() { sed -nE 's/^(dir [0-7]+|file [0-7]+ [0-9]+|link) ([^ ]+).*$/\2/p' "$1" | LC_ALL=C sort | tr '\n' ' '; }
must_name() {
  [[ $(names m) == "$1 " ]] || fail "expected the names $1, got $(names m)"
}

# store STATUS PATH...
store() { expect_status "$1" dedup store --store "$work/store" --manifest "$work/m" "${@:2}"; }

store 0 here/other
must_name 'here/other'
store 0 ./here//a/ here/./other
must_name 'here/a here/a/b here/a/b/file here/other'
store 0 "$work/here/a/b/file"
must_name "${work#/}/here/a/b/file"
(cd here/a && store 0 ../other b)
must_name 'b b/file other'
# What another path holds is not walked twice.
store 0 here here/a here/a/b/file here
must_name 'here here/a here/a/b here/a/b/file here/other'
# The current directory, without the store in it.
(cd here && expect_status 0 dedup store --store store --manifest ../m .)
must_name 'a a/b a/b/file other'
[[ -d here/store/objects ]] || fail "the store was not made"
rm -r here/store

store 1 nothing-here
expect_text err 'nothing-here: no such file or directory'
rm m
mkdir here/b
(cd here/a && store 1 b ../b)
expect_text err 'expected paths with names of their own, got b and ../b'
(cd here/a && store 1 b ../../here/a ../b/../b/file)
expect_text err 'no such file or directory'
touch here/b/file
(cd here/a && store 1 b ../b/file)
expect_text err 'expected paths with names of their own, got b and ../b/file'
ln -s a here/link
store 1 here here/link/b
expect_text err 'expected paths with names of their own, got here and here/link/b'
store 1 here/link/b here/link
[[ ! -e m ]] || fail "a manifest was written"
store 0 here
must_name 'here here/a here/a/b here/a/b/file here/b here/b/file here/link here/other'

# A name is a name.
touch -- '-rf' '[x,y]' '*' store-file
mkdir restore
store 0 -- restore -rf '[x,y]' '*'
must_name '* -rf [x,y] restore'

expect_status 2 dedup
expect_status 2 dedup store --store store --manifest m
expect_text err PATH
expect_status 2 dedup store --store store --manifest m --block-size 0 here
expect_text err '--block-size="0": expected a whole number from 1 to 16777216'
expect_status 2 dedup store --store store --manifest m --query tcp://127.0.0.1:1 here
expect_text err '--register'
expect_status 2 dedup store --store store --manifest m --register tcp://127.0.0.1:1 here
expect_text err '--query'
expect_status 2 dedup store --store store --manifest m --query localhost --register tcp://127.0.0.1:1 here
expect_text err '--query="localhost": expected an address'
DYN_REGISTRY_ENABLE=maybe expect_status 2 dedup store --store store --manifest m here
expect_text err 'DYN_REGISTRY_ENABLE="maybe": expected true, false, 1 or 0'
DYN_REGISTRY_ENABLE=true DYN_REGISTRY_CLIENT_QUERY_ADDR=x expect_status 2 dedup store --store store --manifest m here
expect_text err 'DYN_REGISTRY_CLIENT_QUERY_ADDR="x": expected an address'
expect_status 0 dedup --help
expect_text out DYN_REGISTRY_ENABLE store restore
