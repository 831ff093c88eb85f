//! Keys of ours, and what certificates of providers say.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike as _, Days, Utc};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use saml::X509Certificate;
use secrecy::{ExposeSecret as _, SecretString};

use super::{RequestFault, SpKey};

/// Years for which a certificate of ours is valid. Providers pin it; a shorter one would stop sign-in without need.
const CERTIFICATE_YEARS: i32 = 10;
/// Bytes of an RSA modulus at least: 2048 bits.
const MIN_RSA_BYTES: usize = 256;

/// What a certificate says, for the admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is, as a distinguished name.
    pub subject: String,
    /// Its validity begins.
    pub not_before: DateTime<Utc>,
    /// Its validity ends. Metadata pins keys, so a response signed after that is accepted, and admins are warned.
    pub not_after: DateTime<Utc>,
    /// SHA-256 of it, in hexadecimal.
    pub fingerprint: String,
}

/// Reads a certificate in PEM, and checks that its key can verify what a provider signs.
///
/// # Errors
///
/// What is wrong, in words for an admin.
pub fn certificate_facts(pem: &str) -> Result<CertificateFacts, &'static str> {
    let certificate = usable_certificate(pem)?;
    Ok(CertificateFacts {
        subject: certificate.subject().to_owned(),
        not_before: certificate.not_before().into(),
        not_after: certificate.not_after().into(),
        fingerprint: hex::encode(certificate.fingerprint_sha256()),
    })
}

pub(super) fn usable_certificate(pem: &str) -> Result<X509Certificate, &'static str> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_not_pem| "it is not a certificate in PEM")?;
    usable_certificate_der(&der)
}

pub(super) fn usable_certificate_der(der: &[u8]) -> Result<X509Certificate, &'static str> {
    let certificate = X509Certificate::from_der(der)
        .map_err(|_unreadable| "it is not an X.509 certificate of an RSA, P-256 or P-384 key")?;
    let key = certificate.subject_public_key_info_der();
    if certificate.public_key().algorithm_family() == saml::PublicKeyAlgorithm::Rsa {
        let key = RsaPublicKey::from_der(key).map_err(|_rejected| "its RSA key cannot be used")?;
        if key.modulus_len() < MIN_RSA_BYTES {
            return Err("its RSA key is shorter than 2048 bits");
        }
    }
    Ok(certificate)
}

/// A certificate in PEM.
pub(super) fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let encoded = STANDARD.encode(der);
    let mut rest = encoded.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

impl SpKey {
    /// Makes an RSA key of 2048 bits with a self-signed certificate: what every provider can use, for signatures and for
    /// encryption. Takes a noticeable part of a second of computation.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers, or `common_name` is nothing that a certificate can hold.
    pub fn generate(common_name: &str, now: DateTime<Utc>) -> Result<Self, RequestFault> {
        let key =
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(|_chance| RequestFault::Random)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        // A provider's clock may be behind ours.
        let from = now.checked_sub_days(Days::new(1)).unwrap_or(now).date_naive();
        let month = u8::try_from(from.month()).unwrap_or(1);
        // The 29 February has no other years.
        let day = u8::try_from(from.day()).unwrap_or(1).min(28);
        params.not_before = rcgen::date_time_ymd(from.year(), month, day);
        params.not_after = rcgen::date_time_ymd(from.year() + CERTIFICATE_YEARS, month, day);
        let certificate = params.self_signed(&key).map_err(|_name| RequestFault::Key)?;
        Ok(Self { private_key_pem: SecretString::from(key.serialize_pem()), certificate_pem: pem(certificate.der()) })
    }

    /// Signs by RSA-SHA256 (RFC 8017 §8.2).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, RequestFault> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.private_key_pem.expose_secret().as_bytes())
            .map_err(|_unreadable| RequestFault::Key)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_rejected| RequestFault::Key)?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_unspecified| RequestFault::Key)?;
        Ok(signature)
    }

    /// The certificate as metadata and signatures hold it: Base64 without lines.
    pub(super) fn certificate_base64(&self) -> String {
        self.certificate_pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
    }

    /// Checks that key and certificate can be read and belong together; for keys that come from storage or from an admin.
    ///
    /// # Errors
    ///
    /// [`RequestFault::Key`].
    pub fn check(&self) -> Result<(), RequestFault> {
        let certificate = usable_certificate(&self.certificate_pem).map_err(|_unusable| RequestFault::Key)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.private_key_pem.expose_secret().as_bytes())
            .map_err(|_unreadable| RequestFault::Key)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_rejected| RequestFault::Key)?;
        let public = key.public_key().as_der().map_err(|_unspecified| RequestFault::Key)?;
        if public.as_ref() == certificate.subject_public_key_info_der() { Ok(()) } else { Err(RequestFault::Key) }
    }
}
