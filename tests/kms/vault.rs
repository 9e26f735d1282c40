//! The transit engine of a real OpenBao as a KMS.

mod faults;
mod kroxylicious;
mod logins;
mod refused;
mod table;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use sealwire::kms::vault::{VaultKms, VaultLogin, VaultServer, VaultSettings};
use sealwire::kms::{Kms, KmsError};
use sealwire::secret_source::SecretSource;
use serde_json::json;

use crate::are_same;
use crate::support::fault_layer::{FaultLayer, LayerFault};
use crate::support::openbao::OpenBao;

/// Settings with a token that stands in a file of `server`'s folder.
pub(crate) fn settings(server: &OpenBao, address: &str, token: &str) -> VaultSettings {
    VaultSettings {
        server: VaultServer {
            address: address.parse().expect("an address"),
            namespace: None,
            tls: None,
        },
        mount: "transit".to_owned(),
        identity: Some("vault-of-tests".to_owned()),
        login: VaultLogin::Token(secret_file(server, "token", token)),
    }
}

fn secret_file(server: &OpenBao, name: &str, text: &str) -> SecretSource {
    use std::os::unix::fs::PermissionsExt as _;
    let path = server.folder().join(name);
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    SecretSource::File(path)
}

fn opened(server: &OpenBao) -> Arc<VaultKms> {
    Arc::new(VaultKms::new(settings(
        server,
        &server.address(),
        server.root_token(),
    )))
}

/// A token of this policy.
pub(crate) async fn token_of(server: &OpenBao, policy: &str, ttl: &str) -> String {
    let body = json!({ "policies": [policy], "ttl": ttl });
    let made = server.post("auth/token/create", body).await;
    made["auth"]["client_token"].as_str().expect("a token").to_owned()
}

async fn make_key(server: &OpenBao, name: &str) {
    server.post(&format!("transit/keys/{name}"), json!({})).await;
}
