//! The whole way: a wish, a page, a payment, the plan; the month's end, and what goes wrong with it. Over HTTP, with the server's own
//! jobs at work beside the test.

use businessos::actors::billing::close;
use businessos::domain::period::Period;
use businessos::domain::stripe::intent::Method;
use serde_json::{Value, json};

use crate::fake::{Fake, FaultKind};
use crate::helpers::until;
use crate::world::{BASIC, World};

async fn subscription(world: &World) -> Value {
    world.app.get("acme", "/billing/subscription").token(&world.owner).await.json()
}

/// Uses tokens, of which `basic` includes a million; a thousand more cost 2 cents.
async fn use_tokens(world: &World, id: &str, quantity: i64) {
    let body = json!({ "events": [{ "id": id, "meter": "ai_tokens", "quantity": quantity }] });
    let reply = world.app.post("acme", "/billing/usage/events").token(&world.owner).json(&body).await;
    assert_eq!(reply.json()["results"][0]["status"], "accepted", "{reply:?}");
}

/// Lookup keys of the prices of Stripe's subscription.
fn prices(world: &World, subscription: &str) -> Vec<String> {
    let items = world.fake.books().objects[subscription]["items"]["data"].as_array().unwrap().clone();
    items.iter().map(|item| item["price"]["lookup_key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_paid_checkout_makes_the_plan_active_and_leaves_a_paid_invoice() {
    let world = World::dear_with(|settings| {
        settings.billing.tax_rate_percent = "19".to_owned();
        settings.billing.seller.tax_id = "DE123456789".to_owned();
    })
    .await;
    let reply = world.ask_for(json!({ "plan": "basic", "success_url": "/paid" })).await;
    let url = reply.json()["checkout_url"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    assert!(url.starts_with(&world.fake.url()), "{url}");
    let session = world.fake.books().all("checkout.session")[0].clone();
    assert!(session["success_url"].as_str().unwrap().ends_with("/paid"), "{session}");
    assert!(session["custom_text"]["submit"]["message"].as_str().unwrap().contains("100,000.00 USD"), "{session}");
    assert_eq!(subscription(&world).await["plan"], "free", "before the payment nothing is changed");
    world.pay();
    world.quiesce().await;
    until("the plan is active", async || subscription(&world).await["plan"] == "basic").await;
    assert_eq!(subscription(&world).await["pending_minor"], 0, "what was due is paid");
    let due = session["amount_total"].as_i64().unwrap();
    assert_eq!(world.invoices().await, [("interim".to_owned(), "paid".to_owned(), due)]);
    world.assert_books_agree().await;
    let id = world.text("SELECT subscription_id FROM billing.stripe_customers").await.unwrap();
    assert_eq!(prices(&world, &id), ["basic_v1_usd"]);
    let shown = world.app.get("acme", "/billing/invoice").token(&world.owner).await.json();
    assert_eq!(shown["items"][0]["kind"], "interim", "{shown}");
    assert_eq!(world.n_audited("subscription.change").await, 1);
    assert_eq!(world.n_audited("invoice.paid").await, 1);
    assert_eq!(said_of(&world, "interim").await, ("paid".to_owned(), None), "nobody is asked for what was paid");
    world.next_month();
    world.quiesce().await;
    assert_eq!(said_of(&world, "cycle").await, ("card".to_owned(), Some("true".to_owned())));
    for invoice in
        world.app.get("acme", "/billing/invoice").token(&world.owner).await.json()["items"].as_array().unwrap()
    {
        let path = format!("/billing/invoice/{}/pdf", invoice["id"].as_str().unwrap());
        assert_eq!(world.app.get("acme", &path).token(&world.owner).await.status, 200, "{invoice}");
    }
}

/// How the mail of an invoice of a kind says that it is paid, and whether the invoice says that the card pays it.
async fn said_of(world: &World, kind: &str) -> (String, Option<String>) {
    let of = |what: &str| {
        format!(
            "SELECT {what} FROM billing.invoices i
             JOIN billing.stream_events e ON e.kind = 'invoice.created' AND e.payload ->> 'invoice' = i.id::text WHERE i.kind = '{kind}'"
        )
    };
    let mail = world.text(&of("e.payload ->> 'settling'")).await.unwrap();
    (mail, world.text(&of("i.buyer ->> 'pays_by_card'")).await)
}

#[tokio::test]
async fn where_nothing_is_due_the_card_is_only_shown() {
    let world = World::dear_with(|settings| settings.plans.get_mut("basic").unwrap().trial_days = 14).await;
    let id = world.subscribe().await;
    assert_eq!(world.fake.books().all("checkout.session")[0]["mode"], "setup");
    until("the trial runs", async || subscription(&world).await["status"] == "trialing").await;
    assert_eq!((world.charged(), world.invoices().await), (0, Vec::new()));
    assert_eq!(world.fake.books().objects[&id]["status"], "active");
}

#[tokio::test]
async fn the_months_end_is_collected_to_the_cent() {
    let world = World::dear_with(|settings| settings.billing.tax_rate_percent = "8.875".to_owned()).await;
    let id = world.subscribe().await;
    use_tokens(&world, "one", 1_012_345).await;
    world.next_month();
    world.quiesce().await;
    let invoices = world.invoices().await;
    assert_eq!(invoices.len(), 2, "{invoices:?}");
    assert!(invoices.iter().all(|(_, status, _)| status == "paid"), "{invoices:?}");
    let theirs = world.fake.books().all("invoice")[0].clone();
    assert_eq!(theirs["total"], invoices[1].2);
    assert!(invoices[1].2 > BASIC + 887_500, "plan, usage and tax: {invoices:?}");
    assert_eq!(theirs["parent"]["subscription_details"]["subscription"], id.as_str());
    world.assert_books_agree().await;
    // What is used now belongs to the next one.
    world.next_month();
    world.quiesce().await;
    assert_eq!(world.invoices().await.len(), 3);
    world.assert_books_agree().await;
}

#[tokio::test]
async fn with_a_known_card_more_holds_at_once_and_stripes_prices_follow() {
    let world = World::dear_with(|settings| settings.plans.get_mut("basic").unwrap().modules.clear()).await;
    let id = world.subscribe().await;
    let reply = world.ask_for(json!({ "plan": "pro" })).await;
    assert_eq!(reply.json()["subscription"]["plan"], "pro", "{reply:?}");
    world.quiesce().await;
    assert_eq!(prices(&world, &id), ["pro_v1_usd"]);
    // Less comes later: Stripe's next draft has it already.
    world.ask_for(json!({ "plan": "basic", "modules": ["crm"] })).await;
    world.quiesce().await;
    let mut now = prices(&world, &id);
    now.sort();
    assert_eq!(now, ["basic_v1_usd", "module_crm_1900_usd"]);
    world.next_month();
    world.quiesce().await;
    let last = world.invoices().await.pop().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str()), ("cycle", "paid"));
    assert_eq!(world.fake.books().all("invoice")[0]["total"], last.2);
    world.assert_books_agree().await;
}

#[tokio::test]
async fn whoever_cancels_is_charged_for_the_last_usage_and_no_more() {
    let world = World::dear().await;
    let id = world.subscribe().await;
    use_tokens(&world, "one", 1_500_000).await;
    let reply = world.app.post("acme", "/billing/cancel").token(&world.owner).json(&json!({})).await;
    assert_eq!(reply.json()["subscription"]["cancel_at_period_end"], true);
    world.quiesce().await;
    assert_eq!(world.fake.books().objects[&id]["cancel_at_period_end"], true);
    // Taken back, and wanted after all.
    world.ask_for(json!({ "plan": "basic" })).await;
    world.quiesce().await;
    assert_eq!(world.fake.books().objects[&id]["cancel_at_period_end"], false);
    world.app.post("acme", "/billing/cancel").token(&world.owner).json(&json!({})).await;
    world.quiesce().await;
    world.fake.advance(32 * 86_400);
    assert_eq!(world.fake.books().objects[&id]["status"], "canceled");
    let period = Period::containing(businessos::clock::now());
    let (db, settings) = (&world.desk.db, &world.desk.settings);
    close::close_until(db, settings, world.tenant, period.end, period.end).await.unwrap();
    world.quiesce().await;
    let last = world.invoices().await.pop().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str()), ("cycle", "paid"), "{last:?}");
    assert_eq!(world.fake.books().all("invoice").len(), 1, "no draft was left over");
    until("nothing is left", async || subscription(&world).await["plan"] == "free").await;
    world.assert_books_agree().await;
    assert_eq!(world.text("SELECT subscription_id FROM billing.stripe_customers").await, None);
}

