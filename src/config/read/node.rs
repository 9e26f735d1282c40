//! A place in the merged values: typed reads that collect every mistake instead of stopping at the first.
//!
//! A read gives `None` where the value is missing or wrong; what is wrong has been noted by then, so that the caller
//! only goes on to the next key.

use std::cell::RefCell;
use std::time::Duration;

use figment::value::{Dict, Num, Value};

use super::later::not_available;
use super::sources::{Sources, Step, toml_value};
use crate::config::problem::{ConfigError, MISTAKES_MAX, did_you_mean};
use crate::config::scalars::{parse_duration, parse_size, write_duration, write_size};
use crate::config::schema::{self, Kind, Preset, spelled};
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
    errors: RefCell<Vec<ConfigError>>,
}

impl<'s> Reader<'s> {
    /// `ids`: those of the configuration before.
    pub(super) fn new(sources: Sources<'s>, reach: Reach, ids: Ids) -> Self {
        Self {
            sources,
            reach,
            ids: RefCell::new(ids),
            errors: RefCell::new(Vec::new()),
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

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) value: Value,
    steps: Vec<Step>,
    pattern: String,
}

impl<'r> Node<'r> {
    /// What was written under `name`, whatever it is; presets do not count.
    pub(super) fn written(&self, name: &str) -> Option<Self> {
        let value = self.value.as_dict()?.get(name)?.clone();
        Some(self.below(Step::Name(name.to_owned()), name, value))
    }

