#!/usr/bin/env bash
# What `make test` does about tests that failed: `again.sh LOG COMMAND...` runs those of LOG (what `cargo test` has
# printed) once more, each alone by COMMAND, where they start real programs and were perhaps only late. Fails where one
# fails again, where any other test failed, and where more failed than chance explains: docs/testing.md.
set -euo pipefail
log=$1
shift

# Programs of tests that start brokers, clients and the proxy, whose clocks a busy machine may upset.
MAY_BE_LATE=(kafka program)
AGAIN_MAX=3

# Of each target that cargo says has failed, its last word.
mapfile -t targets < <(awk '/^error: [0-9]+ targets? failed:$/ { listed = 1; next }
    listed && /^ +`/ { gsub(/[` ]+$/, ""); print $NF }' "$log")
if [ ${#targets[@]} -eq 0 ]; then
    echo "again: nothing but a test that failed is run again"
    exit 1
fi
failed=()
for target in "${targets[@]}"; do
    if ! printf '%s\n' "${MAY_BE_LATE[@]}" | grep -qxF -- "$target"; then
        echo "again: what fails in $target is no matter of time"
        exit 1
    fi
    # A program that broke off has no list of what failed.
    mapfile -t names < <(awk -v program="tests/$target/main.rs" '/^ +Running / { mine = $2 == program; ended = 0 }
        mine && /^test [^ ]+ \.\.\. FAILED$/ { print $2 }
        mine && /^test result: FAILED/ { ended = 1 }
        mine && ended { print "ended"; mine = 0 }' "$log")
    if [ ${#names[@]} -lt 2 ] || [ "${names[-1]}" != ended ]; then
        echo "again: $target broke off"
        exit 1
    fi
    for name in "${names[@]:0:${#names[@]}-1}"; do failed+=("$target $name"); done
done
if [ ${#failed[@]} -gt $AGAIN_MAX ]; then
    echo "again: ${#failed[@]} failed, more than $AGAIN_MAX"
    exit 1
fi
for one in "${failed[@]}"; do
    read -r target name <<<"$one"
    echo "again: $name of $target, alone"
    "$@" --test "$target" -- --exact "$name" --test-threads 1
done
for one in "${failed[@]}"; do echo "again: failed at first, and passed alone: $one"; done
