//! Groups of principals that stand in files: a principal a line.

use std::path::{Path, PathBuf};

use crate::durable_file::{self, FileError};
use crate::rules::{Members, pattern_of};

/// A group whose members stand in a file.
#[derive(Clone, Debug)]
pub struct GroupFile {
    /// What rules call it.
    pub name: String,
    /// Which file.
    pub path: PathBuf,
    /// Who belongs to it; nobody until it was loaded.
    pub members: Members,
}

/// Why a group's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It ends in the middle of a line: somebody is writing it.
    #[error("{} does not end with a line end: replace such files by renaming", .0.display())]
    Unfinished(PathBuf),
    /// What is in it.
    #[error("{} line {line}: this is not a principal: write User:NAME, one a line", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
    },
}

impl GroupFile {
    /// Reads it: from then on its members are those. It blocks.
    ///
    /// # Errors
    /// [`GroupFileError`]: its members stay who they are.
    pub fn load(&self) -> Result<(), GroupFileError> {
        let (bytes, _) = durable_file::read(&self.path, FILE_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        self.members.set(parse(&text, &self.path)?);
        Ok(())
    }
}

/// Lines that are empty, or begin with `#`, are left out. A pattern that was cut off could name more than a whole one.
fn parse<'t>(text: &'t str, path: &Path) -> Result<Vec<&'t str>, GroupFileError> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(GroupFileError::Unfinished(path.to_path_buf()));
    }
    let lines = (1..).zip(text.lines().map(str::trim));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(line, text)| {
        pattern_of(text).ok_or_else(|| GroupFileError::Line {
            path: path.to_path_buf(),
            line,
        })
    })
    .collect()
}

/// Ten thousand principals with long names.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_principal_a_line() {
        let read = |text| parse(text, Path::new("group"));
        let text = "# who pays\n\nUser:app-1\r\n  User:CN=a b,O=x  \nUser:batch-*\n";
        assert_eq!(
            read(text).expect("well formed"),
            ["app-1", "CN=a b,O=x", "batch-*"]
        );
        assert!(read("").expect("nobody").is_empty());
        for cut in ["User:a\nUser:*", "User:a"] {
            assert!(matches!(read(cut), Err(GroupFileError::Unfinished(_))), "{cut}");
        }
        for (text, expected) in [("app-1\n", 1), ("User:a\n\nUser:\n", 3), ("User:a\nGroup:b\n", 2)] {
            let error = read(text).expect_err("no principal");
            assert!(matches!(error, GroupFileError::Line { line, .. } if line == expected));
        }
    }
}
