//! The house of `docs/architecture.md`: what each crate may import, and what the compiler does not hold.
//!
//! Three rules about the modules of a crate:
//! * A module and its children are one thing in several files: it may use them, and they may use its types and constants,
//!   but not its functions. What they share beyond that is a child of its own.
//! * Between siblings, each with everything below it, there is no circle. A name that is only exported again counts where it
//!   is defined.
//! * Test code, that is what is below a `#[cfg(test)]`, may use every module of its crate. Nothing else may use it: the
//!   compiler sees to that.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a source tree that cannot be read should fail the test"
)]

mod modules;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use modules::{Crate, calls_upwards, circles, rust_files};
use source::Source;

/// A crate, its folder, and the crates of this repository that it may import.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("hubbub", ".", &["api", "edge", "http", "lifecycle", "log", "messenger", "protocol", "recorder", "store"]),
    ("api", "src/api", &["edge", "http", "lifecycle", "log", "messenger", "protocol", "recorder"]),
    ("http", "src/http", &["edge", "lifecycle", "protocol", "web"]),
    ("edge", "src/edge", &["lifecycle", "log", "protocol"]),
    ("log", "src/log", &["lifecycle", "protocol"]),
    ("recorder", "src/recorder", &["lifecycle", "log", "messenger", "protocol"]),
    ("store", "src/store", &["messenger", "protocol"]),
    ("messenger", "src/messenger", &["lifecycle", "protocol"]),
    ("lifecycle", "src/lifecycle", &[]),
    ("protocol", "src/protocol", &[]),
    ("web", "web", &[]),
    ("client", "client", &["protocol"]),
    ("testbed", "testbed", &["client", "edge", "lifecycle", "log", "protocol"]),
    (
        "audits",
        "audits",
        &["client", "edge", "http", "lifecycle", "log", "messenger", "protocol", "recorder", "store", "testbed"],
    ),
];

/// What the tests and benches of a crate may import beside that.
const FOR_TESTS: [&str; 3] = ["client", "protocol", "testbed"];

/// A path of another crate, where in `src` it may be named, and where test code may name it too.
const ONLY_IN: &[(&str, &[&str], &[&str])] = &[
    ("fred", &["src/log/redis"], &[]),
    ("sqlx", &["src/store", "src/log/file"], &[]),
    ("axum", &["src/http", "src/api"], &[]),
    ("hyper", &["src/http"], &[]),
    ("hyper_util", &["src/http"], &[]),
    ("tower", &["src/http"], &[]),
    ("tower_http", &["src/http"], &[]),
    ("argon2", &["src/messenger/password_hasher"], &[]),
    ("jsonwebtoken", &["src/messenger/access_token"], &[]),
    ("lettre", &["src/api/mail"], &[]),
    ("hubbub_web", &["src/http"], &[]),
    ("anyhow", &["src/main", "src/cli"], &[]),
    ("clap", &["src/main", "src/cli"], &[]),
    ("metrics_exporter_prometheus", &["src/main", "src/cli"], &["src/log"]),
];

/// A folder, what is not to be named in it, and what test code may name all the same.
const NOT_IN: &[(&str, &[&str], &[&str])] = &[(
    "src/protocol",
    &[
        "tokio",
        "std::time::Instant",
        "std::time::SystemTime",
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::process",
        "std::thread",
    ],
    &["std::env", "std::fs"],
)];

/// The most lines of a file, without its test modules.
const MAX_LINES: usize = 400;
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every crate root that has modules: libraries, programs, benches and tests.
fn crates() -> impl Iterator<Item = Crate> {
    let folders = ["src", "client", "testbed", "audits", "benches", "examples", "tests", "web"];
    let files = folders.into_iter().flat_map(|folder| rust_files(repository(), folder));
    let roots = files.filter(|path| path.ends_with("lib.rs") || path.ends_with("main.rs"));
    roots.map(|root| Crate::read(repository(), root.to_str().unwrap()))
}

