//! Names and constructs that stay where they belong.

use syn::visit::Visit;

use crate::source::{Source, none, read, root, rust_files};

/// Returns the code of a file without its comments, line by line, numbered from one.
fn code_lines(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    source.text.lines().enumerate().filter_map(|(index, line)| {
        let code = line.split("//").next().unwrap_or_default();
        (!code.trim().is_empty()).then_some((index + 1, code))
    })
}

/// Returns where any of `needles` stands in the shipping code of files that `keep` selects, up to
/// the inline tests at a file's end.
fn occurrences(needles: &[&str], keep: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in rust_files().iter().filter(|source| source.is_product() && keep(&source.path)) {
        for (number, code) in code_lines(source).take_while(|(_, code)| !code.contains("#[cfg(test)]")) {
            for needle in needles.iter().filter(|needle| code.contains(**needle)) {
                found.push(format!("{}:{number}: {needle}", source.path));
            }
        }
    }
    found
}

#[test]
fn only_the_host_names_actix() {
    let found = occurrences(&["actix"], |path| path != "beehive/src/host.rs");
    none("actix is an implementation detail of one file", &found);
}

#[test]
fn the_bus_knows_no_kubeedge_noun() {
    let nouns = ["kubeedge", "kubernetes", "edgehub", "cloudhub", "metamanager", "edged::", "k8s", "Pod "];
    none("the bus is a product of its own", &occurrences(&nouns, |path| path.starts_with("beehive/")));
}

#[test]
fn time_randomness_tasks_and_environment_are_given() {
    let taken = [
        "std::time::Instant",
        "time::{Duration, Instant",
        "SystemTime::now(",
        "rand::rng(",
        "rand::random",
        "thread_rng",
        "Uuid::new_v4",
        "thread::spawn(",
        "tokio::spawn(",
        "spawn_local(",
        "spawn_blocking(",
        "env::var",
        "env::args",
        "process::exit(",
    ];
    let found =
        occurrences(&taken, |path| path.starts_with("modules/") && !path.starts_with("modules/store-sled/"));
    // tokio's Instant is the runtime's clock, which whoever starts the node can pause.
    let found: Vec<String> = found.into_iter().filter(|place| !is_tokio_import(place)).collect();
    none("a module is given its time, randomness, tasks and settings", &found);
}

fn is_tokio_import(place: &str) -> bool {
    let Some((path, rest)) = place.split_once(':') else { return false };
    let line = rest.split(':').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or_default();
    read(path).lines().nth(line.saturating_sub(1)).is_some_and(|text| text.contains("use tokio::time::"))
}

