//! The file keystore as a KMS.

use std::fs;

use futures_lite::future::block_on;
use tempfile::TempDir;

use super::*;

use crate::kms::keystore::{create_key_file, lock_file};
use crate::testing::kms_faults::{FaultProvider, KEK, KekChange, Outage, THROTTLED_FOR, check};
use crate::testing::{Faults, FaultyKms};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A keystore with KEK `payments` in a folder of its own.
struct Fixture {
    folder: TempDir,
    started: Instant,
    looks: u32,
}

impl Fixture {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let fixture = Self {
            folder: TempDir::new()?,
            started: Instant::now(),
            looks: 0,
        };
        create_key_file(&fixture.path("master.key"))?;
        let lock = lock_file(&fixture.path("keystore.json"))?;
        let mut keystore = OpenKeystore::create(fixture.source().read()?)?;
        keystore.add("payments")?;
        lock.replace(&keystore.to_json()?)?;
        Ok(fixture)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn source(&self) -> MasterKeySource {
        MasterKeySource::File(self.path("master.key"))
    }

    fn open(&self) -> Result<FileKms, KeystoreError> {
        FileKms::open(&self.path("keystore.json"), &self.source())
    }

    fn edit(
        &self,
        edit: impl FnOnce(&mut OpenKeystore) -> Result<(), KeystoreError>,
    ) -> Result<(), KeystoreError> {
        let lock = lock_file(&self.path("keystore.json"))?;
        let bytes = read_file(lock.path())?.0;
        let mut keystore = Keystore::parse(&bytes)?.authenticate(self.source().read()?)?;
        edit(&mut keystore)?;
        Ok(lock.replace(&keystore.to_json()?)?)
    }

    /// Makes `kms` look at its file as if a second had passed since the last time.
    fn look(&mut self, kms: &FileKms) {
        self.looks += 1;
        kms.follow_file(self.started + Duration::from_secs(1) * self.looks);
    }
}

/// A keystore file behind the layer of faults: itself it has no outages, since what was read last stays in force.
struct FileProvider {
    fixture: Fixture,
    file: Arc<FileKms>,
    layer: Arc<FaultyKms>,
    faults: Faults,
}

impl FileProvider {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let fixture = Fixture::new()?;
        let file = Arc::new(fixture.open()?);
        let (layer, faults) = FaultyKms::around(Arc::clone(&file) as Arc<dyn Kms>);
        Ok(Self {
            fixture,
            file,
            layer: Arc::new(layer),
            faults,
        })
    }
}

impl FaultProvider for FileProvider {
    fn kms(&mut self) -> Arc<dyn Kms> {
        self.fixture.look(&self.file);
        Arc::clone(&self.layer) as Arc<dyn Kms>
    }

    fn change(&mut self, change: KekChange) {
        let edited = self.fixture.edit(|keystore| match change {
            KekChange::Rotate => keystore.rotate(KEK).map(drop),
            KekChange::DisableFirst => keystore.disable(KEK, Some(1)).map(drop),
            KekChange::EnableFirst => keystore.enable(KEK, Some(1)).map(drop),
            KekChange::DestroyFirst => keystore.destroy(KEK, Some(1)).map(drop),
            KekChange::DisableAll => keystore.disable(KEK, None).map(drop),
        });
        assert!(edited.is_ok(), "{change:?}: {edited:?}");
    }

    fn begin(&mut self, outage: Outage) -> bool {
        self.faults.refuse(Some(match outage {
            Outage::Unreachable => KmsError::Unavailable("for the test".to_owned()),
            Outage::CredentialsRefused => KmsError::CredentialsRefused(String::new()),
            Outage::Throttled => KmsError::Throttled { after: THROTTLED_FOR },
        }));
        true
    }

    fn end_outage(&mut self) {
        self.faults.refuse(None);
    }
}

/// KMS-2, KMS-3
#[test]
fn the_table_of_faults() -> TestResult {
    Ok(block_on(check(&mut FileProvider::new()?))?)
}

