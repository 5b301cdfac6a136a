#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the tests and examples, and runs the tests. Arguments go to ctest.
# From the environment:
#   BUILD_DIR          where to build (build)
#   CXX                compiler (g++)
#   REGISTRY_SANITIZE  empty, address,undefined or thread
#   BUILD_TARGET       what to build (all)
#   JOBS               parallel jobs (one per core)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build}
cxx=${CXX:-g++}
sanitize=${REGISTRY_SANITIZE:-}
jobs=${JOBS:-$(nproc)}

"$source_dir/cmake/install-packages.sh" library tests examples

# Everything is built here: what the files of a suite have in common need not be compiled once for each.
configure=(-S "$source_dir" -B "$build_dir" -G Ninja "-DREGISTRY_SANITIZE=$sanitize" -DREGISTRY_UNITY_TESTS=ON)
if [[ -z $sanitize ]]; then
  configure+=(-DCMAKE_BUILD_TYPE=Release)
else
  # With assertions.
  configure+=(-DCMAKE_BUILD_TYPE=Debug)
fi
# A build directory keeps the compiler it was first configured with, whatever CXX says.
cache=$build_dir/CMakeCache.txt
if [[ -f $cache && $(sed -n 's/^CMAKE_CXX_COMPILER:[^=]*=//p' "$cache") != "$(command -v "$cxx")" ]]; then
  configure+=(--fresh)
fi

CXX=$cxx cmake "${configure[@]}"
cmake --build "$build_dir" --parallel "$jobs" --target "${BUILD_TARGET:-all}"

status=0
ctest --test-dir "$build_dir" --output-on-failure --no-tests=error --parallel "$jobs" "$@" || status=$?
# What the fault tests saw, also where all is well: ctest keeps to itself what passing tests print.
sed -n 's/^fault: //p' "$build_dir/Testing/Temporary/LastTest.log"
exit "$status"
