"""Responses without wrapping that must be refused: signatures, names, times, audiences, encryption, and what is no response."""

import base64
import zlib

from idp import BEARER, DS, EMAIL, MORE, SAML, SAMLP, SUCCESS

EVIL = "owner@customer.example"
CONFIRMATION = "urn:oasis:names:tc:SAML:2.0:cm:"


def cases(w):
    """Yields name, response and options."""
    yield from signatures(w)
    yield from names(w)
    yield from sides(w)
    yield from times(w)
    yield from confirmations(w)
    yield from encryption(w)
    yield from bytes_of_all_kinds(w)


def signatures(w):
    plain = w.response(w.assertion())
    signed = w.sign(plain)
    yield "unsigned", plain
    start, end = signed.index("<ds:Signature "), signed.index("</ds:Signature>") + len("</ds:Signature>")
    yield "signature taken away", signed[:start] + signed[end:]
    yield "signature without its info", signed.replace("ds:SignedInfo", "ds:Signed")
    yield "signature of a stranger", w.sign(plain, w.stranger)
    value = f"<ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue><ds:Modulus>{modulus(w.stranger)}</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue></ds:KeyInfo>"
    yield "signature of a stranger with a key value", w.sign(plain, w.stranger, key_info=value)
    ours = f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{w.signer.base64()}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    yield "signature of a stranger with the provider's certificate", w.sign(plain, w.stranger, key_info=ours)
    yield "assertion of a stranger in a signed response", w.sign(w.sign(plain, w.stranger), of="Response")
    yield "signed assertion in a response of a stranger", w.sign(signed, w.stranger, of="Response")
    yield "RSA-SHA1", w.sign(plain, method="sha1")
    yield "SHA-1 as digest", w.sign(plain, digest="sha1")
    yield "MD5 as digest", w.sign(plain, digest="md5")
    yield "RSA-SHA1 at the response around a good assertion", w.sign(signed, of="Response", method="sha1", digest="sha1")
    certificate = w.signer.pem().encode()
    yield "HMAC-SHA256 with the certificate as secret", w.sign(plain, method_uri=MORE + "hmac-sha256", secret=certificate)
    der = base64.b64decode(w.signer.base64())
    yield "HMAC-SHA1 with the certificate as secret", w.sign(plain, method_uri=DS + "hmac-sha1", secret=der)
    length = f"<ds:HMACOutputLength>0</ds:HMACOutputLength>"
    yield "HMAC of no length", w.sign(plain, method_uri=DS + "hmac-sha1", secret=b"", in_method=length)
    yield "no algorithm", w.sign(plain, method_uri="")
    yield "algorithm none", w.sign(plain, method_uri="none")
    yield "algorithm of the other kind of key", w.sign(plain, method_uri=MORE + "ecdsa-sha256")
    yield "RSA-PSS", w.sign(plain, method_uri="http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1")
    start = signed.index("<ds:SignatureValue>") + len("<ds:SignatureValue>")
    yield "empty signature value", signed[:start] + signed[signed.index("</ds:SignatureValue>"):]
    other = "B" if signed[start + 4] != "B" else "C"
    yield "one character of the signature value changed", signed[:start + 4] + other + signed[start + 5:]
    another = w.sign(w.response(w.assertion()))
    place = another.index("<ds:SignatureValue>") + len("<ds:SignatureValue>")
    moved = signed[:start] + another[place:another.index("</ds:SignatureValue>")] + signed[signed.index("</ds:SignatureValue>"):]
    yield "signature value of another response", moved
    yield "digest changed with the content", w.sign(plain).replace("<ds:DigestValue>", "<ds:DigestValue>A", 1)


def modulus(signer):
    number = signer.key.public_key().public_numbers().n
    return base64.b64encode(number.to_bytes(256, "big")).decode()