/// FILE-KMS-1: a change is followed although nobody calls.
#[tokio::test]
async fn the_file_is_followed_in_the_background() -> TestResult {
    let fixture = Fixture::new()?;
    let kms = Arc::new(fixture.open()?);
    let following = tokio::spawn({
        let kms = Arc::clone(&kms);
        async move { kms.background().await }
    });
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    while kms.content().current_version("payments") != Ok(2) {
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        assert!(
            fixture.started.elapsed() < Duration::from_secs(10),
            "it is not followed"
        );
    }
    following.abort();
    Ok(())
}

fn generate(kms: &FileKms) -> Result<GeneratedDek, KmsError> {
    block_on(kms.generate_dek("payments"))
}

fn version(kms: &FileKms) -> Result<Option<Vec<u8>>, KmsError> {
    block_on(kms.current_version("payments"))
}

#[test]
fn a_dek_made_by_another_implementation_is_unwrapped() -> TestResult {
    let folder = TempDir::new()?;
    let (path, key) = (folder.path().join("keystore.json"), folder.path().join("key"));
    fs::write(&path, include_str!("../../../tests/vectors/keystore/key.json"))?;
    fs::write(&key, [0x11; 32])?;
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let kms = FileKms::open(&path, &MasterKeySource::File(key))?;
    let hex = include_str!("../../../tests/vectors/keystore/wrapped_dek.hex").trim();
    let wrapped: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16))
        .collect::<Result<_, _>>()?;
    assert_eq!(block_on(kms.unwrap_dek(&wrapped))?.expose(), &[0xdd; 32]);
    // The prefix says what was asked of whom, the blob is authenticated together with it.
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        let error = block_on(kms.unwrap_dek(&altered)).err();
        assert!(
            matches!(
                error,
                Some(KmsError::Malformed | KmsError::KekNotFound | KmsError::KekVersionNotFound(_))
            ),
            "byte {at}: {error:?}"
        );
        assert!(block_on(kms.unwrap_dek(&wrapped[..at])).is_err(), "length {at}");
    }
    Ok(())
}

#[test]
fn generated_deks_name_their_kek_and_come_back() -> TestResult {
    let kms = Fixture::new()?.open()?;
    let generated = generate(&kms)?;
    let parsed = WrappedDek::parse(&generated.wrapped)?;
    assert_eq!(parsed.provider, 1);
    assert_eq!(parsed.authority, kms.authority);
    assert_eq!(
        (parsed.kek, parsed.version),
        (b"payments".as_slice(), [1].as_slice())
    );
    assert_eq!(parsed.blob.len(), 60);
    let names = kms.kek_names();
    assert!(
        names
            .id("payments")
            .is_some_and(|id| id.matches(&generated.wrapped))
    );
    assert!(block_on(kms.unwrap_dek(&generated.wrapped))?.expose() == generated.dek.expose());
    assert!(generate(&kms)?.dek.expose() != generated.dek.expose());
    assert_eq!(
        block_on(kms.generate_dek("other")).err(),
        Some(KmsError::KekNotFound)
    );
    Ok(())
}

/// A record that names another version was altered, or the keystore is an old one: it is told from a KEK that is not
/// there.
#[test]
fn a_version_that_never_was_is_not_a_kek_that_is_not_there() -> TestResult {
    let kms = Fixture::new()?.open()?;
    let generated = generate(&kms)?;
    let parsed = WrappedDek::parse(&generated.wrapped)?;
    let naming = |kek: &'static [u8], version: &'static [u8]| {
        let mut wrapped = Vec::new();
        WrappedDek {
            kek,
            version,
            ..parsed
        }
        .write(&mut wrapped)?;
        Ok::<_, WrappedDekError>(block_on(kms.unwrap_dek(&wrapped)).err())
    };
    assert_eq!(
        naming(b"payments", &[1, 0])?,
        Some(KmsError::KekVersionNotFound("256".to_owned()))
    );
    assert_eq!(naming(b"absent", &[1])?, Some(KmsError::KekNotFound));
    assert!(block_on(kms.unwrap_dek(&generated.wrapped)).is_ok());
    Ok(())
}

