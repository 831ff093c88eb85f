"""Responses that real providers send, and that must be accepted."""

import base64

from idp import DS, SAML, SAMLP


def cases(w):
    """Yields name, response and options."""
    signed = w.sign(w.response(w.assertion()))
    yield "assertion signed", signed
    yield "response signed", w.sign(w.response(w.assertion()), of="Response")
    yield "both signed", w.sign(w.sign(w.response(w.assertion())), of="Response")
    yield "signed by the certificate that comes next", w.sign(w.response(w.assertion()), w.next_signer)
    yield "assertion by the old key, response by the new", w.sign(w.sign(w.response(w.assertion())), w.next_signer, of="Response")
    yield "signed by a certificate that has expired", w.sign(w.response(w.assertion()), w.expired_signer)
    yield "signed by an elliptic curve", w.sign(w.response(w.assertion()), w.curve_signer)
    for digest in ["sha384", "sha512"]:
        yield f"signed by rsa-{digest}", w.sign(w.response(w.assertion()), digest=digest, method=digest)
    yield "prefixes of schema types kept", w.sign(w.response(w.assertion()), prefixes="xs xsi")
    yield "no key info", w.sign(w.response(w.assertion()), key_info="<ds:KeyInfo><ds:KeyName>k</ds:KeyName></ds:KeyInfo>")
    other = f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{w.stranger.base64()}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    yield "key info of somebody else, key of the provider", w.sign(w.response(w.assertion()), key_info=other)
    yield "with an XML declaration", '<?xml version="1.0" encoding="UTF-8"?>\n' + w.sign(w.response(w.assertion()))
    lines = base64.encodebytes(w.sign(w.response(w.assertion())).encode()).decode()
    yield "base64 in lines", lines, {"raw": True}
    yield "default namespaces", w.sign(default_namespaces(w))
    spaced = w.response(w.assertion()).replace("><", ">\n  <")
    yield "indented", w.sign(spaced)
    yield "nobody asked", w.sign(w.response(w.assertion(answers=None), answers=None)), {"solicited": False}
    audiences = "".join(f"<saml:Audience>{value}</saml:Audience>" for value in ["https://else.example", w.sp_entity])
    both = f"<saml:AudienceRestriction>{audiences}</saml:AudienceRestriction>"
    yield "two audiences, one of them ours", w.sign(w.response(w.assertion(restrictions=both)))
    yield "for one use", w.sign(w.response(w.assertion(more_conditions="<saml:OneTimeUse/>")))
    yield "name with references", w.sign(w.response(w.assertion(name="o&o <x>@customer.example")))
    referred = w.sign(w.response(w.assertion())).replace("ada@customer", "ada&#64;customer", 1)
    yield "name with a character by its number", referred
    yield "name in other scripts", w.sign(w.response(w.assertion(name="Łukasz 山田 🎈")))
    yield "clock within the skew", w.sign(w.response(w.assertion(not_before=50)))
    quick = w.assertion(until=-50)
    yield "conditions ended within the skew", w.sign(w.response(quick))
    key_holder = '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"/>'
    bearer = (
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData '
        f'InResponseTo="{w.request_id}" NotOnOrAfter="{w.at(300)}" Recipient="{w.acs}"/></saml:SubjectConfirmation>'
    )
    yield "two confirmations, one by bearer", w.sign(w.response(w.assertion(confirmation=key_holder + bearer)))
    for data, transport, digest, mgf in [
        ("aes256-cbc", "rsa-oaep-mgf1p", "sha1", None),
        ("aes256-gcm", "rsa-oaep-mgf1p", "sha1", None),
        ("aes128-cbc", "rsa-oaep-mgf1p", "sha1", None),
        ("aes128-gcm", "rsa-oaep-mgf1p", "sha1", None),
        ("aes256-cbc", "rsa-oaep-mgf1p", "sha256", None),
        ("aes256-gcm", "rsa-oaep", "sha256", None),
    ]:
        sealed = w.encrypt(w.assertion(), data=data, transport=transport, digest=digest, mgf=mgf)
        name = f"encrypted by {data} with {transport} {digest}"
        yield name, w.sign(w.response(sealed), of="Response"), {"encrypted_only": True}
    sealed = w.encrypt(w.assertion(), transport="rsa-oaep", digest="sha256", mgf="sha256")
    unable = {"unable": "its schema of XML Encryption does not have MGF, which came with version 1.1"}
    yield "encrypted with a mask by SHA-256", w.sign(w.response(sealed), of="Response"), unable
    inner = w.sign(w.assertion())
    yield "encrypted with a signature inside, response signed", w.sign(w.response(w.encrypt(inner)), of="Response")


def default_namespaces(w):
    """The same without prefixes: the response in its own default namespace, the assertion in another."""
    assertion = w.assertion().replace("<saml:", "<").replace("</saml:", "</").replace("xmlns:saml=", "xmlns=")
    response = w.response("@").replace("<samlp:", "<").replace("</samlp:", "</").replace("xmlns:samlp=", "xmlns=")
    response = response.replace("<saml:Issuer xmlns:saml=", "<Issuer xmlns=").replace("</saml:Issuer>", "</Issuer>")
    assert SAML in assertion and SAMLP in response and DS not in response
    return response.replace("@", assertion)
