//! What an account is called, for logs: by which mechanism, and which user. Nothing of it is secret.

use std::fmt;
use std::sync::Arc;

use crate::foreign::Foreign;
use crate::identity::certificate_names::subject_text;
use crate::identity::sasl::initiator::Credential;
use crate::transport::tls_client::ClientSet;

/// See the module. Shown escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountName {
    /// As Kafka calls it; [`CERTIFICATE`] where TLS shows who it is.
    pub mechanism: &'static str,
    /// The user's name, that of a delegation token (which is no secret, its HMAC is), or the certificate's subject;
    /// `None` where only a token says who it is.
    pub user: Option<Arc<str>>,
}

impl AccountName {
    pub(super) fn of_credential(credential: &Credential) -> Self {
        Self {
            mechanism: credential.mechanism().name(),
            user: credential.identity().map(|(_, user)| user.into()),
        }
    }

    /// Its certificate's subject, or else the file that it is in.
    pub(super) fn of_certificate(set: &ClientSet) -> Self {
        let user = set.certificate.as_ref().map(|facts| {
            let subject = subject_text(&facts.subject).filter(|subject| !subject.is_empty());
            subject.unwrap_or_else(|| facts.path.display().to_string())
        });
        Self {
            mechanism: CERTIFICATE,
            user: user.map(Into::into),
        }
    }

    /// The user as logs have it.
    #[must_use]
    pub fn shown_user(&self) -> Option<String> {
        let user = self.user.as_ref();
        user.map(|user| Foreign::new(&**user).to_string())
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.mechanism)?;
        match self.shown_user() {
            Some(user) => write!(formatter, " {user}"),
            None => Ok(()),
        }
    }
}

/// As clients' logins by certificate are called too.
const CERTIFICATE: &str = "mtls";
