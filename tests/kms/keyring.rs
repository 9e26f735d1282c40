//! `sealwire keyring`, as an operator has it: stable keys under a KEK of a real OpenBao, rotated and moved.

use std::process::{Command, Output};

use sealwire::kms::Kms as _;
use sealwire::kms::vault::VaultKms;
use sealwire::{envelope::WrappedDek, keyring::read_file};
use serde_json::json;

use crate::support::launch::DataFolder;
use crate::support::openbao::OpenBao;
use crate::vault::{settings, token_of};

struct Operator {
    folder: DataFolder,
    token: String,
}

impl Operator {
    fn new(server: &OpenBao, token: String) -> Self {
        let text = format!(
            "[kms.vault]\nprovider = \"vault\"\naddress = \"{}\"\nallow_plaintext = true\n\
             identity = \"vault-of-tests\"\n\
             login = {{ method = \"token\", token = {{ env = \"VAULT\" }} }}\n\
             [cluster.main]\nbootstrap = [\"127.0.0.1:1\"]\n\
             [[cluster.main.listeners]]\nname = \"lan\"\nlisten = \"127.0.0.1:19998\"\nclient_auth = \"network\"\n\
             advertised_host = \"localhost\"\nnodes = [0]\nnode_ports = [19999]\n\
             [[cluster.main.topics]]\nmatch = \"*\"\nkms = \"vault\"\nkek = \"payments\"\n",
            server.address()
        );
        let folder = DataFolder::create("keyring");
        std::fs::write(folder.path().join("sealwire.toml"), text).expect("written");
        Self { folder, token }
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        command.arg("keyring").args(arguments.split(' '));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("VAULT", &self.token);
        command.output().expect("it runs")
    }

    fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn fails(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[tokio::test]
async fn stable_keys_follow_a_rotation_and_need_a_right_of_their_own() {
    let server = OpenBao::start().await;
    for kek in ["payments", "others"] {
        server.post(&format!("transit/keys/{kek}"), json!({})).await;
    }
    server.grant("proxy", "payments").await;
    let operator = Operator::new(&server, token_of(&server, "proxy", "1h").await);
    operator.succeeds("create keyring.json");
    operator.succeeds("new keyring.json customers --config sealwire.toml --kms vault --kek payments");
    let said = operator.fails("new keyring.json orders --config sealwire.toml --kms vault --kek others");
    assert!(
        said.contains("kms vault did not make a key") && said.contains("read on transit/keys/others"),
        "{said}"
    );

    server.post("transit/keys/payments/rotate", json!({})).await;
    let rewrap = "rewrap keyring.json --config sealwire.toml";
    let said = operator.fails(rewrap);
    assert!(said.contains("update on transit/encrypt/payments"), "{said}");
    let wrapping = |kek: &str| {
        let path = format!("path \"transit/encrypt/{kek}\" {{ capabilities = [\"update\"] }}\n");
        path + &OpenBao::rights_to(kek)
    };
    server
        .set_policy("proxy", &[wrapping("payments"), wrapping("others")].concat())
        .await;
    let said = operator.succeeds(rewrap);
    assert!(
        said.contains(", KEK payments, version 1 -> Vault transit authority ")
            && said.ends_with(", KEK payments, version 2\n"),
        "{said}"
    );
    let said = operator.succeeds(&format!("{rewrap} customers --kms vault --kek others"));
    assert!(said.ends_with(", KEK others, version 1\n"), "{said}");

    // Version 1 of the former KEK is not needed any more, and what is there is the key that was made.
    server
        .post(
            "transit/keys/payments/config",
            json!({ "min_decryption_version": 2 }),
        )
        .await;
    let (keyring, _) = read_file(&operator.folder.path().join("keyring.json")).expect("a keyring");
    let entry = keyring.named("customers").expect("it is there");
    assert_eq!(
        WrappedDek::parse(entry.wrapped()).expect("it parses").kek,
        b"others"
    );
    let kms = VaultKms::new(settings(&server, &server.address(), server.root_token()));
    let key = kms.unwrap_dek(entry.wrapped()).await.expect("unwrapped");
    assert!(entry.open(key).is_ok());
}
