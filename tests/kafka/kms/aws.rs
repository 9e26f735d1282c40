//! AWS KMS: an emulator, which keeps keys and aliases, behind a layer that answers what only AWS would. A KEK is called
//! by an alias.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;

use super::under_test::{KmsUnderTest, NetworkKms, Revocation};
use super::vault::done;
use crate::support::aws_emulator::{AwsEmulator, Emulator, error_of};
use crate::support::fault_layer::{FaultLayer, LayerFault};
use crate::support::secret_files::write_secret;

pub(super) struct Aws {
    server: AwsEmulator,
    layer: FaultLayer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The ids of the keys that each alias has meant.
    keys: BTreeMap<String, Vec<String>>,
    /// What the layer answers: a text in the call, and the whole answer.
    refused: Vec<(String, String)>,
    /// How many credentials there were.
    credentials: usize,
}

impl Aws {
    pub(super) fn start() -> Self {
        let server = AwsEmulator::start(Emulator::Moto);
        let layer = FaultLayer::before(server.port());
        let aws = Self {
            server,
            layer,
            state: Mutex::default(),
        };
        aws.replace_credentials(Duration::MAX);
        aws
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no scenario has failed")
    }

    fn credentials(&self) -> PathBuf {
        self.server.folder().join("credentials")
    }

    /// Calls with one of these texts are refused with this code.
    fn refuse(&self, needles: impl IntoIterator<Item = String>, code: &str) {
        let answer = error_of("400 Bad Request", code);
        let mut state = self.state();
        let more = needles.into_iter().map(|needle| (needle, answer.clone()));
        state.refused.extend(more);
        self.layer.set(LayerFault::AnswerSome(state.refused.clone()));
    }

    /// How calls name it: by its alias to seal, by the key that this has meant to open.
    fn in_calls(&self, kek: &str) -> Vec<String> {
        let names = self.state().keys[kek].clone();
        let names = names.into_iter().chain([self.in_rule(kek)]);
        names.map(|name| format!("{name:?}")).collect()
    }

    fn point(&self, action: &str, kek: &str) {
        let key = done(self.server.make_key());
        let alias = json!({ "AliasName": self.in_rule(kek), "TargetKeyId": key });
        done(self.server.administer(action, alias));
        self.state().keys.entry(kek.to_owned()).or_default().push(key);
    }
}

impl KmsUnderTest for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn table(&self) -> String {
        format!(
            "provider = \"aws\"\nregion = \"eu-central-1\"\nendpoint = {:?}\nallow_plaintext = true\n\
             credentials_file = {:?}\nencryption_context = {{ application = \"tests\" }}",
            self.layer.address(),
            self.credentials()
        )
    }

    fn in_rule(&self, kek: &str) -> String {
        format!("alias/{kek}")
    }

    fn make(&self, kek: &str) {
        self.point("CreateAlias", kek);
    }

    /// AWS-1: the alias is moved.
    fn rotate(&self, kek: &str) {
        self.point("UpdateAlias", kek);
    }

    fn revocations(&self) -> &'static [Revocation] {
        &[Revocation::Disabled, Revocation::Withdrawn]
    }

    fn revoke(&self, kek: &str, how: Revocation) {
        let code = match how {
            Revocation::Withdrawn => "AccessDeniedException",
            _ => "DisabledException",
        };
        self.refuse(self.in_calls(kek), code);
    }

    fn restore(&self, kek: &str, _: Revocation) {
        let names = self.in_calls(kek);
        self.state().refused.retain(|(needle, _)| !names.contains(needle));
        self.refuse([], "");
    }
}

impl NetworkKms for Aws {
    /// The emulator would forget its keys.
    fn stop(&self) {
        self.layer.set(LayerFault::Refuse);
        self.layer.cut();
    }

    fn resume(&self) {
        self.refuse([], "");
    }

    fn freeze(&self) {
        self.server.freeze();
    }

    fn thaw(&self) {
        self.server.thaw();
    }

    /// The file says nothing of an end.
    fn replace_credentials(&self, _: Duration) {
        let mut state = self.state();
        state.credentials += 1;
        let text = format!(
            "[default]\naws_access_key_id = number{}\naws_secret_access_key = secret\n",
            state.credentials
        );
        write_secret(&self.credentials(), &text);
    }

    fn outlive_credentials(&self, _: Duration) {}

    fn refuse_former_credentials(&self) {
        let former = 1..self.state().credentials;
        self.refuse(former.map(in_signatures), "ExpiredTokenException");
    }

    fn refuse_credentials(&self) {
        let last = self.state().credentials;
        self.refuse([in_signatures(last)], "ExpiredTokenException");
    }
}

/// Who signs is named before the date.
fn in_signatures(number: usize) -> String {
    format!("Credential=number{number}/")
}
