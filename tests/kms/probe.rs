//! `sealwire check-config --probe`, as an operator has it: each KEK that seals is tried.

use std::process::{Command, Output};

use serde_json::json;

use crate::support::aws_emulator::{AwsEmulator, Emulator};
use crate::support::launch::DataFolder;
use crate::support::openbao::OpenBao;

/// What it says of a configuration with these lines for the KMS; `kek` is what the only rule seals under.
pub(crate) fn probe(folder: &DataFolder, kms: &str, kek: &str, variables: &[(&str, &str)]) -> Output {
    probe_rule(folder, kms, &format!("kek = \"{kek}\""), variables)
}

/// The same; `rule` is what the only rule says of its KEKs.
fn probe_rule(folder: &DataFolder, kms: &str, rule: &str, variables: &[(&str, &str)]) -> Output {
    let text = format!(
        "[kms.tried]\n{kms}\n[cluster.main]\nbootstrap = [\"127.0.0.1:1\"]\n\
         [[cluster.main.listeners]]\nname = \"lan\"\nlisten = \"127.0.0.1:0\"\nclient_auth = \"network\"\n\
         advertised_host = \"localhost\"\nnodes = [0]\nnode_ports = [19999]\n\
         [[cluster.main.topics]]\nmatch = \"*\"\nkms = \"tried\"\n{rule}\n"
    );
    let path = folder.path().join("sealwire.toml");
    std::fs::write(&path, text.replace("127.0.0.1:0", "127.0.0.1:19998")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    command.args(["check-config", "--probe"]).arg(&path);
    command.env_clear().envs(variables.iter().copied());
    command.output().expect("it runs")
}

pub(crate) fn line_of(output: &Output, kek: &str) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = said
        .lines()
        .find(|line| line.contains(&format!("kek tried/{kek}")));
    found
        .unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
        .to_owned()
}

#[tokio::test]
async fn each_kek_of_a_vault_is_tried_and_a_missing_right_is_named() {
    let server = OpenBao::start().await;
    for kek in ["payments", "other"] {
        server.post(&format!("transit/keys/{kek}"), json!({})).await;
    }
    server.grant("proxy", "payments").await;
    let body = json!({ "policies": ["proxy"], "ttl": "1h" });
    let made = server.post("auth/token/create", body).await;
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let kms = format!(
        "provider = \"vault\"\naddress = \"{}\"\nallow_plaintext = true\n\
         login = {{ method = \"token\", token = {{ env = \"VAULT\" }} }}",
        server.address()
    );
    let folder = DataFolder::create("probe");
    let good = line_of(&probe(&folder, &kms, "payments", &[("VAULT", token)]), "payments");
    assert!(good.starts_with("good") && good.contains("was made in"), "{good}");
    let denied = line_of(&probe(&folder, &kms, "other", &[("VAULT", token)]), "other");
    assert!(
        denied.starts_with("failed") && denied.contains("read on transit/keys/other"),
        "{denied}"
    );
    let refused = line_of(
        &probe(&folder, &kms, "payments", &[("VAULT", "wrong")]),
        "payments",
    );
    assert!(
        refused.starts_with("failed") && refused.contains("answers with status 403: the token is wrong"),
        "{refused}"
    );
    assert!(!refused.contains(token), "{refused}");
}

