//! What goes wrong in a world, until it is told to rest.

use std::time::Duration;

use super::World;
use super::key_faults::KEKS;
use super::program::EXECUTORS;
use super::trace::say;
use crate::world::NODES;
use crate::world::brokers::Lie;
use crate::world::faults::Fault;
use crate::world::kms::Trouble;

/// How long the control thread may be kept from running.
const STALL_MAX: Duration = Duration::from_millis(400);
/// How long one executor may be.
const EXECUTOR_STALL_MAX_MS: u64 = 5000;

impl World {
    pub(super) fn go_wrong(&mut self) {
        if self.keys.trouble_comes() {
            return self.trouble_scarce_kms();
        }
        if self.logins.is_some() && self.dice.below(2) == 0 {
            return self.trouble_logins();
        }
        let fault = match self.dice.below(14) {
            nth @ 0..Fault::AT_BROKERS => self.trouble_brokers(nth),
            5 => self.limit_or_lie(),
            6 | 7 => self.trouble_kms(),
            8 | 9 => self.change_kek(),
            10 => self.end_or_write(),
            11 => Some(self.stall_executor()),
            12 => self.alter().then_some(Fault::Altered),
            _ => self.move_clocks(),
        };
        if let Some(fault) = fault {
            say(self.program.now, format_args!("{fault:?}"));
            self.seen.insert(fault);
        }
    }

    fn trouble_brokers(&mut self, nth: u64) -> Option<Fault> {
        let fault = Fault::at_brokers(nth, &mut self.brokers, &mut self.dice);
        let brokers = NODES.map(|node| (node, self.brokers.is_up(node), self.brokers.address(node)));
        say(
            self.program.now,
            format_args!("brokers, whether they are up, and where: {brokers:?}"),
        );
        fault
    }

    fn limit_or_lie(&mut self) -> Option<Fault> {
        match self.dice.below(6) {
            0 => {
                self.brokers.set_quota(Some(20_000));
                Some(Fault::Throttled)
            }
            1 => {
                self.brokers
                    .set_lying(&[Lie::Tampered, Lie::OtherTopic], &["sealed-a", "other-a"]);
                Some(Fault::Lied)
            }
            2 | 3 => {
                let node = NODES[self.dice.below(3) as usize];
                say(self.program.now, format_args!("node {node} will not rest"));
                self.set_restless(Some(node));
                Some(Fault::Restless)
            }
            _ => {
                say(
                    self.program.now,
                    format_args!("no quota, no lies, no restless node"),
                );
                self.brokers.set_quota(None);
                self.brokers.set_lying(&[], &[]);
                self.set_restless(None);
                None
            }
        }
    }

    /// A node that is said to be elsewhere whenever somebody asks, which some do all the time.
    fn set_restless(&mut self, node: Option<i32>) {
        self.brokers.set_restless(node);
        self.crowd
            .askers
            .iter_mut()
            .for_each(|asker| asker.ask(node.is_some()));
    }

    fn end_or_write(&mut self) -> Option<Fault> {
        match self.dice.below(6) {
            0 | 1 => {
                self.crash();
                Some(Fault::Crashed)
            }
            2 => {
                let at_most = Duration::from_millis(self.dice.below(5000));
                self.program.drain(at_most).then_some(Fault::Drained)
            }
            _ => {
                self.program.write_state();
                None
            }
        }
    }

    /// A program that was told to end has done so: another one begins where it was.
    pub(super) fn restart_drained(&mut self) {
        let Some(in_time) = self.program.drained() else {
            return;
        };
        say(self.program.now, format_args!("drained, in time: {in_time}"));
        if in_time {
            self.check_drained();
        }
        self.deliver_all();
        self.program.write_state();
        self.crash();
    }

    /// One executor's core has other things to do.
    fn stall_executor(&mut self) -> Fault {
        let by = Duration::from_millis(self.dice.below(EXECUTOR_STALL_MAX_MS));
        let (executor, now) = (self.dice.below(EXECUTORS as u64) as usize, self.program.now);
        say(now, format_args!("executor {executor} stands still for {by:?}"));
        self.program.server().stall_executor(executor, by);
        self.checks.executor_stalls(now, now + by);
        Fault::ExecutorStalled
    }

    /// Time that passes otherwise than it should.
    fn move_clocks(&mut self) -> Option<Fault> {
        let by = Duration::from_millis(self.dice.below(100_000));
        let now = self.program.now;
        match self.dice.below(4) {
            0 => {
                say(now, format_args!("the machine sleeps for {by:?}"));
                self.program.sleep(by);
                self.checks.keys.sleeps(now, by);
                Some(Fault::Slept)
            }
            1 => {
                say(now, format_args!("its time is set, by {by:?}"));
                self.program.set_time(by);
                Some(Fault::TimeSet)
            }
            2 => {
                self.program.server().stall_control(STALL_MAX.min(by));
                Some(Fault::ControlStalled)
            }
            _ => None,
        }
    }

    /// No more trouble.
    pub(super) fn rest(&mut self) {
        say(self.program.now, format_args!("no more trouble"));
        self.resting = true;
        self.brokers.set_quota(None);
        self.brokers.set_lying(&[], &[]);
        self.set_restless(None);
        self.brokers.start_all();
        for (kms, kek) in self.kms.iter().zip(KEKS) {
            (1..=kms.current(kek)).for_each(|version| kms.enable(kek, version));
        }
        (0..self.kms.len()).for_each(|at| self.set_trouble(at, Trouble::default(), true));
        if self.seen.contains(&Fault::KmsGivesOtherDeks) {
            // What was taken for an opened DEK is kept as long as the program runs, or its KEK may be used.
            self.crash();
        }
        self.rest_logins();
        self.crowd.rest();
    }
}
