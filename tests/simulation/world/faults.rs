//! What goes wrong in worlds, and those faults of brokers that all worlds have.

use super::NODES;
use super::brokers::Brokers;
use crate::dice::Dice;

/// What must have happened in some world for the worlds to have shown anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    BrokerStopped,
    AddressesSwapped,
    AddressMoved,
    LeaderMoved,
    SessionsEvicted,
    Throttled,
    Lied,
    Restless,
    KmsSlow,
    KmsThrottles,
    KmsLies,
    KmsDown,
    KmsGivesOtherDeks,
    KmsRefusesCredentials,
    KmsHangs,
    KmsFails,
    KmsAwayPastGrace,
    Rotated,
    Disabled,
    GivenBack,
    Crashed,
    Drained,
    Slept,
    TimeSet,
    ControlStalled,
    ExecutorStalled,
    Altered,
}

impl Fault {
    /// One after the other: a new one has to be given a place here.
    fn next(self) -> Option<Self> {
        Some(match self {
            Self::BrokerStopped => Self::AddressesSwapped,
            Self::AddressesSwapped => Self::AddressMoved,
            Self::AddressMoved => Self::LeaderMoved,
            Self::LeaderMoved => Self::SessionsEvicted,
            Self::SessionsEvicted => Self::Throttled,
            Self::Throttled => Self::Lied,
            Self::Lied => Self::Restless,
            Self::Restless => Self::KmsSlow,
            Self::KmsSlow => Self::KmsThrottles,
            Self::KmsThrottles => Self::KmsLies,
            Self::KmsLies => Self::KmsDown,
            Self::KmsDown => Self::KmsGivesOtherDeks,
            Self::KmsGivesOtherDeks => Self::KmsRefusesCredentials,
            Self::KmsRefusesCredentials => Self::KmsHangs,
            Self::KmsHangs => Self::KmsFails,
            Self::KmsFails => Self::KmsAwayPastGrace,
            Self::KmsAwayPastGrace => Self::Rotated,
            Self::Rotated => Self::Disabled,
            Self::Disabled => Self::GivenBack,
            Self::GivenBack => Self::Crashed,
            Self::Crashed => Self::Drained,
            Self::Drained => Self::Slept,
            Self::Slept => Self::TimeSet,
            Self::TimeSet => Self::ControlStalled,
            Self::ControlStalled => Self::ExecutorStalled,
            Self::ExecutorStalled => Self::Altered,
            Self::Altered => return None,
        })
    }

    pub(crate) fn all() -> Vec<Self> {
        std::iter::successors(Some(Self::BrokerStopped), |fault| fault.next()).collect()
    }

    /// Does something to brokers: the `nth` of [`Self::AT_BROKERS`]. `None`: nothing went wrong.
    pub(crate) fn at_brokers(nth: u64, brokers: &mut Brokers, dice: &mut Dice) -> Option<Self> {
        match nth {
            0 | 1 => stop_or_start_broker(brokers, dice),
            2 => move_addresses(brokers, dice),
            3 => {
                brokers.move_leader();
                Some(Self::LeaderMoved)
            }
            _ => {
                brokers.evict_sessions(NODES[dice.below(3) as usize]);
                Some(Self::SessionsEvicted)
            }
        }
    }

    /// So many, those that are to come more often more than once.
    pub(crate) const AT_BROKERS: u64 = 5;
}

fn stop_or_start_broker(brokers: &mut Brokers, dice: &mut Dice) -> Option<Fault> {
    let node = NODES[dice.below(3) as usize];
    if NODES.iter().all(|node| brokers.is_up(*node)) {
        brokers.stop(node);
        return Some(Fault::BrokerStopped);
    }
    brokers.start_all();
    None
}

/// Where a broker was that is down, another one is after both have restarted; or it comes back elsewhere.
fn move_addresses(brokers: &mut Brokers, dice: &mut Dice) -> Option<Fault> {
    let down = NODES.into_iter().find(|node| !brokers.is_up(*node))?;
    let other = NODES[dice.below(3) as usize];
    if other == down {
        brokers.move_address(down, 9092 + dice.below(3) as u16);
        return Some(Fault::AddressMoved);
    }
    brokers.stop(other);
    brokers.swap_addresses(down, other);
    brokers.start_all();
    Some(Fault::AddressesSwapped)
}
