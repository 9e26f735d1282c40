//! What AWS's errors mean, by their code (AWS-2).

use std::time::Duration;

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use crate::foreign::Foreign;
use crate::kms::KmsError;

/// What became of a call that was made in vain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// The key's state does not let it be used. Of a key in a store of its own (CloudHSM, external) AWS says so
    /// whatever goes wrong there, so that it says nothing of the key: `DescribeKey` has to be asked.
    State,
    /// What it says is known.
    Kms(KmsError),
}

impl From<KmsError> for CallError {
    fn from(error: KmsError) -> Self {
        Self::Kms(error)
    }
}

/// `right`: what was asked for on `kek`.
pub(super) fn call_error<E: ProvideErrorMetadata, R>(
    error: &SdkError<E, R>,
    right: &'static str,
    kek: &str,
) -> CallError {
    let code = match error {
        SdkError::ServiceError(refused) => refused.err().code().unwrap_or_default(),
        _ => return sending_error(error).into(),
    };
    match code {
        "KMSInvalidStateException" => CallError::State,
        code => of_code(code, right, kek).into(),
    }
}

/// Where there was no answer, or none that can be read.
fn sending_error<E, R>(error: &SdkError<E, R>) -> KmsError {
    match error {
        SdkError::TimeoutError(_) => KmsError::Unavailable("no answer in time".to_owned()),
        SdkError::DispatchFailure(failed) => {
            let why = failed.as_connector_error().map(ToString::to_string);
            KmsError::Unavailable(why.unwrap_or_else(|| "the call could not be sent".to_owned()))
        }
        SdkError::ResponseError(_) => KmsError::Unavailable("its answer is not what it should be".to_owned()),
        _ => KmsError::Unavailable("the call could not be made".to_owned()),
    }
}

fn of_code(code: &str, right: &'static str, kek: &str) -> KmsError {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "TooManyRequestsException" => KmsError::Throttled { after: THROTTLED_FOR },
        "DisabledException" => KmsError::KekDisabled,
        "NotFoundException" => KmsError::KekNotFound,
        "AccessDeniedException" => KmsError::KekDenied(format!(
            "no policy lets the proxy call {right} on {}",
            Foreign::new(kek)
        )),
        "InvalidKeyUsageException" => KmsError::KekUnsuitable(
            "its spec is not SYMMETRIC_DEFAULT, or its usage not ENCRYPT_DECRYPT".to_owned(),
        ),
        "IncorrectKeyException" | "InvalidCiphertextException" => KmsError::Malformed,
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => KmsError::CredentialsRefused(format!("it answers {code}")),
        "" => KmsError::Unavailable("it answers with an error that has no code".to_owned()),
        code => KmsError::Unavailable(format!("it answers {}", Foreign::new(code))),
    }
}

/// It is not said for how long; quotas are by the second.
const THROTTLED_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS-2, KMS-3: by code, as AWS documents them for these calls and for all (common errors).
    #[test]
    fn codes_are_verdicts_outages_or_about_our_credentials() {
        let of = |code: &str| of_code(code, "kms:Decrypt", "alias/payments");
        for code in ["DisabledException", "NotFoundException", "AccessDeniedException"] {
            assert!(of(code).refuses_kek(), "{code}");
        }
        for code in ["IncorrectKeyException", "InvalidCiphertextException"] {
            assert_eq!(of(code), KmsError::Malformed, "{code}");
        }
        for code in [
            "ExpiredTokenException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
        ] {
            assert_eq!(
                of(code),
                KmsError::CredentialsRefused(format!("it answers {code}"))
            );
        }
        for code in ["ThrottlingException", "RequestLimitExceeded"] {
            assert!(matches!(of(code), KmsError::Throttled { .. }), "{code}");
        }
        for code in [
            "KMSInternalException",
            "DependencyTimeoutException",
            "KeyUnavailableException",
            "ServiceUnavailable",
            "SomethingNew",
            "",
        ] {
            assert!(matches!(of(code), KmsError::Unavailable(_)), "{code}");
        }
        assert_eq!(
            of("AccessDeniedException").to_string(),
            "the key-encryption key may not be used: no policy lets the proxy call kms:Decrypt on alias/payments"
        );
    }
}
