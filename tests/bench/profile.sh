#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# profile.sh [ROW...]: where the processor time of the hub goes in rows of the benchmark, a line each, to be pasted in
# the README: `profile.sh all` takes a quarter of an hour. Only what is measured counts, not what fills the hub and
# tidies up. By symbol, and as perf recorded it, in BUILD_DIR/report/profile-ROW.*
# ROW:
#   claim, claim-1M, claim-50M   thirds of new, stored and leased keys, at 10, 1 and 50 M entries (claim is the default)
#   claim-new, match, register   as in the table
#   decide                       what the hub does with a claim of thirds, without a socket, at 10 M entries; of that process
#   echo                         the libzmq echo of what match sends and is answered
#   growing                      register from nothing to some 10 M entries, 1,000 a batch from one client
#   one-client, four-clients     claim, with so many clients of window 16
#   flood, flood-of-queries      claim at half of what is possible, beside a flood of registrations, and the other way
#                                round
#   lone                         one blocking call after the other; from here on the client's process is included
#   asynchronous, asynchronous-one-key   an asynchronous client, window 64, 100 keys a call and one
#   threads-4, threads-16        so many threads of one blocking client, one key a call
#   asynchronous-4, asynchronous-4-16, asynchronous-16, asynchronous-16-16   so many of one asynchronous client, window
#                                1 each or 16
#   turns, turns-as-needed, turns-small-pages   the twenty longest turns of the hub's thread, memory reserved, as
#                                needed, and so without huge pages; of that thread alone
#   --FLAG VALUE...              a point of your own: all arguments go to bench_load, whose main() has the list
# From the environment:
#   BUILD_DIR   where to build (build-bench)
#   CXX         compiler (g++)
#   JOBS        parallel jobs (one per core)
#   RUNS        how many seconds of each row (8)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build-bench}
programs=$build_dir/tests/bench
report=$build_dir/report

# flags_of ROW: the program, and its flags.
flags_of() {
  local ten=(--entries 10000000 --leases 1000000)
  local client=(client --programs "$build_dir" --report "$report" --only)
  case $1 in
    claim) echo load "${ten[@]}" --window 256 ;;
    claim-1M) echo load --entries 1000000 --leases 100000 --window 256 ;;
    claim-50M) echo load --entries 50000000 --leases 5000000 --window 256 ;;
    claim-new) echo load "${ten[@]}" --window 256 --mix fresh ;;
    match) echo load "${ten[@]}" --window 256 --operation match --mix stored ;;
    register) echo load "${ten[@]}" --window 1 --operation store --mix fresh ;;
    decide) echo micro --judged 10000000 --only decide-claim-thirds ;;
    echo) echo load --peer echo --window 256 --operation match --mix stored ;;
    growing)
      # In shorter runs, and nothing is removed between them.
      echo load --reserved no --tidy no --entries 1 --leases 0 --operation store --mix fresh --batch 1000 --window 1 \
        --clients 1 --seconds 0.3
      ;;
    one-client) echo load "${ten[@]}" --window 16 --clients 1 ;;
    four-clients) echo load "${ten[@]}" --window 16 --clients 4 ;;
    flood) echo load "${ten[@]}" --batch 1000 --window 16 --clients 1 --rate half --beside store ;;
    flood-of-queries)
      echo load "${ten[@]}" --batch 1000 --operation store --mix fresh --window 1 --clients 1 --rate half --beside claim
      ;;
    lone) echo "${client[@]}" lone ;;
    asynchronous) echo "${client[@]}" pipelined --batch 100 ;;
    asynchronous-one-key) echo "${client[@]}" pipelined ;;
    threads-4) echo "${client[@]}" blocking --threads 4 ;;
    threads-16) echo "${client[@]}" blocking --threads 16 ;;
    asynchronous-4) echo "${client[@]}" asynchronous --threads 4 ;;
    asynchronous-4-16) echo "${client[@]}" asynchronous --threads 4 --window 16 ;;
    asynchronous-16) echo "${client[@]}" asynchronous --threads 16 ;;
    asynchronous-16-16) echo "${client[@]}" asynchronous --threads 16 --window 16 ;;
    turns) echo turns --only reserved --seconds 60 ;;
    turns-as-needed) echo turns --only as-needed --seconds 60 ;;
    turns-small-pages) echo turns --only small-pages --seconds 60 ;;
    *) return 1 ;;
  esac
}

all=(claim-1M claim claim-50M claim-new decide match echo register growing one-client four-clients flood flood-of-queries lone asynchronous
  asynchronous-one-key threads-4 threads-16 asynchronous-4 asynchronous-4-16 asynchronous-16 asynchronous-16-16 turns
  turns-as-needed turns-small-pages)
own=()
case ${1:-} in
  '') rows=(claim) ;;
  all) rows=("${all[@]}") ;;
  --help) sed -n 's/^# \{0,1\}//; 3,/^set /{/^set /!p}' "${BASH_SOURCE[0]}" && exit ;;
  --*) rows=(own) own=(load --entries 10000000 --leases 1000000 --window 256 "$@") ;;
  *) rows=("$@") ;;
esac
for row in "${rows[@]}"; do
  [[ $row == own ]] || flags_of "$row" >/dev/null || { echo "profile.sh: no row '$row', see --help" >&2 && exit 2; }
done

"$source_dir/cmake/install-packages.sh" library examples bench profile >&2
"$source_dir/tests/bench/build.sh" "$build_dir" registry_hub bench_load bench_client bench_micro bench_echo bench_turns >&2

