#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Searches all executions of leases.pml within some bounds, and then those of models with a mistake built in, in which
# what must hold has to be violated. Prints a row for each, and fails if one is not as it must be or was not searched to
# its end. Needs spin and a C compiler; takes some three minutes on an idle core, and 1 GB.
set -euo pipefail

model=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/leases.pml
work=$(mktemp -d "${TMPDIR:-/tmp}/registry-promela.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
for tool in spin cc; do
  command -v "$tool" >/dev/null || { echo "check.sh: $tool is missing: cmake/install-packages.sh model" >&2; exit 1; }
done

failures=0
printf '%-56s %10s %8s %7s  %s\n' model states depth seconds result

# search NAME WHAT BOUND...: WHAT is "holds", or what the violation of this model is called.
search() {
  local name=$1 expected=$2 start=$SECONDS bound got
  shift 2
  # Of two settings of a bound the later one would only be a warning.
  local -A bounds=([WORKERS]=2 [KEYS]=1 [TTL]=2 [ROUNDS]=2 [LOSSES]=0 [TIMEOUTS]=0 [RENEWALS]=0 [RESENDS]=0
                   [DUPLICATES]=0 [STALLS]=0 [WAITS]=0 [CRASHES]=0 [RESTARTS]=0 [EVICTIONS]=0 [INSIST]=0)
  for bound; do bounds[${bound%%=*}]=${bound#*=}; done
  local defines=()
  for bound in "${!bounds[@]}"; do defines+=("-D$bound=${bounds[$bound]}"); done
  rm -f ./pan* ./*.trail
  # A mistake is found in less time than it takes to optimise the search. -w is the size of a hash table, which only
  # says how fast it is.
  local optimise=-O0
  if [[ $expected == holds ]]; then optimise=-O1; fi
  : >out
  if ! { spin "${defines[@]}" -a "$model" &&
         cc "$optimise" -DSAFETY -DMEMLIM=3500 -w -o pan pan.c; } >build.log 2>&1; then
    cp build.log out
    got="not built"
  else
    timeout 900 ./pan -m200000 -w23 >out 2>&1 || true
    if grep -q 'max search depth too small\|out of memory\|memory limit\|hash table full' out; then
      got="not searched to the end"
    elif grep -q 'assertion violated' out; then
      got=$(violated "$(grep -m1 'assertion violated' out)")
    elif grep -q '^pan:1: invalid end state' out; then
      got="a waiter is forgotten"
    elif grep -q 'errors: 0' out && ! grep -q 'Search not completed' out; then
      got=holds
    else
      got="not searched to the end"
    fi
  fi
  local verdict=$got
  if [[ $got != "$expected" ]]; then
    verdict="FAILED: $got, expected: $expected"
    failures=$((failures + 1))
    grep -v 'state [0-9]*, "' out || true
  fi
  printf '%-56s %10s %8s %7d  %s\n' "$name" "$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out | head -n 1)" \
    "$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out | head -n 1)" $((SECONDS - start)) "$verdict"
}

# What must hold, by the variables that its assertion speaks of.
violated() {
  case $1 in
    *other*) echo "two holders" ;;
    *waiting*) echo "out of turn" ;;
    *excused*) echo "a lease of nobody's" ;;
    *was_answered*) echo "answered twice" ;;
    *undone*) echo "a repeat undoes an eviction" ;;
    *) echo "$1" ;;
  esac
}

faults=(LOSSES=1 TIMEOUTS=1)
restart=(RESTARTS=1 RENEWALS=1)
crash=(WORKERS=3 ROUNDS=1 CRASHES=1)
two_keys=(KEYS=2 TIMEOUTS=1 WAITS=1)
resent=(ROUNDS=1 RESENDS=1 EVICTIONS=1 TIMEOUTS=1)
insist=(INSIST=1 EVICTIONS=1 RESENDS=1 STALLS=1)

search "a loss and a timeout" holds "${faults[@]}"
search "a renewal, a timeout, a stall of the hub" holds RENEWALS=1 TIMEOUTS=1 STALLS=1
search "three workers, a crash, a loss, a timeout, a wait's end" holds "${crash[@]}" "${faults[@]}" WAITS=1
search "two keys, a timeout, a wait's end" holds "${two_keys[@]}"
search "the hub is restarted, a renewal" holds "${restart[@]}"
search "the same, a loss" holds "${restart[@]}" ROUNDS=1 LOSSES=1
search "the same, a timeout" holds "${restart[@]}" ROUNDS=1 TIMEOUTS=1
search "the same, a resent registration, an eviction" holds "${restart[@]}" ROUNDS=1 RESENDS=1 EVICTIONS=1
search "the same, a query that comes twice" holds "${restart[@]}" ROUNDS=1 DUPLICATES=1
search "two keys, the hub is restarted, a renewal" holds "${restart[@]}" ROUNDS=1 KEYS=2
search "three workers, the hub is restarted, a crash" holds WORKERS=3 ROUNDS=1 RESTARTS=1 CRASHES=1
search "three workers, the hub is restarted, a stall" holds WORKERS=3 ROUNDS=1 RESTARTS=1 STALLS=1
search "a query that comes twice, a timeout" holds DUPLICATES=1 TIMEOUTS=1
search "a resent registration, an eviction" holds "${resent[@]}"
search "the same where only holders register, a stall" holds "${insist[@]}"

mistake() { search "  $1" "${@:2}" "$1=1"; }
echo "with a mistake built in:"
mistake LEASE_NOT_CHECKED "two holders"
mistake LEASE_COUNTED_FROM_THE_ANSWER "two holders"
mistake RENEWAL_COUNTED_FROM_THE_ANSWER "two holders" RENEWALS=1
mistake RELEASED_IS_STILL_BELIEVED_IN "two holders"
mistake LATE_ANSWER_IS_TAKEN "a lease of nobody's" TIMEOUTS=1
mistake NO_RECOVERY "two holders" "${restart[@]}"
mistake SHORT_RECOVERY "two holders" "${restart[@]}"
mistake CLAIMED_BACK_WHATEVER_HAPPENED "two holders" "${restart[@]}"
mistake HAD_BACK_AFTER_ITS_TIME "two holders" "${restart[@]}"
mistake GIVEN_BACK_WHICHEVER_CLAIM "two holders" DUPLICATES=1
mistake NO_WITHDRAW "a lease of nobody's" TIMEOUTS=1
mistake EXPIRED_LEASE_GOES_TO_WHO_COMES "out of turn"
mistake EXPIRED_LEASE_WAKES_NOBODY "a waiter is forgotten"
mistake RELEASED_KEY_WAKES_NOBODY "a waiter is forgotten"
mistake STORED_KEY_WAKES_NOBODY "a waiter is forgotten"
mistake RECOVERY_WAKES_NOBODY "a waiter is forgotten" "${restart[@]}"
mistake UNREACHABLE_WAITER_KEEPS_THE_REST_WAITING "a waiter is forgotten" "${crash[@]}"
mistake ANSWERED_WAITER_STAYS_QUEUED "answered twice" "${two_keys[@]}" WORKERS=3 ROUNDS=1
mistake RESENT_IS_APPLIED_AGAIN "a repeat undoes an eviction" "${resent[@]}"
# No mistake, but the reason for insist_on_holder: a late registration ends the lease of who holds the key now, and when
# the entry is evicted a third worker is granted it.
search "  everyone registers, and entries are evicted" "two holders" EVICTIONS=1 RESENDS=1

if ((failures > 0)); then
  echo "$failures models are not as they must be"
  exit 1
fi
echo "all models are as they must be"
