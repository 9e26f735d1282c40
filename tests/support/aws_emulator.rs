//! What stands for AWS: its KMS, and STS and IAM beside that. Two emulators, since none is like AWS in all things:
//!
//! | | moto, from the package index | fakecloud, a program of ours around its crates |
//! |---|---|---|
//! | signatures and credentials | not looked at | checked: whose they are, and whether they have ended |
//! | keys that are disabled, or to be deleted | go on | are refused |
//! | rights | not looked at | as policies say |
//! | multi-region keys | do not unwrap what they have wrapped | unwrap, but not by a replica's ARN |
//!
//! What neither does the layer of faults puts in its place, as AWS documents it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::artifacts::fakecloud;
use super::launch::{DataFolder, Process};
use super::openbao::trusting;
use super::ports::ReservedPort;
use super::{HOST, cache, wait};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emulator {
    Moto,
    Fakecloud,
}

impl Emulator {
    pub(crate) const ALL: [Self; 2] = [Self::Moto, Self::Fakecloud];

    fn command(self, port: u16) -> Command {
        let port = port.to_string();
        match self {
            Self::Moto => {
                let mut command = Command::new(moto().join("bin/moto_server"));
                command.args(["-H", HOST, "-p", &port]);
                command
            }
            Self::Fakecloud => {
                let mut command = Command::new(fakecloud());
                command.args([HOST, &port, ACCOUNT, REGION]);
                command
            }
        }
    }
}

/// A running server; everything in it is in memory.
pub(crate) struct AwsEmulator {
    process: Process,
    port: ReservedPort,
    folder: DataFolder,
}

impl AwsEmulator {
    pub(crate) fn start(emulator: Emulator) -> Self {
        let folder = DataFolder::create("aws");
        let port = ReservedPort::take();
        let command = emulator.command(port.number());
        let mut process = Process::start("the emulator of AWS", &command, &folder.path().join("log"));
        wait::until("the emulator of AWS listens", Duration::from_secs(60), || {
            process.assert_running();
            std::net::TcpStream::connect((HOST, port.number())).ok()
        });
        Self {
            process,
            port,
            folder,
        }
    }

    /// A new key's id.
    pub(crate) async fn make_key(&self) -> String {
        let made = self
            .administer("CreateKey", json!({ "KeyUsage": "ENCRYPT_DECRYPT" }))
            .await;
        made["KeyMetadata"]["KeyId"].as_str().expect("an id").to_owned()
    }

    /// What an administrator of keys does; it has to succeed.
    pub(crate) async fn administer(&self, action: &str, body: Value) -> Value {
        self.administer_in(REGION, action, body).await
    }

    pub(crate) async fn administer_in(&self, region: &str, action: &str, body: Value) -> Value {
        let text = sent(action, self.call(region, action, &body)).await;
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// What it says to an administrator of keys, be it an error.
    pub(crate) async fn say(&self, action: &str, body: &Value) -> String {
        let answer = self.call(REGION, action, body).send().await;
        answer.expect("it answers").text().await.expect("it answers")
    }

    fn call(&self, region: &str, action: &str, body: &Value) -> reqwest::RequestBuilder {
        trusting(None)
            .post(format!("http://{}", self.port.address()))
            .header("X-Amz-Target", format!("TrentService.{action}"))
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("Authorization", signed_by_the_owner(region, "kms"))
            .body(body.to_string())
    }

    /// What an administrator of accounts does (`iam`, `sts`), with these parameters; it has to succeed. What it says is
    /// XML.
    pub(crate) async fn manage(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let mut body = format!(
            "Action={action}&Version={}",
            if service == "iam" {
                "2010-05-08"
            } else {
                "2011-06-15"
            }
        );
        for (name, value) in parameters {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            body.push_str(&format!("&{name}={value}"));
        }
        let request = trusting(None)
            .post(format!("http://{}", self.port.address()))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Authorization", signed_by_the_owner("us-east-1", service))
            .body(body);
        sent(action, request).await
    }

    /// Answers nothing, but keeps its connections.
    pub(crate) fn freeze(&self) {
        self.process.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.process.signal("CONT");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Whoever owns the account needs no right, and nobody looks at the signature: to fakecloud that is everybody whose
/// access key begins with `test`.
fn signed_by_the_owner(region: &str, service: &str) -> String {
    let scope = format!("Credential=test/20260101/{region}/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0")
}

async fn sent(action: &str, request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.expect("it answers");
    let status = answer.status();
    let text = answer.text().await.expect("it answers");
    assert!(status.is_success(), "{action}: {status} {text}");
    text
}

/// As AWS answers with this error.
pub(crate) fn error_of(status: &str, code: &str) -> String {
    let body = format!("{{\"__type\":\"{code}\",\"message\":\"for the test\"}}");
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What stands between `<name>` and its end.
pub(crate) fn element<'x>(xml: &'x str, name: &str) -> &'x str {
    let found = xml.split_once(&format!("<{name}>"));
    let inside = found.and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    inside.unwrap_or_else(|| panic!("{xml} has no {name}")).0
}

fn moto() -> PathBuf {
    let requirement = "moto[server]==5.2.5";
    cache::prepare("moto", requirement, |folder| {
        cache::run(Command::new("python3").arg("-m").arg("venv").arg(folder));
        let mut pip = Command::new(folder.join("bin/python"));
        cache::run(pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary=:all:",
            requirement,
        ]));
    })
}

/// As moto has it, always.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";