mkdir -p "$report"
load='' perf=''
clean_up() {
  # The hub is its child, and ends with it.
  for process in $perf $load; do kill -TERM "$process" 2>/dev/null || true; done
}
trap clean_up EXIT

# A line of what runs: `server's process N`, then, a line for each second that is measured, the cost of a key in the
# fourth column and from when to when in the last two.
profile() {
  local row=$1 said=$report/profile-$1.said data=$report/profile-$1.perf whose=--pid frequency=2000 processes times
  shift
  # A turn is short, and its thread is the process's first.
  [[ $1 != turns ]] || whose=--tid frequency=10000
  : >"$said"
  stdbuf -oL "$programs/bench_$1" --seconds 1 --runs "${RUNS:-8}" "${@:2}" >"$said" &
  load=$!
  until grep -q monotonic "$said"; do
    kill -0 "$load" || exit 1
    sleep 0.1
  done
  processes=$(sed -n "s/^[a-z]*'s process //p" "$said" | paste -sd,)
  # Of the whole machine: counted by process, each change of threads costs as much as a message.
  perf record --quiet --all-cpus -e cpu-clock --freq $frequency --clockid CLOCK_MONOTONIC --output "$data" &
  perf=$!
  wait "$load"
  load=
  kill -INT "$perf"
  wait "$perf" 2>/dev/null || true
  perf=
  # Not the first, of which perf may have missed something.
  times=$(awk 'NF >= 6 && $1 + 0 > 0 { print $(NF - 1) "," $NF }' "$said" | sort -u | sed 1d | paste -sd' ')
  # Counts: as percentages, what is nothing each for the many places in a library without symbols is nothing together.
  perf report --stdio --input "$data" "$whose" "$processes" --no-children --fields sample,dso,symbol \
    --field-separator '|' --percent-limit 0 --time "$times" >"$report/profile-$row.txt"
  # When it was seen at work. Where a hypervisor has taken the core its thread is charged for that time, and not seen.
  [[ $1 != turns ]] ||
    perf script --input "$data" "$whose" "$processes" -F time | tr -d ' :' >"$report/profile-$row.seen"
  awk -F'|' -v row="$row" '
    FILENAME == ARGV[1] {
      if (split($0, cells, " ") < 6 || cells[1] + 0 <= 0) next
      cost += cells[4]
      ++lines
      unit = cells[2] ~ /call/ ? "call" : cells[2] ~ /turn/ ? "turn" : "key"
      next
    }
    /^#/ || NF < 3 { next }
    {
      gsub(/ /, "", $2)
      # The function alone; what was inlined counts for what it was inlined in.
      name = $3
      sub(/^\[.\] */, "", name)
      gsub(/\(anonymous namespace\)::/, "", name)
      while (gsub(/<[^<>]*>/, "", name)) {}
      sub(/\(.*/, "", name)
      sub(/ +$/, "", name)
      sub(/.* /, "", name)
      sub(/^registry::(detail::)?/, "", name)
      part = "C and C++ libraries"
      if ($2 ~ /^\[kernel/) part = "kernel"
      else if ($2 ~ /libzmq/) part = "libzmq"
      else if ($2 ~ /registry_hub|bench_turns|bench_micro/) {
        part = name ~ /Codec|Envelope/ ? "messages" : name ~ /Zmq|Inbox|Outbox/ ? "sockets" : "catalogue"
      } else if ($2 ~ /^bench_echo/) part = "echo"
      else if ($2 ~ /^bench_/) part = "client"
      samples += $1
      sum[part] += $1
      if (name !~ /^0x/) by_name["`" name "`"] += $1
    }
    # The largest, at most so many, and no less than half a percent.
    function largest(of, most, n, text, key, top) {
      for (n = 0; n < most; ++n) {
        top = ""
        for (key in of) if (top == "" || of[key] > of[top]) top = key
        if (top == "" || of[top] < samples / 200) break
        text = text (n ? ", " : "") sprintf("%s %.0f %%", top, 100 * of[top] / samples)
        delete of[top]
      }
      return text
    }
    END {
      cost /= lines
      time = cost < 1e4 ? sprintf("%.0f ns", cost) : cost < 1e6 ? sprintf("%.0f us", cost / 1e3) : sprintf("%.1f ms", cost / 1e6)
      printf "- %s: %s a %s; %s. Most in %s\n", row, time, unit, largest(sum, 9), largest(by_name, 5)
    }' "$said" "$report/profile-$row.txt"
  [[ $1 != turns ]] || awk -v frequency=$frequency '
    FILENAME == ARGV[1] { seen[n++] = $1; next }
    NF >= 6 && $1 + 0 > 0 {
      count = 0
      for (i = 0; i < n; ++i) count += seen[i] >= $(NF - 1) && seen[i] <= $NF
      at_work = 1e3 * count / frequency
      if ($4 / 1e6 > longest) { longest = $4 / 1e6; longest_at_work = at_work }
      if (at_work > most_at_work) most_at_work = at_work
    }
    END {
      printf "  In the longest, of %.1f ms, the thread was seen at work for %.1f ms; in any of the twenty for at most %.1f\n",
        longest, longest_at_work, most_at_work
    }' "$report/profile-$row.seen" "$said"
}

for row in "${rows[@]}"; do
  [[ $row == own ]] || read -ra own < <(flags_of "$row")
  profile "$row" "${own[@]}"
done
