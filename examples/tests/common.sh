# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of the examples share. To be sourced; EXAMPLES is where the programs are.
set -euo pipefail

: "${EXAMPLES:?where the examples are built}"
while read -r variable; do unset "$variable"; done < <(compgen -v DYN_REGISTRY_)

work=$(mktemp -d "${TMPDIR:-/tmp}/registry-test.XXXXXX")
started=()
clean_up() {
  # Not KILL at once: timeout hands TERM on to what it started.
  for process in "${started[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
  for process in "${started[@]}"; do
    for ((i = 0; i < 100; ++i)); do
      kill -0 "$process" 2>/dev/null || break
      sleep 0.05
    done
    kill -KILL "$process" 2>/dev/null || true
  done
  chmod -R u+rwx "$work"
  rm -rf "$work"
}
trap clean_up EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  for file in out err hub.out hub.err; do
    if [[ -s $work/$file ]]; then
      echo "--- $file" >&2
      cat "$work/$file" >&2
    fi
  done
  exit 1
}

# poll COMMAND...: until it succeeds, for at most 30 s.
poll() {
  local i
  for ((i = 0; i < 600; ++i)); do
    "$@" && return
    sleep 0.05
  done
  fail "gave up waiting for: $*"
}

# expect_status STATUS PROGRAM ARGS...: what it prints goes to ./out and ./err.
expect_status() {
  local expected=$1 status=0 program=$2
  shift 2
  timeout 60 "$EXAMPLES/$program" "$@" >"$work/out" 2>"$work/err" || status=$?
  ((status == expected)) || fail "$program $*: expected status $expected, got $status"
}

# expect_text FILE TEXT...: each stands in the file.
expect_text() {
  local file=$1 text
  shift
  for text in "$@"; do
    grep -qF -- "$text" "$work/$file" || fail "expected \"$text\" in $file"
  done
}

# expect_value FILE NAME VALUE: a row of a summary (name=value) or of a hub's statistics (name value).
expect_value() {
  local got
  got=$(awk -F '[= ]+' -v name="$2" '{ sub(/^ +/, "") } $1 == name { print $2 }' "$work/$1")
  [[ $got == "$3" ]] || fail "$1: expected $2 to be $3, got \"$got\""
}

hub_is_ready() {
  grep -q '^registry_hub: schema .*, registrations at .' "$work/hub.out" && return
  kill -0 "$hub" 2>/dev/null || fail "the hub ended before it was ready"
  return 1
}

# run_hub ARGS...: until it is ready; $hub is its process.
run_hub() {
  # Emptied here: a hub before this one has left its first line there.
  : >"$work/hub.out"
  "$EXAMPLES/registry_hub" "$@" >>"$work/hub.out" 2>"$work/hub.err" &
  hub=$!
  started+=("$hub")
  poll hub_is_ready
}

# start_hub ARGS...: on free ports; $query and $register are its addresses.
start_hub() {
  run_hub --query-addr 'tcp://127.0.0.1:*' --register-addr 'tcp://127.0.0.1:*' "$@"
  query=$(sed -n 's/^registry_hub: schema .* queries at \([^,]*\), registrations at .*$/\1/p' "$work/hub.out")
  register=$(sed -n 's/^registry_hub: schema .*, registrations at \(.*\)$/\1/p' "$work/hub.out")
  [[ $query == tcp://127.0.0.1:* && $register == tcp://127.0.0.1:* ]] || fail "no addresses in the hub's first line"
}

# stop_hub SIGNAL: its statistics are then in ./hub.out.
stop_hub() {
  local status=0
  kill "-$1" "$hub"
  wait "$hub" || status=$?
  ((status == 0)) || fail "the hub: expected status 0 after SIG$1, got $status"
  started=()
}
