//! `sealwire keystore` through the real binary, and what a proxy's file KMS makes of its changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use futures_lite::future::block_on;
use sealwire::kms::file::FileKms;
use sealwire::kms::keystore::MasterKeySource;
use sealwire::kms::{Kms, KmsError};
use tempfile::TempDir;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// An ordinary user.
const NOBODY: u32 = 65_534;

/// A folder in which the commands run.
struct Folder(TempDir);

impl Folder {
    fn new() -> std::io::Result<Self> {
        TempDir::new().map(Self)
    }

    /// One with `keystore.json` under `master.key`.
    fn with_keystore() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = Self::new()?;
        folder.succeeds("create keystore.json --master-key-file master.key");
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write_secret(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        fs::write(self.path(name), content)?;
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600))
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        command
            .arg("keystore")
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .env_remove("CREDENTIALS_DIRECTORY");
        command
    }

    fn run(&self, arguments: &str) -> Output {
        match self.command(arguments).output() {
            Ok(output) => output,
            Err(error) => panic!("cannot run sealwire: {error}"),
        }
    }

    /// Standard output of a command that has to succeed.
    fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Standard error of a command that has to fail with `code` and say `what`; it must not have changed the keystore.
    fn fails(&self, code: i32, arguments: &str, what: &str) {
        let before = fs::read(self.path("keystore.json")).ok();
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
        assert!(errors.contains(what), "{arguments}: {errors}");
        assert_eq!(fs::read(self.path("keystore.json")).ok(), before, "{arguments}");
    }

    fn kms(&self) -> Result<FileKms, sealwire::kms::keystore::KeystoreError> {
        let source = MasterKeySource::File(self.path("master.key"));
        FileKms::open(&self.path("keystore.json"), &source)
    }
}

