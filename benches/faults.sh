#!/usr/bin/env bash
# What clients notice when one peer of five is killed, when two are at once, and when one is stopped: errors, the
# longest time that each client went without an answer, and how long gets take before and while one is down; then how
# soon its hints are delivered. Bounded: about REPETITIONS × 40 seconds.
#
#   benches/faults.sh [REPETITIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
export HENGE_TEST_REPEAT=${1:-10} HENGE_TEST_ANSWERS=500 HENGE_TEST_KEYS=20000
# A failed assertion ends the run with its message: what it says was lost, or how long a client waited.
cargo test --release --quiet --test faults -- --nocapture --test-threads 1 clients_see_no_error requests_go_on \
    2>&1 | grep --line-buffered -oE '(faults: |thread .* panicked|lost|a client waited|assertion|test result).*'
