"""Signature wrapping and its relatives: a genuine signature, and beside it something that the provider never said."""

import copy

from idp import DS, EXC, NS, SAML, SAMLP, exclusive, fresh
from lxml import etree

EVIL = "owner@customer.example"


def tree(text):
    return etree.fromstring(text.encode())


def text(root):
    return etree.tostring(root).decode()


def qualified(namespace, local):
    return f"{{{namespace}}}{local}"


def without_signature(element):
    for signature in element.findall("ds:Signature", NS):
        element.remove(signature)
    return element


def evil_text(w, **change):
    """An assertion about somebody else that nobody signed."""
    return w.assertion(name=EVIL, **change)


def evil(w, **change):
    """The same as a tree."""
    return tree(evil_text(w, **change))


def cases(w):
    """Yields name, response and options."""
    yield from of_responses(w)
    yield from of_assertions(w)
    yield from of_ids(w)
    yield from of_names(w)
    yield from of_references(w)


def of_responses(w):
    """The signature is at the response."""
    def forged(place):
        genuine = tree(w.sign(w.response(w.assertion()), of="Response"))
        signature = genuine.find("ds:Signature", NS)
        forgery = tree(w.response(w.assertion(name=EVIL)))
        place(genuine, signature, forgery)
        return text(forgery)

    def after(genuine, signature, forgery):
        forgery.insert(1, signature)
        signature.append(genuine)

    def before(genuine, signature, forgery):
        forgery.insert(1, genuine)
        forgery.insert(2, copy.deepcopy(signature))
        without_signature(genuine)

    def in_object(genuine, signature, forgery):
        forgery.insert(1, signature)
        etree.SubElement(signature, qualified(DS, "Object")).append(without_signature(genuine))

    def in_extensions(genuine, signature, forgery):
        forgery.insert(1, signature)
        extensions = etree.Element(qualified(SAMLP, "Extensions"))
        extensions.append(without_signature(genuine))
        forgery.insert(2, extensions)

    def in_detail(genuine, signature, forgery):
        forgery.insert(1, signature)
        etree.SubElement(forgery.find("samlp:Status", NS), qualified(SAMLP, "StatusDetail")).append(without_signature(genuine))

    yield "XSW 1: the signed response behind the signature of another", forged(after)
    yield "XSW 2: the signed response before the signature of another", forged(before)
    yield "XSW in an object of the signature, response", forged(in_object)
    yield "XSW in extensions, response", forged(in_extensions)
    yield "XSW 9: the signed response in the details of a status", forged(in_detail)


