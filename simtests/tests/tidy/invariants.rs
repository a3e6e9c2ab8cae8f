//! Each invariant that ARCHITECTURE.md states names the test that guards it, and that test exists; each
//! exhibit of the bug museum has its row and its two tests.

use syn::visit::Visit;

use std::collections::BTreeMap;

use crate::source::{none, read, rust_files};

/// Collects the names of functions that carry a test attribute; in a test program with its own
/// `main`, of all functions.
struct Tests {
    names: Vec<String>,
    without_harness: bool,
}

impl Tests {
    fn of(syntax: &syn::File) -> Vec<String> {
        let is_main =
            |item: &syn::Item| matches!(item, syn::Item::Fn(function) if function.sig.ident == "main");
        let mut tests = Self { names: Vec::new(), without_harness: syntax.items.iter().any(is_main) };
        tests.visit_file(syntax);
        tests.names
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let marked = function
            .attrs
            .iter()
            .any(|attribute| attribute.path().segments.last().is_some_and(|segment| segment.ident == "test"));
        if marked || self.without_harness {
            self.names.push(function.sig.ident.to_string());
        }
        syn::visit::visit_item_fn(self, function);
    }
}

/// Returns the bullets of the section, each joined to one line.
fn bullets(document: &str, heading: &str) -> Vec<String> {
    let mut bullets: Vec<String> = Vec::new();
    let lines = document
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    for line in lines {
        if let Some(text) = line.strip_prefix("- ") {
            bullets.push(text.to_owned());
        } else if let (true, Some(last)) = (line.starts_with("  "), bullets.last_mut()) {
            last.push(' ');
            last.push_str(line.trim());
        }
    }
    bullets
}

/// Returns the guards a bullet names, as `path::function`.
fn guards(bullet: &str) -> Vec<(String, String)> {
    let Some((_, guards)) = bullet.split_once("Guard:") else { return Vec::new() };
    guards
        .split('`')
        .filter_map(|part| part.split_once(".rs::"))
        .map(|(file, test)| (format!("{file}.rs"), test.to_owned()))
        .collect()
}

#[test]
fn each_invariant_names_an_existing_test() {
    let invariants = bullets(&read("ARCHITECTURE.md"), "## Architecture invariants");
    assert!(invariants.len() >= 9, "only {} invariants were found", invariants.len());
    let mut offences = Vec::new();
    for invariant in &invariants {
        let guards = guards(invariant);
        if guards.is_empty() {
            offences.push(format!("no guard: {invariant}"));
        }
        for (file, test) in guards {
            let syntax = syn::parse_file(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            if !Tests::of(&syntax).contains(&test) {
                offences.push(format!("{file} has no test {test}"));
            }
        }
    }
    none("an invariant without a test is a wish", &offences);
}

/// Where exhibits are, and the tests that each of them has.
const MUSEUM: &str = "simtests/tests/museum/";
const OF_EXHIBIT: [&str; 2] = ["holds", "fails_as_reported"];

/// Returns the exhibits that a document's table names, in their order.
fn exhibits(document: &str) -> Vec<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| "));
    let names = rows.filter_map(|row| row.split(" | ").nth(1)?.strip_prefix('`')?.strip_suffix('`'));
    names.map(str::to_owned).collect()
}

#[test]
fn each_exhibit_of_the_museum_has_its_row_and_its_tests() {
    let files = rust_files();
    let files = files.iter().filter_map(|source| {
        let name = source.path.strip_prefix(MUSEUM)?.strip_suffix(".rs")?;
        Some((name.to_owned(), Tests::of(&source.syntax)))
    });
    let files: BTreeMap<String, Vec<String>> = files.collect();
    let rows = exhibits(&read("docs/bug-museum.md"));
    assert!(rows.len() >= 20, "only {} exhibits were found", rows.len());
    let mut offences = Vec::new();
    for row in &rows {
        if rows.iter().filter(|other| *other == row).count() > 1 {
            offences.push(format!("{row} has two rows"));
        }
        let tests = files.get(row).cloned().unwrap_or_default();
        let missing = OF_EXHIBIT.iter().filter(|test| !tests.iter().any(|found| found == *test));
        offences.extend(missing.map(|test| format!("{row} has no test {test}")));
    }
    let is_exhibit = |tests: &[String]| tests.iter().any(|test| OF_EXHIBIT.contains(&test.as_str()));
    let unlisted = files.iter().filter(|(name, tests)| is_exhibit(tests) && !rows.contains(name));
    offences.extend(unlisted.map(|(name, _)| format!("{name} has no row")));
    none("an exhibit is listed, holds on what ships, and can fail", &offences);
}
