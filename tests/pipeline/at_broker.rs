//! Logins of the proxy's own, renewed among the client's requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealwire::audit::{AuditEvent, AuditState};
use sealwire::broker_login::{
    AccountFor, AccountName, Admission, BrokerAccount, BrokerAccounts, DelegationToken, NoToken, TokenBook,
    TokenNews,
};
use sealwire::config::OnFull;
use sealwire::identity::sasl::initiator::{Account, Credential, Proof};
use sealwire::identity::{Client, Principal};
use sealwire::ids::{ClusterId, Id as _};
use sealwire::metrics::{BrokerLoginFault, BrokerLoginKind, BrokerLoginResult, CloseReason};
use sealwire::pipeline::{BrokerSession, ReachedBroker, Wait};
use sealwire::protocol::frame::RequestHead;
use sealwire::protocol::sasl::{self, TokenAnswer};

use crate::order::{streamed, streamed_answer};
use crate::rig::{Halt, Rig};
use crate::wire::{correlation_ids, fetch_request, fetch_response, frames};

const LIFETIME: Duration = Duration::from_secs(100);
/// Whichever connection it is.
const DUE: Duration = Duration::from_secs(95);
const ANSWER_WAIT: Duration = Duration::from_secs(5);

const REACHED: &str = "kafka:9092";

fn accounts(password: &str) -> Arc<BrokerAccounts> {
    accounts_of("app", password)
}

fn accounts_of(user: &str, password: &str) -> Arc<BrokerAccounts> {
    let text = format!(
        "[[account]]\nprincipals = [\"User:NETWORK\"]\nmechanism = \"PLAIN\"\nuser = {user:?}\n\
         password = {password:?}\n"
    );
    Arc::new(BrokerAccounts::parse(text.as_bytes(), &BrokerAccounts::default(), None).unwrap())
}

fn set_accounts(rig: &mut Rig, accounts: Arc<BrokerAccounts>) {
    let cluster = rig.pipeline.clusters.get_mut(ClusterId::from_number(0));
    cluster.unwrap().accounts = Some(accounts);
}

/// A client for whom the proxy has just logged in.
fn at_broker(accounts: Arc<BrokerAccounts>) -> Rig {
    let account = accounts.of("NETWORK").unwrap().clone();
    let mut rig = at_broker_by(account);
    set_accounts(&mut rig, accounts);
    rig
}

/// The same, by this account.
fn at_broker_by(account: Arc<BrokerAccount>) -> Rig {
    let mut rig = Rig::new();
    let client = Client {
        principal: Some(Principal::network()),
        ..Client::default()
    };
    let session = BrokerSession {
        lifetime: Some(LIFETIME),
        since: rig.now,
    };
    let broker = ReachedBroker {
        address: REACHED.to_owned(),
        node: Some(3),
    };
    rig.pipeline.audit_state = Arc::new(AuditState::new(OnFull::Hold));
    rig.session = std::mem::replace(&mut rig.session, Rig::new().session)
        .of(client)
        .at_broker(session, broker, account, None);
    rig
}

/// The only request that has come to the broker.
fn asked(rig: &mut Rig) -> (RequestHead, Vec<u8>) {
    let mut frames = frames(&rig.at_broker());
    assert_eq!(frames.len(), 1);
    let frame = frames.remove(0);
    (RequestHead::peek(&frame).unwrap(), frame)
}

fn agree(rig: &mut Rig) {
    let (head, frame) = asked(rig);
    assert_eq!(sasl::mechanism(&frame), Ok("PLAIN"));
    let mut answer = Vec::new();
    sasl::write_handshake(head, 0, &["PLAIN"], &mut answer).unwrap();
    assert_eq!(rig.broker_sends(&answer), Ok(Halt::More));
}

/// What is said by PLAIN, which is answered so.
fn say(rig: &mut Rig, answer: TokenAnswer<'_>) -> (Vec<u8>, Result<Halt, CloseReason>) {
    let (head, frame) = asked(rig);
    let mut out = Vec::new();
    sasl::write_answer(head, answer, &mut out).unwrap();
    (
        sasl::token(&frame, head.api_version).unwrap().to_vec(),
        rig.broker_sends(&out),
    )
}

fn waits(rig: &Rig) -> Result<Halt, CloseReason> {
    Ok(Halt::Blocked(Wait::Answer(rig.now + ANSWER_WAIT)))
}

