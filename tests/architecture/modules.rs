//! The modules of one crate, and what each of them uses of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::source::{Named, Source};

/// A module: its path from the root of the crate, which itself is empty.
pub(crate) type Module = Vec<String>;

/// One file of a crate.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) source: Source,
}

/// All files of a crate.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    pub(crate) files: BTreeMap<Module, File>,
}

/// A use of one module by another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: Module,
    pub(crate) to: Module,
    /// What is used: none if it is the module itself.
    pub(crate) item: Option<String>,
    /// File and line.
    pub(crate) place: String,
}

impl Crate {
    /// Reads the file of the root, and every file of a module that a file declares.
    pub(crate) fn read(repository: &Path, root: &str) -> Self {
        let mut found = Self::default();
        found.read_file(repository, Path::new(root), Vec::new());
        found
    }

    /// A crate of made-up files: the path of each module, and its text.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(name, text): &(&str, &str)| {
            let module = name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            (module, File { path: (*name).to_owned(), source: Source::read(text) })
        };
        Self { files: files.iter().map(file).collect() }
    }

    fn read_file(&mut self, repository: &Path, path: &Path, module: Module) {
        let text =
            fs::read_to_string(repository.join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let source = Source::read(&text);
        let folder = if module.is_empty() { path.with_file_name("") } else { path.with_extension("") };
        for child in source.children.keys() {
            let below = [&*module, std::slice::from_ref(child)].concat();
            self.read_file(repository, &folder.join(child).with_extension("rs"), below);
        }
        let path = path.display().to_string();
        self.files.insert(module, File { path, source });
    }

    /// Whether this module, or one around it, is declared below a `#[cfg(test)]`.
    pub(crate) fn is_test(&self, module: &[String]) -> bool {
        (1..=module.len()).any(|length| {
            let (parent, name) = (&module[..length - 1], &module[length - 1]);
            self.files.get(parent).and_then(|file| file.source.children.get(name)).copied().unwrap_or(false)
        })
    }

    /// Every path that the crate names, those of other crates too; whether it is in test code; and where.
    ///
    /// A name that a `use` has bound counts as what it was bound to.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Vec<String>, bool, String)> {
        self.files.iter().flat_map(move |(module, file)| {
            let test_file = self.is_test(module);
            file.source.names.iter().map(move |named| {
                let path = match file.source.bound.get(&named.path[0]) {
                    Some(bound) if bound.last() != bound.first() => [bound, &named.path[1..]].concat(),
                    _ => named.path.clone(),
                };
                (path, test_file || named.is_test, format!("{}:{}", file.path, named.line))
            })
        })
    }

    /// The arrows between different modules. Test code makes none: it may use everything.
    pub(crate) fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (module, file) in self.files.iter().filter(|(module, _)| !self.is_test(module)) {
            for named in file.source.names.iter().filter(|named| !named.is_test) {
                let Some((to, item)) = self.absolute(module, named).and_then(|path| self.resolve(&path, 0)) else {
                    continue;
                };
                if to != *module {
                    let place = format!("{}:{}", file.path, named.line);
                    arrows.insert(Arrow { from: module.clone(), to, item, place });
                }
            }
        }
        arrows
    }

    /// The path from the root of the crate, if it is one of this crate.
    fn absolute(&self, module: &[String], named: &Named) -> Option<Vec<String>> {
        let mut here = [module, &named.within].concat();
        let mut rest = named.path.as_slice();
        match rest.first()?.as_str() {
            "crate" => (here, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                let source = &self.files.get(module)?.source;
                let is_child = source.children.contains_key(first) || source.inline.iter().any(|name| name == first);
                if !is_child {
                    return None;
                }
            }
        }
        Some([&here, rest].concat())
    }

    /// The module of a path and the item in it, at the place where it is defined and not where it is exported again.
    /// None: the item is of another crate.
    fn resolve(&self, path: &[String], hops: usize) -> Option<(Module, Option<String>)> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let source = &self.files.get(module)?.source;
        let Some(item) = rest.first() else { return Some((module.to_vec(), None)) };
        if let Some(bound) = source.bound.get(item).filter(|bound| hops < 8 && **bound != [item.clone()]) {
            let named = Named { path: bound.clone(), within: Vec::new(), is_test: false, line: 0 };
            let path = self.absolute(module, &named)?;
            return self.resolve(&[&path, &rest[1..]].concat(), hops + 1);
        }
        Some((module.to_vec(), Some(item.clone())))
    }
}

/// The circles between siblings: for each of them, two modules that use one another, directly or through others, each with
/// everything below it.
pub(crate) fn circles(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let mut levels: BTreeMap<&[String], BTreeMap<&String, BTreeMap<&String, &str>>> = BTreeMap::new();
    for Arrow { from, to, place, .. } in arrows {
        let common = from.iter().zip(to).take_while(|(from, to)| from == to).count();
        if let (Some(one), Some(other)) = (from.get(common), to.get(common)) {
            levels.entry(&from[..common]).or_default().entry(one).or_default().insert(other, place);
        }
    }
    let mut circles = Vec::new();
    for siblings in levels.values() {
        for (name, uses) in siblings {
            for (other, place) in uses {
                if reaches(siblings, other, name) {
                    circles.push(format!("{place}: {name} uses {other}, and {other} uses {name}"));
                }
            }
        }
    }
    circles
}

/// Whether one module uses the other, directly or through others.
fn reaches<'a>(uses: &BTreeMap<&'a String, BTreeMap<&'a String, &str>>, from: &'a String, to: &String) -> bool {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop().filter(|_| !reached.contains(to)) {
        if reached.insert(next) {
            open.extend(uses.get(next).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached.contains(to)
}

/// Where a module calls a function of one above it. Types and constants of a parent are what its children have in common;
/// a function of a parent is what the parent does with its children.
pub(crate) fn calls_upwards(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let is_function = |item: &str| item == "*" || item.starts_with(|c: char| c.is_lowercase());
    arrows
        .iter()
        .filter(|arrow| arrow.from.starts_with(&arrow.to))
        .filter_map(|arrow| {
            let item = arrow.item.as_deref().filter(|item| is_function(item))?;
            Some(format!("{}: a child uses `{item}` of the module above it", arrow.place))
        })
        .collect()
}

/// All files of Rust below a folder, without those of builds.
pub(crate) fn rust_files(repository: &Path, folder: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![PathBuf::from(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository.join(&folder)).into_iter().flatten() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder && !["target", "node_modules", "dist"].iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
