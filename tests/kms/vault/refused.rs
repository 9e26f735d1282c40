//! What is said of a login that a real OpenBao refuses: which path and status, and what to look at.

use super::logins::{app_role, policed, with_login};
use super::*;

async fn refusal_of(kms: &VaultKms) -> String {
    let error = kms.generate_dek("payments").await.err().expect("it is refused");
    assert!(!error.is_verdict(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn each_way_to_be_refused_has_its_own_words() {
    let server = policed().await;
    let VaultLogin::AppRole {
        mount,
        role_id,
        secret_id,
    } = app_role(&server, "1h", "1h").await
    else {
        panic!("a role has an id");
    };
    let with_role = |mount: &str, role_id: &str, secret_id: &SecretSource| VaultLogin::AppRole {
        mount: mount.to_owned(),
        role_id: role_id.to_owned(),
        secret_id: secret_id.clone(),
    };
    let of_role = "auth/approle/login answers with status 400: role_id or the secret is wrong";
    let [wrong, empty, two_lines, token] = [
        ("wrong", "nothing"),
        ("empty", ""),
        ("two-lines", "one\ntwo\n"),
        ("wrong-token", "nothing"),
    ]
    .map(|(name, text)| secret_file(&server, name, text));
    let body = json!({ "policies": ["proxy"], "ttl": "1h", "no_default_policy": true });
    let made = server.post("auth/token/create", body).await;
    let text = made["auth"]["client_token"].as_str().expect("a token");
    let without_default = secret_file(&server, "without-default", text);
    for (login, words) in [
        (with_role(&mount, "proxy", &secret_id), of_role),
        (with_role(&mount, &role_id, &wrong), of_role),
        (
            with_role("elsewhere", &role_id, &secret_id),
            "auth/elsewhere/login answers with status 403: it takes nobody with what was shown, or no login method",
        ),
        (
            with_role(&mount, &role_id, &empty),
            "the proxy has nothing to log in at the KMS with: the secret for the login is empty",
        ),
        (
            with_role(&mount, &role_id, &two_lines),
            "the secret for the login is empty, has several lines",
        ),
        (
            VaultLogin::Token(token),
            "auth/token/lookup-self answers with status 403: the token is wrong or has ended",
        ),
        (
            VaultLogin::Token(without_default),
            "no policy of it has read on that path, as the policy default has",
        ),
    ] {
        let kms = with_login(&server, &server.address(), login);
        for time in ["at first", "again"] {
            let said = refusal_of(&kms).await;
            assert!(said.contains(words), "{time}: {said}");
        }
    }
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_called_one() {
    let server = policed().await;
    for login in [
        app_role(&server, "1h", "1h").await,
        VaultLogin::Token(secret_file(&server, "of-root", server.root_token())),
    ] {
        let mut elsewhere = settings(&server, &server.address(), "");
        (elsewhere.login, elsewhere.server.namespace) = (login, Some("nowhere".to_owned()));
        let said = refusal_of(&VaultKms::new(elsewhere)).await;
        assert!(said.contains("there is no such namespace (status 404)"), "{said}");
    }
}
