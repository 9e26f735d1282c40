//! Where values come from: defaults, then the file, then environment variables, then flags, merged by figment; and the
//! way back from a merged value to the line, variable or flag that it was written in.
//!
//! - SOURCE-1: a variable or a flag is parsed as a TOML value, so that everything a file can say they can say too; what
//!   is not a TOML value is taken as text.
//! - SOURCE-2: only variables `SEALWIRE_SECTION__KEY` are looked at. Names without `__` belong to others: Kubernetes
//!   sets `SEALWIRE_PORT` and its like for a service that is called `sealwire`.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml_edit::{Document, Item};

use crate::config::problem::{ConfigError, Origin};
use crate::config::schema::{self, Preset};

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    Name(String),
    Index(usize),
}

/// Everything that a configuration is read from.
#[derive(Debug, Default)]
pub(super) struct Inputs<'i> {
    /// The text of the file.
    pub(super) text: &'i str,
    /// What the file is called in messages.
    pub(super) path: PathBuf,
    /// All environment variables.
    pub(super) variables: Vec<(String, String)>,
    /// `KEY=VALUE` of each `--set`.
    pub(super) settings: Vec<String>,
}

/// The merged values.
pub(super) struct Sources<'i> {
    path: PathBuf,
    document: Document<&'i str>,
    figment: Figment,
    /// `figment` names a layer by its position here.
    origins: Vec<Origin>,
    pub(super) root: Value,
}

