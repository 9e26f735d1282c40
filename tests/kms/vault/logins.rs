//! Ways to log in at a real OpenBao, and what becomes of tokens.

use std::time::Instant;

use sealwire::transport::tls_client::{Trust, UpstreamTls};

use super::*;

pub(super) async fn policed() -> OpenBao {
    let server = OpenBao::start().await;
    make_key(&server, "payments").await;
    server.grant("proxy", "payments").await;
    server
}

pub(super) fn with_login(server: &OpenBao, address: &str, login: VaultLogin) -> Arc<VaultKms> {
    Arc::new(VaultKms::new(VaultSettings {
        login,
        ..settings(server, address, "")
    }))
}

fn assert_refused(error: Option<KmsError>) {
    assert!(
        matches!(error, Some(KmsError::CredentialsRefused(_))),
        "{error:?}"
    );
}

/// A role whose tokens are short-lived, and its secret in a file.
pub(super) async fn app_role(server: &OpenBao, ttl: &str, max_ttl: &str) -> VaultLogin {
    server
        .post("sys/auth/approle", json!({ "type": "approle" }))
        .await;
    server
        .post(
            "auth/approle/role/proxy",
            json!({ "token_policies": ["proxy"], "token_ttl": ttl, "token_max_ttl": max_ttl }),
        )
        .await;
    let role = server
        .admin(Method::GET, "auth/approle/role/proxy/role-id", None)
        .await;
    VaultLogin::AppRole {
        mount: "approle".to_owned(),
        role_id: role["data"]["role_id"].as_str().expect("an id").to_owned(),
        secret_id: new_secret(server).await,
    }
}

async fn new_secret(server: &OpenBao) -> SecretSource {
    let made = server.post("auth/approle/role/proxy/secret-id", json!({})).await;
    let text = made["data"]["secret_id"].as_str().expect("a secret");
    secret_file(server, "secret-id", &format!("{text}\n"))
}

/// Keeps the login for as long as it is held.
struct Kept(tokio::task::JoinHandle<()>);

