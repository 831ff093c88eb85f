//! The month's end: our lines on Stripe's draft, and the sums.

use businessos::actors::stripe::{CreditNote, DraftInvoice, InvoiceItem, PaymentError, Refund};

use businessos::domain::period::Period;

use crate::fake::FaultKind;
use crate::world::World;

/// A subscription of the month before, and the draft for it with our lines: 49.00 of the plan, 12.34 and 0.01 of usage, and a
/// credit of 1.00.
async fn draft(world: &World) -> DraftInvoice {
    world.subscribe().await;
    world.next_month();
    let invoice = world.fake.books().all("invoice")[0].clone();
    assert_eq!((&invoice["status"], &invoice["total"]), (&"draft".into(), &4_900.into()));
    let item = |line_key: &str, amount_minor| InvoiceItem {
        line_key: line_key.to_owned(),
        description: format!("{line_key} of the month"),
        amount_minor,
        period: Some(Period::parse("2026-11").unwrap()),
    };
    DraftInvoice {
        invoice: invoice["id"].as_str().unwrap().to_owned(),
        customer: world.customer().await,
        currency: "USD".to_owned(),
        number: Some("INV-2026-000007".to_owned()),
        items: vec![item("overage:ai_tokens", 1_234), item("overage:workflow_runs", 1), item("credit", -100)],
        total_minor: 6_035,
    }
}

#[tokio::test]
async fn our_lines_are_collected_to_the_cent_whatever_goes_wrong() {
    use FaultKind::{Busy, FailAfter, FailBefore, LoseAnswer, LoseRequest, TurnAway};
    let world = World::new().await;
    let draft = draft(&world).await;
    let before = world.charged();
    for kind in [LoseAnswer, FailAfter, FailBefore, LoseRequest, TurnAway, Busy] {
        world.fake.fail("POST", "/v1/invoiceitems", kind);
        world.fake.fail("POST", "/v1/invoices/", kind);
    }
    // Each run is struck by some of them; who goes on is the job that runs again.
    let mut n_runs = 0;
    while let Err(error) = world.desk.bill(world.tenant, &draft).await {
        assert!(matches!(error, PaymentError::Unsettled(_)), "{error}");
        n_runs += 1;
        assert!(n_runs < 20, "it never ends");
    }
    world.desk.bill(world.tenant, &draft).await.unwrap();
    assert_eq!(world.fake.books().all("invoiceitem").len(), 3);
    assert_eq!(world.fake.books().sum("invoiceitem", "amount", |_| true), 1_135);
    assert_eq!(world.charged() - before, draft.total_minor);
    world.catch_up().await;
    assert_eq!(world.paid().await, world.charged());
    let ours = "SELECT sum((result->>'amount')::bigint)::bigint FROM billing.stripe_requests WHERE operation = 'create_invoice_item'";
    assert_eq!(world.app.count(ours).await, 1_135);
    assert_eq!(world.n_facts("invoice_drafted").await, 0, "it was over before anybody looked");
}

#[tokio::test]
async fn killed_between_any_line_and_its_note_nothing_is_charged_twice() {
    let world = World::new().await;
    let draft = draft(&world).await;
    let before = world.charged();
    let n_steps = draft.items.len() + 1;
    for n in 0..n_steps {
        let path = if n < draft.items.len() { "/v1/invoiceitems" } else { "/v1/invoices/" };
        world.fake.fail("POST", path, FaultKind::Stall);
        let is_done = async || {
            let books = world.fake.books();
            let n_done =
                books.all("invoiceitem").len() + usize::from(books.objects[&draft.invoice]["status"] != "draft");
            n_done > n
        };
        tokio::select! {
            _ = world.desk.bill(world.tenant, &draft) => panic!("step {n} had an answer"),
            _ = crate::helpers::until("the step is done", is_done) => {}
        }
    }
    world.desk.bill(world.tenant, &draft).await.unwrap();
    assert_eq!(world.fake.books().all("invoiceitem").len(), draft.items.len());
    assert_eq!(world.charged() - before, draft.total_minor);
}

#[tokio::test]
async fn two_who_close_the_same_period_charge_once() {
    let world = World::new().await;
    let draft = draft(&world).await;
    let before = world.charged();
    let (a, b) = tokio::join!(world.desk.bill(world.tenant, &draft), world.desk.bill(world.tenant, &draft));
    assert!(a.is_ok() || b.is_ok(), "{a:?} {b:?}");
    world.desk.bill(world.tenant, &draft).await.unwrap();
    assert_eq!(world.charged() - before, draft.total_minor);
}

#[tokio::test]
async fn an_invoice_whose_sum_is_not_ours_stays_a_draft() {
    let world = World::new().await;
    let draft = draft(&world).await;
    let wrong = DraftInvoice { total_minor: draft.total_minor + 1, ..draft.clone() };
    let error = world.desk.bill(world.tenant, &wrong).await.expect_err("a cent too many");
    assert!(matches!(error, PaymentError::SumsDiffer { ours: 6_036, theirs: 6_035, .. }), "{error}");
    assert_eq!(world.fake.books().objects[&draft.invoice]["status"], "draft");
    world.catch_up().await;
    assert_eq!(world.n_facts("invoice_drafted").await, 1);
    world.desk.bill(world.tenant, &draft).await.unwrap();
    assert_eq!(world.fake.books().objects[&draft.invoice]["status"], "paid");
}

#[tokio::test]
async fn a_draft_that_stripe_ended_itself_is_taken_as_it_is_or_not_at_all() {
    let world = World::new().await;
    let draft = draft(&world).await;
    world.fake.advance(7_200);
    let error = world.desk.bill(world.tenant, &draft).await.expect_err("too late for lines");
    assert!(matches!(&error, PaymentError::Refused { code, .. } if code == "invoice_not_editable"), "{error}");
    let without = DraftInvoice { items: Vec::new(), total_minor: 4_900, ..draft };
    let billed = world.desk.bill(world.tenant, &without).await.unwrap();
    assert_eq!((&billed["status"], &billed["total"]), (&"paid".into(), &4_900.into()));
}

#[tokio::test]
async fn money_goes_back_once() {
    let world = World::new().await;
    world.subscribe().await;
    world.next_month();
    world.quiesce().await;
    let (charge, invoice) = {
        let books = world.fake.books();
        (books.all("charge")[0].clone(), books.all("invoice")[0].clone())
    };
    let refund = Refund {
        payment_intent: charge["payment_intent"].as_str().unwrap().to_owned(),
        amount_minor: 100,
        key: "goodwill-1".to_owned(),
    };
    world.fake.fail("POST", "/v1/refunds", FaultKind::FailAfter);
    world.desk.refund(world.tenant, &refund).await.unwrap();
    world.desk.refund(world.tenant, &refund).await.unwrap();
    assert_eq!(world.fake.books().sum("refund", "amount", |_| true), 100);
    let note = CreditNote {
        invoice: invoice["id"].as_str().unwrap().to_owned(),
        amount_minor: 50,
        refund_minor: 20,
        number: "CN-1".to_owned(),
    };
    world.fake.fail("POST", "/v1/credit_notes", FaultKind::LoseAnswer);
    world.desk.credit_note(world.tenant, &note).await.unwrap();
    assert_eq!(world.fake.books().sum("credit_note", "amount", |_| true), 50);
    world.fake.books().dispute(invoice["customer"].as_str().unwrap());
    world.catch_up().await;
    for kind in ["charge_refunded", "credit_note_issued", "dispute_opened"] {
        assert_eq!(world.n_facts(kind).await, 1, "{kind}");
    }
}
