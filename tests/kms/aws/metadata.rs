//! Whoever gives credentials to programs beside AWS's own STS: the metadata service of an instance, the agent of a
//! container, the portal of single sign-on. Each speaks as AWS documents it; what it was asked the layer keeps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::json;

use crate::support::fault_layer::FaultLayer;

/// The metadata service of an instance, version 2, whose n-th credentials are of the key `INSTANCEn`:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
pub(super) fn instance(life: Duration) -> FaultLayer {
    let given = AtomicUsize::new(0);
    FaultLayer::alone(move |call| {
        let has_token = call
            .to_ascii_lowercase()
            .contains("x-aws-ec2-metadata-token: session");
        let role = "/latest/meta-data/iam/security-credentials/";
        match path_of(call) {
            "/latest/api/token" if call.starts_with("PUT ") => answer(
                "200 OK",
                "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n",
                "session",
            ),
            path if path == role && has_token => answer("200 OK", "", "proxy"),
            path if path.starts_with(role) && has_token => {
                let number = given.fetch_add(1, Ordering::AcqRel) + 1;
                answer("200 OK", "", &credentials(&format!("INSTANCE{number}"), life))
            }
            _ => answer("401 Unauthorized", "", ""),
        }
    })
}

/// The agent of a container or a pod, whose n-th credentials are of the key `CONTAINERn`:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
pub(super) fn container(life: Duration) -> FaultLayer {
    let given = AtomicUsize::new(0);
    FaultLayer::alone(move |_| {
        let number = given.fetch_add(1, Ordering::AcqRel) + 1;
        answer("200 OK", "", &credentials(&format!("CONTAINER{number}"), life))
    })
}

/// The portal of single sign-on:
/// <https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html>
pub(super) fn portal() -> FaultLayer {
    FaultLayer::alone(|_| {
        let ends = SystemTime::now() + Duration::from_secs(3600);
        let ends = ends.duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
        let given = json!({ "roleCredentials": {
            "accessKeyId": "PORTAL",
            "secretAccessKey": "secret",
            "sessionToken": "token",
            "expiration": u64::try_from(ends.as_millis()).expect("it fits"),
        } });
        answer("200 OK", "", &given.to_string())
    })
}

fn credentials(id: &str, life: Duration) -> String {
    let given = json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": timestamp(SystemTime::now()),
        "AccessKeyId": id,
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": timestamp(SystemTime::now() + life),
    });
    given.to_string()
}

/// As AWS writes times.
pub(super) fn timestamp(time: SystemTime) -> String {
    DateTime::from(time)
        .fmt(Format::DateTime)
        .expect("it is of this age")
}

fn path_of(call: &str) -> &str {
    call.split(' ').nth(1).unwrap_or_default()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
