#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# seeds.sh DIRECTORY: writes each message of tests/wire/*.json into a file of its own, as bytes.
set -euo pipefail

out=${1:?usage: seeds.sh DIRECTORY}
wire_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../wire" && pwd)

rm -rf "$out"
mkdir -p "$out"
count=0
while read -r name hex; do
  # shellcheck disable=SC2059
  printf "$(sed 's/../\\x&/g' <<<"$hex")" >"$out/$name"
  count=$((count + 1))
done < <(awk -F'"' '$2 == "name" { name = $4 } $2 == "hex" { print name, $4 }' "$wire_dir"/*.json)

if ((count == 0)); then
  echo "no message in $wire_dir" >&2
  exit 1
fi
echo "$count seeds in $out"