/// Our crates in a section of a manifest.
fn imports(manifest: &str, section: &str) -> BTreeSet<String> {
    let header = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| *line != header).skip(1).take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.strip_prefix("hubbub-")?.split(['.', ' ', '=']).next()?.to_owned())).collect()
}

/// The rows of the table in the page: the crate, and what it imports.
fn table(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = page.lines().skip_while(|line| *line != "| crate | what it is | imports |").skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        (quoted(cells[0]).pop_first().unwrap(), quoted(cells[2]))
    })
    .collect()
}

/// Whether the file is the place, or below it: `src/log/redis` is `src/log/redis.rs` and everything in `src/log/redis`.
fn is_within(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.', ':']))
}

/// Whether this path is that one, or leads through it.
fn leads_through(path: &[String], through: &str) -> bool {
    through.split("::").enumerate().all(|(n, segment)| path.get(n).is_some_and(|name| name == segment))
}

/// What the crates of `src` name of other crates where they must not.
fn misnamed(found: &Crate) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, is_test, place) in found.names().filter(|(_, _, place)| place.starts_with("src/")) {
        let within = |places: &[&str]| places.iter().any(|allowed| is_within(&place, allowed));
        for (outside, allowed, for_tests) in ONLY_IN {
            if leads_through(&path, outside) && !within(allowed) && !(is_test && within(for_tests)) {
                wrong.push(format!("{place} names {outside}"));
            }
        }
        for (folder, forbidden, for_tests) in NOT_IN {
            let names = |list: &[&str]| list.iter().any(|outside| leads_through(&path, outside));
            if within(&[folder]) && names(forbidden) && !(is_test && names(for_tests)) {
                wrong.push(format!("{place} names {}", path.join("::")));
            }
        }
    }
    wrong
}

/// What is wrong with the name or the length of a file.
fn ill_formed(path: &Path, source: &Source, is_test: bool) -> Option<String> {
    let shown = path.display();
    let named = path.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        ["mod.rs", "util", "util.rs", "utils", "utils.rs"].contains(&&*part)
    });
    if named || source.inline.iter().any(|name| name == "util" || name == "utils") {
        return Some(format!("{shown}: no `mod.rs`, no `utils`"));
    }
    (!is_test && source.lines > MAX_LINES).then(|| format!("{shown}: {} lines", source.lines))
}

#[test]
fn each_crate_imports_what_the_table_says() {
    for (name, folder, allowed) in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        assert_eq!(imports(&manifest, "dependencies"), allowed, "{name}");
        let for_tests = imports(&manifest, "dev-dependencies");
        let beside: Vec<_> =
            for_tests.difference(&allowed).filter(|other| !FOR_TESTS.contains(&other.as_str())).collect();
        assert!(beside.is_empty(), "the tests of {name} import {beside:?}");
    }
}

#[test]
fn every_member_of_the_workspace_is_in_the_table() {
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).chain(["."]).collect();
    assert_eq!(members, CRATES.iter().map(|(_, folder, _)| *folder).collect());
}

#[test]
fn the_page_has_the_same_table() {
    let rows = CRATES.iter().map(|(name, _, allowed)| {
        ((*name).to_owned(), allowed.iter().map(ToString::to_string).collect::<BTreeSet<_>>())
    });
    assert_eq!(table(&read("docs/architecture.md")), rows.collect());
}