#[tokio::test]
async fn what_is_ended_at_stripe_is_ended_here() {
    let world = World::dear().await;
    let id = world.subscribe().await;
    let end = world.fake.books().objects[&id]["items"]["data"][0]["current_period_end"].as_i64().unwrap();
    let change = json!({ "cancel_at": end });
    let path = format!("/v1/subscriptions/{id}");
    world.desk.client.send(Method::Post, &path, &change, Some("on-the-portal")).await.unwrap();
    world.quiesce().await;
    until("it ends with its period here", async || subscription(&world).await["cancel_at_period_end"] == true).await;
    world.ask_for(json!({ "plan": "basic" })).await;
    world.quiesce().await;
    assert!(world.fake.books().objects[&id]["cancel_at"].is_null(), "taken back there, too");
    // What was noted before that, and is followed only now, is not so any more.
    let sql = "UPDATE billing.payment_events SET applied_at = NULL WHERE kind = 'subscription_changed'";
    world.app.db.as_admin(sql).await;
    world.quiesce().await;
    assert_eq!(world.app.count("SELECT count(*) FROM billing.payment_events WHERE applied_at IS NULL").await, 0);
    assert_eq!(subscription(&world).await["cancel_at_period_end"], false, "our customer wants to stay");
    world.desk.client.send(Method::Delete, &path, &json!({}), None).await.unwrap();
    world.quiesce().await;
    until("it has ended here", async || {
        let shown = subscription(&world).await;
        (&shown["plan"], &shown["status"]) == (&"free".into(), &"canceled".into())
    })
    .await;
    // Subscribing again leads to a page again.
    assert!(world.ask_for(json!({ "plan": "basic" })).await.json()["checkout_url"].is_string());
    assert_eq!(world.n_audited("subscription.cancel").await, 2);
}

