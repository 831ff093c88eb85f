use crate::config::load;

/// What is wrong with a configuration file, besides the file's name.
fn mistakes(text: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("the file is written");
    match load(Some(file.path())) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let tail =
                |line: &String| line.split_once("(or environment): ").map_or(line.clone(), |(_, tail)| tail.into());
            error.0.iter().map(tail).collect()
        }
    }
}

fn of_plan(figures: &str) -> Vec<String> {
    mistakes(&format!("[plans.tiny]\nmodules = []\n[plans.tiny.meters.ai_tokens]\n{figures}\n"))
}

fn of_route(text: &str) -> Vec<String> {
    mistakes(&format!("[[gateway.routes]]\nprefix = \"/x\"\nupstreams = [\"http://127.0.0.1:1\"]\n{text}\n"))
}

/// Checks that there is one mistake, in one line, which begins with the key.
#[track_caller]
fn assert_names(found: &[String], key: &str) {
    assert!(
        matches!(found, [line] if line.starts_with(&format!("{key}: found ")) && !line.contains('\n')),
        "{key}: {found:?}"
    );
}

#[test]
fn limits_are_whole_and_in_order() {
    let plan = "plans.tiny.meters.ai_tokens";
    for (figures, key) in [
        ("included = -1", "included"),
        ("soft_limit = -1", "soft_limit"),
        ("hard_limit = -1", "hard_limit"),
        ("soft_limit = 10\nhard_limit = 9", "hard_limit"),
        ("thresholds = [0]", "thresholds"),
        ("thresholds = [50, 1001]", "thresholds"),
        ("throttle_per_minute = 0", "throttle_per_minute"),
    ] {
        assert_names(&of_plan(figures), &format!("{plan}.{key}"));
    }
    for good in ["", "soft_limit = 0\nhard_limit = 0", "hard_limit = 5", "thresholds = []", "thresholds = [1, 1000]"] {
        assert_eq!(of_plan(good), Vec::<String>::new(), "{good}");
    }
    assert_names(&mistakes("[plans.tiny]\nversion = 0\nmodules = []\n"), "plans.tiny.version");
}

#[test]
fn only_known_meters_are_limited_and_counted() {
    assert_names(&mistakes("[plans.free.meters.pages]\nincluded = 1\n"), "plans.free.meters.pages");
    let route = "gateway.routes[0] (/x)";
    assert_names(&of_route("meter = \"pages\""), &format!("{route}.meter"));
    assert_names(&of_route("usage_header = [\"ai_tokens\", \"pages\"]"), &format!("{route}.usage_header"));
    assert_names(&of_route("pauses_with = [\"pages\"]"), &format!("{route}.pauses_with"));
    assert_eq!(of_route("meter = \"ai_tokens\"\npauses_with = [\"ai_tokens\"]"), Vec::<String>::new());
}

#[test]
fn every_mistake_has_a_line() {
    let found = of_plan("included = -1\nthresholds = [0, 0]\nthrottle_per_minute = 0");
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn unique_meters_say_what_of_and_no_others_do() {
    assert_names(&mistakes("[meters.people]\naggregation = \"unique\"\n"), "meters.people.unique_by");
    assert_names(&mistakes("[meters.people]\naggregation = \"unique\"\nunique_by = \"\"\n"), "meters.people.unique_by");
    assert_names(&mistakes("[meters.people]\nunique_by = \"user\"\n"), "meters.people.unique_by");
    let good = "[meters.people]\naggregation = \"unique\"\nunique_by = \"user\"\n";
    assert_eq!(mistakes(good), Vec::<String>::new());
}

#[test]
fn routes_count_something() {
    let route = "gateway.routes[0] (/x)";
    assert_names(&of_route("meter_quantity = 0"), &format!("{route}.meter_quantity"));
    assert_names(&of_route("meter_quantity = 2\nkind = \"openai\""), &format!("{route}.meter_quantity"));
    assert_names(&of_route("max_output_tokens = 0\nkind = \"openai\""), &format!("{route}.max_output_tokens"));
    assert_names(&of_route("websocket = true\nkind = \"openai\""), &format!("{route}.websocket"));
    for hours in [0, 721] {
        let text = format!("idempotency_key_ttl_h = {hours}");
        assert_names(&of_route(&text), &format!("{route}.idempotency_key_ttl_h"));
    }
    assert_names(&of_route("provider_secret = \"x\""), &format!("{route}.provider_secret"));
    assert_eq!(of_route("kind = \"openai\"\nprovider_secret = \"x\"\nmeter = \"ai_tokens\""), Vec::<String>::new());
}

#[test]
fn a_metered_call_is_shorter_than_what_is_set_aside_for_it_lasts() {
    let key = "gateway.routes[0] (/x).first_byte_timeout_ms";
    // 900 s, without 300 s for the rest of an answer and twice a second to connect.
    assert_names(&of_route("meter = \"ai_tokens\"\nfirst_byte_timeout_ms = 598000"), key);
    assert_eq!(of_route("meter = \"ai_tokens\"\nfirst_byte_timeout_ms = 597999"), Vec::<String>::new());
    assert_eq!(of_route("first_byte_timeout_ms = 9000000"), Vec::<String>::new());
    let text = "[metering]\nreservation_ttl_s = 60\n[[gateway.routes]]\nprefix = \"/x\"\nupstreams = [\"http://127.0.0.1:1\"]\n\
                meter = \"ai_tokens\"\n";
    assert_names(&mistakes(text), key);
}

#[test]
fn metering_has_ranges() {
    for (key, value) in
        [("flush_ms", 0), ("spool_max_bytes", 0), ("max_age_days", 0), ("late_grace_h", 721), ("reservation_ttl_s", 0)]
    {
        assert_names(&mistakes(&format!("[metering]\n{key} = {value}\n")), &format!("metering.{key}"));
    }
}

#[test]
fn the_rate_of_events_lets_the_largest_call_pass() {
    assert_names(&mistakes("[metering]\nevents_per_minute = 999\n"), "metering.events_per_minute");
    assert_names(&mistakes("[plans.tiny]\nmodules = []\nevents_per_minute = 0\n"), "plans.tiny.events_per_minute");
    let good = "[metering]\nevents_per_minute = 1000\n[plans.tiny]\nmodules = []\nevents_per_minute = 1000\n";
    assert_eq!(mistakes(good), Vec::<String>::new());
}