def names(w):
    plain = w.response(w.assertion())
    signed = w.sign(plain)
    yield "name changed", signed.replace("ada@customer.example</saml:NameID>", f"{EVIL}</saml:NameID>")
    yield "value of an attribute changed", signed.replace(">staff<", ">owners<")
    yield "name of an attribute changed", signed.replace('Name="groups"', 'Name="roles"')
    yield "audience changed", w.sign(w.response(w.assertion(audience="https://else.example"))).replace(
        "https://else.example", w.sp_entity
    )
    wide = w.sign(w.response(w.assertion(name="owner@customer.example.evil.example")))
    yield "comment in the name", wide.replace("customer.example.evil", "customer.example<!-- -->.evil", 1)
    yield "CDATA in the name", signed.replace("ada@customer.example</saml:NameID>", "<![CDATA[ada@customer.example]]></saml:NameID>")
    yield "processing instruction in the name", wide.replace("customer.example.evil", "customer.example<?x?>.evil", 1)
    yield "comment in an audience", signed.replace(f">{w.sp_entity}<", f">{w.sp_entity}<!-- --><")
    yield "comment in an attribute", signed.replace(">staff<", ">st<!---->aff<")
    yield "comment before the root", "<!-- -->" + signed
    nested = f'<saml:NameID Format="{EMAIL}">owner@customer.example<saml:Audience>x</saml:Audience>.evil.example</saml:NameID>'
    yield "element in the name", w.sign(w.response(w.assertion(name_xml=nested)))
    yield "empty name", w.sign(w.response(w.assertion(name="")))
    yield "name of spaces", w.sign(w.response(w.assertion(name="   ")))
    yield "space around the name", w.sign(w.response(w.assertion(name=" ada@customer.example ")))
    yield "no name", w.sign(w.response(w.assertion(name_xml="")))
    two = "".join(f"<saml:NameID>{name}</saml:NameID>" for name in ["ada@customer.example", EVIL])
    yield "two names", w.sign(w.response(w.assertion(name_xml=two)))
    yield "control character in the name", w.sign(w.response(w.assertion(name="ada\u0085@customer.example")))
    yield "reference to NUL in the name", signed.replace("ada@customer", "ada&#0;@customer", 1)
    yield "reference to a control character in the name", signed.replace("ada@customer", "ada&#1;@customer", 1)
    yield "unknown entity in the name", signed.replace("ada@customer", "ada&nbsp;@customer", 1)
    doubled = w.attribute("mail", "ada@customer.example") + w.attribute("mail", EVIL)
    yield "an attribute of one name twice", w.sign(w.response(w.assertion(attributes=doubled)))
    entity = '<!DOCTYPE r [<!ENTITY n "owner">]>' + signed.replace("ada@customer", "&n;@customer", 1)
    yield "entity of a document type in the name", entity


def sides(w):
    def signed(assertion=None, **change):
        return w.sign(w.response(assertion or w.assertion(), **change))

    def about(**change):
        return w.sign(w.response(w.assertion(**change)))

    yield "another audience", about(audience="https://else.example")
    yield "an audience that begins like ours", about(audience=w.sp_entity + ".evil.example")
    yield "an audience that is the beginning of ours", about(audience=w.sp_entity[:-1])
    yield "our audience in other case", about(audience=w.sp_entity.upper())
    ours = f"<saml:AudienceRestriction><saml:Audience>{w.sp_entity}</saml:Audience></saml:AudienceRestriction>"
    yield "a second restriction that leaves us out", about(restrictions=ours + ours.replace(w.sp_entity, "https://else.example"))
    yield "no audience", about(restrictions="")
    yield "an empty restriction", about(restrictions="<saml:AudienceRestriction/>")
    yield "no conditions", about(conditions=" ")
    yield "two conditions", about(conditions=f'<saml:Conditions NotOnOrAfter="{w.at(300)}">{ours}</saml:Conditions>' * 2)
    yield "another issuer of the assertion", about(issuer="https://else.example")
    yield "another issuer of the response", signed(issuer="https://else.example")
    yield "other issuers of both", signed(w.assertion(issuer="https://else.example"), issuer="https://else.example")
    yield "no issuer of the response", signed(issuer=None)
    for name, destination in [
        ("another destination", "https://else.example/acs"),
        ("a destination that goes on", w.acs + "/more"),
        ("a destination that stops early", w.acs[:-1]),
        ("no destination", None),
        ("an empty destination", ""),
    ]:
        yield name, w.sign(w.response(w.assertion(), destination=destination), of="Response")
    for name, recipient in [
        ("another recipient", "https://else.example/acs"),
        ("a recipient that goes on", w.acs + ".evil.example"),
        ("no recipient", None),
    ]:
        yield name, about(recipient=recipient)
    yield "answer to another request", w.sign(w.response(w.assertion(answers="_other"), answers="_other"))
    yield "response to another request", signed(answers="_other")
    yield "assertion to another request", about(answers="_other")
    yield "response to no request", signed(answers=None)
    yield "assertion to no request", about(answers=None)
    yield "answer where nobody asked", about(), {"solicited": False}
    yield "assertion with an answer where nobody asked", signed(answers=None), {"solicited": False}
    for status in ["Requester", "Responder", "success", "AuthnFailed"]:
        yield f"status {status}", signed(status="urn:oasis:names:tc:SAML:2.0:status:" + status)
    failed = '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder"/></samlp:Status>'
    good = f'<samlp:Status><samlp:StatusCode Value="{SUCCESS}"/></samlp:Status>'
    yield "two statuses", signed(status_xml=good + failed)
    yield "no status", signed(status_xml=" ")
    yield "status without an assertion", w.response("", status="urn:oasis:names:tc:SAML:2.0:status:Requester")
    yield "success without an assertion", w.sign(w.response(""), of="Response")
    yield "version 1.1 of the response", signed(version="1.1")
    yield "version 1.1 of the assertion", about(version="1.1")
    yield "not encrypted where that is demanded", about(), {"encrypted_only": True}