impl<'i> Sources<'i> {
    pub(super) fn merge(inputs: Inputs<'i>) -> Result<Self, Vec<ConfigError>> {
        let file = |line| Origin::File {
            path: inputs.path.clone(),
            line,
        };
        let document = Document::parse(inputs.text).map_err(|error| {
            let line = error.span().map(|span| line_of(inputs.text, span.start));
            vec![ConfigError {
                origin: file(line),
                key: String::new(),
                value: None,
                problem: format!("this is not TOML: {}", error.message().trim().replace('\n', "; ")),
                fix: "correct the syntax of this line (https://toml.io)".to_owned(),
            }]
        })?;
        let mut errors = Vec::new();
        let mut layers = vec![(file(None), defaults()), (file(None), toml_dict(inputs.text))];
        let overriding = inputs
            .variables
            .into_iter()
            .filter_map(|(variable, text)| of_variable(variable, &text))
            .chain(inputs.settings.iter().map(|setting| of_setting(setting)));
        for layer in overriding {
            match layer {
                Ok(layer) => layers.push(layer),
                Err(error) => errors.push(*error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut figment = Figment::new();
        let mut origins = Vec::with_capacity(layers.len());
        for (origin, dict) in layers {
            figment = figment.merge(Layer {
                name: origins.len().to_string(),
                dict,
            });
            origins.push(origin);
        }
        let root = figment
            .data()
            .ok()
            .and_then(|mut profiles| profiles.remove(&Profile::Default))
            .unwrap_or_default();
        Ok(Self {
            path: inputs.path,
            document,
            figment,
            origins,
            root: Value::from(root),
        })
    }

    /// Where the value with this tag at this place was written; for something that is missing, where the nearest thing
    /// around it was.
    pub(super) fn origin(&self, tag: Tag, steps: &[PathStep]) -> Origin {
        let layer = self
            .figment
            .get_metadata(tag)
            .and_then(|metadata| metadata.name.parse::<usize>().ok());
        match layer.and_then(|layer| self.origins.get(layer)) {
            Some(origin @ (Origin::Environment(_) | Origin::Flag(_))) => origin.clone(),
            _ => Origin::File {
                path: self.path.clone(),
                line: self.line(steps),
            },
        }
    }

    /// The line of the deepest item on the way that the file has.
    pub(super) fn line(&self, steps: &[PathStep]) -> Option<usize> {
        enum At<'d> {
            Item(&'d Item),
            Table(&'d dyn toml_edit::TableLike),
            Value(&'d toml_edit::Value),
        }
        let mut at = At::Item(self.document.as_item());
        let mut offset = None;
        for step in steps {
            let next = match step {
                PathStep::Name(name) => {
                    let table: Option<&dyn toml_edit::TableLike> = match at {
                        At::Item(item) => item.as_table_like(),
                        At::Table(table) => Some(table),
                        At::Value(value) => value
                            .as_inline_table()
                            .map(|table| table as &dyn toml_edit::TableLike),
                    };
                    table
                        .and_then(|table| table.get_key_value(name))
                        .map(|(key, item)| (At::Item(item), key.span().or_else(|| item.span())))
                }
                PathStep::Index(index) => {
                    let item = match at {
                        At::Item(item) => Some(item),
                        _ => None,
                    };
                    let array = match at {
                        At::Item(item) => item.as_array(),
                        At::Value(value) => value.as_array(),
                        At::Table(_) => None,
                    };
                    let table = item
                        .and_then(Item::as_array_of_tables)
                        .and_then(|tables| tables.get(*index));
                    match (table, array.and_then(|array| array.get(*index))) {
                        (Some(table), _) => {
                            Some((At::Table(table as &dyn toml_edit::TableLike), table.span()))
                        }
                        (None, Some(value)) => Some((At::Value(value), value.span())),
                        (None, None) => None,
                    }
                }
            };
            let Some((found, span)) = next else { break };
            at = found;
            offset = span.map(|span| span.start).or(offset);
        }
        offset.map(|offset| line_of(self.document.raw(), offset))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// A value as TOML would have it in a file; anything else is text (SOURCE-1).
pub(super) fn toml_value(text: &str) -> Value {
    let parsed = text
        .trim()
        .parse::<toml_edit::Value>()
        .ok()
        .filter(|_| !text.trim().is_empty());
    match parsed.map(|value| format!("value = {}", value.to_string().trim())) {
        Some(line) => toml_dict(&line)
            .remove("value")
            .unwrap_or_else(|| Value::from(text)),
        None => Value::from(text),
    }
}

fn toml_dict(text: &str) -> Dict {
    let table = toml::from_str::<toml::Table>(text).unwrap_or_default();
    match Value::serialize(&table) {
        Ok(Value::Dict(_, dict)) => dict,
        _ => Dict::new(),
    }
}

/// What the schema presets at places that need no name from the operator.
fn defaults() -> Dict {
    let mut root = Value::from(Dict::new());
    for key in schema::keys() {
        let fixed = !key.path.contains(['*', '[']);
        if let (Preset::Value(text), true) = (key.preset, fixed) {
            let steps: Vec<String> = key.path.split('.').map(str::to_owned).collect();
            let mut dicts = nested(&steps, toml_value(text));
            merge_into(&mut root, &mut dicts);
        }
    }
    root.into_dict().unwrap_or_default()
}

fn merge_into(root: &mut Value, dicts: &mut Dict) {
    let Value::Dict(_, into) = root else { return };
    for (name, value) in std::mem::take(dicts) {
        match (into.get_mut(&name), value) {
            (Some(existing @ Value::Dict(..)), Value::Dict(_, mut inner)) => merge_into(existing, &mut inner),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// What a variable sets; nothing where it is none of ours (SOURCE-2).
fn of_variable(variable: String, text: &str) -> Option<Result<(Origin, Dict), Box<ConfigError>>> {
    let steps = variable_steps(&variable)?;
    let origin = Origin::Environment(variable);
    Some(match steps {
        Ok(steps) => Ok((origin, nested(&steps, toml_value(text)))),
        Err(()) => Err(Box::new(ConfigError {
            origin,
            key: String::new(),
            value: None,
            problem: "the name does not lead to a key".to_owned(),
            fix: "write SEALWIRE_SECTION__KEY, such as SEALWIRE_LIMITS__CONNECTIONS_MAX".to_owned(),
        })),
    })
}

/// What a `--set` sets.
fn of_setting(setting: &str) -> Result<(Origin, Dict), Box<ConfigError>> {
    // Without the value: it may be a secret in the wrong place (PROBLEM-1).
    let origin = Origin::Flag(format!("--set {}", setting.split('=').next().unwrap_or_default()));
    if let Some((path, text)) = setting.split_once('=') {
        let steps: Vec<String> = path.split('.').map(|name| name.trim().to_owned()).collect();
        if steps.len() <= STEPS_MAX && steps.iter().all(|step| !step.is_empty()) {
            return Ok((origin, nested(&steps, toml_value(text))));
        }
    }
    Err(Box::new(ConfigError {
        origin,
        key: String::new(),
        value: None,
        problem: "this is not KEY=VALUE".to_owned(),
        fix: "write --set SECTION.KEY=VALUE, such as --set limits.connections_max=500".to_owned(),
    }))
}

/// `SEALWIRE_LIMITS__IDLE_TIMEOUT` leads to `limits.idle_timeout`.
fn variable_steps(variable: &str) -> Option<Result<Vec<String>, ()>> {
    let rest = variable
        .strip_prefix("SEALWIRE_")
        .filter(|rest| rest.contains("__"))?;
    let steps: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    Some(if steps.len() > STEPS_MAX || steps.iter().any(String::is_empty) {
        Err(())
    } else {
        Ok(steps)
    })
}

fn nested(steps: &[String], value: Value) -> Dict {
    let mut dict = Dict::new();
    if let Some((first, rest)) = steps.split_first() {
        let inner = if rest.is_empty() {
            value
        } else {
            Value::from(nested(rest, value))
        };
        dict.insert(first.clone(), inner);
    }
    dict
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        .saturating_add(1)
}

/// Deeper than any key of the schema, and shallow enough for the stack.
const STEPS_MAX: usize = 16;

/// One source for figment.
struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOURCE-1
    #[test]
    fn values_of_variables_are_toml_or_text() {
        assert_eq!(toml_value("5"), Value::from(5_i64));
        assert_eq!(toml_value("true"), Value::from(true));
        assert_eq!(toml_value("[\"a\", \"b\"]"), Value::from(vec!["a", "b"]));
        assert_eq!(toml_value("\"5\""), Value::from("5"));
        for text in [
            "2s",
            "kafka-1:9092",
            "0-5",
            "",
            "1\nx = 2",
            "[",
            "info,sealwire=debug",
        ] {
            assert_eq!(toml_value(text), Value::from(text), "{text:?}");
        }
    }

    /// SOURCE-2
    #[test]
    fn only_sectioned_variables_count() {
        assert_eq!(variable_steps("SEALWIRE_PORT_9192_TCP"), None);
        assert_eq!(variable_steps("OTHER_LIMITS__X"), None);
        assert_eq!(
            variable_steps("SEALWIRE_KMS__MY_STORE__PATH"),
            Some(Ok(vec!["kms".into(), "my_store".into(), "path".into()]))
        );
        assert_eq!(variable_steps("SEALWIRE___X"), Some(Err(())));
    }

    #[test]
    fn lines_are_found_through_every_kind_of_nesting() {
        let text = "a = 1\n[b]\nc = { d = 2 }\n\n[[e.f]]\ng = [\n  1,\n  2,\n]\n[[e.f]]\nh.i = 3\n";
        let Ok(sources) = Sources::merge(Inputs {
            text,
            ..Inputs::default()
        }) else {
            unreachable!("the text is TOML");
        };
        let name = |name: &str| PathStep::Name(name.to_owned());
        let line = |steps: &[PathStep]| sources.line(steps);
        assert_eq!(line(&[name("a")]), Some(1));
        assert_eq!(line(&[name("b")]), Some(2));
        assert_eq!(line(&[name("b"), name("c"), name("d")]), Some(3));
        assert_eq!(line(&[name("b"), name("missing")]), Some(2));
        assert_eq!(line(&[name("e"), name("f"), PathStep::Index(0)]), Some(5));
        assert_eq!(
            line(&[
                name("e"),
                name("f"),
                PathStep::Index(0),
                name("g"),
                PathStep::Index(1)
            ]),
            Some(8)
        );
        assert_eq!(line(&[name("e"), name("f"), PathStep::Index(1)]), Some(10));
        assert_eq!(
            line(&[name("e"), name("f"), PathStep::Index(1), name("h"), name("i")]),
            Some(11)
        );
        assert_eq!(line(&[name("missing")]), None);
    }
}
