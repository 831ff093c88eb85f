//! argon2id on memory that is used again.
//!
//! A hash needs 19 MiB. To take them from the system and give them back each time costs some 5,000 page faults, which slow the
//! hash and hold up every other thread that needs a page at that moment; so a hashing thread keeps its memory while it has work.

use argon2::password_hash::phc::{Output, Salt};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};

use super::hasher::HasherError;
use crate::clients::kms::random;

/// Memory of one hash in KiB, passes, lanes: OWASP's first choice for argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Bytes of salt and of hash (RFC 9106 §3.1, §4).
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Memory of a hashing thread.
#[derive(Default)]
pub(super) struct Memory {
    blocks: Vec<Block>,
}

impl Memory {
    /// Whether there is memory to give back.
    pub(super) fn is_held(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Returns the memory to the system.
    pub(super) fn give_back(&mut self) {
        self.blocks = Vec::new();
    }

    /// Hashes under the parameters of today and a fresh salt, in PHC form.
    pub(super) fn hash(&mut self, password: &[u8]) -> Result<String, HasherError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(failed)?;
        let salt: [u8; SALT_BYTES] = random().map_err(failed)?;
        let mut out = [0_u8; HASH_BYTES];
        self.fill(Algorithm::Argon2id, Version::V0x13, &params, password, &salt, &mut out)?;
        let phc = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&params).try_into().map_err(failed)?,
            salt: Some(Salt::new(&salt).map_err(failed)?),
            hash: Some(Output::new(&out).map_err(failed)?),
        };
        Ok(phc.to_string())
    }

    /// Whether the password has this hash, which brings its own parameters.
    pub(super) fn verify(&mut self, password: &[u8], phc: &str) -> Result<bool, HasherError> {
        let phc = PasswordHash::new(phc).map_err(failed)?;
        let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else { return Err(HasherError::Failed) };
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(failed)?;
        let version = phc.version.map_or(Ok(Version::default()), Version::try_from).map_err(failed)?;
        let params = Params::try_from(&phc).map_err(failed)?;
        let mut out = vec![0_u8; expected.as_bytes().len()];
        self.fill(algorithm, version, &params, password, salt.as_ref(), &mut out)?;
        Ok(aws_lc_rs::constant_time::verify_slices_are_equal(&out, expected.as_bytes()).is_ok())
    }

    fn fill(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), HasherError> {
        let n_blocks = params.block_count();
        if self.blocks.len() < n_blocks {
            self.blocks.resize(n_blocks, Block::default());
        }
        let blocks = self.blocks.get_mut(..n_blocks).ok_or(HasherError::Failed)?;
        Argon2::new(algorithm, version, params.clone())
            .hash_password_into_with_memory(password, salt, out, blocks)
            .map_err(failed)
    }
}

fn failed<E>(_cause: E) -> HasherError {
    HasherError::Failed
}