#[tokio::test]
async fn a_customer_that_was_deleted_at_stripe_is_replaced() {
    for deleted_is_told_first in [false, true] {
        let world = World::dear().await;
        world.subscribe().await;
        let gone = world.text("SELECT customer_id FROM billing.stripe_customers").await.unwrap();
        world.fake.books().delete_customer(&gone).unwrap();
        if deleted_is_told_first {
            let last = world.fake.events().pop().unwrap();
            assert_eq!(last["type"], "customer.deleted");
            world.deliver([&last]).await;
            world.settle().await;
        }
        world.quiesce().await;
        until("it has ended here", async || subscription(&world).await["status"] == "canceled").await;
        world.subscribe().await;
        let customer = world.text("SELECT customer_id FROM billing.stripe_customers").await.unwrap();
        assert_ne!(customer, gone);
        assert_eq!(subscription(&world).await["plan"], "basic");
        // What comes late of the old one is the tenant's and changes nothing.
        world.deliver(&world.fake.events()).await;
        world.quiesce().await;
        assert_eq!(subscription(&world).await["plan"], "basic");
        assert_eq!(world.text("SELECT customer_id FROM billing.stripe_customers").await.unwrap(), customer);
        world.assert_books_agree().await;
    }
}

#[tokio::test]
async fn a_draft_that_ran_out_is_completed_by_an_invoice_of_its_own() {
    let world = World::dear().await;
    world.subscribe().await;
    use_tokens(&world, "one", 1_600_000).await;
    world.next_month();
    world.fake.advance(7_200);
    assert_eq!(world.fake.books().all("invoice")[0]["status"], "paid", "Stripe has ended it without our lines");
    world.quiesce().await;
    let collections = "SELECT count(*) FROM billing.stripe_collections WHERE state = 'paid'";
    assert_eq!(world.app.count(collections).await, 2);
    assert_eq!(world.invoices().await.pop().unwrap().1, "paid");
    world.assert_books_agree().await;
}