/// The lines of a listing in words, without the time.
fn rows(listing: &str) -> Vec<String> {
    listing
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect()
}

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(fs::metadata(path)?.mode() & 0o7777)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn a_keystore_from_create_to_destroy() -> TestResult {
    const KEY: &str = "--master-key-file master.key";
    let folder = Folder::with_keystore()?;
    assert_eq!(mode(&folder.path("keystore.json"))?, 0o600);
    assert_eq!(mode(&folder.path("master.key"))?, 0o600);
    assert_eq!(fs::read(folder.path("master.key"))?.len(), 32);

    let said = folder.succeeds(&format!("add keystore.json payments orders {KEY}"));
    assert_eq!(
        said,
        "payments: version 1 is current\norders: version 1 is current\n"
    );
    let said = folder.succeeds(&format!("rotate keystore.json payments {KEY}"));
    assert_eq!(said, "payments: version 2 is current\n");
    let listing = folder.succeeds(&format!("list keystore.json {KEY}"));
    assert_eq!(
        rows(&listing),
        [
            "orders 1 current",
            "payments 1 decrypt-only",
            "payments 2 current"
        ]
    );
    assert!(listing.contains("20"), "a date: {listing}");

    let said = folder.succeeds(&format!("disable keystore.json payments --key-version 1 {KEY}"));
    assert_eq!(said, "payments: version 1 is disabled\n");
    let said = folder.succeeds(&format!("disable keystore.json orders {KEY}"));
    assert!(said.contains("no version is current"), "{said}");
    folder.succeeds(&format!("enable keystore.json orders {KEY}"));
    folder.fails(
        1,
        &format!("destroy keystore.json payments --key-version 1 --confirm orders {KEY}"),
        "--confirm",
    );
    folder.succeeds(&format!(
        "destroy keystore.json payments --key-version 1 --confirm payments {KEY}"
    ));
    assert_eq!(
        rows(&folder.succeeds(&format!("list keystore.json {KEY}"))),
        ["orders 1 current", "payments 1 destroyed", "payments 2 current"]
    );
    assert_eq!(mode(&folder.path("keystore.json"))?, 0o600);

    // Without the master key: the same, and that nobody vouches for it.
    let unverified = folder.succeeds("list keystore.json");
    assert!(unverified.contains("not verified"), "{unverified}");
    assert!(unverified.contains("destroyed"), "{unverified}");

    for (arguments, what) in [
        ("add keystore.json payments", "`rotate` gives it a new version"),
        ("rotate keystore.json nothing", "no key-encryption key nothing"),
        ("disable keystore.json nothing", "no key-encryption key nothing"),
        ("disable keystore.json payments --key-version 9", "no version 9"),
        (
            "enable keystore.json payments --key-version 1",
            "cannot be undone",
        ),
        (
            "add keystore.json fine payments",
            "`rotate` gives it a new version",
        ),
        ("create keystore.json", "exists already"),
        ("add elsewhere.json payments", "elsewhere.json"),
        ("list elsewhere.json", "elsewhere.json"),
    ] {
        folder.fails(1, &format!("{arguments} {KEY}"), what);
    }
    assert!(!folder.path("elsewhere.json.lock").exists());
    folder.fails(2, "add keystore.json payments", "--master-key-file");
    folder.fails(
        2,
        &format!("add keystore.json a {KEY} --passphrase-file x"),
        "cannot be used with",
    );
    let mut spaced = folder.command("add keystore.json");
    let output = spaced.args(["a b", "--master-key-file", "master.key"]).output()?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

#[test]
fn deks_of_old_versions_are_unwrapped_until_they_are_disabled() -> TestResult {
    const KEY: &str = "--master-key-file master.key";
    let folder = Folder::with_keystore()?;
    folder.succeeds(&format!("add keystore.json payments {KEY}"));
    let running = folder.kms()?;
    let first = block_on(running.generate_dek("payments"))?;
    folder.succeeds(&format!("rotate keystore.json payments {KEY}"));

    // A proxy that starts now, and one that runs on.
    let started = folder.kms()?;
    assert!(block_on(started.unwrap_dek(&first.wrapped)).is_ok());
    assert_eq!(block_on(started.current_version("payments"))?, Some(vec![2]));
    let follows = |expected: &dyn Fn() -> bool, what: &str| {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !expected() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    };
    follows(
        &|| block_on(running.current_version("payments")) == Ok(Some(vec![2])),
        "rotation",
    );
    assert!(block_on(running.unwrap_dek(&first.wrapped)).is_ok());
    folder.succeeds(&format!("disable keystore.json payments --key-version 1 {KEY}"));
    follows(
        &|| block_on(running.unwrap_dek(&first.wrapped)).err() == Some(KmsError::KekDisabled),
        "disabling",
    );
    folder.succeeds(&format!("enable keystore.json payments --key-version 1 {KEY}"));
    follows(
        &|| block_on(running.unwrap_dek(&first.wrapped)).is_ok(),
        "enabling",
    );
    Ok(())
}

/// A command that waits says in the end for what.
#[test]
fn a_lock_that_somebody_holds_is_waited_for_with_an_end() -> TestResult {
    const ADD: &str = "add keystore.json payments --master-key-file master.key";
    let folder = Folder::with_keystore()?;
    let held = fs::File::open(folder.path("keystore.json.lock"))?;
    held.lock()?;
    let begun = Instant::now();
    folder.fails(1, ADD, "keystore.json.lock for 10s");
    assert!(begun.elapsed() >= Duration::from_secs(10), "somebody may be busy");
    held.unlock()?;
    folder.succeeds(ADD);
    Ok(())
}

#[test]
fn passphrases_open_their_keystore_only() -> TestResult {
    let folder = Folder::new()?;
    folder.write_secret("right", b"correct horse battery\n")?;
    folder.write_secret("wrong", b"correct horse cattery\n")?;
    folder.write_secret("short", b"horse\n")?;
    folder.write_secret("key", &[7; 32])?;
    folder.fails(
        1,
        "create keystore.json --passphrase-file short",
        "at least 12 bytes",
    );
    folder.succeeds("create keystore.json --passphrase-file right");
    folder.succeeds("add keystore.json payments --passphrase-file right");
    folder.fails(
        1,
        "add keystore.json other --passphrase-file wrong",
        "does not belong to this keystore",
    );
    folder.fails(
        1,
        "add keystore.json other --master-key-file key",
        "made with a passphrase",
    );
    // The same passphrase from where a service may have it.
    let by_variable = folder
        .command("list keystore.json --master-key-env SEALWIRE_TEST_MASTER")
        .env("SEALWIRE_TEST_MASTER", "correct horse battery")
        .output()?;
    assert!(by_variable.status.success());
    let by_credential = folder
        .command("list keystore.json --systemd-credential right")
        .env("CREDENTIALS_DIRECTORY", folder.0.path())
        .output()?;
    assert!(by_credential.status.success());
    Ok(())
}

#[test]
fn keys_come_from_variables_and_credentials() -> TestResult {
    let folder = Folder::with_keystore()?;
    let key = fs::read(folder.path("master.key"))?;
    let list_with = |value: &str| {
        folder
            .command("list keystore.json --master-key-env SEALWIRE_TEST_MASTER")
            .env("SEALWIRE_TEST_MASTER", value)
            .output()
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(&key);
    assert!(list_with(&encoded)?.status.success());
    assert!(!list_with(&encoded[1..])?.status.success());
    assert!(!list_with("")?.status.success());
    folder.fails(
        1,
        "list keystore.json --master-key-env SEALWIRE_TEST_UNSET",
        "SEALWIRE_TEST_UNSET is not set",
    );
    folder.fails(
        1,
        "list keystore.json --systemd-credential master.key",
        "LoadCredential=",
    );
    let by_credential = |name: &str| {
        folder
            .command(&format!("list keystore.json --systemd-credential {name}"))
            .env("CREDENTIALS_DIRECTORY", folder.0.path())
            .output()
    };
    assert!(by_credential("master.key")?.status.success());
    assert!(!by_credential("../master.key")?.status.success());
    // systemd's own modes are not ours to judge.
    fs::set_permissions(folder.path("master.key"), PermissionsExt::from_mode(0o440))?;
    assert!(by_credential("master.key")?.status.success());
    Ok(())
}

/// MASTER-2
#[test]
fn secrets_that_others_may_read_are_refused() -> TestResult {
    let folder = Folder::with_keystore()?;
    folder.write_secret("passphrase", b"correct horse battery")?;
    for (mode, accepted) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o644, false),
        (0o620, false),
        (0o602, false),
    ] {
        for name in ["master.key", "passphrase"] {
            fs::set_permissions(folder.path(name), PermissionsExt::from_mode(mode))?;
        }
        if accepted {
            folder.succeeds("list keystore.json --master-key-file master.key");
        } else {
            folder.fails(
                1,
                "list keystore.json --master-key-file master.key",
                "chmod 0600 master.key",
            );
            folder.fails(
                1,
                "create other.json --passphrase-file passphrase",
                "chmod 0600 passphrase",
            );
        }
    }
    fs::set_permissions(folder.path("master.key"), PermissionsExt::from_mode(0o600))?;
    for length in [0, 31, 33, 5000] {
        folder.write_secret("master.key", &vec![1; length])?;
        folder.fails(1, "list keystore.json --master-key-file master.key", "master.key");
    }
    folder.write_secret("master.key", &[1; 32])?;
    folder.fails(
        1,
        "list keystore.json --master-key-file master.key",
        "does not belong to this keystore",
    );
    Ok(())
}

