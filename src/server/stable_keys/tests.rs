//! The keyring is opened, followed, and asked about, over a file keystore and a layer of faults.

use std::fs;
use std::num::NonZeroU32;

use tempfile::TempDir;

use super::*;
use crate::envelope::Domain;
use crate::ids::{Ids, KmsId};
use crate::keyring::Assigned;
use crate::keys::{CallBudget, NoDomainKey};
use crate::kms::file::FileKms;
use crate::kms::keystore::{MasterKeySource, OpenKeystore, create_key_file, lock_file};
use crate::kms::{Kms, KmsError};
use crate::testing::{Faults, FaultyKms};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A keyring in a folder of its own, with its KMS.
struct Bench {
    folder: TempDir,
    kms: Arc<dyn Kms>,
    faults: Faults,
    keyring: Keyring,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = TempDir::new()?;
        let master_key = folder.path().join("master.key");
        create_key_file(&master_key)?;
        let source = MasterKeySource::File(master_key);
        let path = folder.path().join("keystore.json");
        let mut keystore = OpenKeystore::create(source.read()?)?;
        keystore.add("keyring")?;
        lock_file(&path)?.replace(&keystore.to_json()?)?;
        let (kms, faults) = FaultyKms::around(Arc::new(FileKms::open(&path, &source)?));
        Ok(Self {
            folder,
            kms: Arc::new(kms),
            faults,
            keyring: Keyring::default(),
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keyring.json")
    }

    async fn add(
        &mut self,
        name: &str,
        domain: Option<&str>,
    ) -> Result<StableKeyId, Box<dyn std::error::Error>> {
        let made = self.kms.generate_dek("keyring").await?;
        let id = self.keyring.add(name, &made.dek, &made.wrapped, 0)?;
        if let Some(domain) = domain {
            assert_eq!(self.keyring.assign(domain, id, false)?, Assigned::Done);
        }
        self.write()?;
        Ok(id)
    }

    fn write(&self) -> TestResult {
        Ok(keyring::lock_file(&self.path())?.replace(&self.keyring.to_json()?)?)
    }

    async fn open(&self) -> Result<StableKeysFile, ServerError> {
        let mut ids = Ids::default();
        let id: KmsId = ids.kms.id_of("local");
        let named = NamedKms {
            id,
            name: "local".to_owned(),
            kms: Arc::clone(&self.kms),
            budget: CallBudget {
                calls_max: 1,
                per_second_max: NonZeroU32::new(1),
            },
        };
        StableKeysFile::open(&self.path(), &[named]).await
    }
}

fn key_of(keys: &StableKeys, domain: &str) -> Option<Result<StableKeyId, NoDomainKey>> {
    let domain = Domain::new(domain).unwrap();
    let key = keys.of_domain(domain.name())?;
    Some(key.for_domain(&domain).map(|key| key.id()))
}

/// STABLE-KEYS-1
#[tokio::test]
async fn what_a_pin_names_must_open_or_nothing_starts() -> TestResult {
    let mut bench = Bench::new()?;
    assert!(
        matches!(bench.open().await, Err(ServerError::Keyring(_))),
        "there is none"
    );
    let id = bench.add("orders", Some("orders")).await?;
    let file = bench.open().await?;
    assert_eq!(key_of(&file.keys(), "orders"), Some(Ok(id)));
    assert_eq!(key_of(&file.keys(), "other"), None);

    bench.faults.refuse(Some(KmsError::KekDisabled));
    let refused = bench.open().await.err().map(|error| error.to_string());
    let refused = refused.unwrap_or_default();
    assert!(
        refused.contains("orders")
            && refused.contains("KMS \"local\", KEK keyring: the key-encryption key is disabled"),
        "{refused}"
    );
    bench.faults.refuse(Some(KmsError::Malformed));
    let refused = bench.open().await.err().map(|error| error.to_string());
    assert!(refused.unwrap_or_default().contains("restore the keyring"));
    bench.faults.refuse(None);
    // Another KMS' key under the same name, and what was altered.
    bench.faults.recheck_wrong_keys(true);
    let refused = bench.open().await.err().map(|error| error.to_string());
    assert!(refused.unwrap_or_default().contains("is not the stable key"));
    bench.faults.recheck_wrong_keys(false);
    let text = fs::read_to_string(bench.path())?;
    fs::write(bench.path(), text.replace("\"pins\"", "\"pans\""))?;
    assert!(matches!(bench.open().await, Err(ServerError::Keyring(_))));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_a_kms_for_a_while() -> TestResult {
    let mut bench = Bench::new()?;
    bench.add("orders", Some("orders")).await?;
    bench
        .faults
        .refuse(Some(KmsError::Unavailable("test".to_owned())));
    let (opened, ()) = tokio::join!(bench.open(), async {
        tokio::time::sleep(LOOK_INTERVAL * 3 / 2).await;
        bench.faults.refuse(None);
    });
    assert!(opened.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_key_without_a_pin_keeps_nobody_from_starting() -> TestResult {
    let mut bench = Bench::new()?;
    bench.add("old", None).await?;
    bench.faults.refuse(Some(KmsError::KekDestroyed));
    let file = bench.open().await?;
    let facts = file.watch().borrow().clone().expect("facts");
    assert_eq!((facts.keys, facts.refused, facts.is_current), (1, 1, true));
    Ok(())
}

/// STABLE-KEYS-1
#[tokio::test]
async fn a_changed_file_is_used_as_a_whole_or_not_at_all() -> TestResult {
    let mut bench = Bench::new()?;
    let one = bench.add("one", Some("orders")).await?;
    let mut file = bench.open().await?;
    assert!(file.look().await.is_none(), "nothing has changed");
    let two = bench.add("two", Some("payments")).await?;
    bench.faults.refuse(Some(KmsError::KekDisabled));
    assert!(file.look().await.is_none());
    file.tell_facts();
    assert!(!file.watch().borrow().as_ref().expect("facts").is_current);
    assert_eq!(key_of(&file.keys(), "payments"), None);
    assert_eq!(
        key_of(&file.keys(), "orders"),
        Some(Ok(one)),
        "and nobody asks for it again"
    );
    bench.faults.refuse(None);
    file.again_at = Some(clocks::now());
    let keys = file.look().await.expect("it can be used now");
    file.use_keys(keys);
    assert_eq!(key_of(&file.keys(), "payments"), Some(Ok(two)));
    assert!(file.watch().borrow().as_ref().expect("facts").is_current);
    // The check of a key that is in use, altered: what is wrapped is the same.
    let text = fs::read_to_string(bench.path())?;
    let check = text
        .split("\"check\": \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let check = check.expect("a check");
    fs::write(bench.path(), text.replace(check, "AAAAAAAAAAAAAAAAAAAAAA=="))?;
    assert!(file.look().await.is_none());
    for domain in ["orders", "payments"] {
        assert!(matches!(key_of(&file.keys(), domain), Some(Ok(_))), "{domain}");
    }

    fs::remove_file(bench.path())?;
    assert!(file.look().await.is_none());
    assert_eq!(key_of(&file.keys(), "orders"), Some(Ok(one)));
    Ok(())
}

/// STABLE-KEYS-2, STABLE-KEYRING-1, STABLE-KEYRING-2
#[tokio::test]
async fn an_outage_takes_nothing_and_a_verdict_takes_the_key_until_it_is_given_again() -> TestResult {
    let mut bench = Bench::new()?;
    let id = bench.add("orders", Some("orders")).await?;
    let mut file = bench.open().await?;
    let due = |file: &mut StableKeysFile| file.due = vec![(id, clocks::now())];
    assert!(file.recheck().await.is_none(), "it is not due");

    bench
        .faults
        .refuse(Some(KmsError::Unavailable("test".to_owned())));
    due(&mut file);
    assert!(file.recheck().await.is_none());
    assert_eq!(key_of(&file.keys(), "orders"), Some(Ok(id)));

    let before = file.keys();
    bench.faults.refuse(Some(KmsError::KekDisabled));
    due(&mut file);
    let keys = file.recheck().await.expect("another keyring");
    let refused = Some(Err(NoDomainKey::Refused(KeyFailure::KekDisabled)));
    assert_eq!(key_of(&keys, "orders"), refused);
    assert_eq!(
        key_of(&before, "orders"),
        refused,
        "whoever has the one before stops as well"
    );
    file.use_keys(keys);
    assert_eq!(file.watch().borrow().as_ref().expect("facts").refused, 1);

    bench.faults.refuse(None);
    due(&mut file);
    let keys = file.recheck().await.expect("another keyring");
    assert_eq!(key_of(&keys, "orders"), Some(Ok(id)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_keyring_and_keys_is_for_the_audit_log_which_nobody_waits_for() -> TestResult {
    let mut bench = Bench::new()?;
    let id = bench.add("orders", Some("orders")).await?;
    let mut file = bench.open().await?;
    let before = file.keys().keyring().fingerprint();
    for refused in [Some(KmsError::KekDisabled), None] {
        bench.faults.refuse(refused);
        file.due = vec![(id, clocks::now())];
        let keys = file.recheck().await.expect("another keyring");
        file.use_keys(keys);
    }
    // A list that the audit log has no room for waits; more of it is counted.
    let (audit, mut told) = mpsc::channel(1);
    audit.try_send(AuditList::default())?;
    file.tell_audit(&audit);
    for _ in 0..UNAUDITED_MAX {
        file.audit_loaded(None);
    }
    assert!(told.recv().await.is_some());
    bench.add("payments", Some("payments")).await?;
    let followed = file.follow(|_| std::future::ready(()), audit);
    let (first, second) = tokio::select! {
        () = followed => panic!("it follows for ever"),
        lists = async { (told.recv().await, told.recv().await) } => lists,
    };
    let (first, second) = (first.expect("a list"), second.expect("a list"));
    assert_eq!((first.events.len(), first.left_out), (UNAUDITED_MAX, 3));
    let written = first.events.iter().take(3).chain(&second.events);
    let written: Vec<_> = written.map(serde_json::to_value).collect::<Result<_, _>>()?;
    let now = bench.keyring.fingerprint();
    let loaded = |fingerprint: &str, before: Option<&str>, revision| {
        serde_json::json!({
            "event": "keyring_loaded", "fingerprint": fingerprint, "fingerprint_before": before, "revision": revision
        })
    };
    let mut given = serde_json::json!({
        "event": "stable_key_given", "stable_key": id.to_string(), "kms": "local", "kek": "keyring", "version": "1"
    });
    let mut expected = vec![loaded(&before, None, 2)];
    expected.extend([given.clone(), given.clone()]);
    expected.push(loaded(&now, Some(&before), 4));
    given["event"] = "stable_key_refused".into();
    given["reason"] = "kek_disabled".into();
    expected[1] = given;
    assert_eq!(written, expected);
    Ok(())
}

#[tokio::test]
async fn a_kms_whose_wrapping_keys_are_public_vouches_for_no_stable_key() -> TestResult {
    let mut bench = Bench::new()?;
    bench.add("orders", Some("orders")).await?;
    bench.faults.wrap_publicly();
    let refused = bench.open().await.err().map(|error| error.to_string());
    assert!(refused.unwrap_or_default().contains("cannot vouch"));
    Ok(())
}
