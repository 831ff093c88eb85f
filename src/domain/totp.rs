//! Codes of authenticator apps (RFC 6238): SHA-1, six digits, 30 seconds, which is what every app understands.

use std::time::Duration;

use secrecy::SecretString;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

/// Bytes of a secret: 160 bits, as RFC 4226 §4 recommends.
pub const SECRET_BYTES: usize = 20;
/// Seconds of one step.
const STEP_S: u64 = 30;
/// Steps that the clocks of server and phone may differ by, either way (RFC 6238 §5.2).
const SKEW_STEPS: u16 = 1;
/// Digits of a code.
const DIGITS: u8 = 6;

/// The secret that server and authenticator share.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// The secret of fresh random bytes.
    #[must_use]
    pub fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// The secret of bytes that were stored; `None` if they are not of its length.
    #[must_use]
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The secret as an app that has no camera is told it; `None` if it is not of our length and alphabet.
    #[must_use]
    pub fn from_base32(text: &str) -> Option<Self> {
        let secret = totp_rs::Secret::try_from_base32(text.trim()).ok()?;
        Self::from_stored(secret.as_bytes())
    }

    /// The code at a time.
    #[must_use]
    pub fn code(&self, now_s: i64) -> String {
        self.totp("", "").generate(u64::try_from(now_s).unwrap_or(0)).to_string()
    }

    /// The bytes, to be sealed.
    #[must_use]
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_vec())
    }

    /// The secret as it is typed into an app that has no camera (base32, RFC 4648 §6).
    #[must_use]
    pub fn base32(&self) -> SecretString {
        self.totp("", "").secret().to_base32().into()
    }

    /// The URI that a QR code carries. A colon ends the issuer in it, so names lose theirs.
    #[must_use]
    pub fn otpauth_uri(&self, issuer: &str, account: &str) -> Option<SecretString> {
        let plain = |name: &str| name.replace(':', " ");
        self.totp(&plain(issuer), &plain(account)).to_url().ok().map(SecretString::from)
    }

    /// The step whose code this is, now or one step around; `None` for a wrong code. That a code works once is the caller's
    /// business.
    #[must_use]
    pub fn matching_step(&self, code: &str, now_s: i64) -> Option<i64> {
        let now_s = u64::try_from(now_s).ok()?;
        self.totp("", "").check(code, now_s).and_then(|step| i64::try_from(step).ok())
    }

    fn totp(&self, issuer: &str, account: &str) -> Totp {
        totp(Algorithm::SHA1, DIGITS, self.0.as_slice())
            .with_issuer((!issuer.is_empty()).then(|| issuer.to_owned()))
            .with_account_name(account.to_owned())
            .build_noncompliant()
    }
}

/// How long the code of a time is shown from then on.
#[must_use]
pub fn until_next_step(now_s: i64) -> Duration {
    Duration::from_secs(STEP_S - u64::try_from(now_s).unwrap_or(0) % STEP_S)
}

fn totp(algorithm: Algorithm, digits: u8, secret: &[u8]) -> Builder {
    Builder::new()
        .with_algorithm(algorithm)
        .with_digits(digits)
        .with_skew(SKEW_STEPS)
        .with_step_duration(STEP_S)
        .with_secret(secret.to_vec())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// RFC 6238, appendix B: time, then the eight digits under SHA-1, SHA-256 and SHA-512.
    const VECTORS: [(u64, &str, &str, &str); 6] = [
        (59, "94287082", "46119246", "90693936"),
        (1_111_111_109, "07081804", "68084774", "25091201"),
        (1_111_111_111, "14050471", "67062674", "99943326"),
        (1_234_567_890, "89005924", "91819424", "93441116"),
        (2_000_000_000, "69279037", "90698825", "38618901"),
        (20_000_000_000, "65353130", "77737706", "47863826"),
    ];

    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        let seed = |n: usize| "1234567890".repeat(7).as_bytes()[..n].to_vec();
        for (time, sha1, sha256, sha512) in VECTORS {
            for (algorithm, n, code) in
                [(Algorithm::SHA1, 20, sha1), (Algorithm::SHA256, 32, sha256), (Algorithm::SHA512, 64, sha512)]
            {
                let generated = totp(algorithm, 8, &seed(n)).build_noncompliant().generate(time).to_string();
                assert_eq!(generated, code, "{algorithm:?} at {time}");
            }
            // Six digits are the last six of eight.
            let secret = TotpSecret::from_stored(&seed(20)).expect("20 bytes");
            let step = i64::try_from(time / 30).expect("a step");
            assert_eq!(secret.matching_step(&sha1[2..], i64::try_from(time).expect("a time")), Some(step));
        }
    }

    #[test]
    fn a_code_holds_one_step_around_and_no_more() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        // 1111111109 is in step 37037036, whose code is 081804.
        let at = |now_s: i64| secret.matching_step("081804", now_s);
        let step = 37_037_036;
        assert_eq!(
            [at(step * 30 - 31), at(step * 30 - 30), at(step * 30 + 59), at(step * 30 + 60)],
            [None, Some(step), Some(step), None]
        );
    }

    #[test]
    fn an_app_that_was_told_the_secret_shows_the_code() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let told = secrecy::ExposeSecret::expose_secret(&secret.base32()).to_owned();
        let app = TotpSecret::from_base32(&format!(" {told}\n")).expect("a secret");
        assert_eq!(app.code(1_111_111_109), "081804");
        assert!(TotpSecret::from_base32("JBSWY3DPEHPK3PXP").is_none(), "of another length");
        assert_eq!((until_next_step(59).as_secs(), until_next_step(60).as_secs()), (1, 30));
    }

    #[test]
    fn what_is_not_six_digits_is_no_code() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        for text in ["", "81804", "0081804", "+81804", "08180４", "O81804", "081804 "] {
            assert_eq!(secret.matching_step(text, 1_111_111_109), None, "{text:?}");
        }
        assert_eq!(secret.matching_step("081804", -1), None);
    }

    #[test]
    fn the_uri_names_issuer_and_account() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let uri = secret.otpauth_uri("Acme: East & Sons", "ann+a@acme.test").expect("a URI");
        let uri = uri.expose_secret();
        assert!(uri.starts_with("otpauth://totp/Acme"), "{uri}");
        let base32 = secret.base32();
        assert_eq!(base32.expose_secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(uri.contains(&format!("secret={}", base32.expose_secret())), "{uri}");
        let read = Totp::from_url(uri).expect("our own URI reads back");
        assert_eq!((read.issuer(), read.account_name()), (Some("Acme  East & Sons"), "ann+a@acme.test"));
        assert_eq!((read.digits(), read.step(), read.algorithm()), (6, 30, Algorithm::SHA1));
    }
}
