use serde_json::json;

use super::*;

const LINK: &str = "https://acme.example/accept-invitation?token=abc";

fn written(kind: MailKind, tenant_name: &str, detail: &Value) -> MailText {
    let link = kind.token_purpose().map(|_| LINK);
    write(&MailFacts { kind, tenant_name, link, link_life_s: 3_600, detail })
}

#[test]
fn every_kind_says_whose_mail_it_is_and_shows_its_link_in_both_forms() {
    for kind in MailKind::ALL {
        let mail = written(kind, "Acme Ltd", &json!({}));
        assert!(mail.text.contains("Acme Ltd") && mail.html.contains("Acme Ltd"), "{kind:?}");
        assert!(!mail.subject.is_empty() && mail.subject.len() < 100, "{kind:?}");
        let has_link = kind.token_purpose().is_some();
        assert_eq!((mail.text.contains(LINK), mail.html.contains(LINK)), (has_link, has_link), "{kind:?}");
        assert_eq!(mail.text.contains("works once, for 60 minutes"), has_link, "{kind:?}");
    }
}

#[test]
fn a_name_is_text_and_never_markup_or_a_header() {
    let evil = "<script>\"Acme\" & 'Sons'</script>\r\nBcc: all@example.com";
    for kind in MailKind::ALL {
        let mail = written(kind, evil, &json!({ "invited_by": "<b>Eve</b>" }));
        assert!(!mail.html.contains("<script>") && !mail.html.contains("<b>"), "{kind:?}: {}", mail.html);
        assert!(mail.html.contains("&lt;script&gt;&quot;Acme&quot; &amp; &#39;Sons&#39;"), "{kind:?}");
        assert!(!mail.subject.contains(['\r', '\n']), "{kind:?}");
    }
}

#[test]
fn a_life_is_told_in_the_unit_that_people_use() {
    for (seconds, text) in
        [(60, "1 minute"), (3_600, "60 minutes"), (7_200, "2 hours"), (86_400, "24 hours"), (604_800, "7 days")]
    {
        assert_eq!(duration(seconds), text);
    }
}

#[test]
fn an_invitation_names_who_invites() {
    let mail = written(MailKind::Invitation, "Acme Ltd", &json!({ "invited_by": "Ann" }));
    assert!(mail.text.starts_with("Ann has invited you to Acme Ltd.\n"), "{}", mail.text);
    let mail = written(MailKind::Invitation, "Acme Ltd", &json!({}));
    assert!(mail.text.starts_with("You are invited to Acme Ltd.\n"), "{}", mail.text);
}

fn about_usage(state: &str, threshold: u16) -> MailText {
    let detail = json!({
        "meter": "ai_tokens", "threshold": threshold, "used": 10_050, "limit": 10_000, "state": state, "period": "2026-11",
        "until": "2026-12-01T00:00:00Z", "upgrade_url": "https://acme.example/plans?a=1&b=2",
    });
    written(MailKind::UsageThreshold, "Acme & Sons", &detail)
}

#[test]
fn a_mail_about_a_limit_says_how_much_of_what_when_and_what_follows() {
    let mail = about_usage("paused", 100);
    assert_eq!(mail.subject, "Acme & Sons has used 100 % of its ai_tokens");
    let first =
        "Acme & Sons has used 10,050 of 10,000 ai_tokens in November 2026.\n\nhttps://acme.example/plans?a=1&b=2\n";
    assert!(mail.text.starts_with(first), "{}", mail.text);
    assert!(mail.text.contains("paused until 1 December 2026 (UTC), until the plan changes"), "{}", mail.text);
    assert!(mail.html.contains("Acme &amp; Sons has used 10,050 of 10,000 ai_tokens"), "{}", mail.html);
    assert!(mail.html.contains("href=\"https://acme.example/plans?a=1&amp;b=2\""), "{}", mail.html);
    assert!(!mail.text.contains("works once"), "the page of plans is no link of a token");
}

#[test]
fn a_mail_about_a_limit_says_something_else_for_each_consequence() {
    let of = |state| about_usage(state, 80).text;
    let said = [of("warn"), of("soft"), of("throttled"), of("paused"), of("hard")];
    for (index, text) in said.iter().enumerate() {
        assert_eq!(said.iter().filter(|other| *other == text).count(), 1, "{index}: {text}");
    }
    assert!(of("hard").contains("further calls are refused until 1 December 2026"), "{}", of("hard"));
    assert_eq!(of("ok"), of("warn"));
}

#[test]
fn a_lost_domain_is_named_with_what_it_was_good_for() {
    for (used, says) in
        [("host", "Acme Ltd is not reached at app.acme.example any more."), ("email", "no users are made")]
    {
        let detail =
            json!({ "domain": "app.acme.example", "use": used, "record": "_businessos-challenge.app.acme.example" });
        let mail = written(MailKind::DomainLost, "Acme Ltd", &detail);
        assert_eq!(mail.subject, "app.acme.example is not a domain of Acme Ltd any more");
        assert!(mail.text.contains(says), "{}", mail.text);
        assert!(mail.text.contains("record at _businessos-challenge.app.acme.example that"), "{}", mail.text);
    }
}

#[test]
fn a_mail_with_an_invoice_asks_for_no_money_that_was_paid_or_that_the_card_pays() {
    let of = |settling: &str, total_minor: i64| {
        let detail = json!({
            "number": "INV-2026-000001", "total_minor": total_minor, "currency": "USD", "period": "2026-11",
            "due_at": "2026-12-14T00:00:00Z", "settling": settling,
        });
        written(MailKind::Invoice, "Acme", &detail).text
    };
    for (settling, total_minor, said) in [
        ("paid", 4_900, "over 49.00 USD. It is paid, with thanks."),
        ("paid", 0, "over 0.00 USD. There is nothing to pay."),
        ("card", 4_900, "over 49.00 USD. The card on file is charged, so there is nothing to do."),
        ("transfer", 4_900, "over 49.00 USD. It is due on 14 December 2026."),
    ] {
        let text = of(settling, total_minor);
        assert!(text.contains(said), "{settling}: {text}");
        assert_eq!(text.contains("due on"), settling == "transfer", "{settling}: {text}");
    }
}
