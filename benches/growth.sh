#!/usr/bin/env bash
# A ring of three peers that grows to six and shrinks to three others while strict clients read and write:
# for each step its time, what moved in relation to what the placement says, how evenly keys are owned, and what
# the clients noticed. In the end every key is read. Bounded: nothing is waited for longer than 30 minutes.
#
#   benches/growth.sh [KEYS] [CLIENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
export HENGE_TEST_KEYS=${1:-1000000} HENGE_TEST_CLIENTS=${2:-16} HENGE_TEST_PATIENCE=1800
# A failed assertion ends the run with its message: what it says was lost, or which requests failed.
cargo test --release --quiet --test growth -- --nocapture --test-threads 1 clients_notice_nothing \
    2>&1 | grep --line-buffered -oE '(growth: |client [0-9]+, key |thread .* panicked|lost|waited|assertion|left: |test result).*'
