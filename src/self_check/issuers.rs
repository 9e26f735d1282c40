//! Whether each issuer publishes its key set where it is said, and is whom `jwks_ca` vouches for.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{Row, Verdict, left};
use crate::config::{Config, KeySetSource, KeySetUrl};
use crate::issuer::{FETCH_TIMEOUT, fetch};

/// Side by side: one that hangs takes no time from the others.
pub(super) async fn look(config: &Config, deadline: Instant) -> Vec<Row> {
    let mut asking = JoinSet::new();
    for (place, (subject, source)) in sources(config).enumerate() {
        asking.spawn(async move { (place, row(subject, &source, deadline).await) });
    }
    let mut rows = asking.join_all().await;
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn sources(config: &Config) -> impl Iterator<Item = (String, KeySetUrl)> {
    let listeners = config.clusters.iter().flat_map(|cluster| {
        let listeners = cluster.listeners.iter();
        listeners.map(move |listener| (&cluster.name, listener))
    });
    listeners.filter_map(|(cluster, listener)| {
        let bearer = listener.sasl.as_ref()?.oauthbearer.as_ref()?;
        let KeySetSource::Url(source) = &bearer.keys else {
            return None;
        };
        Some((format!("{cluster}/{} jwks_url", listener.name), source.clone()))
    })
}

async fn row(subject: String, source: &KeySetUrl, deadline: Instant) -> Row {
    match fetch(source, left(deadline, FETCH_TIMEOUT)).await {
        Ok(keys) => Row::new(
            subject,
            Verdict::Good,
            format!("{} keys of its set can be used", keys.key_count()),
        ),
        Err(error) => Row::new(
            subject,
            Verdict::Failed,
            format!(
                "no key set can be fetched from {}: {error}: nobody logs in by a token",
                source.url
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::testing::tokens::{SigningKey, key_set};
    use crate::testing::{HttpsServer, Published};

    #[tokio::test]
    async fn each_issuer_is_asked() {
        let keys = ["one", "two"].map(SigningKey::ec);
        let server = HttpsServer::start(Published::Text(key_set(keys.iter())));
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), server.authority()).expect("written");
        let listener =
            crate::testing::configuration::listener("main", "lan", "sasl", "127.0.0.1", 9000, &[(0, 9001)]);
        let text = format!(
            "[cluster.main]\nbootstrap = [\"kafka:9092\"]\n{listener}[cluster.main.listeners.tls]\n\
             certificate = \"a\"\nkey = \"b\"\n[cluster.main.listeners.sasl]\nmechanisms = [\"OAUTHBEARER\"]\n\
             [cluster.main.listeners.sasl.oauthbearer]\njwks_url = \"{}\"\njwks_ca = \"ca.pem\"\nissuer = \"i\"\n\
             audience = [\"a\"]\n[[cluster.main.topics]]\nmatch = \"*\"\npass = true\n",
            server.url()
        );
        let config = Config::from_toml_text(&text, &folder.path().join("sealwire.toml"))
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let asked = async || look(&config, Instant::now() + Duration::from_secs(5)).await;
        let good = Row::new(
            "main/lan jwks_url",
            Verdict::Good,
            "2 keys of its set can be used",
        );
        assert_eq!(asked().await, [good]);
        server.publish(Published::Text("<html>".to_owned()));
        let rows = asked().await;
        assert_eq!((rows.len(), rows[0].verdict), (1, Verdict::Failed));
        assert!(rows[0].finding.contains("its key set"), "{rows:?}");
    }
}