#[test]
fn outside_crates_are_named_only_where_they_belong() {
    let wrong: Vec<String> = crates().flat_map(|found| misnamed(&found)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_is_no_circle_between_the_modules_of_a_crate() {
    let wrong: Vec<String> = crates().flat_map(|found| circles(&found.arrows())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_child_calls_a_function_of_the_module_above_it() {
    let wrong: Vec<String> = crates().flat_map(|found| calls_upwards(&found.arrows())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_short_and_named_by_what_they_are() {
    let mut wrong = Vec::new();
    for found in crates() {
        for (module, file) in &found.files {
            wrong.extend(ill_formed(Path::new(&file.path), &file.source, found.is_test(module)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_of_src_is_read() {
    let read: BTreeSet<PathBuf> =
        crates().flat_map(|found| found.files.into_values().map(|file| PathBuf::from(file.path))).collect();
    let unread: Vec<PathBuf> =
        rust_files(repository(), "src").into_iter().filter(|path| !read.contains(path)).collect();
    assert!(unread.is_empty(), "{unread:#?}");
}

#[test]
fn a_manifest_and_a_table_are_read_as_they_are_written() {
    let manifest = "[package]\nname = \"hubbub-x\"\n[dependencies]\nbytes = \"1\"\nhubbub-log.workspace = true\n\
                    hubbub-edge = { path = \"y\" }\n\n[dev-dependencies]\nhubbub-client.workspace = true\n";
    assert_eq!(imports(manifest, "dependencies"), ["edge", "log"].map(str::to_owned).into());
    assert_eq!(imports(manifest, "dev-dependencies"), ["client"].map(str::to_owned).into());
    let page = "text\n| crate | what it is | imports |\n|---|---|---|\n| `a` | `b` is text | `c` `d` |\n| `c` | | none |\n\n| `x` |";
    let rows = [("a", vec!["c", "d"]), ("c", vec![])];
    let rows = rows.map(|(name, cells)| (name.to_owned(), cells.into_iter().map(str::to_owned).collect()));
    assert_eq!(table(page), rows.into());
}

/// What `src/log/x.rs` must not name, if this is its text.
fn misnamed_in(path: &str, text: &str) -> Vec<String> {
    misnamed(&Crate::of(&[(path, text)])).iter().map(|wrong| wrong.split(' ').nth(2).unwrap().to_owned()).collect()
}

#[test]
fn a_crate_that_is_named_where_it_must_not_be_is_found_in_every_form() {
    for text in [
        "use fred::prelude::*;",
        "use fred;",
        "use {std::fmt, fred::types};",
        "fn f() -> fred::Error {}",
        "mod a { mod b { fn f(x: &::fred::X) {} } }",
        "#[cfg(test)]\nmod tests {}\nfn after_the_tests() { fred::x() }",
        "#[cfg(test)]\nmod tests { use fred::x; }",
        "#[fred::attribute] fn f() {}",
        "fn f<'a>(x: &'a str) { let c = '\"'; fred::x(\"\") }",
    ] {
        assert_eq!(misnamed_in("src/log/x.rs", text), ["fred"], "{text}");
        assert!(misnamed_in("src/log/redis.rs", text).is_empty() && misnamed_in("src/log/redis/y.rs", text).is_empty());
    }
    for text in [
        "use alfred::x;",
        "use crate::fred::x; fn f() { self::fred::x(); a.fred::<u8>() }",
        "// fred::x\n/* fred::x /* fred::y */ fred::z */",
        "const A: &str = \"fred::x \\\" fred::y\"; const B: &str = r#\"fred::\"x\"#;",
    ] {
        assert!(misnamed_in("src/log/x.rs", text).is_empty(), "{text}");
    }
    assert_eq!(misnamed_in("src/log/redish.rs", "use fred::x;"), ["fred"]);
}

#[test]
fn code_of_tests_has_a_rule_of_its_own() {
    let in_test = "#[cfg(test)] mod tests { use metrics_exporter_prometheus::X; }";
    assert!(misnamed_in("src/log/x.rs", in_test).is_empty());
    assert_eq!(misnamed_in("src/edge/x.rs", in_test), ["metrics_exporter_prometheus"]);
    assert_eq!(misnamed_in("src/log/x.rs", "use metrics_exporter_prometheus::X;"), ["metrics_exporter_prometheus"]);
    assert!(misnamed_in("src/protocol/x.rs", "#[cfg(test)] use std::fs;").is_empty());
}

#[test]
fn the_protocol_has_no_clock_and_no_input_or_output() {
    for (text, named) in [
        ("use std::{fmt, time::{Duration, Instant}};", "std::time::Instant"),
        ("use std::time; fn f() { time::SystemTime::now(); }", "std::time::SystemTime::now"),
        ("use tokio::sync::mpsc;", "tokio::sync::mpsc"),
        ("fn f() { std::fs::read(\"\") }", "std::fs::read"),
    ] {
        assert_eq!(misnamed_in("src/protocol/x.rs", text), [named]);
    }
    assert!(misnamed_in("src/protocol/x.rs", "use std::time::Duration;").is_empty());
}

/// The circles of a crate of these modules.
fn circles_of(files: &[(&str, &str)]) -> usize {
    circles(&Crate::of(files).arrows()).len()
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let root = ("", "mod a; mod b; mod c;");
    for b in
        ["use crate::a::A;", "use super::a::A;", "fn f() { crate::a::f() }", "use super::{c, a};", "use crate::a::*;"]
    {
        assert_eq!(circles_of(&[root, ("a", "use crate::b::B;"), ("b", b), ("c", "")]), 2, "{b}");
    }
    // Through a third one; through what is below them; through what is exported again.
    assert_eq!(circles_of(&[root, ("a", "use crate::b;"), ("b", "use crate::c;"), ("c", "use crate::a;")]), 3);
    let below = ("b/d", "use crate::a::A;");
    assert_eq!(circles_of(&[root, ("a", "use crate::b::B;"), ("b", "mod d;"), below]), 2);
    let exports = ("", "mod a; mod b; pub use a::A;");
    assert_eq!(circles_of(&[exports, ("a", "use crate::b::B;"), ("b", "use crate::A;")]), 2);
    assert_eq!(
        circles_of(&[("", "mod a;"), ("a", "mod b; mod c;"), ("a/b", "use super::c::C;"), ("a/c", "use super::b::B;")]),
        2
    );
}

#[test]
fn what_is_no_circle_is_not_taken_for_one() {
    let root = ("", "mod a; mod b;");
    assert_eq!(circles_of(&[root, ("a", "use crate::b::B;"), ("b", "#[cfg(test)] mod tests { use crate::a::A; }")]), 0);
    assert_eq!(circles_of(&[root, ("a", "use crate::b::B; mod c;"), ("a/c", "use super::A;"), ("b", "")]), 0);
    let b = ("b", "#[cfg(test)] mod tests;");
    assert_eq!(circles_of(&[root, ("a", "use crate::b::B;"), b, ("b/tests", "use crate::a::A;")]), 0);
}

#[test]
fn a_child_may_use_the_types_of_its_parent_and_not_its_functions() {
    let calls = |child: &str| calls_upwards(&Crate::of(&[("", "mod a;"), ("a", child)]).arrows()).len();
    assert_eq!(calls("use super::{Type, CONSTANT}; fn f() -> crate::Type {}"), 0);
    assert_eq!(calls("use super::function;"), 1);
    assert_eq!(calls("fn f() { crate::function() }"), 1);
    assert_eq!(calls("use super::*;"), 1);
    assert_eq!(calls("mod inner { use super::function; }"), 0);
    assert_eq!(calls("#[cfg(test)] mod tests { use super::*; use crate::function; }"), 0);
}

#[test]
fn long_files_and_idle_names_are_found() {
    let of = |path: &str, text: &str, is_test| ill_formed(Path::new(path), &Source::read(text), is_test).is_some();
    let long = "fn f() {}\n".repeat(MAX_LINES + 1);
    assert!(of("src/a.rs", &long, false) && !of("src/a.rs", &long, true));
    assert!(!of("src/a.rs", &long[10..], false));
    let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert!(!of("src/a.rs", &tests, false));
    assert!(of("src/a.rs", &format!("{tests}{long}"), false), "what comes after the tests counts");
    assert!(of("src/a/mod.rs", "", true) && of("src/utils.rs", "", true) && of("src/utils/a.rs", "", true));
    assert!(of("src/a.rs", "mod utils {}", false));
}
