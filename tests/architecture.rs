//! Imports point one way. The table is the architecture of `docs/architecture.md`; change it on purpose.
#![expect(clippy::unwrap_used, reason = "an unreadable source tree should fail the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Module → the crate modules it may import. Everyone may import the [`LEAVES`].
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("main", &["config", "descriptors", "drain", "node", "relay", "ring", "server"]),
    ("server", &["session", "node", "config", "quota", "socket", "protocol"]),
    ("session", &["node", "socket", "protocol"]),
    ("drain", &["node"]),
    ("node", &["fanout", "relay", "census", "ring", "quota", "socket", "protocol"]),
    ("fanout", &["ring", "socket", "protocol"]),
    ("census", &["relay", "protocol"]),
    ("relay", &["ring", "protocol"]),
    ("ring", &["protocol"]),
    ("socket", &["protocol"]),
    ("protocol", &[]),
    ("config", &[]),
    ("descriptors", &[]),
    ("quota", &[]),
    ("shutdown", &[]),
    ("telemetry", &[]),
];

/// Metric names and the stop signal.
const LEAVES: &[&str] = &["shutdown", "telemetry"];

/// Outside crate → where it may be named: a module with all its files, or one file and those below it.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("fred", &["relay/redis"]),
    ("axum", &["server", "main"]),
    ("hyper", &["server", "main"]),
    ("hyper_util", &["server", "main"]),
    ("clap", &["config", "main"]),
    ("anyhow", &["main"]),
    ("hubbub_web", &["server"]),
];

/// Module → outside crates it must not name.
const MUST_NOT_NAME: &[(&str, &[&str])] = &[("protocol", &["tokio", "axum", "hyper", "dashmap"])];

/// A source file: its path below `src` without the extension, and its code without its unit tests and comments.
struct Source {
    path: String,
    code: String,
}

impl Source {
    /// The module it belongs to: `relay/redis/log.rs` is `relay`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Whether it is this module or file, or below it.
    fn is_within(&self, place: &str) -> bool {
        self.path == place || self.path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether the code names this crate in a path or an import.
    fn names(&self, name: &str) -> bool {
        self.code.match_indices(name).any(|(start, _)| {
            let before = self.code.get(..start).unwrap_or_default().chars().next_back();
            let after = self.code.get(start + name.len()..).unwrap_or_default();
            let starts = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '"' && c != '.');
            starts && (after.starts_with("::") || after.starts_with(';') && before == Some(' '))
        })
    }

    /// The crate modules it imports: first segments after `crate::`, and after `hubbub::` in `main`.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for root in ["crate::", "hubbub::"] {
            for rest in self.code.split(root).skip(1) {
                match rest.strip_prefix('{') {
                    Some(group) => found.extend(heads(group)),
                    None => found.extend(head(rest)),
                }
            }
        }
        found
    }
}

/// The first path segment.
fn head(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    Some(name).filter(|name| !name.is_empty())
}

/// The first path segments of a group of imports, nested groups left out.
fn heads(group: &str) -> BTreeSet<String> {
    let (mut depth, mut item, mut found) = (0, String::new(), BTreeSet::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => found.extend(head(&std::mem::take(&mut item))),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    found.extend(head(&item));
    found
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut directories, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
                sources.push(Source { path: name.to_str().unwrap().to_owned(), code: code.join("\n") });
            }
        }
    }
    sources
}

#[test]
fn imports_follow_the_table() {
    for source in sources().iter().filter(|source| source.path != "lib") {
        let module = source.module();
        let row = MAY_IMPORT.iter().find(|(name, _)| *name == module);
        assert!(row.is_some(), "{} is of no module in the table", source.path);
        let allowed = row.map_or(&[][..], |(_, allowed)| allowed);
        for import in source.imports() {
            let import = import.as_str();
            let inside = import == module || LEAVES.contains(&import);
            assert!(inside || allowed.contains(&import), "{} must not import {import}", source.path);
        }
    }
}

#[test]
fn the_page_has_the_same_table() {
    let page = include_str!("../docs/architecture.md");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let mut modules = BTreeSet::new();
    for row in page.lines().skip_while(|line| *line != "| module | what it is | imports |").skip(2) {
        let Some([names, _, imports]) = row.trim_matches('|').split('|').collect::<Vec<_>>().first_chunk().copied()
        else {
            break;
        };
        for name in quoted(names) {
            let table = MAY_IMPORT.iter().find(|(module, _)| *module == name);
            let allowed = table.map(|(_, allowed)| allowed.iter().map(ToString::to_string).collect());
            if name != "main" {
                assert_eq!(allowed, Some(quoted(imports)), "{name}");
            }
            modules.insert(name);
        }
    }
    assert_eq!(modules, MAY_IMPORT.iter().map(|(module, _)| (*module).to_owned()).collect());
}

#[test]
fn every_module_of_the_table_exists() {
    let sources = sources();
    for (module, _) in MAY_IMPORT {
        assert!(sources.iter().any(|source| source.path == *module), "there is no src/{module}.rs");
    }
}

#[test]
fn the_table_has_no_circle() {
    // Modules that import nothing unresolved are taken away until none is left.
    let mut left: Vec<_> = MAY_IMPORT.to_vec();
    while !left.is_empty() {
        let names: BTreeSet<&str> = left.iter().map(|(name, _)| *name).collect();
        let before = left.len();
        left.retain(|(_, imports)| imports.iter().any(|import| names.contains(import)));
        assert!(left.len() < before, "a circle among {names:?}");
    }
}

#[test]
fn outside_crates_are_named_only_where_they_belong() {
    for source in sources() {
        for (name, places) in MAY_NAME {
            let belongs = places.iter().any(|place| source.is_within(place));
            assert!(belongs || !source.names(name), "{} must not name {name}", source.path);
        }
        for (module, names) in MUST_NOT_NAME {
            for name in *names {
                assert!(source.module() != *module || !source.names(name), "{} must not name {name}", source.path);
            }
        }
    }
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let code = "use crate::{\n    fanout::{Fanout, worker},\n    ring::Ring,\n};\nuse crate::socket;\nfn f() -> crate::node::X {}";
    let source = Source { path: "a/b".to_owned(), code: code.to_owned() };
    assert_eq!(source.imports(), ["fanout", "node", "ring", "socket"].map(str::to_owned).into());
    let names = |code: &str| Source { path: String::new(), code: code.to_owned() }.names("fred");
    assert!(names("use fred::prelude::*;") && names("use fred;") && names("a(fred::X)"));
    assert!(!names("alfred::x") && !names("\"fred\"") && !names("self::fred::x"));
}
