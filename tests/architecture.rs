//! What `ARCHITECTURE.md` promises of the source tree, checked. Lists of exceptions only shrink: an entry without a cause fails.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Room → rooms that it may use besides itself. Arrows point down; what is below `domain` is used by everybody.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &[]),
    ("cli", &["app", "http", "actors", "db", "clients", "domain", "config", "clock", "telemetry"]),
    ("app", &["http", "actors", "db", "clients", "domain", "config", "clock"]),
    ("http", &["actors", "db", "clients", "domain", "config", "clock"]),
    ("actors", &["db", "clients", "domain", "config", "clock"]),
    ("db", &["domain", "config", "clock"]),
    ("clients", &["domain", "config", "clock"]),
    ("telemetry", &["config"]),
    ("domain", &[]),
    ("config", &["domain"]),
    ("clock", &[]),
];

/// (file, room that it uses all the same, why).
const ARROW_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// What the domain must not touch: it is arithmetic, without I/O, clock or chance.
const IMPURE: &[&str] = &[
    "actix",
    "tokio",
    "sqlx",
    "redis",
    "hyper",
    "reqwest",
    "aws_lc_rs::rand",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "new_v4",
    "now_v7",
];

/// Lines of a file at most.
const MAX_LINES: usize = 500;
/// Nine files of ten have at most so many lines.
const MAX_P90_LINES: usize = 350;
/// Half of the files have at most so many lines. The aim is 100; lower this when it gets there, never raise it.
const MAX_MEDIAN_LINES: usize = 135;

/// All Rust files below a directory of the project: path from the project's root → text.
fn sources(directory: &str) -> BTreeMap<String, String> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    walk(root, &root.join(directory), &mut found);
    assert!(!found.is_empty(), "nothing in {directory}");
    found
}

/// The code of a file: without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default())
}

/// `src/http/auth.rs` → `http`, `src/main.rs` → `main`.
fn room(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Rooms that a file names after `crate::`, in whatever form.
fn used_rooms(text: &str) -> BTreeSet<String> {
    let code: String = code(text).collect::<Vec<_>>().join(" ");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let first_word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut rooms = BTreeSet::new();
    for prefix in ["crate::", "businessos::"] {
        for (at, _) in code.match_indices(prefix) {
            // `$crate::`, and names that only end like it.
            if code[..at].ends_with(|c: char| is_word(c)) {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => {
                    // Only what is directly in the braces is a room.
                    let (mut depth, mut item) = (0, String::new());
                    for c in group.chars() {
                        match c {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => drop(rooms.insert(first_word(&std::mem::take(&mut item)))),
                            _ if depth == 0 => item.push(c),
                            _ => {}
                        }
                    }
                    rooms.insert(first_word(&item));
                }
                None => drop(rooms.insert(first_word(rest))),
            }
        }
    }
    rooms.remove("");
    rooms
}

/// Arrows of these files that point up, as (file, room).
fn wrong_arrows(files: &BTreeMap<String, String>) -> BTreeSet<(String, String)> {
    let mut wrong = BTreeSet::new();
    for (path, text) in files {
        let own = room(path);
        if own == "lib" {
            continue;
        }
        let allowed = ARROWS.iter().find(|(room, _)| *room == own).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            wrong.insert((path.clone(), format!("{own} is a room without a place in ARROWS")));
            continue;
        };
        for used in used_rooms(text) {
            // `main` is a crate of its own and starts the command line.
            let is_own = used == own || (own == "main" && used == "cli");
            if !is_own && !allowed.contains(&&*used) {
                wrong.insert((path.clone(), used));
            }
        }
    }
    wrong
}