def times(w):
    def about(**change):
        return w.sign(w.response(w.assertion(**change)))

    yield "conditions have ended", about(until=-61)
    yield "conditions ended long ago", about(until=-86400)
    yield "conditions begin later", about(not_before=61)
    yield "no end of the conditions", about(until=None)
    yield "conditions for a year", about(until=365 * 86400)
    yield "confirmation has ended", about(confirmed_until=-61)
    yield "no end of the confirmation", about(confirmed_until=None)
    yield "confirmation begins later", about(confirmed_from=61)
    yield "the provider's session has ended", about(session_until=-61)
    yield "a time that is none", w.sign(w.response(w.assertion()).replace(w.at(300), "tomorrow"))
    yield "a day that is none", w.sign(w.response(w.assertion()).replace(w.at(300), "2199-02-30T00:00:00Z"))


def confirmations(w):
    def about(**change):
        return w.sign(w.response(w.assertion(**change)))

    holder = (
        f'<saml:SubjectConfirmation Method="{CONFIRMATION}holder-of-key"><saml:SubjectConfirmationData '
        f'NotOnOrAfter="{w.at(300)}" Recipient="{w.acs}" InResponseTo="{w.request_id}"><ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data>'
        f"<ds:X509Certificate>{w.stranger.base64()}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        "</saml:SubjectConfirmationData></saml:SubjectConfirmation>"
    )
    yield "holder of key", about(confirmation=holder)
    yield "sender vouches", about(method=CONFIRMATION + "sender-vouches")
    yield "bearer of SAML 1", about(method=BEARER.replace("2.0", "1.0"))
    yield "no confirmation", about(confirmation=" ")
    yield "confirmation without data", about(confirmation=f'<saml:SubjectConfirmation Method="{BEARER}"/>')
    yield "no subject", about(subject=" ")
    yield "no statement of authentication", about(statement=" ")


def encryption(w):
    def sealed(assertion=None, **how):
        return w.sign(w.response(w.encrypt(assertion or w.assertion(), **how)), of="Response")

    inner = w.sign(w.assertion())
    yield "encrypted, the response unsigned", w.response(w.encrypt(inner))
    yield "encrypted, nothing signed", w.response(w.encrypt(w.assertion()))
    yield "encrypted, the response signed by a stranger", w.sign(w.response(w.encrypt(inner)), w.stranger, of="Response")
    yield "encrypted with a signature of a stranger inside", sealed(w.sign(w.assertion(), w.stranger))
    yield "encrypted with a broken signature inside", sealed(inner.replace("ada@", "eve@"))
    yield "encrypted by RSA PKCS 1", sealed(transport="rsa-1_5")
    yield "encrypted by AES-192", sealed(data="aes192-cbc")
    good = sealed()
    yield "encrypted by an unknown cipher", w.sign(
        w.response(w.encrypt(w.assertion()).replace("xmlenc11#aes256-gcm", "xmlenc#tripledes-cbc")), of="Response"
    )
    yield "encrypted for somebody else", sealed(certificate=w.stranger.certificate)
    start = good.rindex("<xenc:CipherValue>") + len("<xenc:CipherValue>")
    yield "ciphertext changed after the signature", good[:start] + "AAAA" + good[start + 4:]
    short = w.encrypt(w.assertion())
    place = short.rindex("<xenc:CipherValue>") + len("<xenc:CipherValue>")
    for name, value in [("nothing", ""), ("three bytes", "AAAA"), ("no Base64", "%%%%")]:
        cut = short[:place] + value + short[short.rindex("</xenc:CipherValue>"):]
        yield f"ciphertext of {name}", w.sign(w.response(cut), of="Response")
    yield "encrypted, about another audience", sealed(w.assertion(audience="https://else.example"))
    yield "encrypted, ended", sealed(w.assertion(until=-61))
    yield "encrypted, to another request", sealed(w.assertion(answers="_other"))
    yield "encrypted, by another issuer", sealed(w.assertion(issuer="https://else.example"))
    yield "encrypted, no assertion inside", sealed("<a/>")
    yield "encrypted, no XML inside", sealed("not XML")
    yield "encrypted, a document type inside", sealed('<!DOCTYPE a [<!ENTITY b "c">]>' + w.assertion())
    yield "encrypted, two assertions inside", sealed(w.assertion() + w.assertion(name=EVIL))
    twice = w.encrypt(w.assertion()) + w.encrypt(w.assertion(name=EVIL))
    yield "two encrypted assertions", w.sign(w.response(twice), of="Response")
    yield "one encrypted and one in the clear", w.sign(w.response(w.encrypt(w.assertion()) + w.assertion(name=EVIL)), of="Response")


