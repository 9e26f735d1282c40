//! `aws-emulator HOST PORT ACCOUNT REGION`: serves AWS KMS, STS and IAM until it is killed. Signatures and rights are
//! checked; whoever's access key begins with `test` is the owner of the account, and needs neither.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Extension, Router};
use fakecloud_core::auth::IamMode;
use fakecloud_core::dispatch::{DispatchConfig, dispatch};
use fakecloud_core::multi_account::MultiAccountState;
use fakecloud_core::registry::ServiceRegistry;
use fakecloud_iam::credential_resolver::IamCredentialResolver;
use fakecloud_iam::iam_service::IamService;
use fakecloud_iam::policy_evaluator::IamPolicyEvaluatorImpl;
use fakecloud_iam::sts_service::StsService;
use fakecloud_kms::KmsService;
use parking_lot::RwLock;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, account, region] = &arguments[..] else {
        return Err("HOST PORT ACCOUNT REGION".into());
    };
    let (host, port) = (host.as_str(), port.parse::<u16>()?);
    let endpoint = format!("http://{host}:{port}");
    let accounts = Arc::new(RwLock::new(MultiAccountState::new(account, region, &endpoint)));
    let keys = Arc::new(RwLock::new(MultiAccountState::new(account, region, &endpoint)));
    let mut registry = ServiceRegistry::new();
    // Outside of a runtime, in which it would begin to make RSA keys for a minute.
    registry.register(Arc::new(KmsService::new(keys)));
    registry.register(Arc::new(IamService::new(Arc::clone(&accounts))));
    registry.register(Arc::new(StsService::new(Arc::clone(&accounts))));
    let mut config = DispatchConfig::new(region, account);
    config.verify_sigv4 = true;
    config.iam_mode = IamMode::Strict;
    config.credential_resolver = Some(IamCredentialResolver::shared(Arc::clone(&accounts)));
    config.policy_evaluator = Some(IamPolicyEvaluatorImpl::shared(accounts));
    let router = Router::new()
        .fallback(dispatch)
        .layer(Extension(Arc::new(registry)))
        .layer(Extension(Arc::new(config)));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((host, port)).await?;
        axum::serve(listener, service).await?;
        Ok(())
    })
}
