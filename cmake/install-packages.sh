#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install-packages.sh GROUP...: installs what is missing of the packages that the groups need.
#   library   compiler, build tools and the libraries that the headers use
#   tests     the test framework, rapidcheck for random sequences, and ZeroMQ for Python, which the client in
#             tests/interop is written in
#   examples  what only the examples use
#   bench     the servers and the table that the benchmark compares with, and what it measures and plots with
#   profile   what shows where the time goes
#   model     what searches the model of the lease protocol in tests/promela
#   clang     clang 19 with its sanitizers and libFuzzer
set -euo pipefail

# The Boost that Debian 12 calls its default is older than 1.81; later releases have no package of that name.
boost=libboost-dev
if [[ -r /etc/os-release ]] && (. /etc/os-release && [[ ${ID:-} == debian && ${VERSION_ID:-} == 12 ]]); then
  boost=libboost1.81-dev
fi

packages=()
for group in "$@"; do
  case $group in
    library) packages+=(g++ cmake ninja-build pkg-config libzmq3-dev cppzmq-dev libasio-dev "$boost") ;;
    tests) packages+=(catch2 librapidcheck-dev python3-zmq) ;;
    examples) packages+=(libsodium-dev libcli11-dev) ;;
    bench) packages+=(redis-server memcached libabsl-dev valgrind gnuplot-nox) ;;
    profile) packages+=(linux-perf) ;;
    model) packages+=(spin gcc) ;;
    clang) packages+=(clang-19 libclang-rt-19-dev llvm-19) ;;
    *)
      echo "install-packages.sh: unknown group '$group'" >&2
      exit 2
      ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "No apt-get here; needed are the equivalents of: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "Missing packages, and neither root nor sudo to install them: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing: ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"

# Debian starts a server when it is installed: nobody asked for that here.
for package in "${missing[@]}"; do
  case $package in
    redis-server | memcached) "${as_root[@]}" service "$package" stop >/dev/null 2>&1 || true ;;
  esac
done