def bytes_of_all_kinds(w):
    signed = w.sign(w.response(w.assertion()))
    encoded = base64.b64encode(signed.encode()).decode()
    yield "nothing", "", {"raw": True}
    yield "no Base64", "this is <not> base64", {"raw": True}
    yield "Base64 that stops early", encoded[:-7], {"raw": True}
    yield "Base64 for URLs", encoded.replace("+", "-").replace("/", "_") + "-_", {"raw": True}
    yield "XML that is not encoded", signed, {"raw": True}
    yield "XML that stops early", signed[:-20]
    yield "half of the XML", signed[: len(signed) // 2]
    yield "too large", signed.replace("<samlp:Status>", " " * 300_000 + "<samlp:Status>")
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield "deflated", compress.compress(signed.encode()) + compress.flush()
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield "deflated bomb", compress.compress(b"<a>" + b" " * 50_000_000) + compress.flush()
    yield "gzip bomb", zlib.compress(b" " * 10_000_000)
    yield "not UTF-8", signed.encode().replace(b"ada@", b"ad\xff@")
    yield "overlong UTF-8", signed.encode().replace(b"ada@", b"ad\xc1\xa1@")
    yield "UTF-16", b"\xff\xfe" + signed.encode("utf-16-le")
    yield "UTF-16 by declaration", '<?xml version="1.0" encoding="UTF-16"?>' + signed
    yield "UTF-7 by declaration", '<?xml version="1.0" encoding="UTF-7"?>' + signed
    yield "Latin by declaration", '<?xml version="1.0" encoding="ISO-8859-1"?>' + signed
    yield "XML 1.1", '<?xml version="1.1"?>' + signed
    yield "NUL behind the document", signed + "\0"
    yield "NUL in the name", signed.replace("ada@", "ada\0@", 1)
    yield "text behind the document", signed + "more"
    yield "text before the document", "more" + signed
    yield "two documents", signed + signed
    yield "a document type", "<!DOCTYPE Response>" + signed
    external = '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    yield "XXE: a file", external + signed.replace(">staff<", ">&e;<")
    yield "XXE: an address", external.replace("file:///etc/passwd", "http://127.0.0.1:9/") + signed.replace(">staff<", ">&e;<")
    yield "XXE: a parameter entity", '<!DOCTYPE r [<!ENTITY % e SYSTEM "http://127.0.0.1:9/e.dtd"> %e;]>' + signed
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    yield "billion laughs", f'<!DOCTYPE r [<!ENTITY l0 "ha">{laughs}]>' + signed.replace(">staff<", ">&l9;<")
    yield "a default for an attribute", '<!DOCTYPE r [<!ATTLIST r ID CDATA "_x">]>' + signed
    yield "a style sheet", '<?xml-stylesheet href="x.xsl"?>' + signed
    yield "deeper than anybody reads", signed.replace(">staff<", ">" + "<a>" * 500 + "</a>" * 500 + "<")
    many = "".join(f' a{number}="1"' for number in range(5000))
    yield "five thousand attributes", signed.replace("<samlp:Status>", f"<samlp:Status{many}>")
    yield "an end tag of another name", signed.replace("</samlp:Status>", "</samlp:status>")
    yield "a web page", "<html><body>Sign in</body></html>"
    yield "a request instead", f'<samlp:AuthnRequest xmlns:samlp="{SAMLP}" ID="_a" Version="2.0"/>'
    yield "a logout response", f'<samlp:LogoutResponse xmlns:samlp="{SAMLP}" ID="_a" Version="2.0"/>'
    yield "an assertion alone", w.sign(w.assertion())
    yield "an assertion of SAML 1.1", signed.replace(SAML, "urn:oasis:names:tc:SAML:1.0:assertion")
