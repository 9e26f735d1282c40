# What `make test` says at its end, from what `cargo test` has printed: tests by program, those that were skipped and why, and a line
# of sums. A test that says that it was skipped does not count as passed.

# "Running tests/kafka/main.rs (…)" or "Running unittests src/lib.rs (target/debug/deps/sealwire-0123456789abcdef)".
/^ +Running / {
    count++
    name[count] = $2
    if ($2 == "unittests") {
        name[count] = $4
        sub(/^.*\//, "unit tests of ", name[count])
        sub(/-[0-9a-f]+\)$/, "", name[count])
    }
}

/(^|\.\.\. )skipped [^ ]+: / {
    match($0, /skipped [^ ]+: /)
    said = substr($0, RSTART + length("skipped "))
    if (!(said in known)) { known[said]; reason[++reasons] = said; skipped[count]++ }
}

/^test result: / {
    has_ended[count] = 1
    passed[count] = $4 - skipped[count]
    failed[count] = $6
    skipped[count] += $8
}

END {
    if (count == 0) exit
    print "\nWhat was run:"
    for (at = 1; at <= count; at++) {
        if (!has_ended[at]) failed[at]++
        printf "  %-28s %4d passed, %d failed, %d skipped%s\n", name[at], passed[at], failed[at], skipped[at], \
            has_ended[at] ? "" : "; it ended in the middle"
        all_passed += passed[at]; all_failed += failed[at]; all_skipped += skipped[at]
    }
    for (at = 1; at <= reasons; at++) print "  skipped: " reason[at]
    printf "\n%d passed, %d failed, %d skipped\n", all_passed, all_failed, all_skipped
}
