"""An identity provider that can do everything wrong: builds, signs and encrypts SAML responses for the abuse corpus.

Canonical forms are lxml's, keys and ciphers are cryptography's; nothing here is shared with the program under test.
"""

import base64
import datetime
import hashlib
import hmac
import os
import uuid
from xml.sax.saxutils import escape, quoteattr

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from lxml import etree

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
EXC = "http://www.w3.org/2001/10/xml-exc-c14n#"
INC = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
ENVELOPED = DS + "enveloped-signature"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
NS = {"samlp": SAMLP, "saml": SAML, "ds": DS, "xenc": XENC}

HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
DIGEST_URIS = {
    "sha1": DS + "sha1",
    "sha256": XENC + "sha256",
    "sha384": MORE + "sha384",
    "sha512": XENC + "sha512",
    "md5": MORE + "md5",
}


def fresh():
    """A new id."""
    return "_" + uuid.uuid4().hex


def instant(when):
    """xs:dateTime in UTC."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Signer:
    """A private key with a self-signed certificate."""

    def __init__(self, now, kind="rsa", name="test identity provider", expired=False):
        self.kind = kind
        self.key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        end = now - datetime.timedelta(days=1) if expired else now + datetime.timedelta(days=365)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=400))
            .not_valid_after(end)
            .sign(self.key, hashes.SHA256())
        )

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def base64(self):
        return base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()

    def sign(self, message, digest="sha256"):
        algorithm = HASHES[digest]()
        if self.kind == "rsa":
            return self.key.sign(message, rsa_padding.PKCS1v15(), algorithm)
        first, second = decode_dss_signature(self.key.sign(message, ec.ECDSA(algorithm)))
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")

    def uri(self, digest="sha256"):
        if digest == "sha1":
            return DS + "rsa-sha1"
        return MORE + ("rsa-" if self.kind == "rsa" else "ecdsa-") + digest


class World:
    """Both sides of a connection and the present, and the responses between them."""

    def __init__(self, acs, sp_entity, idp_entity, request_id, now, sp_certificate):
        self.acs, self.sp_entity, self.idp_entity, self.request_id, self.now = acs, sp_entity, idp_entity, request_id, now
        self.sp_certificate = sp_certificate
        self.signer = Signer(now)
        self.next_signer = Signer(now)
        self.expired_signer = Signer(now, expired=True)
        self.curve_signer = Signer(now, kind="ec")
        self.stranger = Signer(now, name="somebody else")

    def trusted(self):
        return [self.signer, self.next_signer, self.expired_signer, self.curve_signer]

    def metadata(self):
        keys = "".join(
            f'<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data><ds:X509Certificate>{signer.base64()}'
            "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            for signer in self.trusted()
        )
        binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-"
        return (
            f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID={quoteattr(self.idp_entity)}>'
            f'<md:IDPSSODescriptor protocolSupportEnumeration="{SAMLP}">{keys}'
            f'<md:SingleSignOnService Binding="{binding}Redirect" Location="https://idp.example/sso?a=1&amp;b=2"/>'
            f'<md:SingleSignOnService Binding="{binding}POST" Location="https://idp.example/sso"/>'
            "</md:IDPSSODescriptor></md:EntityDescriptor>"
        )

    def at(self, seconds):
        return instant(self.now + datetime.timedelta(seconds=seconds))

    def assertion(self, **change):
        """The text of an assertion. Every part can be replaced by name; `None` leaves out what may be left out."""
        part = {
            "id": fresh(),
            "version": "2.0",
            "name": "ada@customer.example",
            "name_xml": None,
            "issuer": self.idp_entity,
            "audience": self.sp_entity,
            "restrictions": None,
            "recipient": self.acs,
            "answers": self.request_id,
            "not_before": -30,
            "until": 300,
            "confirmed_until": 300,
            "confirmed_from": None,
            "session_until": 3600,
            "method": BEARER,
            "confirmation": None,
            "conditions": None,
            "more_conditions": "",
            "statement": None,
            "attributes": None,
            "subject": None,
            "before_subject": "",
            "in_data": "",
            "context": PASSWORD,
        } | change
        name = part["name_xml"]
        if name is None:
            name = f'<saml:NameID Format="{EMAIL}">{escape(part["name"])}</saml:NameID>'
        data = "".join(
            f" {key}={quoteattr(value)}"
            for key, value in [
                ("NotBefore", part["confirmed_from"] and self.at(part["confirmed_from"])),
                ("NotOnOrAfter", part["confirmed_until"] and self.at(part["confirmed_until"])),
                ("Recipient", part["recipient"]),
                ("InResponseTo", part["answers"]),
            ]
            if value
        )
        confirmation = part["confirmation"]
        if confirmation is None:
            confirmation = (
                f'<saml:SubjectConfirmation Method="{part["method"]}"><saml:SubjectConfirmationData{data}>{part["in_data"]}'
                "</saml:SubjectConfirmationData></saml:SubjectConfirmation>"
            )
        subject = part["subject"]
        if subject is None:
            subject = f"<saml:Subject>{name}{confirmation}</saml:Subject>"
        restrictions = part["restrictions"]
        if restrictions is None:
            restrictions = (
                f"<saml:AudienceRestriction><saml:Audience>{escape(part['audience'])}</saml:Audience>"
                "</saml:AudienceRestriction>"
            )
        conditions = part["conditions"]
        if conditions is None:
            begin = f' NotBefore="{self.at(part["not_before"])}"' if part["not_before"] is not None else ""
            end = f' NotOnOrAfter="{self.at(part["until"])}"' if part["until"] is not None else ""
            conditions = f"<saml:Conditions{begin}{end}>{restrictions}{part['more_conditions']}</saml:Conditions>"
        statement = part["statement"]
        if statement is None:
            statement = (
                f'<saml:AuthnStatement AuthnInstant="{self.at(-5)}" SessionIndex="{fresh()}" '
                f'SessionNotOnOrAfter="{self.at(part["session_until"])}"><saml:AuthnContext><saml:AuthnContextClassRef>'
                f'{part["context"]}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>'
            )
        attributes = part["attributes"]
        if attributes is None:
            attributes = self.attribute("mail", part["name"]) + self.attribute("groups", "staff", "engineers")
        return (
            f'<saml:Assertion xmlns:saml="{SAML}" xmlns:xs="http://www.w3.org/2001/XMLSchema" '
            f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ID="{part["id"]}" IssueInstant="{self.at(-5)}" '
            f'Version="{part["version"]}"><saml:Issuer>{escape(part["issuer"])}</saml:Issuer>{part["before_subject"]}{subject}'
            f"{conditions}{statement}<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>"
        )

    @staticmethod
    def attribute(name, *values):
        texts = "".join(f'<saml:AttributeValue xsi:type="xs:string">{escape(value)}</saml:AttributeValue>' for value in values)
        return f'<saml:Attribute Name="{name}">{texts}</saml:Attribute>'

    def response(self, content, **change):
        """The text of a response around the text of an assertion."""
        part = {
            "id": fresh(),
            "version": "2.0",
            "issuer": self.idp_entity,
            "destination": self.acs,
            "answers": self.request_id,
            "status": SUCCESS,
            "status_xml": None,
            "before_status": "",
            "attributes": "",
        } | change
        values = "".join(
            f" {key}={quoteattr(value)}"
            for key, value in [("Destination", part["destination"]), ("InResponseTo", part["answers"])]
            if value is not None
        )
        issuer = "" if part["issuer"] is None else f'<saml:Issuer xmlns:saml="{SAML}">{escape(part["issuer"])}</saml:Issuer>'
        status = part["status_xml"] or f'<samlp:Status><samlp:StatusCode Value="{part["status"]}"/></samlp:Status>'
        return (
            f'<samlp:Response xmlns:samlp="{SAMLP}"{part["attributes"]} ID="{part["id"]}" IssueInstant="{self.at(-5)}" '
            f'Version="{part["version"]}"{values}>{issuer}{part["before_status"]}{status}{content}</samlp:Response>'
        )

    def sign(self, text, signer=None, *, of="Assertion", digest="sha256", method="sha256", uri=None, transforms=None,
             form=EXC, prefixes=None, method_uri=None, key_info=None, secret=None, more_references="", in_method="",
             before_digest=None, reference_type=""):
        """Signs the first element with the local name `of`, by default the way providers do; every part can be another."""
        signer = signer or self.signer
        root = etree.fromstring(text.encode())
        target = root if root.tag.endswith("}" + of) else root.find(".//{*}" + of)
        if transforms is None:
            inclusive = f'<ec:InclusiveNamespaces xmlns:ec="{EXC}" PrefixList="{prefixes}"/>' if prefixes else ""
            transforms = (
                f'<ds:Transform Algorithm="{ENVELOPED}"/><ds:Transform Algorithm="{EXC}">{inclusive}</ds:Transform>'
            )
        canonical = before_digest(target) if before_digest else exclusive(target, prefixes)
        digest_value = base64.b64encode(hashlib.new(digest, canonical).digest()).decode()
        if key_info is None:
            key_info = f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{signer.base64()}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        reference = target.get("ID") if uri is None else None
        reference = f"#{reference}" if uri is None else uri
        signature = etree.fromstring(
            f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{form}"/>'
            f'<ds:SignatureMethod Algorithm="{signer.uri(method) if method_uri is None else method_uri}">{in_method}</ds:SignatureMethod>'
            f'<ds:Reference URI={quoteattr(reference)}{reference_type}><ds:Transforms>{transforms}</ds:Transforms>'
            f'<ds:DigestMethod Algorithm="{DIGEST_URIS[digest]}"/><ds:DigestValue>{digest_value}</ds:DigestValue></ds:Reference>'
            f"{more_references}</ds:SignedInfo><ds:SignatureValue></ds:SignatureValue>{key_info}</ds:Signature>"
        )
        issuer = target.find("{*}Issuer")
        target.insert(0 if issuer is None else list(target).index(issuer) + 1, signature)
        info = signature.find("ds:SignedInfo", NS)
        message = exclusive(info) if form == EXC else etree.tostring(info, method="c14n", with_comments="Comments" in form)
        if secret is not None:
            value = hmac.new(secret, message, "sha256" if "256" in method_uri else "sha1").digest()
        else:
            value = signer.sign(message, method)
        signature.find("ds:SignatureValue", NS).text = base64.b64encode(value).decode()
        return etree.tostring(root).decode()

    def encrypt(self, assertion, *, data="aes256-gcm", transport="rsa-oaep-mgf1p", digest="sha1", mgf=None, certificate=None):
        """An EncryptedAssertion around the text of an assertion."""
        plain = assertion.encode()
        key = os.urandom({"aes128": 16, "aes192": 24, "aes256": 32, "triple": 24}[data[:6]])
        if data.endswith("gcm"):
            vector = os.urandom(12)
            sealed = vector + AESGCM(key).encrypt(vector, plain, None)
            data_uri = XENC11 + data
        else:
            vector = os.urandom(16)
            padder = padding.PKCS7(128).padder()
            encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
            sealed = vector + encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
            data_uri = XENC + data
        public = (certificate or self.sp_certificate).public_key()
        details = ""
        if transport == "rsa-1_5":
            wrapped = public.encrypt(key, rsa_padding.PKCS1v15())
            transport_uri = XENC + transport
        else:
            label = HASHES[digest]()
            mask = HASHES[mgf or "sha1"]()
            wrapped = public.encrypt(key, rsa_padding.OAEP(rsa_padding.MGF1(mask), label, None))
            transport_uri = (XENC if transport == "rsa-oaep-mgf1p" else XENC11) + transport
            details = f'<ds:DigestMethod xmlns:ds="{DS}" Algorithm="{DIGEST_URIS[digest]}"/>'
            if mgf:
                details += f'<xenc11:MGF xmlns:xenc11="{XENC11}" Algorithm="{XENC11}mgf1{mgf}"/>'
        return (
            f'<saml:EncryptedAssertion xmlns:saml="{SAML}"><xenc:EncryptedData xmlns:xenc="{XENC}" Type="{XENC}Element">'
            f'<xenc:EncryptionMethod Algorithm="{data_uri}"/><ds:KeyInfo xmlns:ds="{DS}"><xenc:EncryptedKey>'
            f'<xenc:EncryptionMethod Algorithm="{transport_uri}">{details}</xenc:EncryptionMethod><xenc:CipherData>'
            f"<xenc:CipherValue>{base64.b64encode(wrapped).decode()}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey>"
            f"</ds:KeyInfo><xenc:CipherData><xenc:CipherValue>{base64.b64encode(sealed).decode()}</xenc:CipherValue>"
            "</xenc:CipherData></xenc:EncryptedData></saml:EncryptedAssertion>"
        )


def exclusive(element, prefixes=None):
    """Exclusive canonical form, without what follows the element."""
    return etree.tostring(
        element, method="c14n", exclusive=True, with_comments=False, with_tail=False,
        inclusive_ns_prefixes=prefixes.split() if prefixes else None,
    )