/// Files that have a word in their code, by path and line.
fn uses<'a>(files: impl IntoIterator<Item = (&'a String, &'a String)>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files {
        for (number, line) in code(text).enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn arrows_point_down() {
    let mut wrong = wrong_arrows(&sources("src"));
    for (path, used, reason) in ARROW_EXCEPTIONS {
        assert!(!reason.is_empty());
        let was_there = wrong.remove(&((*path).to_owned(), (*used).to_owned()));
        assert!(was_there, "{path} no longer uses {used}: take the exception off the list");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_arrow_that_points_up_is_seen_in_every_form() {
    for (path, text, used) in [
        ("src/db/tx.rs", "use crate::http::problem::Problem;", "http"),
        ("src/db.rs", "fn f() { crate::actors::ask::f() }", "actors"),
        ("src/domain/token.rs", "use crate::{domain::ids, clock};", "clock"),
        ("src/domain/token.rs", "use crate::{\n    domain::{ids, plan},\n    db,\n};", "db"),
        ("src/config/load.rs", "pub use crate::db::Db;", "db"),
        ("src/actors/ask.rs", "type A = Vec<crate::app::Application>;", "app"),
    ] {
        let files = BTreeMap::from([(path.to_owned(), text.to_owned())]);
        assert_eq!(wrong_arrows(&files), BTreeSet::from([(path.to_owned(), used.to_owned())]), "{text}");
    }
    for (path, text) in [
        ("src/domain/ids.rs", "//! See [`crate::clock`].\nuse crate::domain::plan;"),
        ("src/http/auth.rs", "use crate::{actors::auth, db::{users, tenants}, domain::ids};"),
        ("src/db/tx.rs", "use mycrate::http::X;"),
    ] {
        assert!(wrong_arrows(&BTreeMap::from([(path.to_owned(), text.to_owned())])).is_empty(), "{text}");
    }
    let stranger = BTreeMap::from([("src/mystery/a.rs".to_owned(), String::new())]);
    assert_eq!(wrong_arrows(&stranger).len(), 1);
}

#[test]
fn the_domain_is_pure() {
    let files = sources("src/domain");
    // Tests of the domain may make up ids.
    let without_tests: BTreeMap<_, _> = files
        .into_iter()
        .filter(|(path, _)| !path.ends_with("_tests.rs"))
        .map(|(path, text)| (path, text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(uses(&without_tests, IMPURE), Vec::<String>::new());
}

#[test]
fn sql_is_in_the_database_room_alone() {
    let files = sources("src");
    let elsewhere = files.iter().filter(|(path, _)| room(path) != "db");
    let words = [
        "query!",
        "query_as!",
        "query_scalar!",
        "query_file",
        "sqlx::query",
        "sqlx::raw_sql",
        "QueryBuilder",
        "AssertSqlSafe",
    ];
    assert_eq!(uses(elsewhere, &words), Vec::<String>::new());
    assert!(!uses(files.iter().filter(|(path, _)| room(path) == "db"), &words).is_empty(), "the words are wrong");
}

#[test]
fn two_files_touch_the_actor_framework() {
    let files = sources("src");
    let may = |path: &str| {
        ["src/actors/ask", "src/actors/supervisor"]
            .iter()
            .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/') || rest == ".rs"))
    };
    let words = ["actix::", "use actix;"];
    assert_eq!(uses(files.iter().filter(|(path, _)| !may(path)), &words), Vec::<String>::new());
    assert!(!uses(files.iter().filter(|(path, _)| may(path)), &words).is_empty(), "the words are wrong");
}

#[test]
fn the_governor_middleware_is_in_one_file() {
    let users: BTreeSet<_> = sources("src")
        .into_iter()
        .filter(|(_, text)| code(text).any(|line| line.contains("actix_governor")))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(users, BTreeSet::from(["src/http/middleware/ip_limit.rs".to_owned()]));
}

#[test]
fn files_are_short() {
    let mut too_long = Vec::new();
    for directory in ["src", "tests", "examples"] {
        too_long.extend(
            sources(directory)
                .iter()
                .map(|(path, text)| (text.lines().count(), path.clone()))
                .filter(|(n, _)| *n > MAX_LINES),
        );
    }
    assert!(too_long.is_empty(), "over {MAX_LINES} lines: {too_long:?}");
    let mut lengths: Vec<_> = sources("src").values().map(|text| text.lines().count()).collect();
    lengths.sort_unstable();
    let (median, p90) = (lengths[lengths.len() / 2], lengths[lengths.len() * 9 / 10]);
    assert!(median <= MAX_MEDIAN_LINES, "half of the files have over {median} lines");
    assert!(p90 <= MAX_P90_LINES, "a tenth of the files has over {p90} lines");
}

#[test]
fn the_tests_that_the_rules_of_billing_name_exist() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/billing-rules.md")).unwrap();
    let mut files = sources("tests");
    files.extend(sources("src"));
    let mut n_named = 0;
    let mut missing = Vec::new();
    for rule in text.lines().filter(|line| line.starts_with('|')).skip(2) {
        // A file, and then its tests, each in backquotes.
        let mut file = "";
        for name in rule.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                file = name;
                continue;
            }
            n_named += 1;
            if !files.get(file).is_some_and(|text| text.contains(&format!("fn {name}("))) {
                missing.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(n_named > 40, "{n_named} tests are named: the table has another form");
}
