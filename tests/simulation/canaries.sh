#!/usr/bin/env bash
# Puts faults back, one after the other, that were mended once, and lets worlds find them: `make canaries`, or with the
# names of some. Works on a copy of the tree, in target/canaries. A world that fails for another reason than the one
# that is looked for is passed by, since a fault may show itself in more than one way.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
copy=$root/target/canaries/tree
missed=0
unset SEALWIRE_SIMULATION_SEED SEALWIRE_SIMULATION_TRACE

# For each fault so many worlds at most, and so many seconds, its build not counted.
SEEDS_MAX=5000
SECONDS_MAX=900

# What a world has to say of the fault: the first line of its patch, which git does not look at.
expected() { head -1 "$patch"; }

# In which worlds, where the second line says so.
worlds_of() { sed -n '2s/^of: //p' "$patch" | grep . || echo world::proxied::nothing_is_lost_leaked_or_stuck_whatever; }

# Of what a run said: each world that failed, as its seed and a line of what was said of it.
failed() {
    awk '/^thread .seed [0-9]+. / { gsub(/[^0-9]/, "", $3); seed = $3; next }
        /^(note: run with|failures:|stack backtrace:|thread )/ { seed = "" }
        seed != "" { print seed " " $0 }' <<<"$1"
}

# Lives through worlds with `program` until one says what is expected.
find_world() {
    local first=0 until=$((SECONDS + SECONDS_MAX)) said worlds found rc
    while [ "$first" -lt "$SEEDS_MAX" ] && [ "$SECONDS" -lt "$until" ]; do
        rc=0
        said=$(SEALWIRE_SIMULATION_FIRST=$first SEALWIRE_SIMULATION_SEEDS=$((SEEDS_MAX - first)) \
            timeout $((until - SECONDS)) "$program" "$(worlds_of)" 2>&1) || rc=$?
        worlds=$(failed "$said")
        found=$(grep -m1 -F -- "$(expected)" <<<"$worlds" || true)
        if [ -n "$found" ]; then
            echo "$name: found by seed $found"
            return 0
        fi
        if [ -z "$worlds" ]; then
            echo "$name: no world failed from $first on (status $rc)"
            return 1
        fi
        # Whoever began with a lower seed has ended by then.
        sort -nu -k1,1 <<<"$worlds" | cut -c1-120 | sed "s/^/$name: passed by seed /"
        first=$(($(sort -n <<<"$worlds" | tail -1 | cut -d' ' -f1) + 1))
    done
    echo "$name: nothing by seed $first"
    return 1
}

if [ $# -eq 0 ]; then
    for patch in tests/simulation/canaries/*.patch; do
        set -- "$@" "$(basename "$patch" .patch)"
    done
fi

for name in "$@"; do
    patch=$root/tests/simulation/canaries/$name.patch
    rm -rf "$copy"
    mkdir -p "$copy"
    # As old as now: cargo looks at times, and would not notice that the patch before this one is gone.
    git ls-files -z | tar --null --files-from=- -c | tar -x --touch -C "$copy"
    # Outside of the repository, as far as git knows: the patch is for the copy.
    (cd "$copy" && GIT_CEILING_DIRECTORIES=$root/target git apply "$patch")
    echo "$name: building"
    (cd "$copy" && CARGO_TARGET_DIR=$root/target/canaries/target cargo test --quiet --locked --test simulation --no-run)
    program=$(find "$root/target/canaries/target/debug/deps" -name 'simulation-*' -type f -executable -printf '%T@ %p\n' |
        sort -n | tail -1 | cut -d' ' -f2)
    if ! find_world; then
        echo "$name: NOT FOUND: $(expected)"
        missed=1
    fi
done
exit $missed
