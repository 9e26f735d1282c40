//! A place in the merged values: typed reads that collect every mistake instead of stopping at the first.
//!
//! A read gives `None` where the value is missing or wrong; what is wrong has been noted by then, so that the caller
//! only goes on to the next key.

mod names;
mod shown;
mod typed;

pub(super) use self::typed::whole_number;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use figment::value::Value;

use self::shown::{may_be_secret, path_of, shown};
use super::sources::{PathStep, Sources, toml_value};
use crate::config::problem::{ConfigError, MISTAKES_MAX};
use crate::config::schema::{self, Kind, Preset};
use crate::ids::Ids;

/// Whether files that the configuration names are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// They are: what cannot be read is a mistake.
    Check,
    /// Nothing outside of the text is touched.
    Skip,
}

/// One reading of a configuration.
pub(super) struct Reader<'s> {
    pub(super) sources: Sources<'s>,
    pub(super) reach: Reach,
    pub(super) ids: RefCell<Ids>,
    /// Every file that is named, with the key that names it.
    pub(super) files: RefCell<Vec<(String, PathBuf)>>,
    /// Every file that holds secrets, and what may be said of it.
    pub(super) secret_files: RefCell<Vec<SecretFile>>,
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigError>>,
}

/// A file that holds secrets.
pub(super) struct SecretFile {
    /// What it is for, as the schema calls it.
    pub(super) pattern: String,
    pub(super) path: PathBuf,
    /// Where it is named; what is wrong with it is not said yet.
    pub(super) place: ConfigError,
}

impl<'s> Reader<'s> {
    /// `ids`: those of the configuration before.
    pub(super) fn new(sources: Sources<'s>, reach: Reach, ids: Ids) -> Self {
        Self {
            sources,
            reach,
            ids: RefCell::new(ids),
            files: RefCell::default(),
            secret_files: RefCell::default(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn root(&self) -> Node<'_> {
        let node = Node {
            reader: self,
            value: self.sources.root.clone(),
            steps: Vec::new(),
            pattern: String::new(),
        };
        node.check_names();
        node
    }

    /// Whether so many mistakes are noted that no more are looked for.
    fn is_full(&self) -> bool {
        self.errors.borrow().len() >= MISTAKES_MAX
    }

    /// Mistakes and warnings.
    pub(super) fn into_notes(self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }

    pub(super) fn warn(&self, warning: ConfigError) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MISTAKES_MAX {
            warnings.push(warning);
        }
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) value: Value,
    steps: Vec<PathStep>,
    pattern: String,
}

/// What was read of a key that need not be there: `None` where it is there and a mistake.
pub(super) fn unless_mistaken<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}

impl<'r> Node<'r> {
    /// What was written under `name`, whatever it is; presets do not count.
    pub(super) fn written(&self, name: &str) -> Option<Self> {
        let value = self.value.as_dict()?.get(name)?.clone();
        Some(self.below(PathStep::Name(name.to_owned()), name, value))
    }

