#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh BUILD_DIR TARGET...: builds what is measured, Release, with the compiler CXX (g++) and JOBS at a time.
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build_dir=$1
shift
CXX=${CXX:-g++} cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DREGISTRY_SANITIZE= \
  -DREGISTRY_BUILD_TESTS=OFF -DREGISTRY_BUILD_BENCH=ON
cmake --build "$build_dir" --parallel "${JOBS:-$(nproc)}" --target "$@"
