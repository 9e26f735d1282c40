//! Ids of clusters, listeners and KMSs: what everything calls them by while the program runs, whatever their place in a
//! configuration.
//!
//! - IDS-1: a name keeps its id for as long as the program runs: a configuration takes over the names of the one before
//!   it ([`Config::ids`](crate::config::Config)), those among them that it does not have any more.
//! - IDS-2: an id is never given to a second name.
//! - IDS-3: what belongs to an id is found with one index, and nothing is allocated for it ([`ById`]).
//!
//! Pure values, for any thread. Knows nobody.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// A number that stands for a name. [`Names`] gives them out.
pub trait Id: Copy + Eq {
    /// The id with this number.
    fn from_number(number: u32) -> Self;
    /// Its number: small, since they are counted.
    fn number(self) -> u32;
}

macro_rules! ids {
    ($($(#[$documentation:meta])* $name:ident),*) => {$(
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl Id for $name {
            fn from_number(number: u32) -> Self {
                Self(number)
            }

            fn number(self) -> u32 {
                self.0
            }
        }
    )*};
}

ids! {
    /// `[cluster.NAME]`.
    ClusterId,
    /// `[[cluster.NAME.listeners]]`, of whichever cluster.
    ListenerId,
    /// `[kms.NAME]`.
    KmsId
}

/// Every name that there has been, and its id.
#[derive(Clone, Debug)]
pub struct Names<I> {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, I>,
}

impl<I: Id> Names<I> {
    /// The id of a name, from now on if it had none.
    ///
    /// # Panics
    /// With the 2^32nd name of one program: each is written in a configuration.
    pub fn id_of(&mut self, name: &str) -> I {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let number = u32::try_from(self.names.len());
        // INVARIANT: a configuration is 4 MiB long at most, and one is read in a second.
        let id = I::from_number(number.expect("so many configurations are not read"));
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    /// What has this id is called so.
    #[must_use]
    pub fn name(&self, id: I) -> &str {
        position(id)
            .and_then(|position| self.names.get(position))
            .map_or("?", |name| name)
    }
}

impl<I> Default for Names<I> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            ids: HashMap::new(),
        }
    }
}

/// The ids of a configuration, and of those before it.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    /// Clusters.
    pub clusters: Names<ClusterId>,
    /// Listeners of all clusters, as `CLUSTER/LISTENER`.
    pub listeners: Names<ListenerId>,
    /// KMSs.
    pub kms: Names<KmsId>,
}

/// Something for each id (IDS-3).
#[derive(Clone, Debug)]
pub struct ById<I, T> {
    /// By the id's number; there are as many as there have been names.
    places: Vec<Option<T>>,
    of: PhantomData<I>,
}

impl<I: Id, T> ById<I, T> {
    /// What belongs to `id`.
    #[inline]
    #[must_use]
    pub fn get(&self, id: I) -> Option<&T> {
        self.places.get(position(id)?)?.as_ref()
    }

    /// What belongs to `id`, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.places.get_mut(position(id)?)?.as_mut()
    }

    /// Puts `item` in the place of what belonged to `id`.
    pub fn insert(&mut self, id: I, item: T) {
        let Some(position) = position(id) else { return };
        if position >= self.places.len() {
            self.places.resize_with(position.saturating_add(1), || None);
        }
        if let Some(place) = self.places.get_mut(position) {
            *place = Some(item);
        }
    }

    /// Everything, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        (0..)
            .map(I::from_number)
            .zip(&self.places)
            .filter_map(|(id, place)| Some((id, place.as_ref()?)))
    }

    /// Everything, in the order of the ids, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }
}

impl<I, T> Default for ById<I, T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            of: PhantomData,
        }
    }
}

impl<I: Id, T> FromIterator<(I, T)> for ById<I, T> {
    fn from_iter<S: IntoIterator<Item = (I, T)>>(items: S) -> Self {
        let mut table = Self::default();
        for (id, item) in items {
            table.insert(id, item);
        }
        table
    }
}

fn position(id: impl Id) -> Option<usize> {
    usize::try_from(id.number()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IDS-1, IDS-2
    #[test]
    fn a_name_keeps_its_id_and_nobody_else_gets_it() {
        let mut names = Names::<ClusterId>::default();
        let (one, other) = (names.id_of("one"), names.id_of("other"));
        assert_ne!(one, other);
        // The next configuration has another one in front of them, and one of them no more.
        let mut later = names.clone();
        let new = later.id_of("new");
        assert_eq!(later.id_of("other"), other);
        assert!(new != one && new != other);
        assert_eq!(later.id_of("one"), one, "it has come back");
        assert_eq!((later.name(one), later.name(new)), ("one", "new"));
        assert_eq!(names.name(new), "?");
    }

    /// IDS-3
    #[test]
    fn what_belongs_to_an_id_is_found_beside_gaps() {
        let id = ClusterId::from_number;
        let mut table: ById<ClusterId, &str> = [(id(3), "three"), (id(1), "one")].into_iter().collect();
        assert_eq!(table.get(id(1)), Some(&"one"));
        assert_eq!((table.get(id(2)), table.get(id(9))), (None, None));
        table.insert(id(1), "uno");
        if let Some(place) = table.get_mut(id(3)) {
            *place = "tre";
        }
        let all: Vec<_> = table.iter().map(|(id, item)| (id.number(), *item)).collect();
        assert_eq!(all, [(1, "uno"), (3, "tre")]);
        assert_eq!(table.values_mut().count(), 2);
    }
}
