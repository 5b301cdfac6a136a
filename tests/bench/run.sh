#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark: installs what is missing, builds (Release), starts every server that it measures itself, on the
# loopback, and stops it; leaves a table and plots in BUILD_DIR/report. Some 70 minutes, and two cores for itself: the
# servers run on the first, what asks them on the second.
#   --runs N          how often what is compared is measured, in turn (5)
#   --seconds S       how long each time (1); the grid has many points and takes its own for each
#   --rows LIST       only these, separated by commas (see the end)
#   --entries N       size of the catalogue (10000000)
#   --large N         size of the large one (50000000)
#   --turns S         how long each run takes in which the hub's turns are measured (60)
#   --short           everything small and once, in some four minutes; fails when instructions per key, allocations
#                     per key or bytes per entry are more than 5 % above what recorded.txt says. Times are only printed
#   --record          writes recorded.txt anew
# From the environment:
#   BUILD_DIR         where to build (build-bench)
#   CXX               compiler (g++)
#   JOBS              parallel jobs (one per core)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build-bench}

# Of whole servers, and the others.
system_rows=(claim claim-new equal-windows match register floors scheduling flood)
all_rows=("${system_rows[@]}" grid client libzmq micro tables memory turns steady)

usage() {
  sed -n 's/^# \{0,1\}//; 3,/^set /{/^set /!p}' "${BASH_SOURCE[0]}"
  echo "Rows: ${all_rows[*]}"
  exit "$1"
}

runs=5 seconds=1 rows=all entries=10000000 large=50000000 turns=60 windows=1,4,16,64,256
sizes=10000,100000,1000000,10000000,50000000 judged=10000000 most=20000000 leases=1000000 short='' record=''
grid=(--seconds 0.25 --keys 1,10,100,1000,10000 --clients 1,4,16 --windows 1,16,64)
while (($#)); do
  case $1 in
    --short | --record)
      short=yes
      [[ $1 == --short ]] || { record=yes rows=memory,steady; }
      runs=1 seconds=0.2 entries=200000 large=3000000 turns=8 windows=16,64
      sizes=10000,1000000 judged=1000000 most=2000000 leases=100000
      grid=(--seconds 0.1 --keys 100 --clients 4 --windows 64)
      shift
      continue
      ;;
    --runs) runs=$2 ;;
    --seconds) seconds=$2 ;;
    --rows) rows=$2 ;;
    --entries) entries=$2 ;;
    --large) large=$2 ;;
    --turns) turns=$2 ;;
    --help) usage 0 ;;
    *) usage 2 >&2 ;;
  esac
  shift 2 || usage 2 >&2
done

[[ -n $rows ]] || usage 2 >&2
if [[ -n $short && $rows == all ]]; then
  # A policy is for reading.
  rows=$(printf '%s\n' "${all_rows[@]}" | grep -vx scheduling | paste -sd,)
