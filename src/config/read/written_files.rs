//! Files that the program writes: whether it can, and that each is for nothing else.
//!
//! - WRITTEN-FILES-1: a file that is written is none that the configuration names anywhere else, nor itself, nor one
//!   that is made beside such a file when that is written (FILE-2, FILE-3). It is known again by device and inode where
//!   it is there, and by its folder and name, links followed, where it is not.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, access};

use super::node::{Node, Reach};
use crate::config::problem::ConfigError;
use crate::durable_file::{LOCK_SUFFIX, NEW_SUFFIX, beside};

/// The state file is made when it is needed; its folder has to be there.
pub(super) fn check_state_file(node: &Node<'_>, path: &Path) {
    node.name_file(path);
    if node.reader.reach == Reach::Check && folder_for(node, path).is_some() && path.is_dir() {
        node.complain(&format!("{} is a folder", path.display()), "name a file in it");
    }
}

/// The audit log has to be writable before anything is served.
pub(super) fn check_audit_file(node: &Node<'_>, path: &Path) {
    node.name_file(path);
    if node.reader.reach == Reach::Skip {
        return;
    }
    if path.is_dir() {
        return node.complain(&format!("{} is a folder", path.display()), "name a file in it");
    }
    // As it will be opened, but nothing is made.
    let problem = match OpenOptions::new().read(true).append(true).open(path) {
        Ok(_) => return,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let Some(folder) = folder_for(node, &target_of(path)) else {
                return;
            };
            match access(&folder, Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => return,
                Err(error) => format!("no file can be made in the folder {}: {error}", folder.display()),
            }
        }
        Err(error) => format!("{} cannot be written: {error}", path.display()),
    };
    node.complain(
        &problem,
        "let the user that sealwire runs as write there, or name another file",
    );
}

/// The folder that a file stands in, or will.
fn folder_for(node: &Node<'_>, path: &Path) -> Option<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    match fs::metadata(&folder) {
        Ok(about) if about.is_dir() => return Some(folder),
        Ok(_) => node.complain(
            &format!("{} is not a folder", folder.display()),
            "name a file in a folder",
        ),
        Err(error) => node.complain(
            &format!("the folder {} cannot be reached: {error}", folder.display()),
            "make the folder, writable for the user that sealwire runs as",
        ),
    }
    None
}

/// Complains about each file that is written and has another use as well (WRITTEN-FILES-1).
pub(super) fn refuse_other_uses(root: &Node<'_>) {
    let reach = root.reader.reach;
    root.name_file(root.reader.sources.path());
    let named = root.reader.files.take().into_iter();
    let named: Vec<_> = named.map(|(key, path)| (key, Place::of(&path, reach))).collect();
    let clusters = root.written("cluster").map(|table| table.entries());
    let state_files = clusters
        .iter()
        .flatten()
        .filter_map(|(_, cluster)| cluster.written("state_file"));
    let audit = root.written("audit").and_then(|table| table.written("to"));
    let written: Vec<_> = state_files.chain(audit).map(|node| (node.path(), node)).collect();
    for (index, (key, node)) in written.iter().enumerate() {
        let Some((_, place)) = named.iter().find(|(named, _)| named == key) else {
            continue;
        };
        // Of two that are written the later one is told.
        let from_here = written.iter().skip(index);
        let is_told_elsewhere = |other: &String| from_here.clone().any(|(later, _)| later == other);
        let other = named
            .iter()
            .find(|(other, found)| !is_told_elsewhere(other) && place.meets(found));
        let Some((other, _)) = other else { continue };
        let other = match other.as_str() {
            "" => "the configuration itself",
            key => key,
        };
        node.complain(
            &format!("this file is that of {other} as well, or one of the two is made beside the other"),
            "name a file that is for nothing else",
        );
    }
}

/// Warns of each file that holds secrets of two kinds: whoever gets one of them has the other.
pub(super) fn warn_of_shared_secrets(root: &Node<'_>) {
    let reader = root.reader;
    let files = reader.secret_files.take();
    let places: Vec<_> = files
        .iter()
        .map(|file| Place::of(&file.path, reader.reach))
        .collect();
    let all = files.iter().zip(&places);
    for (index, (file, place)) in all.clone().enumerate() {
        let mut earlier = all.clone().take(index);
        let shared = earlier.find(|(other, found)| other.pattern != file.pattern && place.is(found));
        if let Some((other, _)) = shared {
            reader.warn(ConfigError {
                problem: format!("this file is that of {} as well", other.place.key),
                fix: "name a file that is for nothing else".to_owned(),
                ..file.place.clone()
            });
        }
    }
}

/// Where a file is, however it is spelled.
struct Place {
    /// As it is named, and where links lead.
    spellings: [PathBuf; 2],
    /// Device and inode, if it is there.
    identity: Option<(u64, u64)>,
}

impl Place {
    fn of(path: &Path, reach: Reach) -> Self {
        if reach == Reach::Skip {
            return Self {
                spellings: [(); 2].map(|()| without_detours(path)),
                identity: None,
            };
        }
        let about = fs::metadata(path).ok();
        Self {
            spellings: [one_spelling(path), one_spelling(&target_of(path))],
            identity: about.map(|about| (about.dev(), about.ino())),
        }
    }

    /// Whether it is the same file.
    fn is(&self, other: &Self) -> bool {
        let is_same = self.identity.is_some() && self.identity == other.identity;
        is_same || self.spellings.iter().any(|one| other.spellings.contains(one))
    }

    fn meets(&self, other: &Self) -> bool {
        let others = || other.spellings.iter();
        self.is(other)
            || self
                .spellings
                .iter()
                .any(|one| others().any(|other| share(one, other)))
    }
}

/// Whether two files are one, or one is made beside the other when that is written.
fn share(one: &Path, other: &Path) -> bool {
    let is_beside = |file: &Path, made: &Path| {
        [LOCK_SUFFIX, NEW_SUFFIX]
            .iter()
            .any(|suffix| beside(file, suffix) == made)
    };
    one == other || is_beside(one, other) || is_beside(other, one)
}

/// Two spellings of one file are one file, which need not be there yet.
fn one_spelling(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return without_detours(path);
    };
    let here = Path::new(".");
    let whole = fs::canonicalize(if folder == Path::new("") { here } else { folder });
    whole.unwrap_or_else(|_| without_detours(folder)).join(name)
}

/// Where links lead, also to what is not there yet.
fn target_of(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Without `.`, and without `..` behind a name.
fn without_detours(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// As many as the kernel follows.
const LINKS_MAX: usize = 40;
