#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark: installs what is missing, builds (Release), starts every server that it measures itself, on the
# loopback, and stops it; leaves a table and plots in BUILD_DIR/report. Some 20 minutes, and two cores for itself: the
# servers run on the first, what asks them on the second.
#   --runs N          how often what is compared is measured, in turn (5)
#   --seconds S       how long each time (1)
#   --rows LIST       only these, of: claim match register floors flood grid
#   --entries N       size of the catalogue (10000000)
#   --large N         size of the large one (50000000)
# From the environment:
#   BUILD_DIR         where to build (build-bench)
#   CXX               compiler (g++)
#   JOBS              parallel jobs (one per core)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build-bench}

usage() {
  sed -n 's/^# \{0,1\}//; 3,/^set /{/^set /!p}' "${BASH_SOURCE[0]}"
  exit "$1"
}

runs=5 seconds=1 rows=all entries=10000000 large=50000000
while (($#)); do
  case $1 in
    --runs) runs=$2 ;;
    --seconds) seconds=$2 ;;
    --rows) rows=$2 ;;
    --entries) entries=$2 ;;
    --large) large=$2 ;;
    --help) usage 0 ;;
    *) usage 2 >&2 ;;
  esac
  shift 2 || usage 2 >&2
done

"$source_dir/cmake/install-packages.sh" library examples bench
CXX=${CXX:-g++} cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DREGISTRY_SANITIZE= \
  -DREGISTRY_BUILD_TESTS=OFF -DREGISTRY_BUILD_BENCH=ON
cmake --build "$build_dir" --parallel "${JOBS:-$(nproc)}" --target registry_hub registry_bench

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

if wanted claim match register floors flood grid; then
  run system --programs "$build_dir" --work "$work" --runs "$runs" --seconds "$seconds" --rows "$rows" \
    --entries "$entries" --large "$large"
fi

by_window='set logscale xy 2; set logscale y 10'
for what in claim--thirds claim--all-new match--all-stored; do
  plot "window-$what" "${what//-/ }" 'window' 'keys/s' "$by_window" "$report/window-$what-"*.dat
done
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