#[tokio::test]
async fn what_stripe_drafts_and_nobody_owes_comes_to_nothing() {
    let world = World::dear().await;
    world.subscribe().await;
    // Ended at once, and the draft was made before Stripe heard of it.
    world.next_month();
    world.app.post("acme", "/billing/cancel").token(&world.owner).json(&json!({ "at_period_end": false })).await;
    world.quiesce().await;
    let theirs = world.fake.books().all("invoice")[0].clone();
    assert_eq!((&theirs["status"], &theirs["total"]), (&"paid".into(), &0.into()), "{theirs}");
    world.assert_books_agree().await;
}

#[tokio::test]
async fn a_card_that_fails_leads_to_a_warning_until_it_is_paid() {
    let world = World::dear().await;
    world.subscribe().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer.clone());
    world.next_month();
    world.quiesce().await;
    assert_eq!(world.n_facts("payment_failed").await, 1);
    until("the tenant is warned", async || subscription(&world).await["status"] == "past_due").await;
    assert_eq!(world.invoices().await.pop().unwrap().1, "open");
    let events =
        "SELECT count(*) FROM billing.stream_events e JOIN billing.invoices i ON i.id::text = e.payload ->> 'invoice'
                  WHERE e.kind = 'invoice.failed' AND i.status = 'open'";
    assert_eq!(world.app.count(events).await, 1);
    world.fake.books().declined.remove(&customer);
    world.fake.advance(4 * 86_400);
    world.quiesce().await;
    until("all is well", async || subscription(&world).await["status"] == "active").await;
    assert_eq!(world.invoices().await.pop().unwrap().1, "paid");
    world.assert_books_agree().await;
}

#[tokio::test]
async fn a_dispute_is_trouble_until_it_is_won() {
    let world = World::dear().await;
    world.subscribe().await;
    let customer = world.customer().await;
    let dispute = world.fake.books().dispute(&customer)["id"].as_str().unwrap().to_owned();
    world.quiesce().await;
    until("the tenant is warned", async || subscription(&world).await["status"] == "past_due").await;
    {
        let mut books = world.fake.books();
        let dispute = books.change(&dispute, |dispute| dispute["status"] = "won".into());
        books.tell("charge.dispute.closed", &dispute);
    }
    world.quiesce().await;
    until("all is well", async || subscription(&world).await["status"] == "active").await;
}

#[tokio::test]
async fn two_tenants_pay_for_themselves_only() {
    let world = World::dear().await;
    let plan = json!({ "plan": "basic" });
    assert!(world.ask_for(plan.clone()).await.json()["checkout_url"].is_string());
    let acmes = world.fake.books().all("checkout.session")[0].clone();
    let (globex_tenant, globex) = world.app.tenant_with_owner("globex").await;
    let globex = world.app.stepped_up("globex", &globex).await;
    let reply = world.app.post("globex", "/billing/subscribe").token(&globex).json(&plan).await;
    assert!(reply.json()["checkout_url"].is_string(), "{reply:?}");
    // Globex pays on a page of its own customer that says that it is acme's, with acme's order on it.
    let globexs = {
        let mut books = world.fake.books();
        let its = books.all("checkout.session")[0].clone();
        assert_eq!(its["client_reference_id"], globex_tenant.id.as_str());
        let id = its["id"].as_str().unwrap().to_owned();
        let forged = books.change(&id, |session| {
            session["metadata"] = acmes["metadata"].clone();
            session["client_reference_id"] = acmes["client_reference_id"].clone();
        });
        assert_ne!(forged["customer"], acmes["customer"]);
        books.pay_session(&id).unwrap();
        id
    };
    let looked_at =
        format!("SELECT count(*) FROM billing.stripe_events WHERE object_id = '{globexs}' AND status = 'done'");
    world.quiesce().await;
    until("the forged page was looked at", async || world.app.count(&looked_at).await > 0).await;
    let followed = format!(
        "SELECT count(*) FROM billing.payment_events WHERE object_id = '{globexs}' AND applied_at IS NOT NULL AND tenant_id = '{}'",
        globex_tenant.id
    );
    until("and it was followed as globex's", async || world.app.count(&followed).await == 1).await;
    // Nothing of acme's has changed, and its page is open still.
    assert_eq!(subscription(&world).await["plan"], "free");
    assert_eq!(world.invoices().await, []);
    let acmes_card =
        format!("SELECT payment_method FROM billing.stripe_customers WHERE tenant_id = '{}'", world.tenant);
    assert_eq!(world.text(&acmes_card).await, None);
    let open = format!(
        "SELECT count(*) FROM billing.stripe_checkouts WHERE tenant_id = '{}' AND state = 'open'",
        world.tenant
    );
    assert_eq!(world.app.count(&open).await, 1);
    // Nor has globex got what acme ordered.
    let shown = world.app.get("globex", "/billing/subscription").token(&globex).await.json();
    assert_eq!(shown["plan"], "free");
    world.fake.books().pay_session(acmes["id"].as_str().unwrap()).unwrap();
    world.quiesce().await;
    until("acme has its plan", async || subscription(&world).await["plan"] == "basic").await;
    let invoices = world.app.get("globex", "/billing/invoice").token(&globex).await.json();
    assert_eq!(invoices["items"], json!([]));
    assert_eq!(
        world.invoices().await,
        [("interim".to_owned(), "paid".to_owned(), acmes["amount_total"].as_i64().unwrap())]
    );
}

