//! The folder `.cache/` at the workspace root, or what `SEALWIRE_TEST_CACHE` says: jars, compiled clients, a Python
//! environment. Git ignores it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Gives the folder `.cache/NAME-HASH`, and has `make` fill it if that was not done before for this very `recipe`.
/// Other processes that want the same wait meanwhile.
pub(crate) fn prepare(name: &str, recipe: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let made = |folder: &Path| {
        make(folder);
        Ok(())
    };
    try_prepare(name, recipe, made).unwrap_or_else(|error| panic!("{error}"))
}

/// [`prepare`], where what `make` needs may not be had.
pub(crate) fn try_prepare(
    name: &str,
    recipe: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let folder = root().join(format!("{name}-{:016x}", hasher.finish()));
    let complete = folder.join(".complete");
    if complete.exists() {
        return Ok(folder);
    }
    let _lock = lock(name);
    if !complete.exists() {
        // What a killed run left half done.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("creating a cache folder");
        make(&folder)?;
        File::create(complete).expect("marking a cache folder as complete");
    }
    Ok(folder)
}

/// Held until dropped, against all other test processes of this workspace.
pub(crate) fn lock(name: &str) -> File {
    fs::create_dir_all(root()).expect("creating .cache");
    let file = File::create(root().join(format!("{name}.lock"))).expect("creating a lock file");
    file.lock().expect("taking a file lock");
    file
}

/// Runs a command of the set-up to its end; panics with what it said if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    try_run(command).unwrap_or_else(|error| panic!("{error}"))
}

/// [`run`], where a failure is nobody's mistake.
pub(crate) fn try_run(command: &mut Command) -> Result<String, String> {
    leave_cargo(command);
    let output = command
        .output()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    let [said, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    match output.status.success() {
        true => Ok(said.into_owned()),
        false => Err(format!(
            "{command:?} failed with {}:\n{said}\n{errors}",
            output.status
        )),
    }
}

/// Cargo tells its tests where the libraries lie that it has built, the harness' own librdkafka among them; other
/// programs must not load those instead of theirs.
pub(crate) fn leave_cargo(command: &mut Command) {
    command.env_remove("LD_LIBRARY_PATH");
}

/// Where `Cargo.lock` is, whichever package this is compiled into.
pub(crate) fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = package.ancestors();
    folders
        .find(|folder| folder.join("Cargo.lock").is_file())
        .unwrap_or(package)
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration of their own"
)]
fn root() -> PathBuf {
    std::env::var_os("SEALWIRE_TEST_CACHE").map_or_else(|| workspace().join(".cache"), PathBuf::from)
}
