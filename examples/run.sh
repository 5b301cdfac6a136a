#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job, end to end: installs what is missing, builds (Release, into build/), starts a hub and four workers over
# overlapping trees of this machine, and proves that every distinct block was stored exactly once and that what was
# stored can be restored. From the environment:
#   BUILD_DIR  where to build (build)
#   JOBS       parallel jobs (one per core)
#   TMPDIR     where the store and the restored tree lie while it runs (/tmp)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}

# Configured as tests/run.sh does, so that the two share a build directory.
"$source_dir/cmake/install-packages.sh" library tests examples
CXX=${CXX:-g++} cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DREGISTRY_SANITIZE=
cmake --build "$build_dir" --parallel "${JOBS:-$(nproc)}" --target registry_hub dedup
hub=$build_dir/examples/registry_hub
dedup=$build_dir/examples/dedup

work=$(mktemp -d "${TMPDIR:-/tmp}/registry-run.XXXXXX")
processes=()
clean_up() {
  # Not KILL: timeout hands TERM on to the worker that it started, and gets rid of it in any case.
  if ((${#processes[@]})); then
    kill -TERM "${processes[@]}" 2>/dev/null || true
    wait "${processes[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "run.sh: FAILED: $*" >&2
  exit 1
}

# must_be WHAT GOT EXPECTED
must_be() {
  [[ $2 == "$3" ]] || fail "$1: expected $3, got $2"
  printf '  ok  %s: %s\n' "$1" "$2"
}

# total NAME: of all workers' tables.
total() { cat "$work"/worker?.summary | awk -F= -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }'; }

# no_difference WHAT A B: two lists.
no_difference() {
  diff "$2" "$3" >"$work/difference" || fail "$1: $(head -n 5 "$work/difference")"
  printf '  ok  %s\n' "$1"
}

echo
echo "=== a hub and four workers"
: >"$work/hub.log"
timeout --kill-after=5 600 "$hub" --schema blocks --query-addr 'tcp://127.0.0.1:*' \
  --register-addr 'tcp://127.0.0.1:*' >>"$work/hub.log" &
hub_process=$!
processes+=("$hub_process")
for ((i = 0; i < 200; ++i)); do
  grep -q '^registry_hub: schema .*, registrations at .' "$work/hub.log" && break
  kill -0 "$hub_process" 2>/dev/null || fail "the hub ended before it was ready"
  sleep 0.05
done
cat "$work/hub.log"
query=$(sed -n 's/.*queries at \([^,]*\),.*/\1/p' "$work/hub.log")
register=$(sed -n 's/.*registrations at \(.*\)$/\1/p' "$work/hub.log")
[[ -n $query && -n $register ]] || fail "the hub was not ready within 10 s"

workers=()
# start_worker TREE...
start_worker() {
  local n=$((${#workers[@]} + 1))
  echo "worker $n: $*"
  timeout --kill-after=5 300 "$dedup" store --store "$work/store" --manifest "$work/worker$n.manifest" \
    --query "$query" --register "$register" --summary "$work/worker$n.summary" \
    --written "$work/worker$n.written" "$@" \
    >"$work/worker$n.out" 2>"$work/worker$n.err" &
  workers+=($!)
  processes+=($!)
}

# Every tree is stored by at least two workers, at the same time.
restored=(/usr/share/doc /usr/include/c++)
start_worker /usr/include
start_worker /usr/include /usr/share/doc
start_worker "${restored[@]}"
start_worker /usr/include/c++ /usr/include/linux /usr/share/doc
start=$SECONDS
for n in 1 2 3 4; do
  status=0
  wait "${workers[n - 1]}" || status=$?
  sed "s/^/worker $n: /" "$work/worker$n.err"
  ((status == 0)) || fail "worker $n ended with status $status"
done
processes=("$hub_process")
echo "all four were done after $((SECONDS - start)) s"

echo
echo "=== what they did"
paste -d= "$work"/worker?.summary | awk -F= '
  function grouped(n,   text) {
    text = sprintf("%.0f", n)
    while (match(text, /^[0-9]+[0-9][0-9][0-9]($|,)/)) {
      at = index(text, ",") ? index(text, ",") - 4 : length(text) - 3
      text = substr(text, 1, at) "," substr(text, at + 1)
    }
    return text
  }
  BEGIN { printf "%-16s%14s%14s%14s%14s%16s\n", "", "worker 1", "worker 2", "worker 3", "worker 4", "all" }
  {
    printf "%-16s", $1
    sum = 0
    for (i = 2; i <= 8; i += 2) { printf "%14s", grouped($i); sum += $i }
    printf "%16s\n", grouped(sum)
  }'

echo
echo "=== restoring what worker 3 stored"
timeout --kill-after=5 300 "$dedup" restore --store "$work/store" --manifest "$work/worker3.manifest" \
  --into "$work/restored" \
  --query "$query" --register "$register" --summary "$work/restore.summary"

kill -TERM "$hub_process"
status=0
wait "$hub_process" || status=$?
processes=()
tail -n +2 "$work/hub.log"

echo
echo "=== proof"
must_be "the hub's exit status" "$status" 0
(cd "$work/store" && find objects -type f) | LC_ALL=C sort >"$work/objects"
grep -hEx '[0-9a-f]{32}' "$work"/worker?.manifest | LC_ALL=C sort -u | sed -E 's|^(..)|objects/\1/|' >"$work/distinct"
distinct=$(wc -l <"$work/distinct")
((distinct > 0)) || fail "the manifests name no block"
must_be "objects in the store, for $distinct distinct blocks in the manifests" "$(wc -l <"$work/objects")" "$distinct"
no_difference "the objects are exactly those that the manifests name" "$work/distinct" "$work/objects"
cat "$work"/worker?.written | LC_ALL=C sort >"$work/written"
no_difference "the workers together wrote the objects, each once" "$work/written" "$work/objects"
must_be "blocks granted to the workers" "$(total granted)" "$distinct"
must_be "objects that were there before they were granted" "$(total found)" 0
must_be "blocks granted and blocks already stored" "$(($(total granted) + $(total already_stored)))" "$(total blocks)"
must_be "entries in the hub's catalogue" "$(awk '$1 == "stored" { print $2 }' "$work/hub.log")" "$distinct"
must_be "files left in tmp/" "$(find "$work/store/tmp" -type f | wc -l)" 0
# coreutils' BLAKE2b, not ours.
(cd "$work/store" && xargs -d '\n' b2sum -l 128 <"$work/objects") | sed -E 's/^(.{32}) .*/\1/' >"$work/digests"
sed 's|^objects/||; s|/||' "$work/objects" >"$work/names"
no_difference "every object has the digest that its name says (b2sum)" "$work/digests" "$work/names"
not_located=$(awk -F= '$1 == "not_located" { print $2 }' "$work/restore.summary")
must_be "restored blocks that the hub could not locate" "$not_located" 0

# Kinds, permissions and targets of links; diff compares the contents.
list() {
  (cd "$1" && find . -printf '%P %y %m %l\0') | sed -z -E 's/ ([a-z]) [0-7]*([0-7]{3}) / \1 \2 /' | LC_ALL=C sort -z
}
for tree in "${restored[@]}"; do
  diff -r --no-dereference "$tree" "$work/restored$tree" >"$work/difference" ||
    fail "$tree: $(head -n 5 "$work/difference")"
  list "$tree" >"$work/list"
  list "$work/restored$tree" >"$work/restored-list"
  cmp "$work/list" "$work/restored-list" || fail "$tree: restored with other kinds or permissions"
  printf '  ok  restored and identical: %s\n' "$tree"
done
echo "every distinct block was stored exactly once"
