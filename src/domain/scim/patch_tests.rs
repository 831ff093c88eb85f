//! Operations on trees that stand in the test.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn patched(before: Value, operations: Value) -> Result<Value, ScimError> {
    let Value::Object(mut tree) = before else { panic!("no object") };
    for operation in parse(ResourceKind::User, &json!({ "Operations": operations }))? {
        apply(ResourceKind::User, &mut tree, operation)?;
    }
    Ok(Value::Object(tree))
}

fn scim_type(result: Result<Value, ScimError>) -> Option<ScimType> {
    result.expect_err("refused").scim_type
}

#[test]
fn the_latest_primary_value_is_the_primary_one() {
    let emails = json!([{ "value": "a", "primary": true }, { "value": "b" }]);
    let after = patched(
        json!({ "emails": emails }),
        json!([{ "op": "replace", "path": "emails[value eq \"b\"].primary", "value": true }]),
    );
    let expected = json!({ "emails": [{ "value": "a", "primary": false }, { "value": "b", "primary": true }] });
    assert_eq!(after, Ok(expected));
}

#[test]
fn an_added_value_has_what_its_filter_says_as_it_was_written() {
    let after = patched(json!({}), json!([{ "op": "Add", "path": "emails[type eq \"Work\"].value", "value": "a" }]));
    assert_eq!(after, Ok(json!({ "emails": [{ "type": "Work", "value": "a" }] })));
    let either = json!([{ "op": "add", "path": "emails[type eq \"a\" or type eq \"b\"].value", "value": "a" }]);
    assert_eq!(scim_type(patched(json!({}), either)), Some(ScimType::NoTarget));
}

#[test]
fn what_loses_its_last_part_is_gone() {
    let before = json!({ "name": { "givenName": "Ann" }, "emails": [{ "value": "a" }] });
    let operations = json!([
        { "op": "remove", "path": "name.givenName" }, { "op": "remove", "path": "emails[value eq \"a\"].value" },
    ]);
    assert_eq!(patched(before, operations), Ok(json!({})));
}

#[test]
fn an_extension_is_named_in_every_way() {
    let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let expected = Ok(json!({ urn: { "department": "R&D" } }));
    for operation in [
        json!({ "op": "add", "path": format!("{urn}:department"), "value": "R&D" }),
        json!({ "op": "add", "path": urn, "value": { "department": "R&D" } }),
        json!({ "op": "add", "path": urn.to_uppercase(), "value": { "DEPARTMENT": "R&D" } }),
        json!({ "op": "replace", "value": { format!("{urn}:department"): "R&D" } }),
        json!({ "op": "replace", "value": { urn: { "department": "R&D" } } }),
    ] {
        assert_eq!(patched(json!({}), json!([operation])), expected, "{operation}");
    }
}

proptest! {
    #[test]
    fn no_path_and_no_value_make_it_panic(path in ".{0,60}", value in "[\\[\\]{}\",:a-z0-9]{0,40}") {
        let value: Value = serde_json::from_str(&value).unwrap_or(Value::Null);
        for op in ["add", "replace", "remove"] {
            let _ = patched(json!({ "emails": [{ "value": "a" }] }), json!([{ "op": op, "path": path, "value": value }]));
            let _ = patched(json!({}), json!([{ "op": op, "value": { &path: value } }]));
        }
    }
}
