//! `make test` runs tests again that may only have been late, and no others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// One test of tests/kafka failed, and what cargo says of it at its end.
const PRINTED: &str = "     Running unittests src/lib.rs (target/debug/deps/sealwire-0123456789abcdef)
test a ... ok
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.14s
     Running tests/kafka/main.rs (target/debug/deps/kafka-2f025593f19483fb)
test sasl::late ... FAILED
test sasl::in_time ... ok
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.14s
error: test failed, to rerun pass `-p sealwire --test kafka`
     Running tests/simulation/main.rs (target/debug/deps/simulation-2f025593f19483fb)
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.14s
error: 1 target failed:
    `-p sealwire --test kafka`
";

/// Whether all is well after what was printed, and what was run again, by a command that passes or fails.
fn again(printed: &str, passes: bool) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("log"), printed).expect("written");
    let status = if passes { 0 } else { 1 };
    let text = format!(
        "#!/bin/sh\necho \"$@\" >> {}\nexit {status}\n",
        path("asked").display()
    );
    fs::write(path("command"), text).expect("written");
    fs::set_permissions(path("command"), fs::Permissions::from_mode(0o755)).expect("its mode");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/again.sh");
    let output = Command::new(script)
        .arg(path("log"))
        .arg(path("command"))
        .arg("test")
        .output()
        .expect("it runs");
    (
        output.status.success(),
        fs::read_to_string(path("asked")).unwrap_or_default(),
    )
}

#[test]
fn who_was_late_is_run_again_alone() {
    let asked = "test --test kafka -- --exact sasl::late --test-threads 1\n".to_owned();
    assert_eq!(again(PRINTED, true), (true, asked.clone()));
    assert_eq!(again(PRINTED, false), (false, asked));
}

#[test]
fn what_no_clock_explains_stays_failed() {
    let nothing = (false, String::new());
    // Another program's, besides.
    let another = PRINTED.replace(
        "error: 1 target failed:\n",
        "error: 2 targets failed:\n    `-p sealwire --test bytes`\n",
    );
    assert_eq!(again(&another, true), nothing);
    let of_library = PRINTED.replace("    `-p sealwire --test kafka`", "    `-p sealwire --lib`");
    assert_eq!(again(&of_library, true), nothing);
    // It broke off: what else would have failed nobody knows.
    let broken = PRINTED.replace("test result: FAILED. 1 passed", "process abort signal");
    assert_eq!(again(&broken, true), nothing);
    // Too many at once.
    let many = PRINTED.replace(
        "test sasl::in_time ... ok",
        "test b ... FAILED\ntest c ... FAILED\ntest d ... FAILED",
    );
    assert_eq!(again(&many, true), nothing);
    // It did not compile.
    assert_eq!(again("error: could not compile `sealwire`\n", true), nothing);
}
