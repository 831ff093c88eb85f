//! What a response is worth: [`shape`] first, then the crate in its strictest reading, then what only we know.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use chrono::{DateTime, TimeDelta, Utc};
use saml::dsig::algorithms::{C14nAlgorithm, DigestAlgorithm, PeerCryptoPolicy, SignatureAlgorithm};
use saml::sp::LoginTrackerPayload;
use saml::{
    ConsumeResponse, DataEncryptionAlgorithm, Error, Identity, IdpDescriptor, KeyPair, KeyTransportAlgorithm,
    LoginTracker, OaepDigest, ReplayCache, ReplayEntry, ReplayMode, ServiceProviderConfig, SpWantSigned,
    SsoResponseBinding, SsoResponseEndpoint,
};
use secrecy::ExposeSecret as _;

use super::keys::usable_certificate;
use super::refusals::refusal;
use super::shape::Shape;
use super::wire::is_xml_character;
use super::{Expectation, IdentityProvider, SamlRefusal, ServiceProvider, VerifiedAssertion, shape, tree, wire};

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(60);
/// Assertions are valid for an hour at most at the providers in use; longer than this, and their ids fill the memory of replays.
const MAX_VALIDITY: TimeDelta = TimeDelta::hours(24);
/// Characters of a name or of the name of an attribute at most.
const MAX_NAME: usize = 1024;

/// See [`SamlVerifier::verify`](super::SamlVerifier::verify).
pub(super) fn verify(
    sp: &ServiceProvider,
    idp: &IdentityProvider,
    response_base64: &str,
    expect: &Expectation<'_>,
) -> Result<VerifiedAssertion, SamlRefusal> {
    let message = wire::message(response_base64)?;
    let root = tree::parse(&message, tree::Kind::Message).map_err(|_why| SamlRefusal::NotXml)?;
    let shape = shape::check(&root)?;
    if expect.want_encrypted && !shape.encrypted {
        return Err(SamlRefusal::NotEncrypted);
    }
    // What is encrypted is opened only when the provider's signature is around it: then nobody else can have us decrypt
    // something and watch how that goes.
    if shape.encrypted && !shape.response_signed {
        return Err(SamlRefusal::EncryptedButResponseUnsigned);
    }
    if !shape.response_signed && !shape.assertion_signed {
        return Err(SamlRefusal::Unsigned);
    }
    // The crate takes a response without a destination; a signed one must have it (saml-bindings §3.5.5.2), all others have.
    if root.attribute("Destination") != Some(sp.acs_url.as_str()) {
        return Err(SamlRefusal::DestinationMismatch);
    }
    let identity = consume(sp, idp, message.as_bytes(), expect, shape)?;
    believed(&identity, expect.now)
}

/// Has the crate check everything; with each of our keys in turn where the assertion is encrypted.
fn consume(
    sp: &ServiceProvider,
    idp: &IdentityProvider,
    message: &[u8],
    expect: &Expectation<'_>,
    shape: Shape,
) -> Result<Identity, SamlRefusal> {
    let idp = descriptor(idp)?;
    let tracker = expect.request_id.map(|request_id| tracker(sp, &idp, request_id, expect.now)).transpose()?;
    let keys: Vec<Option<KeyPair>> = if shape.encrypted {
        sp.keys
            .iter()
            .map(|key| KeyPair::from_pkcs8_pem(key.private_key_pem.expose_secret().as_bytes()).map(Some))
            .collect::<Result<_, _>>()
            .map_err(|_unreadable| SamlRefusal::ConnectionUnusable)?
    } else {
        vec![None]
    };
    let mut last = SamlRefusal::DecryptionFailed;
    for key in keys {
        let provider = saml::ServiceProvider::new(config(sp, key, expect, shape))
            .map_err(|_config| SamlRefusal::ConnectionUnusable)?;
        match provider.consume_response(input(sp, &idp, message, tracker.as_ref(), expect.now)) {
            Ok(identity) => return Ok(identity),
            // Perhaps it was encrypted for the next key.
            Err(Error::DecryptFailed { .. }) => last = SamlRefusal::DecryptionFailed,
            Err(error) => return Err(refusal(&error, shape.encrypted)),
        }
    }
    Err(last)
}

