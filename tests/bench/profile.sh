#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Where the hub's processor time goes while it is asked: claims by default, 10 M entries, thirds of new, stored and
# leased keys. Prints percent by part, and leaves what perf recorded in BUILD_DIR/report. Arguments go to bench_load:
# `--operation match --mix stored`, for instance (its main() has the list).
# From the environment:
#   BUILD_DIR         where to build (build-bench)
#   CXX               compiler (g++)
#   JOBS              parallel jobs (one per core)
#   SECONDS_RECORDED  how long to record (8)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build-bench}
recorded=${SECONDS_RECORDED:-8}

"$source_dir/cmake/install-packages.sh" library examples bench profile
CXX=${CXX:-g++} cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DREGISTRY_SANITIZE= \
  -DREGISTRY_BUILD_TESTS=OFF -DREGISTRY_BUILD_BENCH=ON
cmake --build "$build_dir" --parallel "${JOBS:-$(nproc)}" --target registry_hub bench_load

report=$build_dir/report
mkdir -p "$report"
said=$(mktemp "${TMPDIR:-/tmp}/registry-profile.XXXXXX")
load=
clean_up() {
  # The hub is its child, and ends with it.
  [[ -z $load ]] || kill -TERM "$load" 2>/dev/null || true
  rm -f "$said"
}
trap clean_up EXIT

# Longer than what is recorded; ended when that is done.
stdbuf -oL "$build_dir/tests/bench/bench_load" --entries 10000000 --leases 1000000 --window 256 \
  --runs 1000 --seconds 1 "$@" >"$said" &
load=$!
hub=
while [[ -z $hub ]]; do
  kill -0 "$load" || exit 1
  sleep 0.2
  # Said once the catalogue is filled.
  hub=$(sed -n "s/^server's process //p" "$said")
done
sleep 1
perf record --quiet -e cpu-clock --freq 2000 --pid "$hub" --output "$report/hub.perf" -- sleep "$recorded"
kill -TERM "$load"
wait "$load" 2>/dev/null || true
load=

perf report --stdio --input "$report/hub.perf" --no-children --sort dso,symbol --percent-limit 0 2>/dev/null \
  >"$report/profile.txt"
# What was inlined counts for what it was inlined in.
awk '
  /^#/ || NF < 3 { next }
  {
    percent = $1 + 0
    part = "the hub: everything else"
    if ($2 ~ /^\[/) part = "the kernel"
    else if ($2 ~ /libzmq/) part = "libzmq"
    else if ($2 !~ /registry_hub/) part = "the C and C++ libraries"
    else if (/>::count</ || /::(erase|erase_lease|release_if|drop|expire)/) part = "the hub: giving back, removing"
    else if (/::(acquire|add_lease|apply|store|insert|place|split|contents)/) part = "the hub: granting, registering"
    else if (/can_offload|::match\(|stored_under|append_entry|look_ahead/) part = "the hub: looking up and deciding"
    else if (/Codec|decode|encode/) part = "the hub: reading and writing messages"
    else if (/Zmq|Inbox|Outbox/) part = "the hub: sockets"
    sum[part] += percent
  }
  END { for (part in sum) printf "%5.1f %%  %s\n", sum[part], part }' "$report/profile.txt" | sort -rn
echo "By symbol: $report/profile.txt; recorded: $report/hub.perf"