#[tokio::test]
async fn a_card_that_was_changed_on_the_portal_is_the_one_that_is_charged() {
    let world = World::dear().await;
    world.subscribe().await;
    let (customer, other) = (world.customer().await, world.fake.books().id("pm"));
    let first = world.text("SELECT payment_method FROM billing.stripe_customers").await.unwrap();
    let change = async |card: &str, key: &str| {
        let change = json!({ "invoice_settings": { "default_payment_method": card } });
        let path = format!("/v1/customers/{customer}");
        world.desk.client.send(Method::Post, &path, &change, Some(key)).await.unwrap();
    };
    // There and back and there again, told late and in no order: what counts is how it is by then.
    change(&other, "once").await;
    change(&first, "twice").await;
    change(&other, "thrice").await;
    let mut events = world.fake.events();
    events.reverse();
    world.deliver(&events).await;
    world.quiesce().await;
    assert_eq!(world.text("SELECT payment_method FROM billing.stripe_customers").await, Some(other.clone()));
    // Another subscription at Stripe does not bring the old one back.
    world.app.db.as_admin("UPDATE billing.stripe_customers SET subscription_id = NULL").await;
    world.quiesce().await;
    assert_eq!(world.fake.books().all("subscription").len(), 2);
    assert_eq!(world.fake.books().objects[&customer]["invoice_settings"]["default_payment_method"], other.as_str());
}

#[tokio::test]
async fn the_portal_is_for_admins_who_have_stepped_up() {
    let world = World::dear().await;
    let (_, weak) = world.app.tenant_with_owner("globex").await;
    let portal = world.app.post("globex", "/billing/portal").token(&weak);
    portal.await.problem(401, "insufficient_user_authentication");
    let portal = world.app.post("acme", "/billing/portal").token(&world.owner);
    let wrong = portal.json(&json!({ "return_url": "//evil.test" })).await;
    assert_eq!(wrong.pointers(), ["/return_url"]);
    let reply = world.app.post("acme", "/billing/portal").token(&world.owner).await;
    assert!(reply.json()["url"].as_str().unwrap().starts_with(&world.fake.url()), "{reply:?}");
    assert_eq!(world.n_audited("billing.portal").await, 1);
}

/// Every fault has struck somebody.
#[track_caller]
fn assert_nobody_was_spared(world: &World, kind: FaultKind) {
    let left = world.fake.books().faults.clone();
    assert!(left.is_empty(), "{kind:?}: a fault struck nobody: {left:?}");
}

