//! Values of a place as what they are to be: text, flags, counts, sizes, times.

use std::time::Duration;

use figment::value::{Num, Value};

use super::Node;
use crate::config::scalars::{parse_duration, parse_size, write_duration, write_size};
use crate::config::schema::{self, Kind};

impl Node<'_> {
    pub(in crate::config::read) fn as_text(&self) -> Option<String> {
        match &self.value {
            Value::String(_, text) => Some(text.clone()),
            _ => {
                self.complain("this is not text", &self.example());
                None
            }
        }
    }

    pub(in crate::config::read) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_text()
    }

    pub(in crate::config::read) fn flag(&self, name: &str) -> Option<bool> {
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
    pub(in crate::config::read) fn quantity(&self, name: &str) -> Option<usize> {
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
    pub(in crate::config::read) fn duration(&self, name: &str) -> Option<Duration> {
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

    fn example_value(&self) -> &'static str {
        schema::key(&self.pattern).map_or("", |key| key.example)
    }
}

pub(super) fn whole(number: Num) -> Option<u64> {
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
pub(in crate::config::read) fn whole_number(value: &Value) -> Option<u64> {
    if let Value::Num(_, number) = value {
        whole(*number)
    } else {
        None
    }
}
