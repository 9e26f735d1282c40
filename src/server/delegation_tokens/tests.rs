//! What is asked of brokers, and what is left alone.

use zeroize::Zeroizing;

use super::*;
use crate::channel::{Receiver, channel};
use crate::identity::sasl::initiator::{Account, Credential, Proof};
use crate::identity::sasl::verifier::Mechanism;
use crate::ids::Id as _;

const SECOND: Duration = Duration::from_secs(1);

/// Good for 100 s.
fn token(now: Instant) -> DelegationToken {
    let account = Account::new("id".to_owned(), Zeroizing::new("secret".to_owned()));
    let credential = Credential::new(Proof::Scram(Mechanism::Sha256, account, None));
    DelegationToken {
        account: Arc::new(BrokerAccount::of_token(credential, now)),
        renew_at: now + 50 * SECOND,
        ends: now + 100 * SECOND,
    }
}

fn refused() -> NotMade {
    NotMade {
        is_refused: true,
        why: "no right".to_owned(),
    }
}

fn principal(name: &str) -> Principal {
    Principal::named(name).expect("a name")
}

fn cluster() -> ClusterId {
    ClusterId::from_number(0)
}

/// A cluster at whose one address nobody listens.
fn tokens() -> DelegationTokens {
    let makers = std::iter::once((cluster(), (Arc::new(Maker::nowhere()), 0)));
    DelegationTokens {
        makers: makers.collect(),
        told: Arc::new(watch::Sender::new(vec![TokenFacts::default()])),
        ..DelegationTokens::default()
    }
}

fn executors() -> (Vec<Sender<ExecutorMessage>>, Vec<Receiver<ExecutorMessage>>) {
    (0..2).map(|_| channel(100)).unzip()
}

fn wish(name: &str) -> TokenWish {
    TokenWish {
        principal: principal(name),
        instead_of: None,
    }
}

async fn news(messages: &mut Receiver<ExecutorMessage>) -> TokenNews {
    match messages.recv().await {
        ExecutorMessage::Token { news, .. } => news,
        _ => panic!("another message"),
    }
}

/// DELEGATION-1, DELEGATION-2
#[tokio::test]
async fn one_wish_of_a_principal_is_under_way_and_all_who_asked_are_told() {
    let (mut tokens, (ways, mut executors)) = (tokens(), executors());
    for executor in [0, 1, 0, 1] {
        tokens.ask(&ways, executor, cluster(), wish("app"));
    }
    let ended = tokens.ended().await.expect("nobody is there");
    tokens.take(&ways, ended);
    for messages in &mut executors {
        let failed = news(messages).await.expect_err("nobody is there");
        assert!(!failed.is_refused, "{}", failed.why);
    }
    // It is left alone, and whoever asks is told so.
    tokens.ask(&ways, 0, cluster(), wish("app"));
    assert!(news(&mut executors[0]).await.is_err());
    let facts = tokens.watch().borrow()[0].clone();
    assert_eq!((facts.made, facts.failures, facts.known), (0, 1, 0));
}

/// A token that there is is told to whoever asks, and made anew in the second half of its time.
#[tokio::test]
async fn what_is_known_is_told_at_once() {
    let (mut tokens, (ways, mut executors)) = (tokens(), executors());
    tokens.ask(&ways, 0, cluster(), wish("app"));
    let failed = tokens.ended().await.expect("nobody is there");
    let made = token(clocks::now());
    let ended = Ended {
        made: Ok(made.clone()),
        ..failed
    };
    tokens.take(&ways, ended);
    tokens.ask(&ways, 1, cluster(), wish("app"));
    for messages in &mut executors {
        let told = news(messages).await.expect("there is one");
        assert!(Arc::ptr_eq(&told.account, &made.account));
    }
    let facts = tokens.watch().borrow()[0].clone();
    assert_eq!((facts.made, facts.failures, facts.known), (1, 0, 1));
    let entry = tokens.known.values_mut().next().expect("it is known");
    assert!(entry.askers.is_empty() && !entry.is_to_be_made(made.renew_at - SECOND));
    assert!(entry.is_to_be_made(made.renew_at));
}

/// DELEGATION-2
#[test]
fn what_is_refused_is_left_alone_for_longer_and_longer() {
    let (mut entry, mut now) = (Entry::default(), Instant::now());
    for seconds in [1, 2, 4] {
        assert!(entry.is_to_be_made(now));
        assert!(entry.take(Err(refused()), now).is_err());
        let nearly = now + seconds * SECOND - Duration::from_millis(1);
        assert_eq!(entry.answers(nearly).len(), 1);
        assert!(!entry.is_to_be_made(nearly), "{seconds}");
        now += seconds * SECOND;
        assert!(entry.answers(now).is_empty());
    }
    // An outage does not count.
    for _ in 0..3 {
        assert!(entry.take(Err(NotMade::outage(&"away")), now).is_err());
        now += OUTAGE;
        assert!(entry.answers(now).is_empty() && entry.is_to_be_made(now));
    }
    assert!(entry.take(Ok(token(now)), now).is_ok());
    assert!(entry.take(Err(refused()), now + 50 * SECOND).is_err());
    let answers = entry.answers(now + 50 * SECOND);
    assert!(
        matches!(answers.as_slice(), [Ok(_), Err(_)]),
        "the token stays in use"
    );
    assert!(
        entry.answers(now + 51 * SECOND).iter().all(Result::is_ok),
        "it begins anew"
    );
}

/// DELEGATION-3
#[test]
fn a_refused_token_is_replaced_once() {
    let (mut entry, now) = (Entry::default(), Instant::now());
    let tokens = [token(now), token(now), token(now)];
    for (place, made) in tokens.iter().enumerate() {
        assert!(entry.take(Ok(made.clone()), now).is_ok());
        // Somebody who is late with one from before.
        entry.forget_refused(place.checked_sub(1).map(|before| &tokens[before].account), now);
        assert!(entry.token.is_some());
        entry.forget_refused(Some(&made.account), now);
        assert!(entry.token.is_none());
        let answers = entry.answers(now);
        match place {
            0 => assert!(answers.is_empty() && entry.is_to_be_made(now)),
            _ => assert!(matches!(answers.as_slice(), [Err(failed)] if failed.is_refused)),
        }
    }
    // One that has served its time.
    assert!(entry.take(Ok(token(now)), now).is_ok());
    let last = token(now);
    assert!(entry.take(Ok(last.clone()), now).is_ok());
    entry.forget_refused(Some(&last.account), now);
    assert!(entry.answers(now).is_empty());
}

/// DELEGATION-4
#[test]
fn whoever_was_asked_for_least_recently_is_forgotten() {
    let (mut tokens, now) = (tokens(), Instant::now());
    let key = |number: usize| (cluster(), principal(&number.to_string()));
    for number in 0..PRINCIPALS_MAX {
        let entry = Entry {
            asked: Some(now + number as u32 * SECOND),
            askers: if number == 0 { vec![1] } else { Vec::new() },
            ..Entry::default()
        };
        tokens.known.insert(key(number), entry);
    }
    assert!(tokens.make_room(&key(7)), "it is known");
    assert_eq!(tokens.known.len(), PRINCIPALS_MAX);
    assert!(tokens.make_room(&key(PRINCIPALS_MAX)));
    assert!(
        tokens.known.contains_key(&key(0)) && !tokens.known.contains_key(&key(1)),
        "the first is waited for"
    );
}
