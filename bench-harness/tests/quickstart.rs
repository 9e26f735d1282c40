//! The quickstart with TLS: what it shows, and whether the command that it gives to copy is a good one.
#![cfg(feature = "measurements")]

#[path = "../../tests/support/cache.rs"]
mod cache;
#[path = "../../tests/support/debian.rs"]
mod debian;
#[path = "../../tests/support/openbao_program.rs"]
mod openbao_program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn by_tls_it_shows_what_was_agreed_on_and_who_is_refused() {
    let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
    let mut command = Command::new(harness);
    command.args(["quickstart", "--tls", "--keep", "--megabytes", "1"]);
    // What cargo has built for the other tests, if it has: the harness would build it as it is released.
    let beside = harness.with_file_name("sealwire");
    if beside.is_file() {
        command.arg("--program").arg(beside);
    }
    let mut quickstart = Quickstart(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(quickstart.0.stdout.take().unwrap()).lines();
    let mut shown = Vec::new();
    let is_last = |line: &String| line.starts_with("  configuration ");
    while !shown.last().is_some_and(is_last) {
        // Where it ends early, it says why on standard error.
        shown.push(lines.next().expect("it goes on").unwrap());
    }

    let after = |text: &str| {
        let rests = shown.iter().filter_map(|line| line.split_once(text));
        let rests: Vec<&str> = rests.map(|(_, rest)| rest.trim()).collect();
        assert!(!rests.is_empty(), "no {text:?} in\n{}", shown.join("\n"));
        rests
    };
    assert_eq!(
        after("  agreed on  "),
        ["TLSv1_3, TLS13_AES_256_GCM_SHA384, X25519MLKEM768"]
    );
    for expected in ["connection closed by peer", "peer certificate: UnknownIssuer"] {
        assert!(
            after("it says").iter().any(|said| said.contains(expected)),
            "{expected}"
        );
    }
    for expected in ["set security.protocol to SSL", "fatal alert: UnknownCA"] {
        assert!(
            after("the log").iter().any(|said| said.contains(expected)),
            "{expected}"
        );
    }
    for reason in ["other_protocol", "tls_failed"] {
        // None are not shown.
        after(&format!(
            "sealwire_connections_closed_total{{reason=\"{reason}\"}}"
        ));
    }
    // They are read twice: by whoever reaches the listener, and by the one who logs in and is named.
    for (what, count) in [("sealed", "3"), ("opened", "6")] {
        let records = format!("sealwire_{what}_records_total{{cluster=\"main\",topic=\"payments-tls\"}}");
        assert_eq!(after(&records), [count]);
    }
    assert!(after("  orders  ").concat().contains("4111 1111 1111 1111"));
    assert!(
        after("  visitor  ")
            .concat()
            .contains("refused with error code 29")
    );
    assert!(after("  a wrong password  ").concat().contains("error code 58"));
    assert!(
        after("the log")
            .iter()
            .any(|said| said.contains("not_named") && said.contains("User:visitor"))
    );

    let kcat = format!("{} -e", after("the same by TLS").concat());
    assert!(kcat.contains("security.protocol=ssl"), "{kcat}");
    debian::installed("kcat", "-V", &["kcat"]);
    let mut command = Command::new("timeout");
    cache::leave_cargo(&mut command);
    let read = command.args(["60", "sh", "-c", &kcat]).output().unwrap();
    let [out, errors] = [&read.stdout, &read.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(out.contains("4111 1111 1111 1111"), "{kcat}: {errors}");
}

#[test]
fn with_a_vault_it_shows_the_key_being_made_and_a_rotation() {
    let harness = Path::new(env!("CARGO_BIN_EXE_bench-harness"));
    let mut command = Command::new(harness);
    command.args(["quickstart", "--kms", "vault", "--megabytes", "1"]);
    // Without one it says what to do, before it builds anything.
    let missing = Command::new(harness)
        .args(["quickstart", "--kms", "vault"])
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(
        !missing.status.success() && said.contains("--kms-program"),
        "{said}"
    );

    command.arg("--kms-program").arg(openbao_program::program());
    let beside = harness.with_file_name("sealwire");
    if beside.is_file() {
        command.arg("--program").arg(beside);
    }
    let output = command.output().unwrap();
    let [shown, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{shown}{errors}");
    for expected in [
        "$ bao secrets enable transit",
        "$ bao write -f transit/keys/quickstart\n",
        "4111 1111 1111 1111",
        "KEK quickstart, version 1",
        "$ bao write -f transit/keys/quickstart/rotate",
        "KEK quickstart, version 2",
        "sealwire_sealed_records_total",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in\n{shown}");
    }
}

/// Ended by Ctrl-C, as its reader would.
struct Quickstart(Child);

impl Drop for Quickstart {
    fn drop(&mut self) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process"), Signal::INT).expect("it is there until it is waited for");
        self.0.wait().expect("it ends");
    }
}
