#!/usr/bin/env bash
# Throughput and latency of three peers on this machine, each a process, for each durability and
# with 1, 16 and 64 clients; and what an idle peer costs. Bounded: about SECONDS_EACH × 18 seconds.
#
#   benches/ring.sh [SECONDS_EACH]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet
henge=$PWD/target/release/henge
each=${1:-5}
dir=$(mktemp -d)
peers=()
stop() { for p in "${peers[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; peers=(); }
trap 'stop; rm -rf "$dir"' EXIT

# Starts a peer and waits for `ready`; prints nothing, sets $address.
start() {
    local name=$1 out=$dir/$1.out
    shift
    "$henge" run --data-dir "$dir/$name" --listen /ip4/127.0.0.1/tcp/0 "$@" >"$out" 2>"$dir/$name.err" &
    peers+=($!)
    for _ in $(seq 300); do grep -q '^ready$' "$out" && break || sleep 0.1; done
    address=$(sed -n 's/^listening //p' "$out" | head -n 1)
}

for durability in fsync interval os; do
    start "$durability-a" --durability "$durability"; a=$address
    start "$durability-b" --durability "$durability" --join "$a"; b=$address
    start "$durability-c" --durability "$durability" --join "$b"; c=$address
    if [ "$durability" = fsync ]; then
        ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
        before=$(ticks "${peers[0]}"); sleep 10; after=$(ticks "${peers[0]}")
        echo "idle peer: $((after - before)) ticks of 10 ms in 10 s, $(awk '/VmRSS/{print $2}' "/proc/${peers[0]}/status") KiB"
    fi
    for puts in 100 0; do
        for clients in 1 16 64; do
            echo "== $durability, $puts % puts, $clients clients"
            "$henge" bench --peer "$a" --peer "$b" --peer "$c" --clients "$clients" --seconds "$each" \
                --value-bytes 1024 --puts "$puts"
        done
    done
    echo "loaded peer: $(awk '/VmRSS/{print $2}' "/proc/${peers[0]}/status") KiB"
    stop
done
