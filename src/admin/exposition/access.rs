//! Files that say who may log in, and who belongs to a group: whether what is in force is what they hold.

use std::fmt::Error;

use super::families::{Families, Labels};
use super::{Exposition, text_of};
use crate::admin::AccessFacts;

impl Exposition {
    pub(super) fn access(&self, families: &mut Families<'_>) -> Result<(), Error> {
        let files = &self.collection.access;
        families.gauge(
            "sealwire_access_file_current",
            "Whether what is in force is what a file of users, keys or members of a group holds; 0: it has changed and \
             cannot be used",
            None,
            files.iter().map(|facts| (place(facts), u64::from(facts.is_current))),
        )
    }
}

fn place(facts: &AccessFacts) -> Labels {
    vec![
        ("kind", text_of(facts.kind)),
        ("cluster", facts.cluster.clone()),
        ("name", facts.name.clone()),
    ]
}
