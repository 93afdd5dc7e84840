#!/usr/bin/env bash
# Starts Ray on this machine, as the head of a cluster or as a node that joins one.
#
#   ray-node.sh token                                     makes a token, once; copy the file to every node
#   ray-node.sh head [OPTIONS of ray start]
#   ray-node.sh worker HEAD_ADDRESS[:PORT] [OPTIONS of ray start]
#
# The cluster requires the token in $RAY_AUTH_TOKEN_PATH (by default ~/.config/sweep-runner/ray-token), listens on few,
# fixed ports, and notices within seconds that a node is gone. The dashboard is on the head's 127.0.0.1 only.
#
#   RAY_NODE_ADDRESS   of this machine, where Ray would take another network card
#   RAY_NODE_PORTS     first of the ports, by default 6379; "any" lets Ray choose, for several clusters on a machine
#   RAY_HEAD_PORT      of the head, where RAY_NODE_PORTS=any
set -euo pipefail

fail() {
    printf 'ray-node.sh: %s\n' "$*" >&2
    exit 2
}

export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-${XDG_CONFIG_HOME:-$HOME/.config}/sweep-runner/ray-token}
export RAY_USAGE_STATS_ENABLED=0
# Without this a trial that asks for no GPU sees all of them.
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1
# Notice a node that is cut off after about 8 s instead of a minute. (For the head; nodes ignore it.)
export RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=2000 RAY_health_check_failure_threshold=3

role=${1:-}
[ $# -gt 0 ] && shift

if [ "$role" = token ]; then
    [ ! -e "$RAY_AUTH_TOKEN_PATH" ] || fail "$RAY_AUTH_TOKEN_PATH is there already"
    mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")"
    (umask 077 && python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH")
    echo "$RAY_AUTH_TOKEN_PATH"
    exit 0
fi

[ -s "$RAY_AUTH_TOKEN_PATH" ] || fail "no token in $RAY_AUTH_TOKEN_PATH: make one (ray-node.sh token), or copy the head's"
case $(stat -Lc %a "$RAY_AUTH_TOKEN_PATH") in
    600 | 400) ;;
    *) fail "$RAY_AUTH_TOKEN_PATH is readable for others: chmod 600 it" ;;
esac

first=${RAY_NODE_PORTS:-6379}
options=(--disable-usage-stats)
if [ "$first" != any ]; then
    options+=(
        --node-manager-port=$((first + 1)) --object-manager-port=$((first + 2)) --runtime-env-agent-port=$((first + 3))
        --dashboard-agent-grpc-port=$((first + 4)) --dashboard-agent-listen-port=$((first + 5))
        --metrics-export-port=$((first + 6)) --min-worker-port=$((first + 21)) --max-worker-port=$((first + 220))
    )
fi
[ -z "${RAY_NODE_ADDRESS:-}" ] || options+=(--node-ip-address="$RAY_NODE_ADDRESS")

case $role in
    head)
        [ "$first" != any ] || first=${RAY_HEAD_PORT:?RAY_NODE_PORTS=any needs RAY_HEAD_PORT}
        options+=(--head --port="$first" --ray-client-server-port=$((first + 7)) --dashboard-host=127.0.0.1)
        ;;
    worker)
        head=${1:-}
        [ -n "$head" ] || fail "worker needs the head's address: ray-node.sh worker HEAD_ADDRESS[:PORT]"
        shift
        [[ $head == *:* ]] || head=$head:$first
        options+=(--address="$head")
        ;;
    *) fail "usage: ray-node.sh token | head [OPTIONS] | worker HEAD_ADDRESS[:PORT] [OPTIONS]" ;;
esac

exec ray start "${options[@]}" "$@"
