//! Circles among the modules of one crate. Cargo forbids them between crates; inside of one nobody does, and two files that
//! import each other can only be read together.
//!
//! A module and what is below it may use each other: a parent puts together what its children do, and they speak of its types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The files of one crate by the module that each is: `a::b` for `src/a/b.rs`, nothing for `lib.rs` and `main.rs`.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// By crate (its folder), then by module.
    crates: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Modules {
    /// Takes note of a file of the repository; what is no source of a crate is passed over.
    pub(super) fn add(&mut self, path: &Path, text: &str) {
        let Some((folder, module)) = module_of(path) else { return };
        let references = references(&module, text);
        self.crates.entry(folder).or_default().entry(module).or_default().extend(references);
    }

    /// Each circle, as a line for people.
    pub(super) fn circles(&self) -> Vec<String> {
        let all = self.all().into_iter();
        all.map(|(folder, members)| format!("{folder}: the modules {} import each other", members.join(", "))).collect()
    }

    /// The modules of each circle, by the crate's folder.
    fn all(&self) -> BTreeSet<(&str, Vec<&str>)> {
        let mut found = BTreeSet::new();
        for (folder, files) in &self.crates {
            let arrows = arrows(files);
            for module in arrows.keys() {
                // All that can be reached from a module and leads back to it.
                let circle: Vec<&str> = reachable(&arrows, module)
                    .into_iter()
                    .filter(|other| reachable(&arrows, other).contains(module))
                    .collect();
                if circle.len() > 1 {
                    found.insert((folder.as_str(), circle));
                }
            }
        }
        found
    }
}

/// The crate's folder and the module of a source file that is no test.
fn module_of(path: &Path) -> Option<(String, String)> {
    let (folder, inside) = path.to_str()?.split_once("/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let is_test = inside.split('/').any(|part| matches!(part, "tests" | "golden" | "model"));
    if is_test || inside.starts_with("bin/") {
        return None;
    }
    let module = match inside {
        "lib" | "main" => String::new(),
        inside => inside.replace('/', "::"),
    };
    Some((folder.to_owned(), module))
}

/// Paths from the crate's root that a file's code mentions, as written: the last words may be types or functions.
fn references(module: &str, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: String =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | ':' | '(')) {
            continue; // `pub(crate)` has no `::`; the second `super::` of two is part of the first
        }
        let rest = &code[at..];
        let (mut base, mut rest) = match rest.strip_prefix("crate::") {
            Some(rest) => (Vec::new(), rest),
            None => (words(module), rest),
        };
        while let Some(up) = rest.strip_prefix("super::") {
            base.pop();
            rest = up;
        }
        expand(&base, rest, &mut found);
    }
    found
}

fn words(module: &str) -> Vec<&str> {
    module.split("::").filter(|word| !word.is_empty()).collect()
}

/// `a::{b, c::d}` is two paths. What stands behind the path does not matter.
fn expand<'a>(base: &[&'a str], rest: &'a str, found: &mut BTreeSet<String>) {
    let mut path = base.to_vec();
    let mut rest = rest;
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if !word.is_empty() {
            path.push(word);
        }
        match after.strip_prefix("::") {
            Some(next) => rest = next,
            None if word.is_empty() && after.starts_with('{') => {
                for part in parts(&after[1..]) {
                    expand(&path, part.trim(), found);
                }
                return;
            }
            None => break,
        }
    }
    found.insert(path.join("::"));
}

/// What stands between commas up to the brace that closes.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&text[start..at]);
                return parts;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

/// Which module uses which, without those that lie one below the other.
fn arrows(modules: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut arrows = BTreeMap::new();
    for (module, references) in modules {
        let targets = references.iter().filter_map(|path| deepest(modules, path));
        let targets = targets.filter(|target| !is_below(target, module) && !is_below(module, target));
        arrows.insert(module.as_str(), targets.collect());
    }
    arrows
}

/// The module that a path leads into.
fn deepest<'a>(modules: &'a BTreeMap<String, BTreeSet<String>>, path: &str) -> Option<&'a str> {
    let words = words(path);
    (1..=words.len())
        .rev()
        .find_map(|count| modules.get_key_value(&words[..count].join("::")))
        .map(|(module, _)| module.as_str())
}

fn is_below(module: &str, other: &str) -> bool {
    other.is_empty() || module == other || module.strip_prefix(other).is_some_and(|rest| rest.starts_with("::"))
}

fn reachable<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for target in arrows.get(module).into_iter().flatten() {
            if seen.insert(*target) {
                next.push(target);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let mut modules = Modules::default();
        for (path, text) in files {
            modules.add(Path::new(path), text);
        }
        modules.circles()
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let (a, b) = ("crates/x/src/a.rs", "crates/x/src/b.rs");
        assert_eq!(circles(&[(a, "use crate::b::B;"), (b, "")]), Vec::<String>::new());
        let found = circles(&[(a, "use crate::b::B;"), (b, "fn f() { super::a::g() }")]);
        assert_eq!(found, ["crates/x: the modules a, b import each other"]);
        let found = circles(&[(a, "use crate::{c::C, b::{self, B}};"), (b, "use super::{c, a};")]);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_circle_of_three_is_reported_once() {
        let files = [
            ("crates/x/src/a.rs", "use crate::b;"),
            ("crates/x/src/b.rs", "use crate::c::d::D;"),
            ("crates/x/src/c/d.rs", "use super::super::a::A;"),
            ("crates/x/src/e.rs", "use crate::a;"),
        ];
        assert_eq!(circles(&files), ["crates/x: the modules a, b, c::d import each other"]);
    }

    #[test]
    fn a_parent_and_its_children_are_none() {
        let files = [("crates/x/src/a.rs", "mod b; use crate::a::b::B;"), ("crates/x/src/a/b.rs", "use super::A;")];
        assert_eq!(circles(&files), Vec::<String>::new());
    }

    #[test]
    fn tests_comments_and_other_crates_do_not_count() {
        let b = "//! As crate::a does.\nfn f() {}\n#[cfg(test)]\nmod tests {\n use crate::a;\n}\n";
        assert_eq!(circles(&[("crates/x/src/a.rs", "use crate::b;"), ("crates/x/src/b.rs", b)]), Vec::<String>::new());
        let files = [("crates/x/src/a.rs", "use crate::b;"), ("crates/y/src/b.rs", "use crate::a;")];
        assert_eq!(circles(&files), Vec::<String>::new());
    }
}