#[test]
fn a_file_that_was_tampered_with_is_refused_by_every_command() -> TestResult {
    const KEY: &str = "--master-key-file master.key";
    let folder = Folder::with_keystore()?;
    folder.succeeds(&format!("add keystore.json payments {KEY}"));
    folder.succeeds(&format!("disable keystore.json payments {KEY}"));
    let text = fs::read_to_string(folder.path("keystore.json"))?;
    let enabled = text.replace("\"disabled\"", "\"current\"");
    assert_ne!(enabled, text);
    fs::write(folder.path("keystore.json"), enabled)?;
    for command in [
        "list keystore.json",
        "add keystore.json other",
        "rotate keystore.json payments",
        "disable keystore.json payments",
        "enable keystore.json payments",
        "destroy keystore.json payments --confirm payments",
    ] {
        folder.fails(1, &format!("{command} {KEY}"), "altered outside");
    }
    assert!(folder.kms().is_err());
    for (content, what) in [
        (&b""[..], "not a keystore"),
        (
            b"{\"format\":\"something\",\"format_version\":1}",
            "sealwire-keystore",
        ),
        (
            b"{\"format\":\"sealwire-keystore\",\"format_version\":2}",
            "format_version is 2",
        ),
        (&text.as_bytes()[..text.len() / 2], "truncated"),
    ] {
        fs::write(folder.path("keystore.json"), content)?;
        folder.fails(1, &format!("list keystore.json {KEY}"), what);
    }
    fs::remove_file(folder.path("keystore.json"))?;
    fs::create_dir(folder.path("keystore.json"))?;
    folder.fails(1, &format!("list keystore.json {KEY}"), "not a regular file");
    Ok(())
}