    /// What stands under `name`: written, or preset by the schema. Missing is a mistake where the schema requires it.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        if let Some(written) = self.written(name) {
            return Some(written);
        }
        match schema::key(&self.pattern_of(name)).map(|key| key.preset) {
            Some(Preset::Value(text)) => {
                Some(self.below(PathStep::Name(name.to_owned()), name, toml_value(text)))
            }
            Some(Preset::Required) => {
                self.missing(name);
                None
            }
            _ => None,
        }
    }

    /// A table under `name` whose names are all known.
    pub(super) fn table(&self, name: &str) -> Option<Self> {
        self.get(name)?.checked_table()
    }

    /// The tables of a list under `name`.
    pub(super) fn tables(&self, name: &str) -> Vec<Self> {
        let Some(list) = self.get(name) else {
            return Vec::new();
        };
        list.elements()
            .unwrap_or_default()
            .into_iter()
            .filter_map(Self::checked_table)
            .collect()
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let Value::Array(_, values) = &self.value else {
            self.complain("this is not a list", &self.example());
            return None;
        };
        let element =
            |(index, value): (usize, &Value)| self.below(PathStep::Index(index), "[]", value.clone());
        Some(values.iter().enumerate().map(element).collect())
    }

    /// Names that the operator chose, with what stands under them.
    pub(super) fn entries(&self) -> Vec<(String, Self)> {
        let entry = |(name, value): (&String, &Value)| {
            (
                name.clone(),
                self.below(PathStep::Name(name.clone()), "*", value.clone()),
            )
        };
        self.value
            .as_dict()
            .map(|dict| dict.iter().map(entry).collect())
            .unwrap_or_default()
    }

    /// This, if it is a table; its names are checked.
    pub(super) fn checked_table(self) -> Option<Self> {
        if self.value.as_dict().is_none() {
            self.complain("this is not a table", &self.example());
            return None;
        }
        self.check_names();
        Some(self)
    }

    /// Notes a mistake in this value.
    pub(super) fn complain(&self, problem: &str, fix: &str) {
        self.note(&self.steps, shown(&self.steps, &self.value), problem, fix);
    }

    /// Notes a mistake in the name; what stands under a name that nobody knows may be a secret (PROBLEM-1).
    pub(super) fn complain_of_the_name(&self, problem: &str, fix: &str) {
        self.note(&self.steps, None, problem, fix);
    }

    /// Notes that `name` is not here.
    pub(super) fn missing(&self, name: &str) {
        let key = schema::key(&self.pattern_of(name));
        let fix = key.map_or_else(String::new, |key| example_of(key, name));
        self.missing_with(name, &fix);
    }

    /// The same, with what to do.
    pub(super) fn missing_with(&self, name: &str, fix: &str) {
        let mut steps = self.steps.clone();
        steps.push(PathStep::Name(name.to_owned()));
        let place = if self.steps.is_empty() {
            "the configuration".to_owned()
        } else {
            path_of(&self.steps)
        };
        self.note(&steps, None, &format!("{place} has no {name}"), fix);
    }

    /// What an operator would write here.
    pub(super) fn example(&self) -> String {
        let name = self.steps.iter().rev().find_map(|step| match step {
            PathStep::Name(name) => Some(name.as_str()),
            PathStep::Index(_) => None,
        });
        match schema::key(self.pattern.trim_end_matches(".[]")) {
            Some(key) => example_of(key, name.unwrap_or_default()),
            None => "see docs/configuration.md".to_owned(),
        }
    }

    /// Notes what is no mistake in this value, and hardly meant so.
    pub(super) fn warn(&self, problem: &str, fix: &str) {
        let value = shown(&self.steps, &self.value);
        self.reader.warn(self.told(&self.steps, value, problem, fix));
    }

    /// Whether someone may have written a secret here, so that nothing of it is repeated (PROBLEM-1).
    pub(super) fn may_be_secret(&self) -> bool {
        may_be_secret(&self.steps)
    }

    /// Notes that this names a file with secrets.
    pub(super) fn name_secret_file(&self, path: &Path) {
        self.reader.secret_files.borrow_mut().push(SecretFile {
            pattern: self.pattern.clone(),
            path: path.to_path_buf(),
            place: self.told(&self.steps, None, "", ""),
        });
    }

    /// Notes that this names a file.
    pub(super) fn name_file(&self, path: &Path) {
        self.reader
            .files
            .borrow_mut()
            .push((self.path(), path.to_path_buf()));
    }

    /// The line of the file that this stands in.
    pub(super) fn line(&self) -> Option<usize> {
        self.reader.sources.line(&self.steps)
    }

    /// This place's key from the root.
    pub(super) fn path(&self) -> String {
        path_of(&self.steps)
    }

    fn note(&self, steps: &[PathStep], value: Option<String>, problem: &str, fix: &str) {
        if self.reader.is_full() {
            return;
        }
        let error = self.told(steps, value, problem, fix);
        self.reader.errors.borrow_mut().push(error);
    }

    fn told(&self, steps: &[PathStep], value: Option<String>, problem: &str, fix: &str) -> ConfigError {
        ConfigError {
            origin: self.reader.sources.origin(self.value.tag(), steps),
            key: path_of(steps),
            value,
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        }
    }

    fn below(&self, step: PathStep, pattern: &str, value: Value) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self {
            reader: self.reader,
            value,
            steps,
            pattern: self.pattern_of(pattern),
        }
    }

    fn pattern_of(&self, name: &str) -> String {
        if self.pattern.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.pattern)
        }
    }
}

fn example_of(key: &schema::Key, name: &str) -> String {
    match key.kind {
        Kind::Table | Kind::Tables if key.example.starts_with('[') => format!("add {}", key.example),
        _ => format!("write {name} = {}", key.example),
    }
}