fn input<'a>(
    sp: &'a ServiceProvider,
    idp: &'a IdpDescriptor,
    message: &'a [u8],
    tracker: Option<&'a LoginTracker>,
    now: DateTime<Utc>,
) -> ConsumeResponse<'a> {
    ConsumeResponse {
        idp,
        peer_crypto_policy: None,
        saml_response: message,
        binding: SsoResponseBinding::HttpPost,
        relay_state: None,
        tracker,
        expected_destination: &sp.acs_url,
        now: now.into(),
        clock_skew: SKEW,
        replay_cache: Some(&CallerRemembers),
        replay_mode: ReplayMode::All,
        holder_of_key_cert: None,
    }
}

/// Whoever calls us remembers every id, not only of assertions that ask for it; the crate wants to hear that.
struct CallerRemembers;

impl ReplayCache for CallerRemembers {
    fn check_and_insert(&self, _: &[ReplayEntry<'_>], _: std::time::SystemTime) -> Result<bool, Error> {
        Ok(true)
    }
}

/// Each signature that is there has to be good: one good signature does not make up for a broken one.
fn config(
    sp: &ServiceProvider,
    decryption_key: Option<KeyPair>,
    expect: &Expectation<'_>,
    shape: Shape,
) -> ServiceProviderConfig {
    ServiceProviderConfig {
        entity_id: sp.entity_id.clone(),
        acs: vec![acs(sp)],
        slo: Vec::new(),
        name_id_formats: Vec::new(),
        signing_key: None,
        decryption_key,
        sign_authn_requests: false,
        want_signed: SpWantSigned { response: shape.response_signed, assertions: shape.assertion_signed },
        allow_unsolicited: expect.request_id.is_none(),
        default_peer_crypto_policy: policy(),
        outbound_signature_algorithm: SignatureAlgorithm::RsaSha256,
        outbound_digest_algorithm: DigestAlgorithm::Sha256,
    }
}

fn acs(sp: &ServiceProvider) -> SsoResponseEndpoint {
    SsoResponseEndpoint::post(sp.acs_url.clone(), 0, true)
}

/// What is accepted, named one by one, so that no version of the crate adds to it. SHA-1 only inside of OAEP, where it needs no
/// resistance to collisions and where Entra and ADFS have nothing else; never for a signature or a digest. No PKCS #1 v1.5.
fn policy() -> PeerCryptoPolicy {
    PeerCryptoPolicy {
        allowed_signature_algorithms: vec![
            SignatureAlgorithm::RsaSha256,
            SignatureAlgorithm::RsaSha384,
            SignatureAlgorithm::RsaSha512,
            SignatureAlgorithm::EcdsaSha256,
            SignatureAlgorithm::EcdsaSha384,
        ],
        allowed_digest_algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Sha384, DigestAlgorithm::Sha512],
        allowed_c14n_algorithms: vec![C14nAlgorithm::ExclusiveCanonical],
        allowed_data_encryption_algorithms: vec![
            DataEncryptionAlgorithm::Aes128Gcm,
            DataEncryptionAlgorithm::Aes256Gcm,
            DataEncryptionAlgorithm::Aes128Cbc,
            DataEncryptionAlgorithm::Aes256Cbc,
        ],
        allowed_key_transport_algorithms: vec![KeyTransportAlgorithm::RsaOaep, KeyTransportAlgorithm::RsaOaepMgf1Sha1],
        allowed_oaep_digest_algorithms: vec![
            OaepDigest::Sha1,
            OaepDigest::Sha256,
            OaepDigest::Sha384,
            OaepDigest::Sha512,
        ],
        allowed_oaep_mgf1_digest_algorithms: vec![
            OaepDigest::Sha1,
            OaepDigest::Sha256,
            OaepDigest::Sha384,
            OaepDigest::Sha512,
        ],
    }
}

