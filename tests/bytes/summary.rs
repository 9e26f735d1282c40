//! What `make test` says at its end is what has happened: nothing that was skipped, failed or broke off counts as
//! passed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const PRINTED: &str = "     Running unittests src/lib.rs (target/debug/deps/sealwire-0123456789abcdef)
test a ... ok
test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.14s
     Running tests/kafka/main.rs (target/debug/deps/kafka-2f025593f19483fb)
skipped sasl::x: there is no proxy on the direct route
test sasl::x ... ok
test sasl::y ... skipped tests/kafka/sasl.rs:3:4: there is no proxy on the direct route
skipped tests/kafka/sasl.rs:3:4: there is no proxy on the direct route
ok
test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.14s
     Running tests/program/main.rs (target/debug/deps/program-2f025593f19483fb)
";

const SAID: &str = "
What was run:
  unit tests of sealwire          7 passed, 0 failed, 1 skipped
  tests/kafka/main.rs             2 passed, 1 failed, 2 skipped
  tests/program/main.rs           0 passed, 1 failed, 0 skipped; it ended in the middle
  skipped: sasl::x: there is no proxy on the direct route
  skipped: tests/kafka/sasl.rs:3:4: there is no proxy on the direct route

9 passed, 2 failed, 3 skipped
";

#[test]
fn what_did_not_pass_does_not_count_as_passed() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/summary.awk");
    let mut awk = Command::new("awk")
        .arg("-f")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("awk runs");
    let mut input = awk.stdin.take().expect("standard input is a pipe");
    input.write_all(PRINTED.as_bytes()).expect("awk reads");
    drop(input);
    let output = awk.wait_with_output().expect("awk ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), SAID);
}
