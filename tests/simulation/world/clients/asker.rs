//! Asks who is where as soon as it was told, as a tool in a loop does, as long as it is let.

use std::time::Duration;

use super::network::Network;
use super::{Action, Client, ClientSettings};
use crate::dice::Dice;

pub(crate) struct Asker {
    network: Network,
    asks: bool,
}

impl Asker {
    /// One that does not ask yet.
    pub(crate) fn new(settings: ClientSettings) -> Self {
        Self {
            network: Network::new(settings),
            asks: false,
        }
    }

    /// Whether it asks from now on.
    pub(crate) fn ask(&mut self, asks: bool) {
        self.asks = asks;
        self.network.touch();
    }
}

impl Client for Asker {
    fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    fn act(&mut self, now: Duration, dice: &mut Dice) -> Vec<Action> {
        if self.network.is_idle(self.next_due(), now) {
            return Vec::new();
        }
        self.network.begin(now);
        if self.asks {
            self.network.refresh_at(now);
            self.network.connect_and_look(&[], dice);
        }
        self.network.take_actions()
    }

    fn next_due(&self) -> Option<Duration> {
        self.asks.then(|| self.network.next_due()).flatten()
    }

    fn rest(&mut self) {
        self.ask(false);
    }

    fn is_done(&self) -> bool {
        true
    }
}