/// The provider with the keys that the connection stores, and no others. Whether their certificates have expired does not
/// matter: metadata pins keys, as is the practice, and an admin is warned of the date.
fn descriptor(idp: &IdentityProvider) -> Result<IdpDescriptor, SamlRefusal> {
    let signing_certs: Vec<_> = idp.certificates.iter().filter_map(|pem| usable_certificate(pem).ok()).collect();
    if signing_certs.is_empty() {
        return Err(SamlRefusal::ConnectionUnusable);
    }
    Ok(IdpDescriptor {
        entity_id: idp.entity_id.clone(),
        sso_endpoints: Vec::new(),
        slo_endpoints: Vec::new(),
        artifact_resolution_endpoints: Vec::new(),
        signing_certs,
        encryption_certs: Vec::new(),
        supported_name_id_formats: Vec::new(),
        want_authn_requests_signed: false,
        valid_until: None,
        cache_duration: None,
    })
}

/// The crate takes a request's id only from its own sealed record of a login; ours is in the database, so one is made on the
/// spot, with a key that lives as long.
fn tracker(
    sp: &ServiceProvider,
    idp: &IdpDescriptor,
    request_id: &str,
    now: DateTime<Utc>,
) -> Result<LoginTracker, SamlRefusal> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_unspecified| SamlRefusal::ConnectionUnusable)?;
    let payload = LoginTrackerPayload {
        request_id: request_id.to_owned(),
        issued_at: now.into(),
        idp_entity_id: idp.entity_id.clone(),
        acs_endpoint: acs(sp),
        requested_authn_context: None,
        requested_name_id_format: None,
        idp_signing_cert_fingerprints: idp
            .signing_certs
            .iter()
            .map(saml::X509Certificate::fingerprint_sha256)
            .collect(),
        idp_artifact_resolution_services: Vec::new(),
    };
    payload
        .seal(&key)
        .and_then(|sealed| LoginTracker::open(&sealed, &key, now.into(), SKEW))
        .map_err(|_sealing| SamlRefusal::ConnectionUnusable)
}

/// What the program may believe of what was signed.
fn believed(identity: &Identity, now: DateTime<Utc>) -> Result<VerifiedAssertion, SamlRefusal> {
    let not_on_or_after = DateTime::<Utc>::from(identity.not_on_or_after());
    if not_on_or_after - now > MAX_VALIDITY {
        return Err(SamlRefusal::ValidTooLong);
    }
    let name_id = identity.name_id();
    let is_name = |text: &str| {
        !text.is_empty()
            && text.chars().count() <= MAX_NAME
            && !text.chars().any(char::is_control)
            && text.trim() == text
    };
    if !is_name(&name_id.value) || !is_name(identity.assertion_id()) {
        return Err(SamlRefusal::UnusableClaims);
    }
    let mut attributes: Vec<(String, Vec<String>)> = Vec::new();
    for attribute in identity.attributes() {
        let is_twice = attributes.iter().any(|(name, _)| *name == attribute.name);
        let is_text = attribute.values.iter().all(|value| value.chars().all(is_xml_character));
        if is_twice || !is_text || !is_name(&attribute.name) {
            return Err(SamlRefusal::UnusableClaims);
        }
        attributes.push((attribute.name.clone(), attribute.values.clone()));
    }
    // Without a statement about authentication the crate gives the time of the assertion instead; a statement has a context.
    let authn_context = identity.authn_context_class_ref().map(str::to_owned);
    Ok(VerifiedAssertion {
        assertion_id: identity.assertion_id().to_owned(),
        keep_until: not_on_or_after + TimeDelta::from_std(SKEW).unwrap_or(TimeDelta::minutes(1)),
        name_id: name_id.value.clone(),
        name_id_format: name_id.format.as_uri().to_owned(),
        session_index: identity.session_index().map(str::to_owned),
        session_not_on_or_after: identity.session_not_on_or_after().map(DateTime::from),
        authn_instant: authn_context.is_some().then(|| identity.authn_instant().into()),
        authn_context,
        attributes,
        signed_by: hex::encode(identity.verifying_cert_fingerprint()),
    })
}
