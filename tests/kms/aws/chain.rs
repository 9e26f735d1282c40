//! Where the proxy's credentials come from: each source of AWS's chain, as the program asks it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::asker::Asker;
use super::{ALIAS, Aws, Emulator, metadata};
use crate::probe::{line_of, probe};
use crate::support::fault_layer::{FaultLayer, LayerFault};
use crate::support::launch::DataFolder;
use crate::support::secret_files::write_secret;
use crate::support::wait::pause;

/// One way to say who the proxy is.
struct Source<'a> {
    what: &'static str,
    variables: Vec<(&'static str, &'a str)>,
    /// Beside region and endpoint.
    settings: String,
    /// How the key begins that its calls are then signed by.
    signer: &'static str,
}

fn source<'a>(
    what: &'static str,
    signer: &'static str,
    settings: &str,
    variables: &[&[(&'static str, &'a str)]],
) -> Source<'a> {
    Source {
        what,
        variables: variables.concat(),
        settings: settings.to_owned(),
        signer,
    }
}

/// AWS-3: by the program as its operator has it.
#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of sources, and what each of them reads"
)]
async fn each_source_of_credentials_is_used() {
    let aws = Aws::new(Emulator::Moto).await;
    let (folder, probed) = (aws.emulator.folder(), DataFolder::create("probe"));
    let file = |name: &str, text: &str| write(folder, name, text);
    let shared = file(
        "shared",
        &(profile("default", "SHARED") + &profile("other", "OTHER")),
    );
    let alone = file(
        "alone",
        &(profile("default", "ALONE") + &profile("second", "SECOND")),
    );
    let given = json!({ "Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "secret" });
    let given = file("given", &given.to_string());
    let process = format!("[profile process]\ncredential_process = /bin/cat {given}\n");
    let role = format!("[profile role]\nrole_arn = {ROLE}\nsource_profile = other\n");
    let session = "[profile portal]\nsso_session = main\nsso_account_id = 123456789012\nsso_role_name = proxy\n\
                   [sso-session main]\nsso_region = eu-central-1\nsso_start_url = https://example.com/start\n";
    let config = file("config", &[&process, &role, session].concat());
    std::fs::create_dir_all(folder.join(".aws/sso/cache")).expect("made");
    let ends = metadata::timestamp(SystemTime::now() + Duration::from_secs(3600));
    let cached = json!({ "accessToken": "of-the-portal", "expiresAt": ends });
    // SHA-1 of the session's name.
    let cache = ".aws/sso/cache/b28b7af69320201d1cf206ebf28373980add1451.json";
    file(cache, &cached.to_string());
    let token = file("token", "of-the-cluster");
    let home = folder.display().to_string();
    let hour = Duration::from_secs(3600);
    let (instance, container, portal) = (
        metadata::instance(hour),
        metadata::container(hour),
        metadata::portal(),
    );
    let (of_aws, of_instance, of_portal) = (aws.layer.address(), instance.address(), portal.address());
    let of_container = format!("{}/given", container.address());
    let environment = [
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let files = [
        ("AWS_SHARED_CREDENTIALS_FILE", shared.as_str()),
        ("AWS_CONFIG_FILE", config.as_str()),
    ];
    let of_profile = |name: &str| format!("profile = \"{name}\"");
    let of_file = format!("credentials_file = \"{alone}\"");
    let sources = [
        source(
            "the environment",
            "ENVIRONMENT",
            "",
            &[&environment[..], &files[..]],
        ),
        source("a profile", "SHARED", "", &[&files[..]]),
        source(
            "a profile of the environment",
            "OTHER",
            "",
            &[&files[..], &[("AWS_PROFILE", "other")]],
        ),
        source(
            "a profile that is named",
            "OTHER",
            &of_profile("other"),
            &[&files[..], &environment[..]],
        ),
        source("a file", "ALONE", &of_file, &[&files[..], &environment[..]]),
        source(
            "a profile of a file",
            "SECOND",
            &(of_file.clone() + "\n" + &of_profile("second")),
            &[&files[..], &environment[..]],
        ),
        source("a process", "PROCESS", &of_profile("process"), &[&files[..]]),
        source(
            "a role",
            "ASIA",
            &of_profile("role"),
            &[&files[..], &[("AWS_ENDPOINT_URL_STS", of_aws.as_str())]],
        ),
        source(
            "a portal",
            "PORTAL",
            &of_profile("portal"),
            &[
                &files[..],
                &[("AWS_ENDPOINT_URL_SSO", &of_portal), ("HOME", &home)],
            ],
        ),
        source(
            "a web identity",
            "ASIA",
            "",
            &[&[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
                ("AWS_ROLE_ARN", ROLE),
                ("AWS_ENDPOINT_URL_STS", of_aws.as_str()),
            ]],
        ),
        source(
            "a container",
            "CONTAINER1",
            "",
            &[&[
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &of_container),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str()),
            ]],
        ),
        source(
            "an instance",
            "INSTANCE1",
            "",
            &[&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &of_instance)]],
        ),
    ];
    for Source {
        what,
        variables,
        settings,
        signer,
    } in sources
    {
        let said = probe(&probed, &aws.lines(&settings), ALIAS, &variables);
        let said = line_of(&said, ALIAS);
        assert!(said.starts_with("good"), "{what}: {said}");
        let by = last_signer(&aws.layer);
        assert!(by.starts_with(signer), "{what}: signed by {by}");
    }
    let asked = portal.requests().concat();
    assert!(asked.contains("x-amz-sso_bearer_token: of-the-portal"), "{asked}");
    let asked = container.requests().concat();
    assert!(asked.contains("authorization: of-the-cluster"), "{asked}");
}