    /// What stands under `name`: written, or preset by the schema. Missing is a mistake where the schema requires it.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        if let Some(written) = self.written(name) {
            return Some(written);
        }
        match schema::key(&self.pattern_of(name)).map(|key| key.preset) {
            Some(Preset::Value(text)) => {
                Some(self.below(Step::Name(name.to_owned()), name, toml_value(text)))
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
        let element = |(index, value): (usize, &Value)| self.below(Step::Index(index), "[]", value.clone());
        Some(values.iter().enumerate().map(element).collect())
    }

    /// Names that the operator chose, with what stands under them.
    pub(super) fn entries(&self) -> Vec<(String, Self)> {
        let entry = |(name, value): (&String, &Value)| {
            (
                name.clone(),
                self.below(Step::Name(name.clone()), "*", value.clone()),
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

    pub(super) fn as_text(&self) -> Option<String> {
        match &self.value {
            Value::String(_, text) => Some(text.clone()),
            _ => {
                self.complain("this is not text", &self.example());
                None
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_text()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let node = self.get(name)?;
        match node.value {
            Value::Bool(_, flag) => Some(flag),
            _ => {
                node.complain("this is neither true nor false", &node.example());
                None
            }
        }
    }

    /// A [`Kind::Count`] or [`Kind::Size`] within the range of the schema.
    pub(super) fn quantity(&self, name: &str) -> Option<usize> {
        let node = self.get(name)?;
        let (min, max, is_size) = match schema::key(&node.pattern)?.kind {
            Kind::Count { min, max } => (min, max, false),
            Kind::Size { min, max } => (min, max, true),
            _ => return None,
        };
        let write = |number: u64| {
            if is_size {
                write_size(number)
            } else {
                number.to_string()
            }
        };
        let range = format!(
            "write a number from {} to {}, such as {}",
            write(min),
            write(max),
            node.example_value()
        );
        let number = match (&node.value, is_size) {
            (Value::Num(_, number), _) => {
                whole(*number).ok_or_else(|| "is not a whole number from 0".to_owned())
            }
            (Value::String(_, text), true) => parse_size(text),
            _ => Err("is not a number".to_owned()),
        };
        match number {
            Ok(number) if number < min => node.complain(&format!("this is less than {}", write(min)), &range),
            Ok(number) if number > max => node.complain(&format!("this is more than {}", write(max)), &range),
            Ok(number) => return usize::try_from(number).ok(),
            Err(problem) => node.complain(&format!("this {problem}"), &range),
        }
        None
    }

    /// A [`Kind::Time`] within the range of the schema.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let node = self.get(name)?;
        let Kind::Time { min, max } = schema::key(&node.pattern)?.kind else {
            return None;
        };
        let duration = match &node.value {
            Value::String(_, text) => parse_duration(text),
            Value::Num(..) => Err("has no unit (ms, s, m or h)".to_owned()),
            _ => Err("is not a duration".to_owned()),
        };
        let problem = match duration {
            Ok(duration) if duration < min => format!("is less than {}", write_duration(min)),
            Ok(duration) if duration > max => format!("is more than {}", write_duration(max)),
            Ok(duration) => return Some(duration),
            Err(problem) => problem,
        };
        let fix = format!(
            "write a duration from \"{}\" to \"{}\", such as {}",
            write_duration(min),
            write_duration(max),
            node.example_value()
        );
        node.complain(&format!("this {problem}"), &fix);
        None
    }

    /// Notes a mistake in this value.
    pub(super) fn complain(&self, problem: &str, fix: &str) {
        self.note(&self.steps, shown(&self.steps, &self.value), problem, fix);
    }

    /// Notes that `name` is not here.
    pub(super) fn missing(&self, name: &str) {
        let mut steps = self.steps.clone();
        steps.push(Step::Name(name.to_owned()));
        let place = if self.steps.is_empty() {
            "the configuration".to_owned()
        } else {
            path_of(&self.steps)
        };
        let key = schema::key(&self.pattern_of(name));
        let fix = key.map_or_else(String::new, |key| example_of(key, name));
        self.note(&steps, None, &format!("{place} has no {name}"), &fix);
    }

    /// What an operator would write here.
    pub(super) fn example(&self) -> String {
        let name = self.steps.iter().rev().find_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        match schema::key(self.pattern.trim_end_matches(".[]")) {
            Some(key) => example_of(key, name.unwrap_or_default()),
            None => "see docs/configuration.md".to_owned(),
        }
    }

    /// The line of the file that this stands in.
    pub(super) fn line(&self) -> Option<usize> {
        self.reader.sources.line(&self.steps)
    }

    /// This place's key from the root.
    pub(super) fn path(&self) -> String {
        path_of(&self.steps)
    }

    fn note(&self, steps: &[Step], value: Option<String>, problem: &str, fix: &str) {
        if self.reader.is_full() {
            return;
        }
        self.reader.errors.borrow_mut().push(ConfigError {
            origin: self.reader.sources.origin(self.value.tag(), steps),
            key: path_of(steps),
            value,
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        });
    }

    fn check_names(&self) {
        let Value::Dict(_, dict) = &self.value else { return };
        if schema::names_are_free(&self.pattern) {
            return self.check_free_names(dict);
        }
        for (name, value) in dict {
            if self.reader.is_full() {
                return;
            }
            if schema::names_under(&self.pattern).any(|known| known == name) {
                continue;
            }
            let node = self.below(Step::Name(name.clone()), name, value.clone());
            if let Some(instead) = not_available(name) {
                node.complain("this is not available in this version", instead);
                continue;
            }
            let fix = match did_you_mean(name, schema::names_under(&self.pattern)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => self.known_names(name),
            };
            node.complain("there is no such key", &fix);
        }
    }

    fn check_free_names(&self, dict: &Dict) {
        for (name, value) in dict {
            let legal = (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            if !legal {
                let node = self.below(Step::Name(name.clone()), "*", value.clone());
                node.complain("this is not a name", "use 1 to 64 letters, digits, - and _");
            }
        }
    }

    fn known_names(&self, name: &str) -> String {
        let elsewhere = schema::keys().find(|key| key.path.rsplit('.').next() == Some(name));
        match elsewhere {
            Some(key) => format!("{name} belongs at {}", spelled(key.path)),
            None => {
                let known: Vec<_> = schema::names_under(&self.pattern).collect();
                format!("the keys here are {}", known.join(", "))
            }
        }
    }

    fn below(&self, step: Step, pattern: &str, value: Value) -> Self {
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

    fn example_value(&self) -> &'static str {
        schema::key(&self.pattern).map_or("", |key| key.example)
    }
}

fn example_of(key: &schema::Key, name: &str) -> String {
    match key.kind {
        Kind::Table | Kind::Tables if key.example.starts_with('[') => format!("add {}", key.example),
        _ => format!("write {name} = {}", key.example),
    }
}

fn whole(number: Num) -> Option<u64> {
    let wide = match number {
        Num::U8(n) => i128::from(n),
        Num::U16(n) => i128::from(n),
        Num::U32(n) => i128::from(n),
        Num::U64(n) => i128::from(n),
        Num::USize(n) => i128::try_from(n).ok()?,
        Num::U128(n) => i128::try_from(n).ok()?,
        Num::I8(n) => i128::from(n),
        Num::I16(n) => i128::from(n),
        Num::I32(n) => i128::from(n),
        Num::I64(n) => i128::from(n),
        Num::ISize(n) => i128::try_from(n).ok()?,
        Num::I128(n) => n,
        Num::F32(_) | Num::F64(_) => return None,
    };
    u64::try_from(wide).ok()
}

/// A whole number in a list or alone, as ids and ports may be written.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    if let Value::Num(_, number) = value {
        whole(*number)
    } else {
        None
    }
}

fn path_of(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                let bare = !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
                path.push_str(&if bare {
                    name.clone()
                } else {
                    shortened(&format!("{name:?}"))
                });
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// The value for a message; nothing of what stands in a table, or in the place of a secret (PROBLEM-1).
fn shown(steps: &[Step], value: &Value) -> Option<String> {
    let secret = steps.iter().any(
        |step| matches!(step, Step::Name(name) if schema::names_a_secret(name) || not_available(name).is_some()),
    );
    if secret {
        None
    } else {
        written(value).map(|text| shortened(&text))
    }
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(format!("{text:?}")),
        Value::Char(_, text) => Some(format!("{text:?}")),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => Some(match (whole(*number), number) {
            (Some(number), _) => number.to_string(),
            (None, Num::F64(number)) => number.to_string(),
            (None, Num::I64(number)) => number.to_string(),
            (None, other) => format!("{other:?}"),
        }),
        Value::Array(_, values) => {
            let values: Option<Vec<_>> = values.iter().take(16).map(written).collect();
            values.map(|values| format!("[{}]", values.join(", ")))
        }
        Value::Empty(..) | Value::Dict(..) => None,
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(SHOWN_CHARACTERS_MAX - 1).chain(['…']).collect()
}

/// About a line of a terminal.
const SHOWN_CHARACTERS_MAX: usize = 100;