#[test]
fn another_keystore_is_not_asked() -> TestResult {
    let (one, other) = (Fixture::new()?.open()?, Fixture::new()?.open()?);
    let generated = generate(&one)?;
    assert_eq!(
        block_on(other.unwrap_dek(&generated.wrapped)).err(),
        Some(KmsError::KekNotFound)
    );
    Ok(())
}

#[test]
fn changes_of_the_file_are_followed() -> TestResult {
    let mut fixture = Fixture::new()?;
    let kms = fixture.open()?;
    let first = generate(&kms)?;

    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    fixture.look(&kms);
    assert_eq!(version(&kms), Ok(Some(vec![2])));
    let second = generate(&kms)?;
    assert_eq!(WrappedDek::parse(&second.wrapped)?.version, [2]);
    assert!(block_on(kms.unwrap_dek(&first.wrapped)).is_ok());

    fixture.edit(|keystore| keystore.disable("payments", Some(1)).map(drop))?;
    fixture.look(&kms);
    assert_eq!(
        block_on(kms.unwrap_dek(&first.wrapped)).err(),
        Some(KmsError::KekDisabled)
    );
    assert!(block_on(kms.unwrap_dek(&second.wrapped)).is_ok());

    fixture.edit(|keystore| keystore.destroy("payments", Some(1)).map(drop))?;
    fixture.edit(|keystore| keystore.disable("payments", None).map(drop))?;
    fixture.look(&kms);
    assert_eq!(
        block_on(kms.unwrap_dek(&first.wrapped)).err(),
        Some(KmsError::KekDestroyed)
    );
    assert_eq!(generate(&kms).err(), Some(KmsError::KekDisabled));
    assert_eq!(version(&kms), Err(KmsError::KekDisabled));
    Ok(())
}

/// FILE-KMS-2
#[test]
fn a_file_that_cannot_be_used_changes_nothing() -> TestResult {
    let mut fixture = Fixture::new()?;
    let kms = fixture.open()?;
    let path = fixture.path("keystore.json");
    let old = fs::read(&path)?;
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    fixture.look(&kms);
    let good = fs::read(&path)?;
    let altered = String::from_utf8(good.clone())?.replace("decrypt-only", "disabled");
    let stranger = fs::read(Fixture::new()?.path("keystore.json"))?;
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("cut", good[..good.len() / 2].to_vec()),
        ("altered", altered.into_bytes()),
        ("another keystore", stranger),
        ("an older revision", old),
        ("too large", vec![b' '; 9 * 1024 * 1024]),
    ] {
        fs::write(&path, bytes)?;
        fixture.look(&kms);
        assert_eq!(version(&kms), Ok(Some(vec![2])), "{what}");
        assert!(generate(&kms).is_ok(), "{what}");
    }
    fs::remove_file(&path)?;
    fixture.look(&kms);
    assert_eq!(version(&kms), Ok(Some(vec![2])));
    // And it is followed again as soon as it is whole.
    fs::write(&path, &good)?;
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    fixture.look(&kms);
    assert_eq!(version(&kms), Ok(Some(vec![3])));
    Ok(())
}

