//! The XML's shape; what the schema and the rules say of it, `scripts/facturx-check.sh` asks their own files.

use super::*;

fn sample() -> InvoiceDocument {
    serde_json::from_str(include_str!("../../../docs/sample-invoice.json")).expect("the sample")
}

#[test]
fn the_sums_stand_in_the_xml_as_they_stand_in_the_document() {
    let mut document = sample();
    (document.lines[4].unit_price, document.lines[4].price_quantity) = ("0.02".to_owned(), 1_000);
    let xml = xml(&document).expect("right");
    for element in [
        "<ram:ID>urn:cen.eu:en16931:2017</ram:ID>",
        "<ram:TypeCode>380</ram:TypeCode>",
        "<udt:DateTimeString format=\"102\">20261201</udt:DateTimeString>",
        "<ram:LineTotalAmount>336.25</ram:LineTotalAmount>",
        "<ram:LineTotalAmount>-32.67</ram:LineTotalAmount>",
        "<ram:AllowanceTotalAmount>33.63</ram:AllowanceTotalAmount>",
        "<ram:TaxBasisTotalAmount>302.62</ram:TaxBasisTotalAmount>",
        "<ram:TaxTotalAmount currencyID=\"EUR\">57.50</ram:TaxTotalAmount>",
        "<ram:GrandTotalAmount>360.12</ram:GrandTotalAmount>",
        "<ram:DuePayableAmount>360.12</ram:DuePayableAmount>",
        "<ram:BasisQuantity unitCode=\"C62\">1000</ram:BasisQuantity>",
        "<ram:IBANID>DE89370400440532013000</ram:IBANID>",
        "<ram:Name>Hansen &amp; Söhne Maschinenbau AG</ram:Name>",
    ] {
        assert!(xml.contains(element), "{element} in {xml}");
    }
    assert!(!xml.contains("></") && !xml.contains("/>"), "an empty element: {xml}");
}

#[test]
fn a_total_that_is_off_by_a_cent_has_no_xml() {
    let mut document = sample();
    document.total += 1;
    assert!(matches!(xml(&document), Err(DocumentError::Sum { stated: 36_013, computed: 36_012, .. })));
    document.amount_due += 1;
    assert!(xml(&document).is_err());
}

#[test]
fn markup_in_names_stays_text() {
    let mut document = sample();
    document.buyer.name = "</ram:Name><x a='1'> & \"Söhne\"\u{0}\n]]>".to_owned();
    let xml = xml(&document).expect("a name like others");
    assert!(
        xml.contains("<ram:Name>&lt;/ram:Name&gt;&lt;x a='1'&gt; &amp; &quot;Söhne&quot; ]]&gt;</ram:Name>"),
        "{xml}"
    );
}

#[test]
fn a_credit_note_names_its_invoice() {
    let mut document = sample();
    let invoice_issued_on = document.issued_on;
    document.kind = DocumentKind::CreditNote { invoice_number: "INV-1".to_owned(), invoice_issued_on };
    document.due_on = None;
    let xml = xml(&document).expect("right");
    assert!(xml.contains("<ram:TypeCode>381</ram:TypeCode>"));
    let reference = xml.split("<ram:InvoiceReferencedDocument>").nth(1).expect("a reference");
    assert!(reference.contains("<ram:IssuerAssignedID>INV-1</ram:IssuerAssignedID>"));
    assert!(reference.contains("<qdt:DateTimeString format=\"102\">20261201</qdt:DateTimeString>"));
}

#[test]
fn the_third_decimal_of_a_currency_is_zero_and_not_written() {
    let mut document = sample();
    document.currency.exponent = 3;
    document.currency.code = "KWD".to_owned();
    assert_eq!(amount(&document, -1_230), "-1.23");
}
