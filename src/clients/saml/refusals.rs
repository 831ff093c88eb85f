//! What the crate's errors are to us.

use saml::Error;

use super::SamlRefusal;

/// The refusal for an error of the crate. `encrypted`: what went wrong after the signature of a response around an encrypted
/// assertion was found good is one refusal, whatever it was, so that nothing is told about the inside.
pub(super) fn refusal(error: &Error, encrypted: bool) -> SamlRefusal {
    match error {
        Error::DecryptFailed { .. } => SamlRefusal::DecryptionFailed,
        Error::XmlParse(_) | Error::Base64Decode | Error::SchemaViolation { .. } | Error::X509Parse if encrypted => {
            SamlRefusal::DecryptionFailed
        }
        Error::SignatureMissing => SamlRefusal::Unsigned,
        Error::SignatureVerification { reason: "no bearer SubjectConfirmation" }
        | Error::HolderOfKeyConfirmation { .. } => SamlRefusal::NotBearer,
        Error::SignatureVerification { .. } | Error::ReferenceResolution => SamlRefusal::SignatureInvalid,
        Error::DisallowedAlgorithm { .. } | Error::DisallowedTransform { .. } => SamlRefusal::AlgorithmRefused,
        Error::IssuerMismatch { .. } => SamlRefusal::IssuerMismatch,
        Error::DestinationMismatch => SamlRefusal::DestinationMismatch,
        Error::RecipientMismatch => SamlRefusal::RecipientMismatch,
        Error::AudienceMismatch => SamlRefusal::AudienceMismatch,
        Error::InResponseToMismatch => SamlRefusal::InResponseToMismatch,
        Error::UnsolicitedNotAllowed => SamlRefusal::Unsolicited,
        Error::NotYetValid => SamlRefusal::NotYetValid,
        Error::Expired => SamlRefusal::Expired,
        Error::StatusNotSuccess { .. } => SamlRefusal::StatusNotSuccess,
        Error::NameIdSpQualifierMismatch { .. } => SamlRefusal::UnusableClaims,
        Error::InvalidConfiguration { .. } | Error::IdpTrustRootMismatch | Error::NoPeerSigningCert => {
            SamlRefusal::ConnectionUnusable
        }
        // The enum is not exhaustive; whatever else a version of the crate finds is a document that it does not like.
        _ => SamlRefusal::Malformed,
    }
}
