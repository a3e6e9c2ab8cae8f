//! The repository's files as the checks read them.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file of the repository.
pub(crate) struct Source {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    /// Tells whether the file belongs to what ships, not to tests, benches, examples or fuzzing.
    pub(crate) fn is_product(&self) -> bool {
        let test_only = ["/tests/", "/benches/", "/examples/", "/fuzz/"];
        !test_only.iter().any(|part| self.path.contains(part))
            && !self.path.starts_with("simtests/")
            && !self.path.starts_with("examples/")
            && !self.path.ends_with("/tests.rs")
            && !self.path.ends_with("_tests.rs")
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the workspace").to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

/// Returns every Rust file of the workspace, in path order.
pub(crate) fn rust_files() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "only {} files were found: the walk is broken", found.len());
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable file");
            let shown =
                path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
            let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{shown}: {error}"));
            Source { path: shown, text, syntax }
        })
        .collect()
}

/// Fails with every offence, so that one run shows all there is to mend.
pub(crate) fn none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}
