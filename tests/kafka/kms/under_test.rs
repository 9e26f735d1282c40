//! What scenarios do at a KMS, whichever it is.

use std::time::Duration;

use super::aws::Aws;
use super::keystore::FileKeystore;
use super::vault::Vault;

/// Starts a KMS of one kind.
pub(super) type Start<K> = fn() -> Box<K>;

pub(super) const ALL: [Start<dyn KmsUnderTest>; 3] = [
    || Box::new(Vault::start()),
    || Box::new(Aws::start()),
    || Box::new(FileKeystore::start()),
];

pub(super) const IN_NETWORK: [Start<dyn NetworkKms>; 2] =
    [|| Box::new(Vault::start()), || Box::new(Aws::start())];

/// A KMS and whoever administers it.
pub(super) trait KmsUnderTest: Send + Sync {
    /// For messages.
    fn name(&self) -> &'static str;

    /// The lines of its table in the configuration.
    fn table(&self) -> String;

    /// What a rule calls the KEK of this name.
    fn in_rule(&self, kek: &str) -> String {
        kek.to_owned()
    }

    fn make(&self, kek: &str);

    /// From now on other key material is current.
    fn rotate(&self, kek: &str);

    /// The ways in which a KEK can be taken away here.
    fn revocations(&self) -> &'static [Revocation];

    fn revoke(&self, kek: &str, how: Revocation);

    /// Undoes that.
    fn restore(&self, kek: &str, how: Revocation);
}

/// One that is asked by way of a network, by a proxy that shows who it is.
pub(super) trait NetworkKms: KmsUnderTest {
    /// Nobody reaches it any more.
    fn stop(&self);

    fn resume(&self);

    /// It takes calls and answers none.
    fn freeze(&self);

    fn thaw(&self);

    /// Other credentials are where the proxy looks for them; those that it has stay good, for as long as they live.
    fn replace_credentials(&self, life: Duration);

    /// Returns when the proxy has outlived what it was given first, where that ends by itself.
    fn outlive_credentials(&self, life: Duration);

    /// Refuses all credentials but those that were made last.
    fn refuse_former_credentials(&self);

    /// Refuses those too.
    fn refuse_credentials(&self);
}

/// How a KEK is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revocation {
    Disabled,
    /// The proxy may not use it any more.
    Withdrawn,
    /// It is not there any more, though it can be put back.
    Deleted,
    /// Only what it is made of now is good.
    FormerVersions,
}
