#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is stored comes back: contents, names, permissions, links, empty files and directories; with a hub and without.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

random() { head -c "$1" /dev/urandom; }

mkdir -p tree/sub/deeper tree/empty 'tree/blanks and "quotes"' tree/closed
for size in 0 1 1023 1024 1025 2048 5000; do random $size >tree/sub/size-$size; done
head -c 10240 /dev/zero >tree/same-blocks
cp tree/sub/size-5000 tree/sub/deeper/copy
random 10 >$'tree/new\nline'
random 10 >$'tree/bytes \xff\x01 that are no UTF-8'
random 10 >tree/Grüße-世界
random 10 >'tree/100%25 percent'
random 10 >'tree/-rf'
random 10 >'tree/blanks and "quotes"/'"it's \\ back"
random 10 >tree/closed/readable
printf '#!/bin/sh\n' >tree/run
chmod 755 tree/run
chmod 640 tree/sub/size-1
chmod 400 tree/sub/size-1025
chmod 555 tree/closed
chmod 700 tree/sub
ln -s sub/size-1 tree/link
ln -s '../no where' tree/dangling
ln -s sub tree/link-to-directory

# The sorted facts of a tree, with ends that no name can hold.
facts() { (cd "$1" && find . -printf '%P %y %m %l\0' | LC_ALL=C sort -z); }

must_be_restored() {
  diff -r --no-dereference tree "$1" >difference || fail "$(cat difference)"
  facts tree >expected
  facts "$1" | cmp - expected || fail "kinds, permissions or links differ in $1"
}

distinct_blocks() { grep -Ex '[0-9a-f]{32}' "$@" | LC_ALL=C sort -u | wc -l; }

# Without a hub.
expect_status 0 dedup store --store alone --manifest alone.manifest --block-size 1024 --summary s tree
expect_text err 'no hub is given'
expect_value s files 17
expect_value s directories 6
expect_value s links 3
# The ten blocks of zeros are one, and the copy has five.
expect_value s blocks $((1 + 1 + 1 + 2 + 2 + 5 + 10 + 5 + 7 + 1))
expect_value s already_stored $((9 + 5))
expect_value s written $((35 - 14))
expect_value s bytes_saved $((9 * 1024 + 5000))
[[ $(find alone/objects -type f | wc -l) == $(distinct_blocks alone.manifest) ]] ||
  fail "objects are not the distinct blocks"
expect_status 0 dedup restore --store alone --manifest alone.manifest --into back --summary s
expect_value s files 17
expect_value s not_located 35
must_be_restored back/tree

expect_status 0 dedup store --store alone --manifest again.manifest --block-size 1024 --summary s tree
expect_value s written 0
expect_value s already_stored 35
cmp alone.manifest again.manifest || fail "the same tree gave another manifest"

# With a hub: by flags, and by the environment.
start_hub --schema blocks
expect_status 0 dedup store --store shared --manifest first.manifest --block-size 1024 --summary s --written w \
  --query "$query" --register "$register" tree
expect_value s granted 21
expect_value s already_stored 14
expect_value s written 21
expect_value s found 0
LC_ALL=C sort w | cmp - <(cd shared && find objects -type f | LC_ALL=C sort) ||
  fail "the list of what was written is wrong"
export DYN_REGISTRY_ENABLE=true DYN_REGISTRY_CLIENT_QUERY_ADDR=$query DYN_REGISTRY_CLIENT_REGISTER_ADDR=$register
expect_status 0 dedup store --store shared --manifest second.manifest --block-size 1024 --summary s tree
expect_value s granted 0
expect_value s already_stored 35
expect_status 0 dedup restore --store shared --manifest second.manifest --into back2 --summary s
expect_value s located 35
must_be_restored back2/tree
unset DYN_REGISTRY_ENABLE DYN_REGISTRY_CLIENT_QUERY_ADDR DYN_REGISTRY_CLIENT_REGISTER_ADDR
stop_hub TERM
expect_value hub.out stored 21

# A hub that knows nothing of a store: what is there is registered, not written.
start_hub --schema blocks
expect_status 0 dedup store --store shared --manifest third.manifest --block-size 1024 --summary s \
  --query "$query" --register "$register" tree
expect_value s granted 21
expect_value s found 21
expect_value s written 0
stop_hub TERM
expect_value hub.out stored 21

# A hub with room for less: it forgets blocks, the store does not.
start_hub --schema blocks --capacity 5
expect_status 0 dedup store --store small --manifest small.manifest --block-size 1024 \
  --query "$query" --register "$register" tree
expect_status 0 dedup restore --store small --manifest small.manifest --into back3 --query "$query" --summary s
must_be_restored back3/tree
stop_hub TERM
expect_value hub.out stored 5
expect_value hub.out evicted 16