/// BROKER-LOGINS-1: one renewal is over, with this `fault` if with any; the audit log, the counters and whoever closes
/// the connection are told so.
fn assert_told(
    rig: &mut Rig,
    kind: BrokerLoginKind,
    fault: Option<BrokerLoginFault>,
    account: Option<(&'static str, &str)>,
) {
    let account = account.map(|(mechanism, user)| AccountName {
        mechanism,
        user: Some(user.into()),
    });
    if let Some(fault) = fault {
        let told = rig.session.broker_login_fault().unwrap();
        assert_eq!((told.reason, &told.account), (fault, &account));
    }
    let mut events = rig.pipeline.audit.take().events;
    assert_eq!(events.len(), 1, "{events:?}");
    let (login, reason) = match events.remove(0) {
        AuditEvent::BrokerLoginAccepted(login) => (login, None),
        AuditEvent::BrokerLoginRefused { login, reason } => (login, Some(reason)),
        other => panic!("{other:?}"),
    };
    assert_eq!((login.kind, reason, &login.account), (kind, fault, &account));
    assert_eq!((login.broker.as_deref(), login.node), (Some(REACHED), Some(3)));
    assert_eq!(login.client.principal, Some(Principal::network()));
    assert!(login.again);
    let result = fault.map_or(BrokerLoginResult::Renewed, BrokerLoginFault::result);
    let connections = &rig.pipeline.metrics.connections;
    assert_eq!(connections.broker_logins(kind, result), 1);
}

/// AT-BROKER-1, OWN-1, OWN-2
#[test]
fn a_login_is_renewed_before_it_ends_between_two_requests() {
    let mut rig = at_broker(accounts("secret"));
    let fetches = [1, 2, 3, 4].map(|id| fetch_request(11, id));
    rig.pass_time(LIFETIME * 84 / 100);
    assert_eq!(rig.client_sends(&fetches[0]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), fetches[0], "it is not due");
    rig.pass_time(DUE - LIFETIME * 84 / 100);
    // Behind one that the broker may hold for long.
    assert_eq!(rig.client_sends(&fetches[1]), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), b"");
    rig.broker_sends(&fetch_response(11, 1, &[])).unwrap();
    assert_eq!(rig.client_sends(&fetches[2]), waits(&rig));
    agree(&mut rig);
    assert_eq!(rig.client_sends(&[]), waits(&rig));
    let (said, taken) = say(&mut rig, TokenAnswer::Accepted(b"", Some(LIFETIME)));
    assert_eq!((said.as_slice(), taken), (&b"\0app\0secret"[..], Ok(Halt::More)));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), [fetches[1].as_slice(), &fetches[2]].concat());
    rig.broker_sends(&[fetch_response(11, 2, &[]), fetch_response(11, 3, &[])].concat())
        .unwrap();
    assert_eq!(correlation_ids(&rig.at_client()), [1, 2, 3], "none of ours");
    assert_told(
        &mut rig,
        BrokerLoginKind::PerPrincipal,
        None,
        Some(("PLAIN", "app")),
    );
    // Its time begins anew; one without an end needs no other.
    rig.pass_time(LIFETIME * 84 / 100);
    assert_eq!(rig.client_sends(&fetches[3]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), fetches[3]);
}

/// AT-BROKER-2
#[test]
fn a_renewal_is_by_the_account_that_there_is_now() {
    let mut rig = at_broker(accounts("secret"));
    set_accounts(&mut rig, accounts("newer"));
    rig.pass_time(DUE);
    assert_eq!(rig.client_sends(&fetch_request(11, 1)), waits(&rig));
    agree(&mut rig);
    assert_eq!(rig.client_sends(&[]), waits(&rig));
    let (said, _) = say(&mut rig, TokenAnswer::Accepted(b"", None));
    assert_eq!(said, b"\0app\0newer");

    // Brokers take no other user on a connection: the client comes back, and no account is the worse for it.
    let other = accounts_of("other", "secret");
    for (later, is_nobody) in [(Arc::default(), true), (Arc::clone(&other), false)] {
        let mut rig = at_broker(accounts("secret"));
        set_accounts(&mut rig, later);
        rig.pass_time(DUE);
        assert_eq!(
            rig.client_sends(&fetch_request(11, 1)),
            Err(CloseReason::BrokerLogin)
        );
        let kind = BrokerLoginKind::PerPrincipal;
        match is_nobody {
            true => assert_told(&mut rig, kind, Some(BrokerLoginFault::NoAccount), None),
            false => {
                let other = Some(("PLAIN", "other"));
                assert_told(&mut rig, kind, Some(BrokerLoginFault::OtherAccount), other);
            }
        }
        assert_eq!(rig.at_broker(), b"");
        assert!(may_be_tried(&other, rig.now));
    }
}

