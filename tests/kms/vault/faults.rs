//! A Vault that is slow, hangs, lies, is sealed, restarted or cut off: an outage, never a verdict about a key, and over
//! as soon as it is over.

use std::time::Instant;

use super::*;

/// A key `payments`, a layer before the server, and one DEK.
struct Faulty {
    server: OpenBao,
    layer: FaultLayer,
    kms: VaultKms,
    wrapped: Box<[u8]>,
}

impl Faulty {
    async fn new() -> Self {
        Self::before(OpenBao::start().await).await
    }

    async fn before(server: OpenBao) -> Self {
        make_key(&server, "payments").await;
        let layer = FaultLayer::before(server.port());
        let kms = VaultKms::new(settings(&server, &layer.address(), server.root_token()));
        let made = kms.generate_dek("payments").await.expect("made");
        Self {
            server,
            layer,
            kms,
            wrapped: made.wrapped,
        }
    }

    /// What each call says, all of which fail.
    async fn errors(&self) -> [KmsError; 4] {
        let (generated, unwrapped, rechecked, version) = tokio::join!(
            self.kms.generate_dek("payments"),
            self.kms.unwrap_dek(&self.wrapped),
            self.kms.recheck(&self.wrapped),
            self.kms.current_version("payments"),
        );
        [generated.err(), unwrapped.err(), rechecked.err(), version.err()]
            .map(|error| error.expect("it fails"))
    }

    async fn assert_outage(&self, what: &str, says: &str) {
        for error in self.errors().await {
            assert!(matches!(error, KmsError::Unavailable(_)), "{what}: {error:?}");
            assert!(error.to_string().contains(says), "{what}: {error}");
        }
    }

    async fn assert_good(&self, what: &str) {
        let generated = self.kms.generate_dek("payments").await;
        assert!(generated.is_ok(), "{what}: {:?}", generated.err());
        assert!(self.kms.recheck(&self.wrapped).await.is_ok(), "{what}");
        let version = self.kms.current_version("payments").await;
        assert!(version.is_ok(), "{what}: {version:?}");
    }
}

/// HTTP-1, HTTP-2, HTTP-3
#[tokio::test]
async fn whatever_is_not_an_answer_is_an_outage() {
    let faulty = Faulty::new().await;
    let answer = |text: &str| LayerFault::Answer(format!("HTTP/1.1 {text}"));
    for (what, fault, says) in [
        ("refused", LayerFault::Refuse, ""),
        ("reset", LayerFault::Reset, ""),
        ("100 MiB", LayerFault::Long(100 << 20), "longer than any"),
        ("no HTTP", LayerFault::Answer("nonsense\r\n\r\n".to_owned()), ""),
        ("cut", answer("200 OK\r\nContent-Length: 9\r\n\r\n{"), ""),
        (
            "empty",
            answer("200 OK\r\nContent-Length: 0\r\n\r\n"),
            "not what it should be",
        ),
        (
            "a page",
            answer("200 OK\r\nContent-Length: 6\r\n\r\n<html>"),
            "not what it should be",
        ),
        (
            "elsewhere",
            answer("307 Moved\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n"),
            "where it cannot go",
        ),
        (
            "an error",
            answer("500 Oops\r\nContent-Length: 0\r\n\r\n"),
            "status 500",
        ),
        (
            "a standby",
            answer("473 Standby\r\nContent-Length: 0\r\n\r\n"),
            "status 473",
        ),
        (
            "another 400",
            answer("400 No\r\nContent-Length: 15\r\n\r\n{\"errors\":[\"x\"]}"),
            "status 400",
        ),
    ] {
        faulty.layer.cut();
        faulty.layer.set(fault);
        faulty.assert_outage(what, says).await;
        faulty.layer.set(LayerFault::None);
        faulty.assert_good(what).await;
    }
}

/// HTTP-1
#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for_long() {
    let faulty = Faulty::new().await;
    for fault in [LayerFault::Hang, LayerFault::Slow(Duration::from_secs(20))] {
        faulty.layer.set(fault);
        let started = Instant::now();
        faulty.assert_outage("it hangs", "no answer in time").await;
        let took = started.elapsed();
        assert!(
            took > Duration::from_secs(3) && took < Duration::from_secs(8),
            "{took:?}"
        );
        faulty.layer.set(LayerFault::None);
        faulty.assert_good("it hung").await;
    }
    faulty.layer.set(LayerFault::Slow(Duration::from_millis(500)));
    faulty.assert_good("it is slow").await;

    faulty.layer.set(LayerFault::None);
    faulty.server.freeze();
    faulty.assert_outage("it is frozen", "no answer in time").await;
    faulty.server.thaw();
    faulty.assert_good("it was frozen").await;
}

/// HTTP-4
#[tokio::test]
async fn a_connection_that_was_cut_while_it_was_idle_costs_nothing() {
    let faulty = Faulty::new().await;
    for _ in 0..10 {
        faulty.layer.cut();
        faulty.assert_good("cut").await;
    }
}

