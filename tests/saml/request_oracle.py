#!/usr/bin/env python3
"""Reads {"request", "metadata", "certificate"} as JSON, and says what others make of what we write: whether the XML is valid by the
schemas of SAML, and whether xmlsec finds the request's signature good by the certificate."""

import json
import sys

import xmlsec
from lxml import etree
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML


def schema(text, name):
    found = OneLogin_Saml2_XML.validate_xml(etree.fromstring(text.encode()), name, False)
    return found if isinstance(found, str) else "valid"


def signature(text, certificate):
    root = etree.fromstring(text.encode())
    xmlsec.tree.add_ids(root, ["ID"])
    node = xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature)
    if node is None:
        return "none"
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertPem, None)
    try:
        context.verify(node)
    except xmlsec.Error as error:
        return str(error)
    return "good"


given = json.load(sys.stdin)
print(
    json.dumps(
        {
            "request": schema(given["request"], "saml-schema-protocol-2.0.xsd"),
            "signature": signature(given["request"], given["certificate"]),
            "metadata": schema(given["metadata"], "saml-schema-metadata-2.0.xsd"),
        }
    )
)