/// AT-BROKER-4
#[test]
fn whoever_leaves_half_a_request_lying_is_renewed_in_front_of_it_or_ended() {
    let asked = [1, 2, 3].map(|id| streamed(id, 100));
    let begin = |rig: &mut Rig| {
        let half = asked[0].len() / 2;
        assert_eq!(rig.client_sends(&asked[0][..half]), Ok(Halt::More));
        assert_eq!(rig.at_broker(), asked[0][..half]);
        half
    };
    // The rest of it comes with what is behind.
    let mut rig = at_broker(accounts("secret"));
    let half = begin(&mut rig);
    rig.pass_time(DUE);
    let sent = [&asked[0][half..], &asked[1], &asked[2][..half]].concat();
    assert_eq!(rig.client_sends(&sent), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), asked[0][half..], "and nothing else");
    rig.broker_sends(&streamed_answer(1, 40)).unwrap();
    assert_eq!(rig.client_sends(&[]), waits(&rig));
    agree(&mut rig);
    assert_eq!(rig.client_sends(&[]), waits(&rig));
    let (_, taken) = say(&mut rig, TokenAnswer::Accepted(b"", Some(LIFETIME)));
    assert_eq!(taken, Ok(Halt::More));
    assert_eq!(rig.client_sends(&[]), Ok(Halt::More));
    assert_eq!(rig.at_broker(), [&asked[1][..], &asked[2][..half]].concat());
    rig.pipeline.audit.take();
    // Its new time ends as well.
    rig.pass_time(LIFETIME * 98 / 100);
    assert_eq!(rig.client_sends(&asked[2][half..]), Err(CloseReason::BrokerLogin));
    assert_eq!(rig.at_broker(), b"");
    assert!(
        rig.session
            .broker_login_fault()
            .is_some_and(|fault| fault.why.contains("half sent"))
    );
    assert_told(
        &mut rig,
        BrokerLoginKind::PerPrincipal,
        Some(BrokerLoginFault::HalfSent),
        Some(("PLAIN", "app")),
    );
    // Up to then it may go on.
    let mut rig = at_broker(accounts("secret"));
    let half = begin(&mut rig);
    rig.pass_time(LIFETIME * 98 / 100 - Duration::from_millis(1));
    assert_eq!(rig.client_sends(&asked[0][half..]), Ok(Halt::Blocked(Wait::Room)));
    assert_eq!(rig.at_broker(), asked[0][half..]);
}

/// A token, since when there is it.
fn token(id: &str, now: Instant) -> DelegationToken {
    let account = Account::new(id.to_owned(), "secret".to_owned().into());
    DelegationToken {
        account: Arc::new(BrokerAccount::of_token(
            Credential::new(Proof::Plain(account)),
            now,
        )),
        renew_at: now + LIFETIME,
        ends: now + 2 * LIFETIME,
    }
}

/// A client for whom the proxy logs in by tokens, whose next login is due.
fn by_tokens() -> Rig {
    let mut rig = at_broker_by(token("first", Instant::now()).account);
    let cluster = rig.pipeline.clusters.get_mut(ClusterId::from_number(0)).unwrap();
    cluster.tokens = Some(TokenBook::default());
    rig.pass_time(DUE);
    rig
}

fn tell(rig: &mut Rig, news: TokenNews) {
    let cluster = rig.pipeline.clusters.get_mut(ClusterId::from_number(0)).unwrap();
    let now = rig.now;
    let book = cluster.tokens.as_mut().unwrap();
    book.take(&Principal::network(), news, now);
    rig.pipeline.news.logins += 1;
}

/// AT-BROKER-2, TOKENS-1
#[test]
fn a_renewal_waits_for_a_token() {
    let mut rig = by_tokens();
    let fetch = fetch_request(11, 1);
    let again = Wait::Login(rig.now + Duration::from_millis(500));
    assert_eq!(rig.client_sends(&fetch), Ok(Halt::Blocked(again)));
    assert_eq!(rig.pipeline.token_wishes.len(), 1);
    let made = token("id", rig.now);
    tell(&mut rig, Ok(made));
    assert_eq!(rig.client_sends(&[]), waits(&rig));
    agree(&mut rig);
    assert_eq!(rig.client_sends(&[]), waits(&rig));
    let (said, taken) = say(&mut rig, TokenAnswer::Accepted(b"", None));
    assert_eq!((said.as_slice(), taken), (&b"\0id\0secret"[..], Ok(Halt::More)));
    let kind = BrokerLoginKind::DelegationTokens;
    assert_told(&mut rig, kind, None, Some(("PLAIN", "id")));

    let mut rig = by_tokens();
    assert!(matches!(
        rig.client_sends(&fetch),
        Ok(Halt::Blocked(Wait::Login(_)))
    ));
    rig.pass_time(Duration::from_secs(10));
    assert_eq!(rig.client_sends(&[]), Err(CloseReason::LoginUnavailable));
    assert_told(&mut rig, kind, Some(BrokerLoginFault::NoTokenInTime), None);

    for (is_refused, expected) in [
        (true, CloseReason::BrokerLogin),
        (false, CloseReason::LoginUnavailable),
    ] {
        let mut rig = by_tokens();
        assert!(matches!(
            rig.client_sends(&fetch),
            Ok(Halt::Blocked(Wait::Login(_)))
        ));
        let failed = NoToken {
            is_refused,
            why: "no right".into(),
            until: rig.now + LIFETIME,
        };
        tell(&mut rig, Err(failed));
        assert_eq!(rig.client_sends(&[]), Err(expected));
        let fault = rig.session.broker_login_fault().unwrap();
        assert_eq!(fault.why, "no right");
        assert_told(&mut rig, kind, Some(BrokerLoginFault::NoToken), None);
    }
}

