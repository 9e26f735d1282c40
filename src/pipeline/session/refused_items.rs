//! Which items of a request's list are not its client's, and what the first of them is called.

use crate::metrics::RequestRefusal;
use crate::protocol::request_refusal::{RefusedItem, Whose};

/// What is not the client's, and what it is called.
pub(super) type Foreign<'f> = (Whose, Option<&'f str>);

/// See the module.
#[derive(Default)]
pub(super) struct RefusedItems {
    items: Vec<RefusedItem>,
    first: Option<Box<str>>,
}

impl RefusedItems {
    /// Notes one, behind those that were noted; says whether there is room for it.
    pub(super) fn note(&mut self, position: usize, (whose, name): Foreign<'_>) -> bool {
        if self.items.last().is_some_and(|last| last.position == position) {
            return true;
        }
        if self.items.is_empty() {
            self.first = name.map(Box::from);
        }
        let has_room = self.items.len() < REFUSED_MAX;
        if has_room {
            self.items.push(RefusedItem { position, whose });
        }
        has_room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn items(&self) -> &[RefusedItem] {
        &self.items
    }

    /// What is told of them.
    pub(super) fn first(&self) -> Option<(RequestRefusal, Option<&str>)> {
        let first = self.items.first()?;
        Some((first.whose.into(), self.first.as_deref()))
    }
}

impl From<Whose> for RequestRefusal {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Cluster => Self::Cluster,
            Whose::Topic => Self::Topic,
            Whose::Group => Self::Group,
            Whose::TransactionalId => Self::TransactionalId,
        }
    }
}

/// Items of a request that its client may not use: nobody means so many.
pub(super) const REFUSED_MAX: usize = 1000;
