//! Real pages of real documents: typst is not replaced by anything.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::fonts::Care;
use super::render::Renderer;
use super::*;
use crate::domain::invoice_document::{DocumentError, DocumentKind, Paper, TaxCategory, TaxKey, one_line};

static RENDERER: LazyLock<Renderer> = LazyLock::new(|| Renderer::new().expect("a renderer"));

fn sample() -> InvoiceDocument {
    serde_json::from_str(include_str!("../../../docs/sample-invoice.json")).expect("the sample")
}

fn print(document: &InvoiceDocument) -> PrintedInvoice {
    RENDERER.render(document).expect("printed")
}

/// The sample with its first line many times and the sums that follow.
fn of_lines(n: i64) -> InvoiceDocument {
    let mut document = sample();
    let line = document.lines[0].clone();
    document.lines = (0..n).map(|_| line.clone()).collect();
    document.allowances.clear();
    document.subtotal = n * 19_900;
    document.allowance_total = 0;
    document.tax_groups[0].basis = n * 19_900;
    document.tax_groups[0].amount = n * 3_781;
    document.tax_total = n * 3_781;
    document.total = n * 23_681;
    document.amount_due = n * 23_681;
    document
}

fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[test]
fn the_same_document_gives_the_same_bytes_whatever_was_printed_before() {
    let first = print(&sample());
    print(&of_lines(30));
    let other_renderer = Renderer::new().expect("a renderer");
    assert!(first == other_renderer.render(&sample()).expect("printed"), "another print differs");
    let mut changed = sample();
    changed.buyer.name.push('!');
    assert!(first.pdf != print(&changed).pdf, "another name gives the same bytes");
}

#[test]
fn the_file_says_what_it_is() {
    let printed = print(&sample());
    assert_eq!((printed.n_pages, printed.n_unprintable), (1, 0));
    for mark in [
        "%PDF-1.7",
        "<pdfaid:part>3</pdfaid:part>",
        "<pdfaid:conformance>A</pdfaid:conformance>",
        "<pdfuaid:part>1</pdfuaid:part>",
        "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>",
        "<fx:DocumentFileName>factur-x.xml</fx:DocumentFileName>",
        "/AFRelationship/Alternative",
        "/StructTreeRoot",
        "/Lang(en)",
        "/OutputIntents",
    ] {
        assert!(contains(&printed.pdf, mark), "{mark}");
    }
    let mut letter = sample();
    letter.paper = Paper::Letter;
    assert!(contains(&printed.pdf, "/MediaBox[0 0 595.2756 841.8898]"));
    assert!(contains(&print(&letter).pdf, "/MediaBox[0 0 612 792]"));
}

#[test]
fn a_document_that_is_off_by_a_cent_is_not_printed() {
    let mut document = sample();
    document.amount_due -= 1;
    let error = RENDERER.render(&document).expect_err("off by a cent");
    assert!(matches!(error, PrintError::Refused(DocumentError::Sum { .. })), "{error:?}");
}

#[test]
fn many_lines_go_over_pages() {
    let n_pages: Vec<_> = [1, 30, 300].map(|n| print(&of_lines(n)).n_pages).to_vec();
    assert_eq!(n_pages[0], 1);
    assert!((2..=4).contains(&n_pages[1]), "{n_pages:?}");
    assert!((10..=30).contains(&n_pages[2]), "{n_pages:?}");
}

#[test]
fn names_of_all_scripts_are_printed_or_marked() {
    for (name, n_unprintable) in [
        ("Łukasiewicz & Çağrı ΑΒΓ Жуков", 0),
        ("شركة النور للتجارة", 0),
        ("חברת אור בע״מ", 0),
        ("株式会社", 4),
        ("🚀 Rocket 👩‍👩‍👧 Inc.", 4),
        ("e\u{301}\u{301}\u{301}\u{323} Zalgo", 0),
        ("\u{e000}\u{10fffd} private", 2),
        ("#strong[not markup] $x$ *b* _i_ @ref <label> \\ // /* \"", 0),
    ] {
        let mut document = sample();
        document.buyer.name = name.to_owned();
        document.lines[0].description = name.to_owned();
        let printed = print(&document);
        assert_eq!(printed.n_unprintable, 2 * n_unprintable, "{name}");
        assert!(printed.xml.contains(
            &one_line(name).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
        ));
    }
}

