//! An emulator of AWS KMS, from the package index. It checks neither signatures nor the states of keys: what AWS
//! answers there is put in its place by the layer of faults, as AWS documents it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::cache;
use super::launch::{DataFolder, Process};
use super::openbao::trusting;
use super::ports::ReservedPort;
use super::{HOST, wait};

/// A running server; everything in it is in memory.
pub(crate) struct Moto {
    _process: Process,
    port: ReservedPort,
    folder: DataFolder,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let folder = DataFolder::create("moto");
        let port = ReservedPort::take();
        let mut command = Command::new(environment().join("bin/moto_server"));
        command.args(["-H", HOST, "-p", &port.number().to_string()]);
        let mut process = Process::start("moto", &command, &folder.path().join("log"));
        wait::until("moto listens", Duration::from_secs(60), || {
            process.assert_running();
            std::net::TcpStream::connect((HOST, port.number())).ok()
        });
        Self {
            _process: process,
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

    /// What an administrator does; it has to succeed. Nothing is signed, since nobody looks.
    pub(crate) async fn administer(&self, action: &str, body: Value) -> Value {
        let scope = "Credential=admin/20260101/eu-central-1/kms/aws4_request";
        let request = trusting(None)
            .post(format!("http://{}", self.port.address()))
            .header("X-Amz-Target", format!("TrentService.{action}"))
            .header("Content-Type", "application/x-amz-json-1.1")
            .header(
                "Authorization",
                format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"),
            )
            .body(body.to_string());
        let answer = request.send().await.expect("it answers");
        let status = answer.status();
        let text = answer.text().await.expect("it answers");
        assert!(status.is_success(), "{action}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

fn environment() -> std::path::PathBuf {
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
