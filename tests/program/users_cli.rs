//! `sealwire users` through the real binary.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sealwire::identity::sasl::credentials::Credentials;
use sealwire::identity::sasl::plain::Message;
use sealwire::identity::sasl::verifier::Mechanism;
use tempfile::TempDir;

/// Where the commands run.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command that is told `input`.
    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        let command = command.arg("users").args(arguments).current_dir(self.0.path());
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("sealwire starts");
        // A command that refuses its arguments does not read.
        let _ = child.stdin.take().expect("it is piped").write_all(input);
        child.wait_with_output().expect("it ends")
    }

    /// What a command prints that does what it is told.
    fn succeeds(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command says that exits with `code` and changes nothing.
    fn fails(&self, arguments: &[&str], input: &[u8], code: i32) -> String {
        let before = fs::read(self.path("users")).ok();
        let output = self.run(arguments, input);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&output.stdout)
        );
        assert_eq!(fs::read(self.path("users")).ok(), before);
        text(&output.stderr)
    }

    fn credentials(&self) -> Credentials {
        let text = fs::read_to_string(self.path("users")).expect("a file");
        Credentials::parse(&text).expect("credentials")
    }

    fn admits(&self, user: &str, password: &str) -> bool {
        let message = Message {
            authorization_id: "",
            user,
            password,
        };
        message.verify(&self.credentials()).is_ok()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn users_are_added_listed_changed_and_removed() {
    let folder = Folder::new();
    folder.succeeds(&["create", "users"], b"");
    let about = fs::metadata(folder.path("users")).expect("it is there");
    assert_eq!(about.mode() & 0o777, 0o600);
    let said = folder.succeeds(&["add", "users", "alice"], b"secret\n");
    assert_eq!(
        said,
        "alice: may log in with SCRAM-SHA-256\nalice: may log in with SCRAM-SHA-512\n"
    );
    fs::write(folder.path("password"), "Grüße\r\n").expect("a password");
    let one = [
        "add",
        "users",
        "b c",
        "--mechanism",
        "SCRAM-SHA-512",
        "--iterations",
        "5000",
    ];
    folder.succeeds(&[&one[..], &["--password-file", "password"]].concat(), b"");
    assert!(folder.admits("alice", "secret") && !folder.admits("alice", "secret\n"));
    assert!(folder.admits("b c", "Grüße"));
    let listed = folder.succeeds(&["list", "users"], b"");
    assert_eq!(
        listed,
        "USER   MECHANISM      ITERATIONS\n\
         alice  SCRAM-SHA-256        8192\n\
         alice  SCRAM-SHA-512        8192\n\
         b c    SCRAM-SHA-512        5000\n"
    );
    let said = folder.succeeds(
        &["add", "users", "alice", "--mechanism", "SCRAM-SHA-256"],
        b"other",
    );
    assert_eq!(said, "alice: has another password with SCRAM-SHA-256\n");
    assert!(folder.admits("alice", "other") && !folder.admits("alice", "secret"));
    let said = folder.succeeds(&["remove", "users", "alice", "--mechanism", "SCRAM-SHA-256"], b"");
    assert_eq!(
        said,
        "alice: removed for SCRAM-SHA-256; can still log in by SCRAM-SHA-512, and by PLAIN where a listener has it\n"
    );
    assert!(folder.credentials().of("alice", Mechanism::Sha512).is_some());
    let said = folder.succeeds(&["remove", "users", "alice"], b"");
    assert_eq!(said, "alice: removed\n");
    assert_eq!(folder.credentials().users().count(), 1);
    let kept = text(&fs::read(folder.path("users")).expect("a file"));
    assert!(!kept.contains("secret\n") && !kept.contains("Grüße") && !kept.contains("other"));
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_why() {
    let folder = Folder::new();
    let said = folder.fails(&["add", "users", "alice"], b"secret", 1);
    assert!(said.contains("cannot read users"), "{said}");
    assert!(!folder.path("users.lock").exists());
    folder.succeeds(&["create", "users"], b"");
    folder.succeeds(&["add", "users", "alice"], b"secret");
    let too_long = [b'x'; 4097];
    for (arguments, input, code, expected) in [
        (&["create", "users"][..], &b""[..], 1, "is there already"),
        (&["add", "users", ""], b"secret", 1, "a user has a name"),
        (&["add", "users", "a\tb"], b"secret", 1, "a user has a name"),
        (&["add", "users", "bob"], b"", 1, "a password is UTF-8"),
        (&["add", "users", "bob"], b"\n", 1, "a password is UTF-8"),
        (&["add", "users", "bob"], b"\xff", 1, "a password is UTF-8"),
        (&["add", "users", "bob"], &too_long, 1, "a password is UTF-8"),
        (
            &["add", "users", "bob", "--iterations", "4095"],
            b"secret",
            2,
            "4096",
        ),
        (
            &["add", "users", "bob", "--mechanism", "PLAIN"],
            b"secret",
            2,
            "SCRAM-SHA-256 and",
        ),
        (&["remove", "users", "bob"], b"", 1, "bob: there is no such user"),
    ] {
        let said = folder.fails(arguments, input, code);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    fs::write(folder.path("users"), "alice SCRAM-SHA-256 salt=x\n").expect("a file");
    let said = folder.fails(&["list", "users"], b"", 1);
    assert!(
        said.contains("users: line 1: a value that is no base64"),
        "{said}"
    );
}