#[test]
fn with_utmost_care_only_plain_letters_of_the_first_typeface_are_printed() {
    let mut document = sample();
    document.buyer.name = "\u{5bd}✣ Łódź e\u{301}\u{302} نور".to_owned();
    let usual = RENDERER.render_with(Care::Usual, &document, "<x/>").expect("printed");
    let careful = RENDERER.render_with(Care::Utmost, &document, "<x/>").expect("printed");
    // The point, the flower, two accents, three letters.
    assert_eq!((usual.n_unprintable, careful.n_unprintable), (0, 7));
}

#[test]
fn a_name_for_which_the_typesetter_finds_no_glyph_is_printed_all_the_same() {
    // Marks that a typeface has, and that it cannot put on any letter.
    for mark in ['\u{658}', '\u{20d8}'] {
        let mut document = sample();
        document.buyer.name = format!("Nūr{mark} نور GmbH");
        let usual = RENDERER.render_with(Care::Usual, &document, "<x/>");
        assert!(matches!(usual, Err(PrintError::Typesetting(_))), "{mark:?} is printed now: take another");
        let printed = print(&document);
        assert_eq!((printed.n_pages, printed.n_unprintable), (1, 4), "the mark, three letters");
        assert!(printed.xml.contains(&document.buyer.name), "the file for machines has the name as it is");
    }
}

#[test]
fn the_longest_texts_that_are_allowed_are_printed() {
    let mut document = sample();
    let long = "W".repeat(1_000);
    document.buyer.name.clone_from(&long);
    document.seller.name.clone_from(&long);
    document.buyer.address_lines = vec![long.clone(); 3];
    document.payment.reference.clone_from(&long);
    document.buyer_reference.clone_from(&long);
    document.number.clone_from(&long);
    for line in &mut document.lines {
        line.description.clone_from(&long);
        line.detail.clone_from(&long);
    }
    assert!(print(&document).n_pages > 1);
}

#[test]
fn sparse_parties_credit_notes_and_other_taxes_are_printed() {
    let mut document = of_lines(1);
    let tax = TaxKey { category: TaxCategory::ReverseCharge, rate: 0 };
    document.lines[0].tax = tax;
    document.tax_groups[0].tax = tax;
    document.tax_groups[0].amount = 0;
    document.tax_groups[0].reason = "Reverse charge.".to_owned();
    (document.tax_total, document.total, document.already_paid, document.amount_due) = (0, 19_900, 900, 19_000);
    document.buyer.address_lines.clear();
    document.buyer.city.clear();
    document.buyer.postcode.clear();
    document.payment.bank = None;
    document.payment.online_url = "https://pay.example/1".to_owned();
    document.notes.clear();
    assert_eq!(print(&document).n_pages, 1);
    let invoice_issued_on = document.issued_on;
    document.kind = DocumentKind::CreditNote { invoice_number: "INV-1".to_owned(), invoice_issued_on };
    document.due_on = None;
    assert_eq!(print(&document).n_pages, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_a_late_answer_is_not_waited_for() {
    let printer = InvoicePrinter::start(1, 1).expect("a printer");
    let long = Duration::from_secs(120);
    let calls = (0..4).map(|_| printer.print(of_lines(20), long));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Err(PrintError::Busy)).count(), 2);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert_eq!(printer.print(of_lines(20), Duration::ZERO).await, Err(PrintError::TooLate));
    // What was left behind ends by itself and gives its place back.
    assert!(printer.print(sample(), long).await.is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_page(name in any::<String>(), detail in "\\PC{0,200}", note in "[\\p{L}\\p{M}\\p{S}\\p{P} ]{0,100}") {
        let mut document = sample();
        document.buyer.name = format!("x{name}");
        document.lines[0].detail = detail;
        document.notes = vec![note];
        let printed = RENDERER.render(&document);
        prop_assert!(printed.is_ok(), "{:?}", printed.err());
    }
}
