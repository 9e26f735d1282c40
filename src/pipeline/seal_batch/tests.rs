//! Two copies of one executor, whose kernel gives the same bytes and whose clocks stand still.

use std::time::Duration;

use super::*;
use crate::crypto::SecretKey;
use crate::ids::{Id as _, KmsId};
use crate::keys::{DeliveredDek, ExecutorKeys, KeyLookup, KeyOptions, KeyReply};
use crate::rules::{Action, Matcher, Rule, RuleAction, RuleSet, SealTemplate, Template};
use crate::testing::{BatchBuilder, RecordInput};

const WRAPPED: &[u8] = b"a wrapped data key that stands nowhere else";

/// One executor with nothing but what sealing needs.
struct Copied {
    pool: SealingPool,
    keys: ExecutorKeys,
    now: Instant,
    partition: i32,
}

impl Copied {
    fn new(executor: usize) -> Self {
        let mut copied = Self {
            pool: SealingPool::new(SaltSource::frozen(executor)),
            keys: ExecutorKeys::new(executor, &KeyOptions::default()),
            now: Instant::now(),
            partition: 0,
        };
        copied.give_key();
        copied
    }

    /// The same DEK, whatever became of it.
    fn give_key(&mut self) {
        let delivered = DeliveredDek {
            dek: SecretKey::from_bytes(&mut [5; 32]).unwrap(),
            wrapped: WRAPPED.into(),
            batches_max: 1000,
            bytes_max: 1 << 40,
            expires_at: self.now + Duration::from_secs(1000),
        };
        self.keys.apply(
            KeyReply::Sealing {
                key: crate::keys::KeyId::first("payments"),
                result: Ok(delivered),
            },
            self.now,
        );
    }

    fn share(&mut self) -> Rc<SealingShare> {
        match self
            .keys
            .sealing(&crate::keys::KeyId::first("payments"), self.now)
        {
            KeyLookup::Ready(share) => share,
            KeyLookup::Waiting | KeyLookup::Failed(_) => panic!("the key was delivered"),
        }
    }

    /// The batch sealed; with `interrupted`, in two attempts: after its first record the key is taken away and comes
    /// back.
    fn seal(&mut self, batch: &[u8], interrupted: bool) -> Vec<u8> {
        let rule = rule();
        let header = BatchHeader::parse(batch).unwrap();
        let mut draft = SealDraft::begin(batch, &header, &rule, 1 << 20, &mut self.pool).unwrap();
        let mut work = Work::new(if interrupted { 1 } else { usize::MAX });
        let mut out = Vec::new();
        let mut first = None;
        loop {
            let share = self.share();
            let context = SealContext {
                batch,
                cluster: "main",
                topic: "orders",
                partition: self.partition,
                clocks: Clocks::default(),
                rule: &rule,
                keys: &TopicKeys::default(),
                share: Some(&share),
                now: self.now,
                may_grow: true,
            };
            work.begin_turn();
            match draft.advance(&context, &mut work, &mut self.pool, &mut out) {
                Ok(Progress::Done(Sealed::Done)) => break,
                Ok(Progress::Paused(Pause::Spent)) if first.is_none() => {
                    first = Some(salt(&out));
                    let key = crate::keys::KeyId::first("payments");
                    self.keys.apply(KeyReply::Released { key }, self.now);
                    self.give_key();
                }
                Ok(Progress::Paused(Pause::Spent)) => {}
                other => panic!("{other:?}"),
            }
        }
        draft.finish(&mut self.pool);
        assert_eq!(first.is_some(), interrupted);
        assert_ne!(first, Some(salt(&out)), "the second attempt has another salt");
        out
    }
}

fn rule() -> SealRule {
    let rule = Rule {
        matcher: Matcher::glob("*").unwrap(),
        action: RuleAction::Seal(Box::new(SealTemplate::new(
            KmsId::from_number(0),
            Template::plain("payments"),
        ))),
    };
    match RuleSet::new(vec![rule]).resolve("orders").unwrap().action {
        Action::Seal(rule) => rule,
        _ => panic!("sealed"),
    }
}

fn batch(value: &[u8]) -> Vec<u8> {
    let record = RecordInput {
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(value),
        headers: &[],
    };
    BatchBuilder::new().record(record).record(record).build().unwrap()
}

/// Stands right behind the wrapped DEK.
fn salt(sealed: &[u8]) -> [u8; 12] {
    let at = sealed
        .windows(WRAPPED.len())
        .position(|window| window == WRAPPED)
        .unwrap();
    *sealed[at + WRAPPED.len()..].first_chunk().unwrap()
}

/// SALT-2, through what seals: nothing but one ciphertext of one text can ever share a salt.
#[test]
fn two_copies_share_a_salt_for_the_same_batch_in_the_same_place_only() {
    let sealed = Copied::new(0).seal(&batch(b"one"), false);
    assert_eq!(Copied::new(0).seal(&batch(b"one"), false), sealed);
    assert_ne!(salt(&Copied::new(0).seal(&batch(b"two"), false)), salt(&sealed));
    let mut elsewhere = Copied::new(0);
    elsewhere.partition = 1;
    assert_ne!(salt(&elsewhere.seal(&batch(b"one"), false)), salt(&sealed));
    assert_ne!(salt(&Copied::new(1).seal(&batch(b"one"), false)), salt(&sealed));
}

/// SALT-1, SEAL-BATCH-1: a batch that begins again, or is sent again, under the very same key.
#[test]
fn a_batch_that_begins_again_has_another_salt_though_everything_stands_still() {
    let once = salt(&Copied::new(0).seal(&batch(b"one"), false));
    let mut copied = Copied::new(0);
    let interrupted = salt(&copied.seal(&batch(b"one"), true));
    assert_ne!(interrupted, once);
    let again = salt(&copied.seal(&batch(b"one"), false));
    assert!(again != interrupted && again != once);
}