#[test]
fn a_select_says_its_order() {
    let mut offences = Vec::new();
    for source in rust_files().iter().filter(|source| source.is_product()) {
        let lines: Vec<(usize, &str)> = code_lines(source).collect();
        for (at, (number, code)) in lines.iter().enumerate() {
            if code.contains("select! {")
                && !code.contains("biased;")
                && !lines.get(at + 1).is_some_and(|(_, next)| next.contains("biased;"))
            {
                offences.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("select! without `biased;` picks at random", &offences);
}

#[test]
fn tokio_s_watch_has_one_waiter() {
    // It wakes several at random; where more than one may wait, it is `beehive::latest`.
    let single = [
        "modules/edged/src/memory_files.rs",
        "modules/edged/src/ports/files.rs",
        "modules/edged/src/shell/slot.rs",
    ];
    let found = occurrences(&["sync::watch", "watch::channel", "watch::Sender"], |path| {
        path.starts_with("modules/") && !path.starts_with("modules/store-sled/") && !single.contains(&path)
    });
    none("the order in which waiters are woken is decided by a seed", &found);
}

#[test]
fn every_point_that_a_simulation_strikes_is_in_its_guide() {
    let guide = read("docs/simulation.md");
    let (mut points, mut missing) = (0, Vec::new());
    for source in rust_files().iter().filter(|source| source.is_product()) {
        for rest in source.text.split(".buggify(\"").skip(1) {
            let point = rest.split('"').next().unwrap_or_default();
            points += 1;
            if !guide.contains(&format!("| `{point}` |")) {
                missing.push(format!("{}: {point}", source.path));
            }
        }
    }
    assert!(points > 5, "only {points} points were found: the search is broken");
    none("docs/simulation.md lists every point", &missing);
}

#[test]
fn no_process_global_state() {
    let globals = ["static mut ", "OnceLock<", "LazyLock<", "OnceCell<", "lazy_static!", "thread_local!"];
    none("any number of nodes run in one process", &occurrences(&globals, |_| true));
}

#[test]
fn only_wire_splits_resource_paths() {
    let modules = ["edgehub", "cloudhub", "metamanager", "edgecontroller", "protocol"];
    let splits = ["split('/')", "split(\"/\")", "splitn(", "rsplit('/')", "split_once('/')"];
    let found = occurrences(&splits, |path| {
        // The levels of MQTT topics are no resource paths.
        path != "modules/protocol/src/filter.rs"
            && modules.iter().any(|module| path.starts_with(&format!("modules/{module}/src/")))
    });
    none("strings become types in wire, once", &found);
}

#[test]
fn bus_messages_cannot_be_serialized() {
    struct Derives(Vec<String>);
    impl<'ast> Visit<'ast> for Derives {
        fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
            if let (true, syn::Meta::List(list)) = (attribute.path().is_ident("derive"), &attribute.meta) {
                self.0.push(list.tokens.to_string());
            }
        }
    }
    let mut messages = 0;
    let mut offences = Vec::new();
    for source in rust_files() {
        let mut derives = Derives(Vec::new());
        derives.visit_file(&source.syntax);
        for list in &derives.0 {
            let names: Vec<&str> = list.split(',').map(str::trim).collect();
            if names.contains(&"Message") {
                messages += 1;
                if names.contains(&"Serialize") {
                    offences.push(format!("{}: derive({list})", source.path));
                }
            }
        }
    }
    assert!(messages > 10, "only {messages} messages were found: the search is broken");
    none("bytes exist only in wire, stores and adapters", &offences);
}

#[test]
fn nothing_is_left_for_later() {
    let markers = [
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("TO", "DO"),
        concat!("todo", "!("),
        concat!("db", "g!("),
    ];
    let mut offences = Vec::new();
    for source in rust_files() {
        for (index, line) in source.text.lines().enumerate() {
            for marker in markers.iter().filter(|marker| line.contains(**marker)) {
                offences.push(format!("{}:{}: {marker}", source.path, index + 1));
            }
        }
    }
    none("finish it, or say in an issue what is missing", &offences);
}

#[test]
fn tests_are_neither_ignored_nor_expected_to_panic() {
    let markers = [concat!("#[ign", "ore"), concat!("#[should_", "panic"), concat!("#[al", "low(")];
    let mut offences = Vec::new();
    for source in rust_files() {
        for (number, code) in code_lines(&source) {
            for marker in markers.iter().filter(|marker| code.contains(**marker)) {
                offences.push(format!("{}:{number}: {marker}", source.path));
            }
        }
    }
    none("use a predicate, a Result, or #[expect(.., reason = ..)]", &offences);
}

#[test]
fn no_file_is_named_after_nothing() {
    let vague = ["util.rs", "utils.rs", "helper.rs", "helpers.rs", "common.rs", "misc.rs", "manager.rs"];
    let offences: Vec<String> = rust_files()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| path.rsplit('/').next().is_some_and(|name| vague.contains(&name)))
        .collect();
    none("a file is named after the noun it defines", &offences);
}

#[test]
fn every_module_crate_has_the_same_files() {
    let mut offences = Vec::new();
    let modules = [
        "edgehub",
        "metamanager",
        "devicetwin",
        "dmi",
        "edged",
        "cloudhub",
        "edgecontroller",
        "apiserver",
        "scheduler",
    ];
    for module in modules {
        let folder = root().join("modules").join(module).join("src");
        for file in ["lib.rs", "config.rs"] {
            if !folder.join(file).is_file() {
                offences.push(format!("modules/{module}/src/{file} is missing"));
            }
        }
    }
    none("knowing one module is knowing all", &offences);
}
