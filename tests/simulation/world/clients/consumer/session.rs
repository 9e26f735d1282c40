//! An incremental fetch session (KIP-227) as a client keeps it for one node: what the broker remembers, so that only
//! what changed is named.

use std::collections::BTreeMap;

use crate::world::clients::{Family, Place};

pub(super) struct FetchSession {
    family: Family,
    /// 0: there is none.
    id: i32,
    epoch: i32,
    /// The offsets that the broker remembers, or will once the request under way has come.
    named: BTreeMap<Place, i64>,
}

/// What a request says of the session.
pub(super) struct Incremental {
    pub(super) id: i32,
    pub(super) epoch: i32,
    pub(super) changed: BTreeMap<Place, i64>,
    pub(super) forgotten: Vec<Place>,
}

impl FetchSession {
    pub(super) fn new(family: Family) -> Self {
        Self {
            family,
            id: 0,
            epoch: 0,
            named: BTreeMap::new(),
        }
    }

    pub(super) fn next(&mut self, wanted: &BTreeMap<Place, i64>) -> Incremental {
        let former = std::mem::replace(&mut self.named, wanted.clone());
        if self.is_full() {
            return Incremental {
                id: self.id,
                epoch: self.epoch(),
                changed: wanted.clone(),
                forgotten: Vec::new(),
            };
        }
        Incremental {
            id: self.id,
            epoch: self.epoch,
            changed: wanted
                .iter()
                .filter(|(place, offset)| former.get(*place) != Some(offset))
                .map(|(place, offset)| (place.clone(), *offset))
                .collect(),
            forgotten: former
                .into_keys()
                .filter(|place| !wanted.contains_key(place))
                .collect(),
        }
    }

    /// Whether the answer that comes is one on all partitions that were named.
    pub(super) fn is_full(&self) -> bool {
        self.epoch() <= 0
    }

    /// librdkafka has no sessions, and says so with -1.
    fn epoch(&self) -> i32 {
        match self.family {
            Family::Java => self.epoch,
            Family::Librdkafka => -1,
        }
    }

    /// The answer names the session, 0 if the broker keeps none.
    pub(super) fn answered(&mut self, id: i32) {
        if self.family == Family::Librdkafka || id == 0 {
            self.id = 0;
            self.epoch = 0;
            return;
        }
        if self.is_full() {
            self.id = id;
        } else {
            assert_eq!(id, self.id, "the answer is of another session");
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// The next request is full; it ends the session where the broker still has it.
    pub(super) fn begin_anew(&mut self, is_gone: bool) {
        if is_gone {
            self.id = 0;
        }
        self.epoch = 0;
    }
}

#[test]
fn only_what_changed_is_named_until_the_session_is_lost() {
    let place = |partition| ("a".to_owned(), partition);
    let wanted =
        |offsets: &[i64]| -> BTreeMap<Place, i64> { (0..).map(place).zip(offsets.iter().copied()).collect() };
    let mut session = FetchSession::new(Family::Java);
    let full = session.next(&wanted(&[0, 5]));
    assert_eq!((full.id, full.epoch, full.changed.len()), (0, 0, 2));
    session.answered(9);
    let next = session.next(&wanted(&[0, 7]));
    assert_eq!((next.id, next.epoch), (9, 1));
    assert_eq!(next.changed, BTreeMap::from([(place(1), 7)]));
    session.answered(9);
    let fewer = session.next(&wanted(&[0]));
    assert_eq!((fewer.epoch, fewer.changed.len()), (2, 0));
    assert_eq!(fewer.forgotten, [place(1)]);
    session.begin_anew(false);
    let again = session.next(&wanted(&[0]));
    assert_eq!((again.id, again.epoch, again.changed.len()), (9, 0, 1));
}
