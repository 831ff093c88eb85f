//! The master key: wraps tenants' data keys, and is never in the database.
//!
//! The local provider keeps it in a file that is made on first start and readable by its owner alone, or takes it from
//! `BUSINESSOS_MASTER_KEY` (64 hexadecimal digits).

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use secrecy::SecretString;
use zeroize::{Zeroize, Zeroizing};

use crate::domain::envelope::{self, EnvelopeError, KEY_BYTES, SALT_BYTES, SecretKey, SecretPlace};
use crate::domain::ids::TenantId;

/// Environment variable that holds the master key instead of a file.
pub const MASTER_KEY_VARIABLE: &str = "BUSINESSOS_MASTER_KEY";

/// The master key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// Not 64 hexadecimal digits.
    #[error("{0}: expected 64 hexadecimal digits")]
    Malformed(String),
    /// Others than its owner may read the file.
    #[error("{}: readable by others (mode {mode:o}); chmod 600 it", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine has no randomness.
    #[error("no random bytes")]
    Random,
}

/// The key that wraps tenants' data keys.
pub struct MasterKey {
    key: SecretKey,
    fingerprint: String,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.fingerprint)
    }
}

impl MasterKey {
    /// Takes the key from `from_environment` if it is given, else from `<data_dir>/master.key`, which is made if it is missing.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn load(data_dir: &Path, from_environment: Option<String>) -> Result<Self, MasterKeyError> {
        if let Some(text) = from_environment {
            let text = Zeroizing::new(text);
            return Self::parse(&text, MASTER_KEY_VARIABLE);
        }
        let path = data_dir.join("master.key");
        let file_error = |source| MasterKeyError::File { path: path.clone(), source };
        match std::fs::metadata(&path) {
            Ok(metadata) => {
                let mode = metadata.mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(MasterKeyError::Readable { path, mode });
                }
                let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(file_error)?);
                Self::parse(&text, &path.display().to_string())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(data_dir).map_err(file_error)?;
                let key = random::<KEY_BYTES>().map(Zeroizing::new)?;
                let text = Zeroizing::new(hex::encode(key.as_slice()));
                let mut options = std::fs::OpenOptions::new();
                let made = options.write(true).create_new(true).mode(0o600).open(&path);
                match made {
                    Ok(mut file) => {
                        writeln!(file, "{}", text.as_str()).and_then(|()| file.sync_all()).map_err(file_error)?;
                        tracing::info!(path = %path.display(), "made the master key: keep a copy in a safe place");
                    }
                    // Another process was first: its key counts.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        return Self::load(data_dir, None);
                    }
                    Err(error) => return Err(file_error(error)),
                }
                Self::parse(&text, &path.display().to_string())
            }
            Err(error) => Err(file_error(error)),
        }
    }

    fn parse(text: &str, origin: &str) -> Result<Self, MasterKeyError> {
        let mut bytes =
            hex::decode(text.trim()).map_err(|_hex: hex::FromHexError| MasterKeyError::Malformed(origin.to_owned()))?;
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice());
        bytes.zeroize();
        let key = key.map_err(|_length: std::array::TryFromSliceError| MasterKeyError::Malformed(origin.to_owned()))?;
        let key = Zeroizing::new(key);
        let hash = digest::digest(&digest::SHA256, &[b"businessos master key fingerprint".as_slice(), &*key].concat());
        let fingerprint = hex::encode(hash.as_ref().get(..8).unwrap_or_default());
        Ok(Self { key, fingerprint })
    }

    /// Names the key without telling it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Wraps a tenant's data key.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn wrap(&self, tenant: TenantId, version: i32, data_key: &SecretKey) -> Result<Vec<u8>, EnvelopeError> {
        let salt = random::<SALT_BYTES>().map_err(|_random: MasterKeyError| EnvelopeError)?;
        envelope::seal(&self.key, salt, &place(tenant, version), data_key.as_slice())
    }

    /// Unwraps a tenant's data key.
    ///
    /// # Errors
    /// [`EnvelopeError`] for another master key, tenant or version.
    pub fn unwrap_key(&self, tenant: TenantId, version: i32, wrapped: &[u8]) -> Result<SecretKey, EnvelopeError> {
        let bytes = envelope::open(&self.key, &place(tenant, version), wrapped)?;
        let bytes: [u8; KEY_BYTES] =
            bytes.as_slice().try_into().map_err(|_length: std::array::TryFromSliceError| EnvelopeError)?;
        Ok(Zeroizing::new(bytes))
    }

    /// The password of a database role, the same on every node that has this key.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn role_password(&self, role: &str) -> Result<SecretString, EnvelopeError> {
        let derived = envelope::derive_key(&self.key, role.as_bytes(), "database role password")?;
        Ok(hex::encode(derived.as_slice()).into())
    }
}

fn place(tenant: TenantId, version: i32) -> SecretPlace<'static> {
    SecretPlace {
        tenant,
        purpose: "data-key",
        table: "platform.data_keys",
        column: "wrapped",
        row: "",
        key_version: version,
    }
}

/// Fresh random bytes.
///
/// # Errors
/// [`MasterKeyError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], MasterKeyError> {
    let mut bytes = [0u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_random: aws_lc_rs::error::Unspecified| MasterKeyError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = MasterKey::load(dir.path(), None).expect("made");
        let second = MasterKey::load(dir.path(), None).expect("read");
        assert_eq!(first.fingerprint(), second.fingerprint());
        let mode = std::fs::metadata(dir.path().join("master.key")).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        MasterKey::load(dir.path(), None).expect("made");
        let path = dir.path().join("master.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(matches!(MasterKey::load(dir.path(), None), Err(MasterKeyError::Readable { .. })));
    }

    #[test]
    fn a_wrapped_key_opens_for_its_tenant_and_master_key_only() {
        let master = MasterKey::parse(&"ab".repeat(32), "test").expect("a key");
        let other = MasterKey::parse(&"cd".repeat(32), "test").expect("a key");
        let tenant = Uuid::from_u128(1).into();
        let wrapped = master.wrap(tenant, 1, &Zeroizing::new([5; 32])).expect("wrapped");
        assert_eq!(master.unwrap_key(tenant, 1, &wrapped).expect("opens").as_slice(), [5; 32]);
        assert!(master.unwrap_key(Uuid::from_u128(2).into(), 1, &wrapped).is_err());
        assert!(master.unwrap_key(tenant, 2, &wrapped).is_err());
        assert!(other.unwrap_key(tenant, 1, &wrapped).is_err());
    }

    #[test]
    fn malformed_keys_are_refused() {
        for bad in ["", "xyz", &"ab".repeat(31)] {
            assert!(matches!(MasterKey::parse(bad, "test"), Err(MasterKeyError::Malformed(_))), "{bad}");
        }
    }
}
