//! Prints invoices: the sample of `docs/`, how long that takes and what memory, and the cases that `scripts/facturx-check.sh`
//! validates.
//!
//! `invoice_sample --count N --lines N --out DIR` prints N different invoices one after the other and ends with one line of JSON.
//! `invoice_sample --cases --out DIR` writes a PDF and XML of each kind of document, and XML with sums that are off by one unit.

#![expect(clippy::print_stdout, reason = "a program for the command line: its answer goes to standard output")]

mod cases;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use businessos::clients::invoice_pdf::{InvoicePrinter, PrintedInvoice};
use businessos::domain::facturx;
use businessos::domain::invoice_document::InvoiceDocument;
use clap::Parser;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A print takes milliseconds; whoever needs so long has a fault.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Arguments {
    /// How many invoices to print.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// How many lines each has; the sample's own if it is left out.
    #[arg(long)]
    lines: Option<usize>,
    /// Where to write.
    #[arg(long)]
    out: PathBuf,
    /// Write the cases of the check instead.
    #[arg(long)]
    cases: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let printer = InvoicePrinter::start(1, 0)?;
    if arguments.cases { write_cases(&printer, &arguments.out).await } else { measure(&printer, &arguments).await }
}

async fn write_cases(printer: &InvoicePrinter, out: &Path) -> Result<(), Box<dyn Error>> {
    for (name, document) in cases::right()? {
        let printed = printer.print(document, PATIENCE).await.map_err(|error| format!("{name}: {error:?}"))?;
        write(out, &format!("right-{name}"), &printed)?;
    }
    for (rule, document) in cases::wrong()? {
        if document.check().is_ok() {
            return Err(format!("{rule}: the document's own check sees nothing").into());
        }
        std::fs::write(out.join(format!("wrong-{rule}.xml")), facturx::unchecked_xml(&document))?;
    }
    Ok(())
}

async fn measure(printer: &InvoicePrinter, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let sample = cases::sample()?;
    let template = arguments.lines.map_or_else(|| Ok(sample), cases::of_lines)?;
    let first = printer.print(template.clone(), PATIENCE).await?;
    write(&arguments.out, "sample-invoice", &first)?;
    let rss_before = memory("VmRSS")?;
    let mut times = Vec::with_capacity(arguments.count);
    let mut rss_half = rss_before;
    for number in 0..arguments.count {
        let document = numbered(&template, number);
        let begun = Instant::now();
        printer.print(document, PATIENCE).await?;
        times.push(begun.elapsed());
        if number == arguments.count / 2 {
            rss_half = memory("VmRSS")?;
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    let ms = |part| at(part).map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0);
    let report = serde_json::json!({
        "count": arguments.count,
        "lines": template.lines.len(),
        "pages": first.n_pages,
        "pdf_bytes": first.pdf.len(),
        "xml_bytes": first.xml.len(),
        "median_ms": ms(50),
        "p95_ms": ms(95),
        "max_ms": ms(100),
        "rss_before_kib": rss_before,
        "rss_half_kib": rss_half,
        "rss_after_kib": memory("VmRSS")?,
        "peak_kib": memory("VmHWM")?,
    });
    println!("{report}");
    Ok(())
}

/// The document as somebody else's: nothing may be remembered of the one before.
fn numbered(template: &InvoiceDocument, number: usize) -> InvoiceDocument {
    let mut document = template.clone();
    document.number = format!("INV-2026-{number:06}");
    document.buyer.name = format!("Customer {number} AG");
    document
}

fn write(out: &Path, name: &str, printed: &PrintedInvoice) -> std::io::Result<()> {
    std::fs::write(out.join(format!("{name}.pdf")), &printed.pdf)?;
    std::fs::write(out.join(format!("{name}.xml")), &printed.xml)
}

/// Memory of this process in KiB as Linux tells it; none elsewhere.
fn memory(field: &str) -> Result<Option<u64>, Box<dyn Error>> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return Ok(None);
    };
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map(|value| Ok(value.trim().trim_end_matches(" kB").parse()?)).transpose()
}
