//! What a simulated KMS answers when, what it keeps, and what it notices.

use std::num::NonZeroU32;

use sealwire::crypto::{unwrap_key, wrap_key};
use tokio::time::{advance, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn simulated(trouble: Trouble) -> Arc<SimulatedKms> {
    let kms = SimulatedKms::new([7; 4], &["orders", "payments"], Dice(3));
    kms.set_trouble(trouble);
    kms
}

fn late() -> Trouble {
    Trouble {
        latency_max: 100 * MS,
        ..Trouble::default()
    }
}

fn is_same(one: &SecretKey, other: &SecretKey) -> bool {
    let wrapped = wrap_key(one, b"", one).unwrap();
    unwrap_key(other, b"", &wrapped).is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_bytes_at_the_same_times() {
    let mut told = Vec::new();
    for _ in 0..2 {
        let (kms, began) = (simulated(late()), Instant::now());
        let mut answers = Vec::new();
        for _ in 0..5 {
            let generated = kms.generate_dek("payments").await.unwrap();
            let opened = kms.unwrap_dek(&generated.wrapped).await.unwrap();
            assert!(is_same(&opened, &generated.dek));
            answers.push((generated.wrapped, began.elapsed()));
        }
        assert!(began.elapsed() > 100 * MS, "no call is late");
        kms.check();
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test(start_paused = true)]
async fn versions_come_and_are_refused_one_by_one() {
    let kms = simulated(Trouble::default());
    let first = kms.generate_dek("payments").await.unwrap().wrapped;
    kms.rotate("payments");
    assert_eq!(kms.current("payments"), 2);
    assert_eq!(kms.current_version("payments").await, Ok(Some(b"2".to_vec())));
    let second = kms.generate_dek("payments").await.unwrap().wrapped;
    kms.disable("payments", 1);
    assert_eq!(kms.recheck(&first).await.err(), Some(KmsError::KekDisabled));
    assert_eq!(kms.unwrap_dek(&first).await.err(), Some(KmsError::KekDisabled));
    assert!(kms.recheck(&second).await.is_ok());
    assert!(kms.generate_dek("payments").await.is_ok());
    kms.disable("payments", 2);
    assert_eq!(kms.current_version("payments").await, Err(KmsError::KekDisabled));
    assert!(kms.generate_dek("orders").await.is_ok());
    advance(MS).await;
    kms.enable("payments", 1);
    assert!(kms.recheck(&first).await.is_ok());
    let refusals = kms.refusals();
    assert_eq!(refusals[0].until.map(|until| until - refusals[0].from), Some(MS));
    assert_eq!((refusals.len(), refusals[1].until), (2, None));
    let now = Instant::now();
    assert_eq!(kms.confirmed("payments", 1), [now - MS, now]);
    assert_eq!(kms.confirmed("payments", 2), [now - MS; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_is_none_of_its_own_is_refused() {
    let kms = simulated(Trouble::default());
    let mut wrapped = kms.generate_dek("payments").await.unwrap().wrapped;
    let other = SimulatedKms::new([8; 4], &["payments"], Dice(3));
    assert_eq!(other.recheck(&wrapped).await.err(), Some(KmsError::KekNotFound));
    *wrapped.last_mut().unwrap() ^= 1;
    assert_eq!(kms.recheck(&wrapped).await.err(), Some(KmsError::Malformed));
    let newer = kms.wrap("payments", 9, 0);
    let missing = KmsError::KekVersionNotFound("9".to_owned());
    assert_eq!(kms.recheck(&newer).await.err(), Some(missing));
    assert_eq!(kms.generate_dek("other").await.err(), Some(KmsError::KekNotFound));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_judged_before_its_answer_arrives() {
    let kms = simulated(Trouble::default());
    let wrapped = kms.generate_dek("payments").await.unwrap().wrapped;
    kms.set_trouble(late());
    let mut out_of_date = 0;
    for _ in 0..50 {
        let recheck = kms.recheck(&wrapped);
        tokio::pin!(recheck);
        let early = timeout(50 * MS, &mut recheck).await;
        kms.disable("payments", 1);
        if early.is_err() && recheck.await.is_ok() {
            out_of_date += 1;
        }
        kms.enable("payments", 1);
    }
    assert!(out_of_date > 0);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_drawn_and_a_silent_call_is_over_when_it_is_dropped() {
    let refuses = |trouble: Trouble| async move { simulated(trouble).recheck(b"").await.err() };
    let always = Trouble::default();
    let throttled = Trouble {
        throttled: 1000,
        ..always.clone()
    };
    assert!(matches!(
        refuses(throttled).await,
        Some(KmsError::Throttled { .. })
    ));
    let unavailable = Trouble {
        unavailable: 1000,
        ..always.clone()
    };
    assert_eq!(
        refuses(unavailable).await,
        Some(KmsError::Unavailable("drawn".to_owned()))
    );
    let credentials_refused = Trouble {
        credentials_refused: 1000,
        ..always.clone()
    };
    assert_eq!(
        refuses(credentials_refused).await,
        Some(KmsError::CredentialsRefused(String::new()))
    );
    let down = Trouble {
        is_down: true,
        ..always.clone()
    };
    assert_eq!(
        refuses(down).await,
        Some(KmsError::Unavailable("down".to_owned()))
    );
    let kms = simulated(Trouble {
        silent: 1000,
        ..always
    });
    for _ in 0..2 {
        assert!(timeout(3600 * 1000 * MS, kms.unwrap_dek(b"one")).await.is_err());
    }
    kms.check();
}

#[tokio::test(start_paused = true)]
async fn lies_are_kept_for_whoever_checks() {
    let kms = simulated(Trouble {
        under_other_kek: 1000,
        wrong_dek: 1000,
        ..Trouble::default()
    });
    let generated = kms.generate_dek("payments").await.unwrap();
    let made = kms.made(&generated.wrapped).unwrap();
    assert_eq!(
        (made.asked_for.as_str(), made.kek.as_str(), made.version),
        ("payments", "orders", 1)
    );
    assert_eq!(made.at, Instant::now());
    assert!(!kms.was_wrongly_opened(&generated.wrapped));
    let opened = kms.unwrap_dek(&generated.wrapped).await.unwrap();
    assert!(!is_same(&opened, &generated.dek));
    let again = kms.recheck(&generated.wrapped).await.unwrap();
    assert!(!is_same(&again, &generated.dek));
    assert!(kms.was_wrongly_opened(&generated.wrapped));
}

/// SIM-KMS-1
#[tokio::test(start_paused = true)]
#[should_panic(expected = "unwrapped twice at a time")]
async fn unwrapping_the_same_twice_at_a_time_is_noticed() {
    let kms = simulated(late());
    let (one, other, again) = (kms.unwrap_dek(b"1"), kms.unwrap_dek(b"2"), kms.unwrap_dek(b"1"));
    let _ = tokio::join!(one, other);
    kms.check();
    let _ = tokio::join!(again, kms.unwrap_dek(b"1"));
    kms.check();
}

/// SIM-KMS-1
#[tokio::test(start_paused = true)]
#[should_panic(expected = "65 calls at a time")]
async fn too_many_calls_at_a_time_are_noticed() {
    let kms = simulated(late());
    let calls_max = CallBudget::default().calls_max;
    for calls in [calls_max, calls_max + 1] {
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..calls {
            let kms = Arc::clone(&kms);
            asked.spawn(async move { kms.current_version("payments").await });
        }
        asked.join_all().await;
        assert_eq!(calls > calls_max, !kms.state().asked.breaches.is_empty());
        kms.check();
    }
}

/// SIM-KMS-2
#[tokio::test(start_paused = true)]
#[should_panic(expected = "25 calls in a second")]
async fn calls_that_begin_too_fast_are_noticed() {
    let kms = simulated(Trouble::default());
    let budget = CallBudget {
        per_second_max: NonZeroU32::new(20),
        ..CallBudget::default()
    };
    for _ in 0..2 {
        kms.begin_anew(budget);
        for _ in 0..24 {
            kms.current_version("payments").await.unwrap();
        }
    }
    advance(SECOND).await;
    for _ in 0..100 {
        kms.current_version("payments").await.unwrap();
        advance(42 * MS).await;
    }
    kms.check();
    for _ in 0..2 {
        kms.current_version("payments").await.unwrap();
    }
    kms.check();
}