#[tokio::test]
async fn a_server_that_lies_is_not_believed() {
    let faulty = Faulty::new().await;
    fn replaced(body: &str, field: &str, value: &str) -> String {
        let mut answer: serde_json::Value = serde_json::from_str(body).expect("JSON");
        answer["data"][field] = serde_json::from_str(value).expect("JSON");
        answer.to_string()
    }
    type Alter = fn(&str) -> String;
    let lies: [(&str, Alter); 9] = [
        ("a short key", |body| {
            replaced(body, "plaintext", "\"AAECAwQFBgcICQoLDA0ODw==\"")
        }),
        ("a long key", |body| {
            replaced(
                body,
                "plaintext",
                "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\"",
            )
        }),
        ("no key", |body| replaced(body, "plaintext", "\"\"")),
        ("zeros", |body| {
            replaced(
                body,
                "plaintext",
                "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"",
            )
        }),
        ("no base64", |body| replaced(body, "plaintext", "\"!\"")),
        ("a number", |body| replaced(body, "plaintext", "7")),
        ("no ciphertext", |body| replaced(body, "ciphertext", "\"\"")),
        ("a version of zero", |body| {
            replaced(body, "ciphertext", "\"vault:v0:AAAA\"")
        }),
        ("a version with a sign", |body| {
            replaced(body, "ciphertext", "\"vault:v+1:AAAA\"")
        }),
    ];
    for (what, alter) in lies {
        faulty.layer.set(LayerFault::Alter(alter));
        let error = faulty.kms.generate_dek("payments").await.err().expect(what);
        assert!(matches!(error, KmsError::Unavailable(_)), "{what}: {error:?}");
        let text = error.to_string();
        assert!(
            !text.contains("AAE") && !text.contains("vault:v"),
            "{what}: {text}"
        );
    }
    faulty
        .layer
        .set(LayerFault::Alter(|body| replaced(body, "latest_version", "0")));
    let error = faulty
        .kms
        .current_version("payments")
        .await
        .expect_err("there is none");
    assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}");
    faulty.layer.set(LayerFault::None);
    faulty.assert_good("it lied").await;
}

#[tokio::test]
async fn a_server_that_limits_calls_is_left_alone_for_as_long_as_it_says() {
    let faulty = Faulty::new().await;
    faulty
        .server
        .post(
            "sys/quotas/rate-limit/few",
            json!({ "rate": 1, "interval": "60s", "path": "transit" }),
        )
        .await;
    let mut throttled = None;
    for _ in 0..3 {
        throttled = throttled.or(faulty.kms.current_version("payments").await.err());
    }
    assert!(
        matches!(throttled, Some(KmsError::Throttled { .. })),
        "{throttled:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_sealed_or_restarted_is_an_outage() {
    let mut faulty = Faulty::before(OpenBao::start_kept().await).await;
    faulty.server.admin(Method::PUT, "sys/seal", None).await;
    faulty.assert_outage("it is sealed", "it is sealed").await;
    faulty.server.stop();
    faulty.assert_outage("it is stopped", "").await;
    faulty.server.restart().await;
    faulty.assert_good("it was restarted").await;
}

/// VAULT-LOGIN-4
#[tokio::test]
async fn a_standby_sends_calls_on() {
    let faulty = Faulty::new().await;
    let standby = FaultLayer::before(faulty.server.port());
    let through = VaultKms::new(settings(
        &faulty.server,
        &standby.address(),
        faulty.server.root_token(),
    ));
    let made = through.generate_dek("payments").await.expect("made");
    let to = format!("{}/v1/transit/decrypt/payments", faulty.server.address());
    standby.set(LayerFault::Answer(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
    )));
    let key = through.unwrap_dek(&made.wrapped).await.expect("it is sent on");
    assert!(are_same(&key, &made.dek));
    // To another path: nobody asks a redirect what is to be called.
    let error = through
        .generate_dek("payments")
        .await
        .err()
        .expect("it cannot go there");
    assert!(error.to_string().contains("where it cannot go"), "{error}");
}

#[tokio::test]
async fn whoever_is_there_has_to_be_vouched_for() {
    use sealwire::transport::tls_client::{Trust, UpstreamTls};
    let server = OpenBao::start_tls().await;
    make_key(&server, "payments").await;
    let with = |ca| {
        let mut settings = settings(&server, &server.address(), server.root_token());
        settings.server.tls = Some(UpstreamTls::trusting(Trust::File(ca)));
        VaultKms::new(settings)
    };
    assert!(with(server.ca()).generate_dek("payments").await.is_ok());
    let other = server.folder().join("other.pem");
    std::fs::write(
        &other,
        sealwire::testing::authority::Authority::root("another").pem(),
    )
    .expect("written");
    let error = with(other)
        .generate_dek("payments")
        .await
        .err()
        .expect("nobody vouches for it");
    assert!(
        matches!(&error, KmsError::Unavailable(text) if text.contains("certificate")),
        "{error}"
    );
}