/// AWS-3: a profile that is named and is not there is a mistake: nobody else's credentials are taken.
#[tokio::test]
async fn a_profile_that_is_not_there_is_not_replaced_by_another_source() {
    let aws = Aws::new(Emulator::Moto).await;
    let shared = write(aws.emulator.folder(), "shared", &profile("default", "SHARED"));
    let instance = metadata::instance(Duration::from_secs(3600));
    let at = instance.address();
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", shared.as_str()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", at.as_str()),
    ];
    let folder = DataFolder::create("probe");
    let said = probe(&folder, &aws.lines("profile = \"mistyped\""), ALIAS, &variables);
    let said = line_of(&said, ALIAS);
    assert!(
        said.starts_with("failed") && said.contains("credentials"),
        "{said}"
    );
    assert_eq!((instance.calls(), aws.layer.calls()), (0, 0));
}

/// AWS-3, KMS-3: whoever gives credentials and hangs costs seconds, and says nothing of a key; where credentials come
/// from elsewhere it is not asked.
#[tokio::test]
async fn sources_that_hang_cost_seconds_and_are_no_verdict() {
    let aws = Aws::new(Emulator::Moto).await;
    let (folder, shared) = (DataFolder::create("probe"), aws.emulator.folder());
    let hanging = FaultLayer::before(0);
    hanging.set(LayerFault::Hang);
    let (at, token) = (hanging.address(), write(shared, "token", "of-the-cluster"));
    let hangs = write(shared, "hangs", "[default]\ncredential_process = exec sleep 20\n");
    let of_instance = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", at.as_str())];
    for variables in [
        &of_instance[..],
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", at.as_str())],
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
            ("AWS_ROLE_ARN", ROLE),
            ("AWS_ENDPOINT_URL_STS", at.as_str()),
        ],
        &[("AWS_CONFIG_FILE", hangs.as_str())],
    ] {
        let begun = Instant::now();
        let said = probe(&folder, &aws.lines(""), ALIAS, variables);
        let said = line_of(&said, ALIAS);
        assert!(said.starts_with("failed"), "{variables:?}: {said}");
        assert!(said.contains("credentials"), "{variables:?}: {said}");
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{variables:?}: {:?}",
            begun.elapsed()
        );
    }
    assert_eq!(aws.layer.calls(), 0);
    let asked = hanging.calls();
    let elsewhere = [
        ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let said = probe(
        &folder,
        &aws.lines(""),
        ALIAS,
        &[&of_instance[..], &elsewhere].concat(),
    );
    let said = line_of(&said, ALIAS);
    assert!(said.starts_with("good"), "{said}");
    assert_eq!(hanging.calls(), asked, "nobody needs it");
}

/// AWS-3: an instance's credentials that end soon are had anew, and not at every moment.
#[tokio::test]
async fn credentials_of_an_instance_are_renewed() {
    if Asker::is_here().await {
        return;
    }
    let aws = Aws::new(Emulator::Moto).await;
    let instance = metadata::instance(Duration::from_secs(4));
    let at = instance.address();
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", at.as_str())];
    let mut asker = Asker::start(
        "aws::chain::credentials_of_an_instance_are_renewed",
        &aws,
        &variables,
    );
    assert_eq!(asker.ask(), "good");
    assert_eq!(last_signer(&aws.layer), "INSTANCE1");
    let begun = Instant::now();
    while last_signer(&aws.layer) != "INSTANCE3" {
        assert!(begun.elapsed() < Duration::from_secs(30), "they are not had anew");
        assert_eq!(asker.ask(), "good");
        pause(Duration::from_millis(100));
    }
    assert!(
        begun.elapsed() > Duration::from_secs(3),
        "they were had anew too often"
    );
    // While it does not answer, what there is goes on until it ends; then that is nobody's verdict.
    instance.set(LayerFault::Reset);
    let begun = Instant::now();
    let said = loop {
        match asker.ask() {
            said if said == "good" => pause(Duration::from_millis(100)),
            said => break said,
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "they do not end");
    };
    assert!(said.starts_with("the KMS is unavailable: "), "{said}");
    // Whoever needs some learns so without asking each time.
    let (begun, asked) = (Instant::now(), instance.calls());
    for _ in 0..20 {
        assert!(asker.ask().starts_with("the KMS is unavailable: "));
    }
    let loads_max = usize::try_from(begun.elapsed().as_secs()).expect("it fits") / 2 + 1;
    let asked = instance.calls() - asked;
    assert!(asked <= 8 * loads_max, "{asked} questions for {loads_max} loads");
}

