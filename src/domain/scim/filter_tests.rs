//! Filters on resources that stand in the test.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn matches(filter: &str, resource: &Value) -> bool {
    let filter = Filter::parse(ResourceKind::User, filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(resource.as_object().expect("an object"))
}

fn ann() -> Value {
    json!({
        "userName": "Ann@acme.test", "active": true, "externalId": "A1", "name": { "givenName": "Änn" },
        "emails": [{ "value": "a@work.test", "type": "work", "primary": true }, { "value": "b@home.test", "type": "home" }],
        "meta": { "created": "2026-01-02T03:04:05.000Z" },
    })
}

#[test]
fn one_value_must_pass_the_whole_of_a_value_filter() {
    assert!(matches(r#"emails[type eq "work" and value co "work"]"#, &ann()));
    assert!(!matches(r#"emails[type eq "work" and value co "home"]"#, &ann()));
    assert!(matches(r#"emails.type eq "work" and emails.value co "home""#, &ann()), "without brackets any value does");
}

#[test]
fn letters_are_compared_without_case_where_the_schema_says_so() {
    assert!(matches(r#"name.givenName eq "äNN""#, &ann()));
    assert!(matches(r#"externalId eq "A1""#, &ann()) && !matches(r#"externalId eq "a1""#, &ann()));
}

#[test]
fn moments_are_compared_as_moments() {
    assert!(matches(r#"meta.created eq "2026-01-02T04:04:05+01:00""#, &ann()));
    assert!(matches(r#"meta.created lt "2026-01-02T03:04:05.001Z""#, &ann()));
}

#[test]
fn what_is_not_there_is_different_from_everything() {
    assert!(matches(r#"title ne "x""#, &ann()) && !matches(r#"title eq "x""#, &ann()));
    assert!(!matches(r#"title gt "a""#, &ann()) && !matches(r#"title le "a""#, &ann()));
    assert!(!matches(r#"emails.value ne "a@work.test""#, &ann()), "one of the values is the same");
}

#[test]
fn an_index_is_asked_only_for_what_must_be_so() {
    let required = |filter: &str| {
        let filter = Filter::parse(ResourceKind::User, filter).expect("a filter");
        filter.required_text("userName", None).map(str::to_owned)
    };
    assert_eq!(required(r#"userName eq "Ann""#).as_deref(), Some("ann"));
    assert_eq!(required(r#"active eq true and userName eq "Ann""#).as_deref(), Some("ann"));
    for not_so in [
        r#"userName eq "ann" or active eq true"#,
        r#"not (userName eq "ann")"#,
        r#"userName sw "ann""#,
        r#"userName ne "ann""#,
        r#"active eq true and (userName eq "ann" or title pr)"#,
    ] {
        assert_eq!(required(not_so), None, "{not_so}");
    }
    let filter = Filter::parse(ResourceKind::User, r#"emails[type eq "work" and value eq "A@x"]"#).expect("a filter");
    assert_eq!(filter.required_text("emails", Some("value")), Some("a@x"));
    let filter = Filter::parse(ResourceKind::User, r#"emails[type eq "work" or value eq "A@x"]"#).expect("a filter");
    assert_eq!(filter.required_text("emails", Some("value")), None);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = Filter::parse(ResourceKind::User, &text);
        let _ = Filter::parse(ResourceKind::Group, &format!("members[value eq \"{text}\"]"));
    }

    #[test]
    fn a_value_is_found_as_it_is_and_never_as_syntax(text in "[ -~]{1,40}") {
        let quoted = serde_json::to_string(&text).expect("a text");
        let resource = json!({ "title": text });
        let equal = format!("title eq {}", quoted);
        let other = format!("title eq {}", serde_json::to_string(&format!("{text}x")).expect("a text"));
        prop_assert!(matches(&equal, &resource));
        prop_assert!(!matches(&other, &resource));
    }
}