def of_assertions(w):
    """The signature is at the assertion."""
    def forged(place):
        root = tree(w.sign(w.response(w.assertion())))
        genuine = root.find("saml:Assertion", NS)
        place(root, genuine, genuine.find("ds:Signature", NS))
        return text(root)

    def before(root, genuine, signature):
        genuine.addprevious(evil(w))

    def after(root, genuine, signature):
        genuine.addnext(evil(w))

    def around(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        forgery.append(genuine)

    def moved_signature(root, genuine, signature):
        forgery = evil(w)
        forgery.insert(1, signature)
        genuine.addprevious(forgery)

    def in_signature(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        forgery.insert(1, signature)
        signature.append(genuine)

    def in_object(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        forgery.insert(1, signature)
        etree.SubElement(signature, qualified(DS, "Object")).append(genuine)

    def in_extensions(root, genuine, signature):
        root.replace(genuine, evil(w))
        extensions = etree.Element(qualified(SAMLP, "Extensions"))
        extensions.append(genuine)
        root.insert(1, extensions)

    def in_advice(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        advice = etree.Element(qualified(SAML, "Advice"))
        advice.append(genuine)
        forgery.find("saml:Conditions", NS).addnext(advice)

    def in_value(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        forgery.find(".//saml:AttributeValue", NS).append(genuine)

    def in_key_info(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        forgery.insert(1, signature)
        signature.find("ds:KeyInfo", NS).append(genuine)

    def in_confirmation(root, genuine, signature):
        forgery = evil(w)
        root.replace(genuine, forgery)
        forgery.find(".//saml:SubjectConfirmationData", NS).append(genuine)

    yield "XSW 3: another assertion before the signed one", forged(before)
    yield "XSW another assertion behind the signed one", forged(after)
    yield "XSW 4: another assertion around the signed one", forged(around)
    yield "XSW 5: another assertion takes the signature", forged(moved_signature)
    yield "XSW 6: the signed assertion inside of the moved signature", forged(in_signature)
    yield "XSW 7: the signed assertion in extensions", forged(in_extensions)
    yield "XSW 8: the signed assertion in an object", forged(in_object)
    yield "XSW the signed assertion as advice", forged(in_advice)
    yield "XSW the signed assertion in the value of an attribute", forged(in_value)
    yield "XSW the signed assertion in the key info", forged(in_key_info)
    yield "XSW the signed assertion in the confirmation", forged(in_confirmation)
    two = tree(w.sign(w.response(w.assertion())))
    two.append(tree(w.sign(w.assertion(name="bob@customer.example"))))
    yield "two signed assertions", text(two)
    inner = w.sign(w.assertion())
    yield "a forged one before an encrypted one", w.response(text(evil(w)) + w.encrypt(inner))
    nested = w.sign(w.response(w.assertion(before_subject="")), of="Response")
    wrapper = f'<wrap xmlns="urn:wrap">{nested}</wrap>'
    yield "a signed response in another root", wrapper


def of_ids(w):
    """Which element an id means."""
    def with_two(forged_attributes, rename):
        root = tree(w.sign(w.response(w.assertion())))
        genuine = root.find("saml:Assertion", NS)
        name = genuine.get("ID")
        forgery = evil(w, id=name)
        for key, value in forged_attributes(name).items():
            forgery.set(key, value)
        if rename:
            del forgery.attrib["ID"]
            forgery.set(rename, name)
        forgery.insert(1, genuine.find("ds:Signature", NS))
        extensions = etree.Element(qualified(SAMLP, "Extensions"))
        extensions.append(genuine)
        root.insert(1, extensions)
        root.append(forgery)
        return text(root)

    yield "the same ID twice", with_two(lambda name: {}, None)
    for spelling in ["Id", "id", "AssertionID", "{http://www.w3.org/XML/1998/namespace}id", f"{{{SAML}}}ID"]:
        yield f"the forged one has its id in {spelling}", with_two(lambda name: {}, spelling)

    def next_to(spelling):
        root = tree(w.sign(w.response(w.assertion())))
        genuine = root.find("saml:Assertion", NS)
        forgery = evil(w)
        forgery.set(spelling, genuine.get("ID"))
        forgery.insert(1, genuine.find("ds:Signature", NS))
        root.replace(genuine, forgery)
        etree.SubElement(forgery.find("ds:Signature", NS), qualified(DS, "Object")).append(genuine)
        return text(root)

    for spelling in ["Id", "id", "{http://www.w3.org/XML/1998/namespace}id", f"{{{SAMLP}}}ID", "{urn:x}ID"]:
        yield f"attribute pollution: a second id in {spelling}", next_to(spelling)
    signed = w.sign(w.response(w.assertion()))
    yield "an attribute twice", signed.replace("<saml:Assertion ", '<saml:Assertion ID="_x" ', 1)
    doubled = signed.replace("<samlp:Response ", f'<samlp:Response xmlns:p="urn:p" xmlns:q="urn:p" p:a="1" q:a="2" ', 1)
    yield "an attribute twice by two prefixes", doubled
    same = fresh()
    yield "response and assertion have one ID", w.sign(w.response(w.assertion(id=same), id=same))
    yield "an id with a line break in it", signed.replace('<samlp:Response ', '<samlp:Response Consent="a\nb" ', 1)


def of_names(w):
    """What an element is called, and where."""
    def renamed(change):
        root = tree(w.sign(w.response(w.assertion())))
        genuine = root.find("saml:Assertion", NS)
        change(root, genuine)
        return text(root)

    def other_namespace(root, genuine):
        forgery = evil(w)
        genuine.addprevious(forgery)
        forgery.tag = qualified("urn:oasis:names:tc:SAML:1.0:assertion", "Assertion")

    def no_namespace(root, genuine):
        forgery = evil(w)
        genuine.addprevious(forgery)
        forgery.tag = "Assertion"

    def other_case(root, genuine):
        forgery = evil(w)
        genuine.addprevious(forgery)
        forgery.tag = qualified(SAML, "assertion")

    def foreign_signature(root, genuine):
        genuine.find("ds:Signature", NS).tag = qualified("http://www.w3.org/2000/09/xmldsig", "Signature")

    def foreign_subject(root, genuine):
        forged = copy.deepcopy(genuine.find("saml:Subject", NS))
        forged.find("saml:NameID", NS).text = EVIL
        signature = genuine.find("ds:Signature", NS)
        signature.append(forged)

    yield "an assertion of SAML 1 before the signed one", renamed(other_namespace)
    yield "an assertion without a namespace before the signed one", renamed(no_namespace)
    yield "an assertion in lower case before the signed one", renamed(other_case)
    yield "a signature in a namespace that is almost right", renamed(foreign_signature)
    yield "a second subject inside of the signature", renamed(foreign_subject)
    signed = w.sign(w.response(w.assertion()))
    rebound = signed.replace("<saml:Subject>", '<saml:Subject xmlns:saml="urn:other">', 1)
    yield "a prefix bound to something else inside", rebound
    # libxml2 gives up on relative namespaces, so the document is signed with another one, over the bytes that the last one has.
    named = [plain.replace("<saml:Assertion ", '<saml:Assertion xmlns:v="urn:v" ', 1) for plain in [w.response(w.assertion()), w.response(evil_text(w))]]
    relative = w.sign(named[0], prefixes="v", before_digest=lambda element: exclusive(element, "v").replace(b"urn:v", b"1"))
    yield "void canonicalization: a relative namespace", relative.replace('"urn:v"', '"1"')
    nothing = w.sign(named[1], prefixes="v", before_digest=lambda _: b"")
    yield "void canonicalization: the digest of nothing", nothing.replace('"urn:v"', '"1"')
    redeclared = signed.replace("<samlp:Response ", '<samlp:Response xmlns:xml="urn:other" ', 1)
    yield "the prefix xml declared anew", redeclared
    yield "a prefix that is not declared", signed.replace("<samlp:Status>", "<samlp:Status unknown:a='1'>", 1)
    yield "a prefix undeclared", signed.replace("<samlp:Response ", '<samlp:Response xmlns:u="" ', 1)


def of_references(w):
    """What a signature says that it is over."""
    plain = w.response
    yield "reference to the whole document by an empty URI", w.sign(plain(w.assertion()), of="Response", uri="")
    yield "assertion with a reference by an empty URI", w.sign(plain(w.assertion()), uri="")
    yield "reference to nothing", w.sign(plain(w.assertion()), uri="#_nowhere")
    for pointer in ["#xpointer(/)", "#xpointer(id('{}'))", "#element(/1)"]:
        name = fresh()
        yield f"reference by {pointer}", w.sign(plain(w.assertion(id=name)), uri=pointer.format(name))
    yield "reference to a file", w.sign(plain(w.assertion()), uri="file:///etc/hostname")
    yield "reference to an address", w.sign(plain(w.assertion()), uri="http://127.0.0.1:9/")
    name = fresh()
    whole = w.sign(plain(w.assertion(), id=name), uri=f"#{name}")
    yield "the assertion's signature refers to the response", whole
    outer = tree(w.sign(plain(w.assertion())))
    genuine = outer.find("saml:Assertion", NS)
    signature = genuine.find("ds:Signature", NS)
    outer.insert(1, signature)
    genuine.find(".//saml:NameID", NS).text = EVIL
    yield "the response's signature refers to the assertion", text(outer)
    second = (
        f'<ds:Reference URI="#{{}}"><ds:Transforms><ds:Transform Algorithm="{EXC}"/></ds:Transforms>'
        '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue>AAAA</ds:DigestValue></ds:Reference>'
    )
    name = fresh()
    yield "two references", w.sign(plain(w.assertion(), id=name), more_references=second.format(name))
    yield "a reference to a manifest", w.sign(plain(w.assertion()), reference_type=f' Type="{DS}Manifest"')
    unsigned = w.sign(plain(w.assertion()))
    start, end = unsigned.index("<ds:Reference"), unsigned.index("</ds:Reference>") + len("</ds:Reference>")
    yield "no reference", unsigned[:start] + unsigned[end:]

    def transform(inner):
        return f'<ds:Transform Algorithm="{DS}enveloped-signature"/>{inner}<ds:Transform Algorithm="{EXC}"/>'

    def without_name(element):
        pruned = copy.deepcopy(element)
        subject = pruned.find("saml:Subject", NS)
        subject.remove(subject.find("saml:NameID", NS))
        return exclusive(pruned)

    selector = "not(ancestor-or-self::saml:NameID)"
    xpath = (
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116">'
        f'<ds:XPath xmlns:saml="{SAML}">{selector}</ds:XPath></ds:Transform>'
    )
    filtered = w.sign(plain(w.assertion()), transforms=transform(xpath), before_digest=without_name)
    yield "XPath takes the name out of what is signed", filtered.replace("ada@customer.example</saml:NameID>", f"{EVIL}</saml:NameID>")
    filter2 = (
        '<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"><f:XPath '
        f'xmlns:f="http://www.w3.org/2002/06/xmldsig-filter2" xmlns:saml="{SAML}" Filter="subtract">//saml:NameID</f:XPath>'
        "</ds:Transform>"
    )
    yield "XPath filter takes the name out", w.sign(plain(w.assertion()), transforms=transform(filter2), before_digest=without_name)
    xslt = (
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><xsl:stylesheet version="1.0" '
        'xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">x</xsl:template></xsl:stylesheet></ds:Transform>'
    )
    yield "XSLT writes what is signed", w.sign(plain(w.assertion()), transforms=transform(xslt), before_digest=lambda _: b"x")
    yield "base64 as a transform", w.sign(plain(w.assertion()), transforms=transform(f'<ds:Transform Algorithm="{DS}base64"/>'))
    yield "no transforms", w.sign(plain(w.assertion()), transforms="")
    yield "enveloped only", w.sign(plain(w.assertion()), transforms=f'<ds:Transform Algorithm="{DS}enveloped-signature"/>')
    with_comments = f'<ds:Transform Algorithm="{DS}enveloped-signature"/><ds:Transform Algorithm="{EXC}WithComments"/>'
    yield "canonical form with comments", w.sign(plain(w.assertion()), transforms=with_comments)
    yield "signed info in another canonical form", w.sign(
        plain(w.assertion()), form="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"
    )
