//! Names in a table: whether there are such keys, what was meant by those that there are not, and what names that the
//! operator chooses may look like.

use figment::value::{Dict, Value};

use super::Node;
use crate::config::problem::did_you_mean;
use crate::config::read::later::instead_of;
use crate::config::read::sources::PathStep;
use crate::config::schema::{self, spelled};

impl Node<'_> {
    pub(super) fn check_names(&self) {
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
            let node = self.below(PathStep::Name(name.clone()), name, value.clone());
            if let Some((problem, instead)) = instead_of(name).filter(|_| !self.is_of_kms()) {
                node.complain(problem, instead);
                continue;
            }
            let fix = match did_you_mean(name, schema::names_under(&self.pattern)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => self.known_names(name),
            };
            node.complain_of_the_name("there is no such key", &fix);
        }
    }

    fn check_free_names(&self, dict: &Dict) {
        for (name, value) in dict {
            let legal = (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            if !legal {
                let node = self.below(PathStep::Name(name.clone()), "*", value.clone());
                node.complain("this is not a name", "use 1 to 64 letters, digits, - and _");
            }
        }
    }

    /// Logins and certificates that are for a KMS are set nowhere else.
    fn is_of_kms(&self) -> bool {
        self.pattern.starts_with("kms.")
    }

    fn known_names(&self, name: &str) -> String {
        let mut elsewhere = schema::keys().filter(|key| !self.is_of_kms() || key.path.starts_with("kms."));
        let elsewhere = elsewhere.find(|key| key.path.rsplit('.').next() == Some(name));
        match elsewhere {
            Some(key) => format!("{name} belongs at {}", spelled(key.path)),
            None => {
                let known: Vec<_> = schema::names_under(&self.pattern).collect();
                format!("the keys here are {}", known.join(", "))
            }
        }
    }
}
