//! How large files and functions may grow. What is over the limit today is listed with its size,
//! and that size may only shrink.

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::source::{Source, none, rust_files};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const MODULE_LIB_LINES_MAX: usize = 250;

/// Files over their limit: path and size.
const LARGE_FILES: &[(&str, usize)] = &[];
/// Functions over their limit: path, name and size.
const LARGE_FUNCTIONS: &[(&str, &str, usize)] = &[];

#[derive(Default)]
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn add(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        self.0.push((name.to_string(), span.end().line - span.start().line + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig.ident, function.block.span());
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig.ident, function.block.span());
        syn::visit::visit_impl_item_fn(self, function);
    }
}

fn file_limit(source: &Source) -> usize {
    if source.path.starts_with("modules/") && source.path.ends_with("/src/lib.rs") {
        MODULE_LIB_LINES_MAX
    } else {
        FILE_LINES_MAX
    }
}

#[test]
fn files_stay_small() {
    let mut offences = Vec::new();
    for source in rust_files() {
        let lines = source.text.lines().count();
        match LARGE_FILES.iter().find(|(path, _)| *path == source.path) {
            Some((_, size)) if lines > *size => {
                offences.push(format!("{} grew from {size} to {lines} lines", source.path));
            }
            Some((_, size)) if lines < *size => {
                offences
                    .push(format!("{} shrank to {lines} lines: lower its entry from {size}", source.path));
            }
            Some(_) => {}
            None if lines > file_limit(&source) => {
                offences.push(format!(
                    "{} has {lines} lines, the limit is {}",
                    source.path,
                    file_limit(&source)
                ));
            }
            None => {}
        }
    }
    none("split a file by noun", &offences);
}

#[test]
fn functions_stay_small() {
    let mut offences = Vec::new();
    for source in rust_files() {
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax);
        for (name, lines) in functions.0 {
            let listed =
                LARGE_FUNCTIONS.iter().find(|(path, function, _)| *path == source.path && *function == name);
            match listed {
                Some((_, _, size)) if lines > *size => {
                    offences.push(format!("{}: {name} grew from {size} to {lines} lines", source.path));
                }
                Some((_, _, size)) if lines < *size => {
                    offences.push(format!(
                        "{}: {name} shrank to {lines}: lower its entry from {size}",
                        source.path
                    ));
                }
                Some(_) => {}
                None if lines > FUNCTION_LINES_MAX => {
                    offences.push(format!(
                        "{}: {name} has {lines} lines, the limit is {FUNCTION_LINES_MAX}",
                        source.path
                    ));
                }
                None => {}
            }
        }
    }
    none("name a part of the function and move it out", &offences);
}