/// Two administrators change two copies: neither undoes what the other did.
#[test]
fn an_equal_revision_with_other_content_changes_nothing() -> TestResult {
    let mut fixture = Fixture::new()?;
    let path = fixture.path("keystore.json");
    let common = fs::read(&path)?;
    fixture.edit(|keystore| keystore.disable("payments", None).map(drop))?;
    let disabled = fs::read(&path)?;
    fs::write(&path, common)?;
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    let rotated = fs::read(&path)?;
    fs::write(&path, &disabled)?;

    let kms = fixture.open()?;
    fs::write(&path, &rotated)?;
    fixture.look(&kms);
    assert_eq!(version(&kms), Err(KmsError::KekDisabled), "it was enabled anew");
    assert!(kms.is_stale());
    // The same content again is none the worse, and a higher revision counts.
    fs::write(&path, &disabled)?;
    fixture.look(&kms);
    assert_eq!(version(&kms), Err(KmsError::KekDisabled));
    assert!(!kms.is_stale());
    fs::write(&path, &rotated)?;
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    fixture.look(&kms);
    assert_eq!(version(&kms), Ok(Some(vec![3])));
    Ok(())
}

#[test]
fn a_file_that_does_not_open_is_named() -> TestResult {
    let fixture = Fixture::new()?;
    let path = fixture.path("keystore.json");
    let good = fs::read(&path)?;
    let reason = |source: &MasterKeySource| {
        let error = FileKms::open(&path, source).err().map(|error| error.to_string());
        error.unwrap_or_default()
    };
    let stranger = Fixture::new()?;
    let wrong = reason(&stranger.source());
    let repeated = String::from_utf8(good)?.replace("\"payments\":", "\"payments\": [], \"payments\":");
    fs::write(&path, repeated)?;
    let repeated = reason(&fixture.source());
    for (reason, what) in [
        (wrong, "name the one that it was created with"),
        (repeated, "repeated name `payments`"),
    ] {
        assert!(reason.starts_with(&path.display().to_string()), "{reason}");
        assert!(reason.contains(what), "{reason}");
    }
    Ok(())
}

/// A copy that was changed apart and overtook the file in force: what it lacks would be lost.
#[test]
fn a_higher_revision_that_lacks_a_key_changes_nothing() -> TestResult {
    let mut fixture = Fixture::new()?;
    let path = fixture.path("keystore.json");
    let common = fs::read(&path)?;
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    let newest = fs::read(&path)?;
    let kms = fixture.open()?;
    fs::write(&path, common)?;
    fixture.edit(|keystore| keystore.add("orders"))?;
    fixture.edit(|keystore| keystore.add("refunds"))?;
    fixture.look(&kms);
    assert!(kms.is_stale());
    assert_eq!(version(&kms), Ok(Some(vec![2])));
    assert_eq!(
        kms.content().current_version("orders"),
        Err(KmsError::KekNotFound)
    );
    // The advice that the log gives.
    fs::write(&path, newest)?;
    fixture.edit(|keystore| keystore.add("orders"))?;
    fixture.look(&kms);
    assert!(!kms.is_stale());
    assert_eq!(version(&kms), Ok(Some(vec![2])));
    assert_eq!(kms.content().current_version("orders"), Ok(1));
    Ok(())
}

#[test]
fn the_file_is_looked_at_now_and_then_only() -> TestResult {
    let mut fixture = Fixture::new()?;
    let kms = fixture.open()?;
    fixture.look(&kms);
    fixture.edit(|keystore| keystore.rotate("payments").map(drop))?;
    let last = fixture.started + Duration::from_secs(1);
    kms.follow_file(last + LOOK_INTERVAL - Duration::from_millis(1));
    assert_eq!(kms.content().current_version("payments"), Ok(1));
    kms.follow_file(last + LOOK_INTERVAL);
    assert_eq!(kms.content().current_version("payments"), Ok(2));
    Ok(())
}

#[test]
fn versions_are_shortest_big_endian() {
    for (number, bytes) in [
        (1, &[1][..]),
        (255, &[255]),
        (256, &[1, 0]),
        (u32::MAX, &[255; 4]),
    ] {
        assert_eq!(shortest(&u32::to_be_bytes(number)), bytes);
        assert_eq!(version_number(bytes), Some(number));
    }
    for bytes in [&[][..], &[0], &[0, 1], &[1, 0, 0, 0, 0]] {
        assert_eq!(version_number(bytes), None);
    }
}
