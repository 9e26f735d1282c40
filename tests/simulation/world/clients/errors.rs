//! What clients make of Kafka's codes. One that no client expects is a panic.

/// What a producer does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    /// Stored before, nobody knows where.
    StoredBefore,
    /// It goes again, after a look at Metadata.
    Again,
    /// A batch before it is missing.
    OutOfOrder,
    /// Its producer has no longer the right epoch.
    Fenced,
    Fails,
}

pub(super) fn fate(code: i16) -> Fate {
    match code {
        0 => Fate::Stored,
        46 => Fate::StoredBefore,
        2 | 3 | 5..=7 | 9 | 13 | 19 | 20 | 56 | 74 | 75 | 89 | 100 => Fate::Again,
        45 | 59 => Fate::OutOfOrder,
        47 | 90 => Fate::Fenced,
        10 | 17 | 18 | 21 | 29 | 32 | 44 | 48 | 87 => Fate::Fails,
        other => panic!("no producer knows the code {other}"),
    }
}

/// What becomes of what was asked of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coordinated {
    Done,
    Again,
    /// The coordinator is another one, or not there.
    Elsewhere,
    Fenced,
    Fails,
}

pub(super) fn coordinated(code: i16) -> Coordinated {
    match code {
        0 => Coordinated::Done,
        3 | 7 | 14 | 51 | 55 => Coordinated::Again,
        15 | 16 => Coordinated::Elsewhere,
        47 | 48 | 49 | 90 => Coordinated::Fenced,
        29 | 44 | 53 => Coordinated::Fails,
        other => panic!("no producer knows the code {other} of a coordinator"),
    }
}

/// What a consumer does about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Data,
    OutOfRange,
    /// Again, after a look at Metadata.
    Again,
    /// The application is told, and asks again.
    Refused,
}

pub(super) fn reading(code: i16) -> Reading {
    match code {
        0 => Reading::Data,
        1 => Reading::OutOfRange,
        3 | 5 | 6 | 9 | 56 | 74 | 75 | 76 | 78 | 100 | 103 => Reading::Again,
        2 | 29 => Reading::Refused,
        other => panic!("no consumer knows the code {other}"),
    }
}
