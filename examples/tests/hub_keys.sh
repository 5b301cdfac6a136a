#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Keys of the hub and its workers: made, given by files and variables, required, and missing.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

new_key() {
  expect_status 0 registry_hub --new-key "$work/$1.key"
  [[ $(wc -l <"$work/out") == 1 && $(stat -c %a "$work/$1.key") == 600 ]] || fail "no new key for $1"
  cp "$work/out" "$work/$1.pub"
}
new_key hub
new_key worker
new_key stranger
expect_status 1 registry_hub --new-key "$work/hub.key"
expect_text err "write a key to \"$work/hub.key\": File exists"

# Without keys: required of a hub it ends; beyond this machine it warns; on this machine it does not.
DYN_REGISTRY_HUB_SECURITY=required expect_status 2 registry_hub --query-addr 'tcp://127.0.0.1:*' \
  --register-addr 'tcp://127.0.0.1:*'
expect_text err 'keys, because security is required of this hub'
run_hub --query-addr 'tcp://*:*' --register-addr 'tcp://*:*'
expect_text hub.err 'this hub has no keys and listens beyond this machine, at tcp://0.0.0.0:'
stop_hub TERM
start_hub
stop_hub TERM
[[ ! -s $work/hub.err ]] || fail "a warning for a hub on this machine"

{ cat "$work/worker.pub"; echo '# the stranger is not on the list'; } >"$work/clients"
export DYN_REGISTRY_HUB_SECURITY=required DYN_REGISTRY_HUB_CURVE_SECRET_KEY_FILE=$work/hub.key
export DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE=$work/clients
DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY=$(cat "$work/hub.pub")
export DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS=1000
run_hub --query-addr "ipc://$work/queries" --register-addr "ipc://$work/registrations"
export DYN_REGISTRY_CLIENT_QUERY_ADDR=ipc://$work/queries DYN_REGISTRY_CLIENT_REGISTER_ADDR=ipc://$work/registrations
DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY_FILE=$work/worker.key expect_status 0 worker
expect_text out '4 to store'
DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY_FILE=$work/stranger.key expect_status 1 worker
expect_text err 'timed out'
stop_hub TERM
expect_value hub.out stored 4
expect_text hub.err 'its key is not on the list of allowed clients'
for secret in hub worker stranger; do
  ! grep -qF -f "$work/$secret.key" "$work/hub.err" "$work/hub.out" "$work/out" "$work/err" || fail "$secret's key is told"
done
