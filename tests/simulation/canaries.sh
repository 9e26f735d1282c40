#!/usr/bin/env bash
# Puts faults back, one after the other, that were mended once, and lets worlds find them: `make canaries`, or with the
# names of some. Works on a copy of the tree, in target/canaries.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
copy=$root/target/canaries/tree
missed=0
unset SEALWIRE_SIMULATION_SEED SEALWIRE_SIMULATION_SEEDS SEALWIRE_SIMULATION_FIRST

# What a world has to say of the fault: the first line of its patch, which git does not look at.
expected() { head -1 "$patch"; }

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
    said=$("$program" world::proxied::nothing_is_lost 2>&1) || true
    seed=$(grep -m1 -oE 'SEALWIRE_SIMULATION_SEED=[0-9]+' <<<"$said" || true)
    if [ -n "$seed" ] && grep -qF -- "$(expected)" <<<"$said"; then
        echo "$name: found by $seed: $(expected)"
    else
        echo "$name: NOT FOUND"
        tail -5 <<<"$said"
        missed=1
    fi
done
exit $missed