#[test]
fn of_concurrent_writers_none_is_lost() -> TestResult {
    const WRITERS: usize = 8;
    let folder = Folder::with_keystore()?;
    let mut children: Vec<Child> = (0..WRITERS)
        .map(|writer| {
            folder
                .command(&format!(
                    "add keystore.json kek-{writer} --master-key-file master.key"
                ))
                .stdout(Stdio::null())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    // A reader sees one file or the next, whole.
    let mut written = 0;
    while written < WRITERS {
        folder.succeeds("list keystore.json --master-key-file master.key");
        written = 0;
        for child in &mut children {
            if let Some(status) = child.try_wait()? {
                assert!(status.success());
                written += 1;
            }
        }
    }
    let names: Vec<String> = (0..WRITERS)
        .map(|writer| format!("kek-{writer} 1 current"))
        .collect();
    assert_eq!(
        rows(&folder.succeeds("list keystore.json --master-key-file master.key")),
        names
    );
    Ok(())
}

/// While it waits for the lock it can be looked at. As an ordinary user, because /proc shows root's processes as root's
/// anyway.
#[test]
fn its_memory_is_locked_and_not_dumped() -> TestResult {
    let folder = Folder::with_keystore()?;
    let lock = fs::File::open(folder.path("keystore.json.lock"))?;
    lock.lock()?;
    let mut command = folder.command("add keystore.json payments --master-key-file master.key");
    if rustix::process::geteuid().is_root() {
        for entry in fs::read_dir(folder.0.path())? {
            chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
        }
        chown(folder.0.path(), Some(NOBODY), Some(NOBODY))?;
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let deadline = Instant::now() + Duration::from_secs(20);
    let is_locked = || {
        let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.starts_with("VmLck:") && !line.ends_with(" 0 kB"))
    };
    // Of a process that may be dumped its user owns it.
    while !(is_locked() && fs::metadata(proc.join("status"))?.uid() == 0) {
        assert!(Instant::now() < deadline, "key memory is not protected");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    lock.unlock()?;
    assert!(child.wait()?.success());
    Ok(())
}

#[test]
fn what_a_dead_writer_left_is_cleared_away_and_links_are_kept() -> TestResult {
    const KEY: &str = "--master-key-file master.key";
    let folder = Folder::with_keystore()?;
    fs::write(folder.path("keystore.json.new"), b"half of a keyst")?;
    symlink("keystore.json", folder.path("link.json"))?;
    folder.succeeds(&format!("add link.json payments {KEY}"));
    assert!(!folder.path("keystore.json.new").exists());
    assert!(fs::symlink_metadata(folder.path("link.json"))?.is_symlink());
    assert!(!folder.path("link.json.lock").exists());
    assert_eq!(
        rows(&folder.succeeds(&format!("list keystore.json {KEY}"))),
        ["payments 1 current"]
    );
    Ok(())
}

/// Whatever is done with keystores whose keys and passphrase are known (`tests/keystore_vectors.py`).
#[test]
fn nothing_secret_is_printed_or_stored_in_clear() -> TestResult {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/keystore");
    let folder = Folder::new()?;
    folder.write_secret("master.key", &[0x11; 32])?;
    folder.write_secret("right", b"correct horse battery")?;
    folder.write_secret("wrong", b"correct horse cattery")?;
    let mut told = Vec::new();
    for (vector, own, other) in [
        (
            "key.json",
            "--master-key-file master.key",
            "--master-key-file right",
        ),
        (
            "passphrase.json",
            "--passphrase-file right",
            "--passphrase-file wrong",
        ),
    ] {
        fs::copy(vectors.join(vector), folder.path("keystore.json"))?;
        for (does, arguments) in [
            (true, format!("list keystore.json {own}")),
            (true, "list keystore.json".to_owned()),
            (true, format!("add keystore.json orders {own}")),
            (false, format!("add keystore.json orders {own}")),
            (true, format!("rotate keystore.json payments {own}")),
            (
                true,
                format!("disable keystore.json payments --key-version 2 {own}"),
            ),
            (true, format!("enable keystore.json audit.log {own}")),
            (
                false,
                format!("destroy keystore.json payments --key-version 3 --confirm orders {own}"),
            ),
            (
                true,
                format!("destroy keystore.json payments --key-version 3 --confirm payments {own}"),
            ),
            (false, format!("rotate keystore.json payments {other}")),
        ] {
            let output = folder.run(&arguments);
            assert_eq!(output.status.success(), does, "{arguments}: {output:?}");
            told.extend([
                output.stdout,
                output.stderr,
                fs::read(folder.path("keystore.json"))?,
            ]);
        }
    }
    let told = String::from_utf8(told.concat())?;
    let of_key = |byte: u8| {
        let bytes = [byte; 16];
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&bytes[..15]);
        let hex = format!("{byte:02x}").repeat(16);
        [
            String::from_utf8_lossy(&bytes).into_owned(),
            encoded,
            hex,
            format!("{bytes:?}")[1..47].to_owned(),
        ]
    };
    let keys = [0x11, 0x41, 0x42, 0x43].into_iter().flat_map(of_key);
    for secret in keys.chain(["correct horse".to_owned()]) {
        assert!(!told.contains(&secret), "{secret} is in {told}");
    }
    Ok(())
}

/// However the configuration's own path is spelled.
#[test]
fn no_state_file_is_a_keystore_or_made_beside_one() -> TestResult {
    let folder = Folder::with_keystore()?;
    let minimal = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/minimal.toml"))?;
    let check = |state_file: &str, config: &str| {
        let text = minimal.replace("addresses.json", state_file);
        fs::write(folder.path("sealwire.toml"), text)?;
        Command::new(env!("CARGO_BIN_EXE_sealwire"))
            .args(["check-config", config])
            .current_dir(folder.0.path())
            .output()
    };
    let absolute = folder.path("sealwire.toml");
    let absolute = absolute.to_str().ok_or("a path is text")?;
    for config in ["sealwire.toml", "./sealwire.toml", absolute] {
        for state_file in [
            "keystore.json",
            "master.key",
            "keystore.json.lock",
            "./keystore.json.new",
        ] {
            let output = check(state_file, config)?;
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{config}, {state_file}");
            assert!(
                errors.contains("kms.local.") && errors.contains("made beside the other"),
                "{config}, {state_file}: {errors}"
            );
        }
        let output = check("addresses.json", config)?;
        assert!(
            output.status.success(),
            "{config}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