impl Kept {
    fn of(kms: &Arc<VaultKms>) -> Self {
        let kms = Arc::clone(kms);
        Self(tokio::spawn(async move { kms.background().await }))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn assert_good_for(kms: &VaultKms, time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        let made = kms.generate_dek("payments").await;
        assert!(made.is_ok(), "after {:?}: {:?}", started.elapsed(), made.err());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_good(kms: &VaultKms, limit: Duration) {
    let started = Instant::now();
    loop {
        let made = kms.generate_dek("payments").await;
        match made {
            Ok(_) => return,
            Err(error) => {
                assert!(!error.is_verdict(), "{error}");
                assert!(started.elapsed() < limit, "{error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Past the life of a token, and past the longest of all that are renewed.
#[tokio::test]
async fn tokens_of_a_role_are_renewed_and_had_anew() {
    let server = policed().await;
    let login = app_role(&server, "2s", "5s").await;
    let kms = with_login(&server, &server.address(), login);
    let _kept = Kept::of(&kms);
    assert_good_for(&kms, Duration::from_secs(9)).await;
}

/// Nobody renews: the call that meets a token which has ended logs in itself.
#[tokio::test]
async fn a_token_that_has_ended_or_was_revoked_is_replaced_by_the_next_call() {
    let server = policed().await;
    let login = app_role(&server, "1s", "1s").await;
    let kms = with_login(&server, &server.address(), login);
    assert!(kms.generate_dek("payments").await.is_ok());
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(kms.generate_dek("payments").await.is_ok());

    server
        .post(
            "auth/approle/role/proxy",
            json!({ "token_ttl": "1h", "token_max_ttl": "1h" }),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(kms.generate_dek("payments").await.is_ok());
    server
        .post("sys/leases/revoke-prefix/auth/approle", json!({ "sync": true }))
        .await;
    assert!(kms.generate_dek("payments").await.is_ok());
}

/// VAULT-LOGIN-1
#[tokio::test]
async fn a_secret_that_is_refused_is_left_alone_until_there_is_another() {
    let server = policed().await;
    let login = app_role(&server, "1h", "1h").await;
    secret_file(&server, "secret-id", "wrong");
    let layer = FaultLayer::before(server.port());
    let kms = with_login(&server, &layer.address(), login);
    for _ in 0..20 {
        assert_refused(kms.generate_dek("payments").await.err());
    }
    assert_eq!(layer.calls(), 1);
    new_secret(&server).await;
    assert!(kms.generate_dek("payments").await.is_ok());
}

/// VAULT-LOGIN-2: the server is away for longer than the token lives.
#[tokio::test]
async fn an_outage_that_is_longer_than_a_token_lives_ends_by_itself() {
    let server = policed().await;
    let login = app_role(&server, "2s", "4s").await;
    let layer = FaultLayer::before(server.port());
    let kms = with_login(&server, &layer.address(), login);
    let _kept = Kept::of(&kms);
    assert!(kms.generate_dek("payments").await.is_ok());
    layer.set(LayerFault::Refuse);
    layer.cut();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let error = kms.generate_dek("payments").await.err().expect("it is away");
    assert!(matches!(error, KmsError::Unavailable(_)), "{error}");
    layer.set(LayerFault::None);
    until_good(&kms, Duration::from_secs(1)).await;
}

/// VAULT-LOGIN-3
#[tokio::test]
async fn a_token_in_a_file_is_renewed_and_followed() {
    let server = policed().await;
    let made = server
        .post(
            "auth/token/create",
            json!({ "policies": ["proxy"], "period": "6s" }),
        )
        .await;
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let kms = Arc::new(VaultKms::new(settings(&server, &server.address(), token)));
    let kept = Kept::of(&kms);
    assert_good_for(&kms, Duration::from_secs(8)).await;
    drop(kept);

    // It ends; whoever replaces it is heard.
    tokio::time::sleep(Duration::from_millis(6500)).await;
    assert_refused(kms.generate_dek("payments").await.err());
    let newer = token_of(&server, "proxy", "1h").await;
    secret_file(&server, "token", &newer);
    assert!(kms.generate_dek("payments").await.is_ok());

    // Replaced while the former is good: used within seconds, before that ends.
    let newest = token_of(&server, "proxy", "1h").await;
    secret_file(&server, "token", &newest);
    let _kept = Kept::of(&kms);
    tokio::time::sleep(Duration::from_secs(11)).await;
    server.post("auth/token/revoke", json!({ "token": newer })).await;
    let made = kms.generate_dek("payments").await;
    assert!(made.is_ok(), "{:?}", made.err());
}

/// What stands in for a Kubernetes cluster: JWTs by a key that the server was told of.
#[tokio::test]
async fn a_jwt_in_a_file_logs_in_and_is_read_anew() {
    use sealwire::testing::tokens::SigningKey;
    let server = policed().await;
    let key = SigningKey::ec("k");
    server.post("sys/auth/jwt", json!({ "type": "jwt" })).await;
    server
        .post(
            "auth/jwt/config",
            json!({ "jwt_validation_pubkeys": [key.public_pem()] }),
        )
        .await;
    server
        .post(
            "auth/jwt/role/proxy",
            json!({
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
                "token_policies": ["proxy"], "token_ttl": "1s", "token_max_ttl": "1s",
            }),
        )
        .await;
    let file = server.folder().join("jwt");
    let write = |lives: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("it is after 1970").as_secs();
        let claims = json!({
            "sub": "sealwire", "aud": "vault", "iss": "tests",
            "iat": now, "nbf": now, "exp": now + lives,
        });
        std::fs::write(&file, key.token(&claims) + "\n").expect("written");
    };
    write(3600);
    let login = VaultLogin::Jwt {
        mount: "jwt".to_owned(),
        role: "proxy".to_owned(),
        file: file.clone(),
    };
    let kms = with_login(&server, &server.address(), login);
    assert!(kms.generate_dek("payments").await.is_ok());
    std::fs::write(&file, "no token").expect("written");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_refused(kms.generate_dek("payments").await.err());
    write(3600);
    assert!(kms.generate_dek("payments").await.is_ok());
}

/// VAULT-LOGIN-5: of eight that are refused at about the same time one or two ask whether the token is good.
#[tokio::test]
async fn many_that_are_refused_ask_once_about_the_token() {
    let server = policed().await;
    make_key(&server, "salaries").await;
    let token = token_of(&server, "proxy", "1h").await;
    let layer = FaultLayer::before(server.port());
    let kms = VaultKms::new(settings(&server, &layer.address(), &token));
    assert!(kms.generate_dek("payments").await.is_ok());
    let looked_up = || {
        let requests = layer.requests();
        requests
            .iter()
            .filter(|call| call.contains("lookup-self"))
            .count()
    };
    let before = looked_up();
    layer.set(LayerFault::Slow(Duration::from_millis(300)));
    let calls = std::array::from_fn::<_, 8, _>(|_| kms.generate_dek("salaries"));
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = calls;
    let made = tokio::join!(first, second, third, fourth, fifth, sixth, seventh, eighth);
    let made = <[_; 8]>::from(made);
    for made in made {
        assert!(matches!(made.err(), Some(KmsError::KekDenied(_))));
    }
    let asked = looked_up() - before;
    assert!((1..=3).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_certificate_logs_in() {
    use sealwire::testing::authority::{Authority, Wanted};
    let server = OpenBao::start_tls().await;
    make_key(&server, "payments").await;
    server.grant("proxy", "payments").await;
    let authority = Authority::root("clients");
    let issued = authority.issue(&Wanted::for_hosts(&["proxy"]));
    let files = issued.write(server.folder(), "proxy");
    server.post("sys/auth/cert", json!({ "type": "cert" })).await;
    server
        .post(
            "auth/cert/certs/proxy",
            json!({ "certificate": authority.pem(), "token_policies": ["proxy"], "token_ttl": "1h" }),
        )
        .await;
    let with = |role: Option<&str>, client| {
        let mut settings = settings(&server, &server.address(), "");
        settings.server.tls = Some(UpstreamTls {
            client,
            ..UpstreamTls::trusting(Trust::File(server.ca()))
        });
        settings.login = VaultLogin::Certificate {
            mount: "cert".to_owned(),
            role: role.map(str::to_owned),
        };
        VaultKms::new(settings)
    };
    for role in [None, Some("proxy")] {
        let made = with(role, Some(files.clone())).generate_dek("payments").await;
        assert!(made.is_ok(), "{role:?}: {:?}", made.err());
    }
    for (role, client) in [(Some("nobody"), Some(files)), (None, None)] {
        let error = with(role, client).generate_dek("payments").await.err();
        assert_refused(error);
    }
    // VAULT-LOGIN-3: one that was refused is not shown again for a while, one in its place at once.
    let others = Authority::root("others").issue(&Wanted::for_hosts(&["proxy"]));
    let kms = with(None, Some(others.write(server.folder(), "replaced")));
    for _ in 0..2 {
        let error = kms.generate_dek("payments").await.err();
        assert_refused(error);
    }
    issued.write(server.folder(), "replaced");
    let made = kms.generate_dek("payments").await;
    assert!(made.is_ok(), "{:?}", made.err());
}
