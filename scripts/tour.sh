#!/bin/sh
# The tour: builds hfd and hfctl and shows the five provider scripts at work on a simulated cluster.
# Needs a Rust toolchain and nothing else. `scripts/tour.sh --debug` builds faster and runs slower.
set -eu

profile=release
case "${1-}" in
    '') ;;
    --debug) profile=dev ;;
    *)
        echo "usage: $0 [--debug]" >&2
        exit 64
        ;;
esac

cd "$(dirname "$0")/.."
# Both packages: hfd finds the hfctl that lies beside it.
cargo build --profile "$profile" -p hfd -p hfctl
case "$profile" in
    dev) directory=debug ;;
    *) directory=$profile ;;
esac
exec "${CARGO_TARGET_DIR:-target}/$directory/hfd" sandbox tour
