//! One line of the invoice (BG-25).

use super::xml::Writer;
use super::{amount, period, tax_key};
use crate::domain::invoice_document::{DocumentLine, InvoiceDocument};

pub(super) fn write(w: &mut Writer, number: usize, line: &DocumentLine, document: &InvoiceDocument) {
    w.group("ram:IncludedSupplyChainTradeLineItem", |w| {
        w.group("ram:AssociatedDocumentLineDocument", |w| w.text("ram:LineID", &number.to_string()));
        w.group("ram:SpecifiedTradeProduct", |w| {
            w.text("ram:Name", &line.description);
            w.text("ram:Description", &line.detail);
        });
        w.group("ram:SpecifiedLineTradeAgreement", |w| {
            w.group("ram:NetPriceProductTradePrice", |w| {
                w.text("ram:ChargeAmount", &line.unit_price);
                if line.price_quantity != 1 {
                    let unit = [("unitCode", &*line.unit)];
                    w.attributed("ram:BasisQuantity", &unit, &line.price_quantity.to_string());
                }
            });
        });
        w.group("ram:SpecifiedLineTradeDelivery", |w| {
            w.attributed("ram:BilledQuantity", &[("unitCode", &*line.unit)], &line.quantity);
        });
        w.group("ram:SpecifiedLineTradeSettlement", |w| {
            w.group("ram:ApplicableTradeTax", |w| {
                w.text("ram:TypeCode", "VAT");
                tax_key(w, line.tax);
            });
            period(w, line.period);
            w.group("ram:SpecifiedTradeSettlementLineMonetarySummation", |w| {
                w.text("ram:LineTotalAmount", &amount(document, line.net));
            });
        });
    });
}
