//! What becomes of a token that is fetched, by an endpoint that gives, refuses, and is away.

use super::*;
use crate::broker_login::AccountFor;
use crate::channel::{Receiver, channel};
use crate::identity::Principal;
use crate::ids::Id as _;
use crate::issuer::token::tests::{Giver, ok};
use crate::testing::Published;

fn good_for(seconds: u32, token: &str) -> Published {
    Published::Raw(ok(&format!(
        "{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}}}"
    )))
}

fn refusal() -> Published {
    Published::Raw("HTTP/1.1 401 No\r\nContent-Length: 26\r\n\r\n{\"error\":\"invalid_client\"}".to_owned())
}

/// One cluster's token that is followed, and what becomes of it.
struct Followed {
    giver: Giver,
    seen: watch::Receiver<Vec<BrokerTokenFacts>>,
    messages: Receiver<ExecutorMessage>,
    following: tokio::task::JoinHandle<()>,
}

impl Followed {
    fn begin(published: Published, pace: Pace) -> Self {
        let giver = Giver::new(published);
        let (executor, messages) = channel(100);
        let one = Fetched::new(ClusterId::from_number(0), "main", &giver.endpoint(), pace, 0);
        let told = Arc::new(watch::Sender::new(vec![BrokerTokenFacts::default()]));
        let tokens = BrokerTokens {
            fetched: vec![one],
            told,
        };
        let seen = tokens.watch();
        let following = tokio::spawn(tokens.follow(vec![executor]));
        Self {
            giver,
            seen,
            messages,
            following,
        }
    }

    async fn next(&mut self) -> BrokerTokenFacts {
        let changed = tokio::time::timeout(Duration::from_secs(20), self.seen.changed());
        changed.await.expect("in time").expect("it is tried");
        self.seen.borrow_and_update().clone().remove(0)
    }

    /// Who the proxy is, as executors are told.
    async fn told(&mut self) -> AccountFor {
        let message = tokio::time::timeout(Duration::from_secs(5), self.messages.recv()).await;
        let ExecutorMessage::Accounts(_, accounts) = message.expect("executors are told") else {
            panic!("it is about accounts");
        };
        accounts.find(
            Some(&Principal::named("app").expect("a name")),
            crate::clocks::now(),
        )
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.following.abort();
    }
}

const QUICK: Pace = Pace {
    outage_max: Duration::from_millis(400),
    refusal: Duration::from_millis(1500),
    refused_token: Duration::from_secs(600),
    look: Duration::from_millis(50),
};

/// BROKER-TOKENS-1
#[tokio::test]
async fn another_token_is_fetched_in_time_and_the_old_one_used_until_it_ends() {
    let mut followed = Followed::begin(good_for(5, "one"), QUICK);
    let begun = Instant::now();
    assert_eq!(
        (
            followed.next().await.given,
            begun.elapsed() < Duration::from_secs(2)
        ),
        (1, true)
    );
    let AccountFor::Known(first) = followed.told().await else {
        panic!("there is a token");
    };
    followed.giver.server.publish(Published::Raw(String::new()));
    let failed = followed.next().await;
    let elapsed = begun.elapsed().as_secs_f64();
    assert!((2.9..4.0).contains(&elapsed), "{elapsed}");
    assert!(failed.failures == 1 && failed.ends > 0);
    assert!(matches!(followed.told().await, AccountFor::Known(account) if Arc::ptr_eq(&account, &first)));
    // The endpoint stays away, until the token ends.
    while followed.next().await.ends > 0 {}
    let elapsed = begun.elapsed().as_secs_f64();
    assert!((4.9..6.0).contains(&elapsed), "{elapsed}");
    while matches!(followed.told().await, AccountFor::Known(_)) {}
    followed.giver.server.publish(good_for(300, "two"));
    while followed.next().await.ends == 0 {}
    loop {
        if let AccountFor::Known(second) = followed.told().await {
            assert!(!Arc::ptr_eq(&second, &first));
            return;
        }
    }
}

/// BROKER-TOKENS-2
#[tokio::test]
async fn a_refused_client_is_left_alone_until_its_secret_is_another_one() {
    let mut followed = Followed::begin(refusal(), QUICK);
    let begun = Instant::now();
    let refused = followed.next().await;
    assert!(refused.is_refused && refused.refusals == 1 && refused.ends == 0);
    assert!(matches!(followed.told().await, AccountFor::NoToken(why) if !why.is_refused));
    assert_eq!(followed.next().await.refusals, 2);
    let elapsed = begun.elapsed().as_secs_f64();
    assert!((1.1..2.5).contains(&elapsed), "{elapsed}");
    followed.giver.server.publish(good_for(300, "one"));
    let begun = Instant::now();
    followed.giver.write_secret("another");
    let given = followed.next().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(!given.is_refused && given.given == 1 && given.ends > 0);
}

/// BROKER-TOKENS-3
#[tokio::test]
async fn a_token_that_brokers_refuse_is_replaced() {
    let pace = Pace {
        refused_token: Duration::from_millis(300),
        ..QUICK
    };
    let mut followed = Followed::begin(good_for(300, "one"), pace);
    assert_eq!(followed.next().await.given, 1);
    let AccountFor::Known(first) = followed.told().await else {
        panic!("there is a token");
    };
    followed.giver.server.publish(good_for(300, "two"));
    let early = tokio::time::timeout(Duration::from_millis(600), followed.seen.changed()).await;
    assert!(early.is_err(), "brokers take it");
    first.standing.refused("kafka:9092", crate::clocks::now());
    assert_eq!(followed.next().await.given, 2);
    assert!(matches!(followed.told().await, AccountFor::Known(account) if !Arc::ptr_eq(&account, &first)));
}