fi
for row in ${rows//,/ }; do
  [[ " all ${all_rows[*]} " == *" $row "* ]] || {
    echo "run.sh: no row '$row', only: all ${all_rows[*]}" >&2
    exit 2
  }
done

"$source_dir/cmake/install-packages.sh" library examples bench
"$source_dir/tests/bench/build.sh" "$build_dir" registry_hub registry_bench

report=$build_dir/report
rm -rf "$report"
mkdir -p "$report"
work=$(mktemp -d "${TMPDIR:-/tmp}/registry-bench.XXXXXX")
running=
clean_up() {
  # The servers are children of the program that runs, and end with it.
  [[ -z $running ]] || kill -TERM "$running" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wanted ROW...: whether one of them is to be measured.
wanted() {
  local row
  for row in "$@"; do
    [[ $rows == all || ,$rows, == *,$row,* ]] && return
  done
  return 1
}

# run PROGRAM FLAGS...: one of ours, until it ends or we do.
run() {
  "$build_dir/tests/bench/bench_$1" --report "$report" "${@:2}" &
  running=$!
  wait "$running"
  running=
}

# what COMMAND...: the first line of what it says.
what() { "$@" 2>&1 | sed -n 1p; }

machine() {
  echo "| machine | |"
  echo "| --- | --- |"
  echo "| processor | $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) cores |"
  echo "| memory | $(awk '$1 == "MemTotal:" { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo) |"
  echo "| kernel | $(uname -r) |"
  echo "| transparent huge pages | $(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo none) |"
  echo "| compiler | $(what "${CXX:-g++}" --version) |"
  echo "| libzmq | $(pkg-config --modversion libzmq) |"
  echo "| Redis | $(what redis-server --version) |"
  echo "| memcached | $(what memcached --version) |"
}

# plot NAME TITLE X Y SETTINGS FILE...: one line for each file, which is named for it.
plot() {
  local name=$1 title=$2 x=$3 y=$4 settings=$5 file lines=()
  shift 5
  for file in "$@"; do
    [[ -s $file ]] && lines+=("'$file' with linespoints title '$(basename -- "${file#*"$name"-}" .dat | tr - ' ')'")
  done
  ((${#lines[@]})) || return 0
  local IFS=,
  gnuplot <<PLOT
set terminal svg size 800,500 background 'white'
set output '$report/$name.svg'
set title '$title'
set xlabel '$x'
set ylabel '$y'
set key outside
set grid
$settings
plot ${lines[*]}
PLOT
}

machine | tee "$report/machine.md"

if wanted "${system_rows[@]}"; then
  run system --programs "$build_dir" --work "$work" --runs "$runs" --seconds "$seconds" --rows "$rows" \
    --entries "$entries" --large "$large" --windows "$windows"
fi
! wanted grid || run grid --programs "$build_dir" --work "$work" --entries "$entries" "${grid[@]}"
! wanted client || run client --programs "$build_dir" --work "$work" --runs "$runs" --seconds "$seconds"
! wanted libzmq || run libzmq --programs "$build_dir" --work "$work" --runs "$runs" --seconds "$seconds"
! wanted micro || run micro --runs "$runs" --sizes "$sizes" --judged "$judged"
! wanted tables || run tables --runs "$runs" --entries "$entries"
! wanted memory || run memory --most "$most"
! wanted turns || run turns --runs "$runs" --seconds "$turns" --entries "$entries" --leases "$leases"

# What does not depend on the machine: `name value` lines.
figures=$report/figures.txt
if wanted steady; then
  run steady >"$figures"
  valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$work/callgrind" \
    "$build_dir/tests/bench/bench_steady" --count instructions >"$work/keys" 2>"$work/valgrind.log" ||
    { cat "$work/valgrind.log" >&2 && exit 1; }
  # A dump names what it counted; the program said how many keys that was.
  awk 'FILENAME == ARGV[1] { keys[$1] = $2; next }
    /^desc: Trigger: Client Request: / { name = $NF }
    /^totals: / && name in keys { printf "instructions-per-key-%s %.2f\n", name, $2 / keys[name]; name = "" }' \
    "$work/keys" "$work"/callgrind.* | sort >>"$figures"
fi
[[ ! -s $report/recorded-memory.txt ]] || cat "$report/recorded-memory.txt" >>"$figures"

by_window='set logscale xy 2; set logscale y 10'
for what in claim--thirds claim--all-new match--all-stored registration--all-new; do
  plot "window-$what" "${what//-/ }" 'window' 'keys/s' "$by_window" "$report/window-$what-"*.dat
done
plot micro 'parts of a hub, batches of 100 keys' 'entries' 'ns per key' 'set logscale xy 10' "$report"/micro-*.dat
plot memory 'memory, 8-byte keys and values' 'entries' 'bytes per entry' 'set yrange [0:]' "$report"/memory-*.dat
plot batch 'claim, thirds, window 64' 'keys per message' 'keys/s' 'set logscale xy 10' "$report"/batch-*.dat

{
  cat "$report/machine.md"
  printf '\n| figure | target | ours: median (least .. most) | |\n| --- | --- | --- | --- |\n'
  cat "$report/targets.md" 2>/dev/null || true
  cat "$report/tables.md" 2>/dev/null || true
} >"$report/report.md"
printf '\n'
sed '/^###/,$d' "$report/report.md"
echo "Everything is in $report: report.md and *.svg"

recorded=$source_dir/tests/bench/recorded.txt
# What it says of itself, for it has many names.
compiler=$("${CXX:-g++}" -dM -E -x c++ - </dev/null | awk '
  $2 == "__clang_major__" { clang = $3 }
  $2 == "__GNUC__" { gnu = $3 }
  END { print clang ? "clang++-" clang : "g++-" gnu }')
if [[ -n $record ]]; then
  {
    sed -n '/^#/p' "$recorded"
    echo "compiler $compiler"
    cat "$figures"
  } >"$work/recorded"
  cp "$work/recorded" "$recorded"
  echo "written: $recorded"
elif [[ -n $short ]] && ! wanted memory steady; then
  echo "Nothing is compared with what the repository records: of these rows it records none"
elif [[ -n $short ]]; then
  echo
  awk -v compiler="$compiler" '
    /^#/ { next }
    FILENAME == ARGV[1] { recorded[$1] = $2; next }
    { got[$1] = $2 }
    END {
      for (name in recorded) {
        if (name == "compiler") continue
        if (!(name in got)) { print "MISSING " name; failed = 1; continue }
        verdict = got[name] > recorded[name] * 1.05 ? "MORE" : "ok"
        if (verdict != "ok") more = 1
        printf "%-7s %-55s recorded %10s, now %10s\n", verdict, name, recorded[name], got[name] | "sort"
      }
      close("sort")
      for (name in got) if (!(name in recorded)) { print "NOT RECORDED " name; more = 1 }
      if (recorded["compiler"] != compiler) {
        print "OTHER COMPILER: recorded with " recorded["compiler"] ", built with " compiler ": set CXX"
        failed = 1
      }
      if (more && !failed) print "More than the repository records; if it is worth that, run.sh --record"
      exit more || failed
    }' "$recorded" "$figures"
fi
