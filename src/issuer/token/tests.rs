//! Whoever gives tokens, well and otherwise.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::secret_source::SecretSource;
use crate::testing::tokens::encoded;
use crate::testing::{HttpsServer, Published};
use crate::transport::tls_client::Trust;

/// Whoever gives tokens, and who the proxy is there.
pub(crate) struct Giver {
    pub(crate) server: HttpsServer,
    folder: tempfile::TempDir,
}

impl Giver {
    pub(crate) fn new(published: Published) -> Self {
        let server = HttpsServer::start(published);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), server.authority()).expect("written");
        let giver = Self { server, folder };
        giver.write_secret(SECRET);
        giver
    }

    pub(crate) fn write_secret(&self, secret: &str) {
        write_secret(&self.folder.path().join("secret"), secret);
    }

    pub(crate) fn endpoint(&self) -> TokenEndpoint {
        TokenEndpoint {
            url: self.server.url().parse().expect("a URL"),
            trust: Trust::File(self.folder.path().join("ca.pem")),
            client_id: "seal wire:1".to_owned(),
            client_secret: SecretSource::File(self.folder.path().join("secret")),
            scope: Some("kafka produce".to_owned()),
            audience: None,
        }
    }
}

fn write_secret(path: &Path, secret: &str) {
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(secret.as_bytes()))
        .expect("written");
}

pub(crate) fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// To the client alone that has the secret.
fn to_client(request: &str) -> String {
    let basic = format!(
        "authorization: Basic {}\r\n",
        base64::engine::general_purpose::STANDARD.encode("seal%20wire%3A1:pass%2Fword%25",)
    );
    if !request.to_ascii_lowercase().contains(&basic.to_ascii_lowercase()) || !request.contains("Basic") {
        let text = format!("{{\"error\":\"invalid_client\",\"error_description\":\"{SECRET}\"}}");
        return format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    }
    let (head, form) = request.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("POST /keys "), "{head}");
    assert_eq!(form, "grant_type=client_credentials&scope=kafka%20produce");
    ok("{\"access_token\":\"abc.def\",\"token_type\":\"Bearer\",\"expires_in\":300}")
}

async fn fetch(endpoint: &TokenEndpoint) -> Result<FetchedToken, TokenError> {
    fetch_token(endpoint, Duration::from_secs(1)).await
}

fn text(error: Result<FetchedToken, TokenError>) -> String {
    error.err().expect("it is none").to_string()
}

#[tokio::test]
async fn a_token_is_given_to_the_client_that_has_the_secret() {
    let giver = Giver::new(Published::By(to_client));
    let given = fetch(&giver.endpoint())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&**given.token, given.good_for.as_secs()), ("abc.def", 300));
    // It is read anew each time. ISSUER-2: who was sent a secret may say it.
    giver.write_secret("other");
    let error = fetch(&giver.endpoint()).await;
    assert!(matches!(
        &error,
        Err(TokenError::Refused {
            code: "invalid_client",
            ..
        })
    ));
    assert!(!text(error).contains(SECRET));
    giver.write_secret("");
    assert!(matches!(
        fetch(&giver.endpoint()).await,
        Err(TokenError::Secret(_))
    ));
    assert_eq!(giver.server.asked(), 2);
}

/// ISSUER-1
#[tokio::test]
async fn what_is_no_answer_is_not_taken() {
    let giver = Giver::new(Published::Endless);
    let endpoint = giver.endpoint();
    assert!(text(fetch(&endpoint).await).contains("longer than any token"));
    let elsewhere = Giver::new(Published::By(to_client));
    let redirect = format!(
        "HTTP/1.1 307 Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        elsewhere.server.url()
    );
    for (answer, status) in [
        (redirect, 307),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned(), 503),
    ] {
        giver.server.publish(Published::Raw(answer));
        let fetched = fetch(&endpoint).await;
        assert!(matches!(fetched, Err(TokenError::Status(found)) if found.as_u16() == status));
    }
    assert_eq!(elsewhere.server.asked(), 0, "the secret goes nowhere else");
    giver.server.publish(Published::Silence);
    assert!(text(fetch(&endpoint).await).contains("timed out"));
    let stranger = TokenEndpoint {
        trust: elsewhere.endpoint().trust,
        ..endpoint
    };
    assert!(text(fetch(&stranger).await).contains("certificate"));
    // Its refusals are bounded as well.
    giver.server.publish(Published::Raw(format!(
        "HTTP/1.1 400 No\r\nContent-Length: 200000\r\n\r\n{}",
        " ".repeat(200_000)
    )));
    let fetched = fetch(&giver.endpoint()).await;
    assert!(matches!(fetched, Err(TokenError::Refused { code: NO_CODE, .. })));
}

/// What such an answer has, but for its end.
fn answer(token: &str, more: &str) -> String {
    format!("{{\"access_token\":\"{token}\",\"token_type\":\"bearer\"{more}}}")
}

/// ISSUER-3
#[test]
fn a_token_has_an_end_and_characters_of_its_own() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let jwt = |exp: u64| format!("e30.{}.c2ln", encoded(format!("{{\"exp\":{exp}}}").as_bytes()));
    for (answer, seconds) in [
        (answer("a", ",\"expires_in\":\"60\",\"x\":[]"), 60),
        (answer(&jwt(1_000_090), ""), 90),
        (answer(&jwt(1_000_090), ",\"expires_in\":70"), 70),
        (answer("a=", ",\"expires_in\":99999999999"), 604_800),
        (answer("a", ",\"expires_in\":5"), 5),
    ] {
        let given = taken(answer.as_bytes(), now).unwrap_or_else(|error| panic!("{answer}: {error}"));
        assert_eq!(given.good_for.as_secs(), seconds, "{answer}");
    }
    let good = ",\"expires_in\":60";
    for (answer, why) in [
        ("<html>".to_owned(), "not that of"),
        (answer("a", good).replace("\"a\"", "7"), "not that of"),
        (answer("a", good).replace("bearer", "mac"), "token_type"),
        (answer("", good), "empty"),
        (answer("a\\u0001b", good), "characters"),
        (answer(&"a".repeat(TOKEN_BYTES_MAX + 1), good), "too long"),
        (answer("a", ",\"expires_in\":-1"), "no number"),
        (answer("a", ",\"expires_in\":4"), "few seconds"),
        (answer("a", ""), "how long"),
        (answer(&jwt(999_999), ""), "few seconds"),
    ] {
        let error = taken(answer.as_bytes(), now).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("{answer}: it is taken"));
        assert!(error.contains(why), "{answer}: {error}");
    }
    assert!(taken(answer(&"a".repeat(TOKEN_BYTES_MAX), good).as_bytes(), now).is_ok());
}

const SECRET: &str = "pass/word%";
