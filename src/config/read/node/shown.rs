//! How messages show a place and what stands there: short, and nothing that may be secret (PROBLEM-1).

use figment::value::{Num, Value};

use super::typed::whole;
use crate::config::read::later::instead_of;
use crate::config::read::sources::PathStep;
use crate::config::schema;

pub(super) fn path_of(steps: &[PathStep]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            PathStep::Name(name) => {
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
            PathStep::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// The value for a message; nothing of what stands in a table, or in the place of a secret (PROBLEM-1).
pub(super) fn shown(steps: &[PathStep], value: &Value) -> Option<String> {
    if may_be_secret(steps) {
        None
    } else {
        written(value).map(|text| shortened(&text))
    }
}

/// Whether someone may write a secret there: in its place, or where something is said of a login (PROBLEM-1).
pub(super) fn may_be_secret(steps: &[PathStep]) -> bool {
    steps.iter().any(|step| match step {
        PathStep::Name(name) => {
            schema::names_a_secret(name)
                || ABOUT_LOGINS.contains(&name.as_str())
                || instead_of(name).is_some()
        }
        PathStep::Index(_) => false,
    })
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

/// Tables that name users and where their secrets are.
const ABOUT_LOGINS: [&str; 3] = ["login", "upstream_login", "sasl"];
/// About a line of a terminal.
const SHOWN_CHARACTERS_MAX: usize = 100;