/// KMS-3: of a KEK that only opens it is found out whether it may, without a data key that it has wrapped.
#[tokio::test]
async fn the_right_to_open_is_tried() {
    let server = OpenBao::start().await;
    for kek in ["payments", "former"] {
        server.post(&format!("transit/keys/{kek}"), json!({})).await;
    }
    let token = |policies: [&'static str; 2]| {
        let body = json!({ "policies": policies, "ttl": "1h" });
        let made = server.post("auth/token/create", body);
        async move {
            made.await["auth"]["client_token"]
                .as_str()
                .expect("a token")
                .to_owned()
        }
    };
    server.grant("proxy", "payments").await;
    server.grant("both", "former").await;
    let policy = json!({ "policy": "path \"transit/keys/former\" { capabilities = [\"read\"] }" });
    server.post("sys/policies/acl/looks", policy).await;
    let kms = format!(
        "provider = \"vault\"\naddress = \"{}\"\nallow_plaintext = true\n\
         login = {{ method = \"token\", token = {{ env = \"VAULT\" }} }}",
        server.address()
    );
    let folder = DataFolder::create("probe");
    let rule = "kek = \"payments\"\nopen_keks = [\"former\"]";
    for (policies, verdict, says) in [
        (["proxy", "both"], "good", "what it has wrapped may be unwrapped"),
        (["proxy", "looks"], "warning", "update on transit/decrypt/former"),
    ] {
        let token = token(policies).await;
        let said = line_of(&probe_rule(&folder, &kms, rule, &[("VAULT", &token)]), "former");
        assert!(said.starts_with(verdict) && said.contains(says), "{said}");
    }

    let aws = AwsEmulator::start(Emulator::Moto);
    let keys = [aws.make_key().await, aws.make_key().await];
    let kms = format!(
        "provider = \"aws\"\nregion = \"eu-central-1\"\nendpoint = \"http://127.0.0.1:{}\"\nallow_plaintext = true",
        aws.port()
    );
    let rule = format!("kek = \"{}\"\nopen_keks = [\"{}\"]", keys[0], keys[1]);
    let credentials = [("AWS_ACCESS_KEY_ID", "one"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let said = line_of(&probe_rule(&folder, &kms, &rule, &credentials), &keys[1]);
    assert!(
        said.starts_with("good") && said.contains("may be unwrapped"),
        "{said}"
    );
}

/// Its KEKs are topics' own, so that none can be named: whether it answers can be said all the same.
#[tokio::test]
async fn a_kms_whose_keks_topics_name_is_asked_too() {
    let server = OpenBao::start().await;
    server.grant("proxy", "payments").await;
    let body = json!({ "policies": ["proxy"], "ttl": "1h" });
    let made = server.post("auth/token/create", body).await;
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let folder = DataFolder::create("probe");
    let elsewhere = "namespace = \"nowhere\"";
    for (token, namespace, verdict, says) in [
        (token, "", "good", "it answers; topics name"),
        (
            "wrong",
            "",
            "failed",
            "answers with status 403: the token is wrong",
        ),
        (token, elsewhere, "failed", "there is no such namespace"),
    ] {
        let kms = format!(
            "provider = \"vault\"\naddress = \"{}\"\nallow_plaintext = true\n{namespace}\n\
             login = {{ method = \"token\", token = {{ env = \"VAULT\" }} }}",
            server.address()
        );
        let output = probe(&folder, &kms, "${topic}", &[("VAULT", token)]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find(|line| line.contains(" kms tried "));
        let is_it = |line: &str| line.starts_with(verdict) && line.contains(says);
        assert!(line.is_some_and(is_it), "{said}");
    }
}

/// AWS-3: by what stands in the environment.
#[tokio::test]
async fn each_kek_of_aws_is_tried_with_credentials_of_the_environment() {
    let aws = AwsEmulator::start(Emulator::Moto);
    let key = aws.make_key().await;
    let kms = format!(
        "provider = \"aws\"\nregion = \"eu-central-1\"\nendpoint = \"http://127.0.0.1:{}\"\nallow_plaintext = true",
        aws.port()
    );
    let folder = DataFolder::create("probe");
    let credentials = [("AWS_ACCESS_KEY_ID", "one"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let good = line_of(&probe(&folder, &kms, &key, &credentials), &key);
    assert!(
        good.starts_with("good") && good.contains("unwrapped in"),
        "{good}"
    );
    let absent = line_of(
        &probe(&folder, &kms, "alias/absent", &credentials),
        "alias/absent",
    );
    assert!(
        absent.starts_with("failed") && absent.contains("make it there"),
        "{absent}"
    );
    let nobody = [("AWS_EC2_METADATA_DISABLED", "true")];
    let nobody = line_of(&probe(&folder, &kms, &key, &nobody), &key);
    assert!(
        nobody.starts_with("failed") && nobody.contains("no credentials"),
        "{nobody}"
    );
}
