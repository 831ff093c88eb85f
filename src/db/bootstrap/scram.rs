//! Password verifiers as PostgreSQL stores them (SCRAM-SHA-256, RFC 5802 and 7677), made here so that a password is
//! never part of a statement that a server may log.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

/// PostgreSQL's own default for `scram_iterations`.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// A verifier for `password` under a fresh salt. The password must be printable ASCII: it is not normalised (SASLprep).
///
/// # Errors
/// Where the system gives no random bytes.
pub(super) fn verifier(password: &SecretString) -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut salt = [0_u8; 16];
    rand::fill(&mut salt)?;
    Ok(verifier_with_salt(password.expose_secret().as_bytes(), &salt))
}

fn verifier_with_salt(password: &[u8], salt: &[u8]) -> String {
    let mut salted = [0_u8; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key.as_ref()),
        STANDARD.encode(server_key.as_ref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: with this salt and password the client's proof and the server's signature are known; both
    /// follow from the two keys in the verifier.
    #[test]
    fn the_keys_fit_the_exchange_in_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = verifier_with_salt(b"pencil", &salt);
        let keys = verifier.strip_prefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$").unwrap();
        let (stored_key, server_key) = keys.split_once(':').unwrap();
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap());
            hmac::sign(&key, message.as_bytes())
        };
        assert_eq!(STANDARD.encode(sign(server_key)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");

        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> =
            proof.iter().zip(sign(stored_key).as_ref()).map(|(proof, signature)| proof ^ signature).collect();
        assert_eq!(STANDARD.encode(digest::digest(&digest::SHA256, &client_key)), stored_key);
    }

    #[test]
    fn every_verifier_has_a_salt_of_its_own() {
        let password = SecretString::from("secret");
        assert_ne!(verifier(&password).unwrap(), verifier(&password).unwrap());
    }
}
