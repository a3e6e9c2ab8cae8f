//! Each invariant that ARCHITECTURE.md states names the test that guards it, and that test exists.

use syn::visit::Visit;

use crate::source::{none, read};

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