#[tokio::test]
async fn whatever_fails_once_on_the_way_nothing_is_charged_twice_or_not_at_all() {
    use FaultKind::{Busy, FailAfter, FailBefore, LoseAnswer, LoseRequest, TurnAway};
    for kind in [LoseAnswer, LoseRequest, FailBefore, FailAfter, TurnAway, Busy] {
        let fake = Fake::start(0);
        for path in ["products", "prices"] {
            fake.fail("POST", &format!("/v1/{path}"), kind);
        }
        let world = World::dear_on(fake, |_| {}).await;
        assert_nobody_was_spared(&world, kind);
        for path in ["customers", "checkout/", "customers/", "subscriptions"] {
            world.fake.fail("POST", &format!("/v1/{path}"), kind);
        }
        // Whoever gets no answer asks again, as people do.
        until("there is a page", async || {
            world.ask_for(json!({ "plan": "basic" })).await.json()["checkout_url"].is_string()
        })
        .await;
        world.pay();
        world.quiesce().await;
        assert_nobody_was_spared(&world, kind);
        use_tokens(&world, "one", 1_007_777).await;
        for path in ["/v1/invoiceitems", "/v1/invoices/"] {
            world.fake.fail("POST", path, kind);
        }
        world.fake.fail("GET", "/v1/invoices/", kind);
        world.next_month();
        world.quiesce().await;
        assert_nobody_was_spared(&world, kind);
        assert_eq!(world.fake.books().all("product").len(), 3, "{kind:?}");
        let invoices = world.invoices().await;
        assert_eq!(invoices.len(), 2, "{kind:?}: {invoices:?}");
        assert!(invoices.iter().all(|(_, status, _)| status == "paid"), "{kind:?}: {invoices:?}");
        assert_eq!(world.fake.books().all("charge").len(), 2, "{kind:?}");
        assert_eq!(world.fake.books().all("subscription").len(), 1, "{kind:?}");
        world.assert_books_agree().await;
    }
}

#[tokio::test]
async fn what_was_paid_by_transfer_is_not_charged_as_well() {
    let world = World::dear().await;
    world.subscribe().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer.clone());
    world.next_month();
    world.quiesce().await;
    let id = world.text("SELECT id::text FROM billing.invoices WHERE status = 'open'").await.unwrap();
    let operator = world.app.operator().await;
    let operator = world.app.stepped_up("platform", &operator).await;
    let paid = world.app.post("platform", &format!("/operator/invoices/{id}/paid")).token(&operator);
    assert_eq!(paid.json(&json!({ "reference": "TRX 42" })).await.status, 200);
    world.quiesce().await;
    until("nobody is warned any more", async || subscription(&world).await["status"] == "active").await;
    let before = world.charged();
    world.fake.books().declined.remove(&customer);
    world.fake.advance(5 * 86_400);
    world.quiesce().await;
    assert_eq!(world.charged(), before);
}

#[tokio::test]
async fn what_an_operator_takes_back_is_taken_back_at_stripe() {
    let world = World::dear().await;
    world.subscribe().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer.clone());
    world.next_month();
    world.quiesce().await;
    let before = world.charged();
    let id = world.text("SELECT id::text FROM billing.invoices WHERE status = 'open'").await.unwrap();
    let operator = world.app.operator().await;
    let operator = world.app.stepped_up("platform", &operator).await;
    let credited = world.app.post("platform", &format!("/operator/invoices/{id}/credit")).token(&operator);
    let credited = credited.json(&json!({ "reason": "our mistake" })).await;
    assert!((200..300).contains(&credited.status), "{credited:?}");
    world.quiesce().await;
    world.fake.books().declined.remove(&customer);
    world.fake.advance(5 * 86_400);
    world.quiesce().await;
    assert_eq!(world.charged(), before, "nothing more was charged");
    assert_eq!(world.fake.books().all("credit_note").len(), 1);
}

#[tokio::test]
async fn a_coupon_that_leaves_nothing_to_pay_is_used_up_with_it() {
    let world = World::dear_with(|settings| {
        settings.coupons = toml::from_str("GIFT = { percent_off = 100, months = 1 }").unwrap();
    })
    .await;
    world.subscribe_to(json!({ "plan": "basic", "coupon": "GIFT" })).await;
    assert_eq!(world.fake.books().all("checkout.session")[0]["mode"], "setup");
    assert_eq!(world.invoices().await, [("interim".to_owned(), "paid".to_owned(), 0)]);
    assert_eq!(world.app.count("SELECT count(*) FROM billing.pending_items").await, 0);
    assert_eq!(world.charged(), 0);
}