/// AT-BROKER-3, TOKENS-1, TOKENS-2: the client comes again, and one that had settled is replaced by then.
#[test]
fn a_refused_token_is_not_held_against_anybody() {
    for (seconds, is_replaced) in [(9, false), (10, true)] {
        let mut rig = by_tokens();
        let made = token("id", rig.now - Duration::from_secs(seconds));
        assert!(rig.client_sends(&fetch_request(11, 1)).is_ok());
        tell(&mut rig, Ok(made.clone()));
        assert_eq!(rig.client_sends(&[]), waits(&rig));
        agree(&mut rig);
        assert_eq!(rig.client_sends(&[]), waits(&rig));
        let (_, taken) = say(&mut rig, TokenAnswer::Failed("no"));
        assert_eq!(taken, Err(CloseReason::LoginUnavailable));
        assert_told(
            &mut rig,
            BrokerLoginKind::DelegationTokens,
            Some(BrokerLoginFault::TokenRefused),
            Some(("PLAIN", "id")),
        );
        assert!(matches!(
            made.account.standing.admit(REACHED, rig.now),
            Admission::Alone(_)
        ));
        let now = rig.now;
        let cluster = rig.pipeline.clusters.get_mut(ClusterId::from_number(0)).unwrap();
        let (found, wish) = cluster.tokens.as_mut().unwrap().of(&Principal::network(), now);
        assert_eq!(matches!(found, AccountFor::Awaited), is_replaced);
        assert_eq!(wish.and_then(|wish| wish.instead_of).is_some(), is_replaced);
    }
}

fn may_be_tried(accounts: &BrokerAccounts, now: Instant) -> bool {
    let account = accounts.of("NETWORK").unwrap();
    matches!(
        account.standing.admit(REACHED, now),
        Admission::Free | Admission::Alone(_)
    )
}

/// AT-BROKER-3, STANDING-3
#[test]
fn a_renewal_that_fails_ends_the_connection_and_does_not_count_against_the_account() {
    for (answer, expected, fault) in [
        (
            TokenAnswer::Accepted(&[7; 64], None),
            CloseReason::UnexpectedResponse,
            BrokerLoginFault::BrokersAnswer,
        ),
        (
            TokenAnswer::Failed("no"),
            CloseReason::BrokerLogin,
            BrokerLoginFault::Refused,
        ),
    ] {
        let accounts = accounts("secret");
        let mut rig = at_broker(Arc::clone(&accounts));
        rig.pass_time(DUE);
        assert_eq!(rig.client_sends(&fetch_request(11, 1)), waits(&rig));
        agree(&mut rig);
        assert_eq!(rig.client_sends(&[]), waits(&rig));
        let (_, taken) = say(&mut rig, answer);
        assert_eq!(taken, Err(expected));
        assert_eq!(rig.at_broker(), b"", "nothing of the client");
        let account = Some(("PLAIN", "app"));
        assert_told(&mut rig, BrokerLoginKind::PerPrincipal, Some(fault), account);
        assert!(may_be_tried(&accounts, rig.now));
    }
}

/// STANDING-1: whoever waits for an answer that its broker may hold keeps nobody else waiting.
#[test]
fn an_account_is_not_taken_from_others_before_its_renewal_can_begin() {
    let accounts = accounts("secret");
    let mut rig = at_broker(Arc::clone(&accounts));
    let polling = fetch_request(11, 1);
    assert_eq!(rig.client_sends(&polling), Ok(Halt::More));
    rig.pass_time(DUE);
    assert_eq!(
        rig.client_sends(&fetch_request(11, 2)),
        Ok(Halt::Blocked(Wait::Room))
    );
    assert!(may_be_tried(&accounts, rig.now));
}
