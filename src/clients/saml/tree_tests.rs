use super::Kind::{Message, Metadata};
use super::*;

#[test]
fn names_are_expanded_and_texts_are_put_together() {
    let root = parse("<a xmlns='urn:a' xmlns:b='urn:b' b:c='1' c='2'>x&amp;<b:d/>&#121;</a>", Message).unwrap();
    assert!(root.is("urn:a", "a"));
    assert_eq!(root.text, "x&y");
    assert_eq!(root.attribute("c"), Some("2"));
    assert!(root.child("urn:b", "d").is_some());
    assert!(root.child("urn:a", "d").is_none());
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for bad in [
        "",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a b='1' b='2'/>",
        "<a xmlns:x='urn:x' xmlns:y='urn:x' x:b='1' y:b='2'/>",
        "<a b='\n'/>",
        "<a b='<'/>",
        "<x:a/>",
        "<a x:b='1'/>",
        "<a xmlns='relative'/>",
        "<a xmlns:x=''/>",
        "<a xmlns:xml='urn:x'/>",
        "<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>",
        "<a>&unknown;</a>",
        "<a>&#1;</a>",
        "<a b='&#0;'/>",
        "<!DOCTYPE a><a/>",
        "<a><?b?></a>",
        "<ä/>",
        "<a:b:c xmlns:a='urn:a'/>",
    ] {
        assert!(parse(bad, Message).is_err(), "{bad}");
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let deep = |levels: usize| format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels));
    assert!(parse(&deep(MAX_DEPTH), Message).is_ok());
    assert!(parse(&deep(MAX_DEPTH + 1), Message).is_err());
    assert!(parse(&format!("<a>{}</a>", "<b/>".repeat(MAX_MESSAGE)), Message).is_err());
}

#[test]
fn metadata_may_break_lines_where_messages_must_not() {
    let broken = "<a b='1\n2'/>";
    assert!(parse(broken, Message).is_err());
    assert_eq!(parse(broken, Metadata).unwrap().attribute("b"), Some("1 2"));
    assert!(parse("<!DOCTYPE a><a/>", Metadata).is_err());
}

#[test]
fn what_each_element_would_copy_or_compare_is_bounded() {
    // Each element has its namespace: a long one, declared once, would be there as often as there are elements.
    for (len, is_fine) in [(MAX_URI - 2, true), (MAX_URI, false)] {
        let text = format!("<a xmlns='x:{}'><b/></a>", "y".repeat(len));
        assert_eq!(parse(&text, Metadata).is_ok(), is_fine, "{len}");
    }
    let nested = |levels: usize| {
        let open: String = (0..levels).map(|n| format!("<a xmlns:p{n}='urn:{n}' xmlns:q{n}='urn:q{n}'>")).collect();
        format!("{open}{}", "</a>".repeat(levels))
    };
    assert!(parse(&nested(MAX_IN_SCOPE / 2), Message).is_ok());
    assert!(parse(&nested(MAX_IN_SCOPE / 2 + 1), Message).is_err());
    // Beside each other they are in force one after the other.
    let beside = "<b xmlns:x='urn:x' xmlns:y='urn:y'/>".repeat(100);
    assert!(parse(&format!("<a>{beside}</a>"), Message).is_ok());
}