/// AWS-3: of a token in a file (IRSA), the one that is there when it is needed is sent.
#[tokio::test]
async fn a_web_identity_token_that_was_rotated_is_sent() {
    if Asker::is_here().await {
        return;
    }
    let aws = Aws::new(Emulator::Moto).await;
    let sts = FaultLayer::before(aws.emulator.port());
    let (at, folder) = (sts.address(), aws.emulator.folder());
    let token = write(folder, "token", "first-token");
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ENDPOINT_URL_STS", at.as_str()),
    ];
    let mut asker = Asker::start(
        "aws::chain::a_web_identity_token_that_was_rotated_is_sent",
        &aws,
        &variables,
    );
    assert_eq!(asker.ask(), "good");
    let before = last_signer(&aws.layer);
    write(folder, "token", "second-token");
    assert_eq!(asker.ask(), "good");
    assert_eq!(sts.calls(), 1, "what there is is good for an hour");
    aws.refuse("400 Bad Request", "ExpiredTokenException");
    assert_eq!(
        asker.ask(),
        "the KMS refuses the proxy's credentials: it answers ExpiredTokenException"
    );
    aws.layer.set(LayerFault::None);
    assert_eq!(asker.ask(), "good");
    assert_ne!(last_signer(&aws.layer), before);
    let sent = sts.requests();
    let of = |token: &str| format!("&WebIdentityToken={token}");
    assert_eq!(sent.len(), 2);
    assert!(
        sent[0].contains(&of("first-token")) && sent[1].contains(&of("second-token")),
        "{sent:?}"
    );
}

/// AWS-3: the same of a pod's agent.
#[tokio::test]
async fn the_token_of_a_container_that_was_rotated_is_sent() {
    if Asker::is_here().await {
        return;
    }
    let aws = Aws::new(Emulator::Moto).await;
    let container = metadata::container(Duration::from_secs(3600));
    let (at, folder) = (container.address(), aws.emulator.folder());
    let token = write(folder, "token", "first-token");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", at.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.as_str()),
    ];
    let mut asker = Asker::start(
        "aws::chain::the_token_of_a_container_that_was_rotated_is_sent",
        &aws,
        &variables,
    );
    assert_eq!(asker.ask(), "good");
    write(folder, "token", "second-token");
    aws.refuse("400 Bad Request", "ExpiredTokenException");
    assert_eq!(
        asker.ask(),
        "the KMS refuses the proxy's credentials: it answers ExpiredTokenException"
    );
    aws.layer.set(LayerFault::None);
    assert_eq!(asker.ask(), "good");
    assert_eq!(last_signer(&aws.layer), "CONTAINER2");
    let sent = container.requests();
    assert!(sent[0].contains("authorization: first-token"), "{sent:?}");
    assert!(sent[1].contains("authorization: second-token"), "{sent:?}");
}

impl Aws {
    /// What a configuration says of it, beside this.
    fn lines(&self, further: &str) -> String {
        let endpoint = self.layer.address();
        format!(
            "provider = \"aws\"\nregion = \"eu-central-1\"\nendpoint = \"{endpoint}\"\nallow_plaintext = true\n\
             {further}"
        )
    }
}

/// Whose key has signed the last call of the KMS.
fn last_signer(layer: &FaultLayer) -> String {
    let calls = layer.requests();
    let of_kms = calls.iter().rev().find(|call| call.contains("TrentService."));
    let signed = of_kms.and_then(|call| call.split_once("Credential="));
    let signer = signed.and_then(|(_, rest)| rest.split_once('/'));
    signer.expect("a call was signed").0.to_owned()
}

/// A file that only its owner reads; gives its path.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    write_secret(&path, text);
    path.display().to_string()
}

fn profile(name: &str, id: &str) -> String {
    format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = secret\n")
}

const ROLE: &str = "arn:aws:iam::123456789012:role/proxy";
