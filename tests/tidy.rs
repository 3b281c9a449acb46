//! The house rules that a machine can check: sizes, directions, and nothing left undone.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

const CEILING_FILE: usize = 400;

fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{directory} has no sources");
    found
}

#[test]
fn no_file_is_a_gravity_well() {
    for directory in ["schemas", "dataflows", "src", "tests", "benches"] {
        for (path, text) in sources(directory) {
            let lines = text.lines().count();
            assert!(lines <= CEILING_FILE, "{} has {lines} lines, the ceiling is {CEILING_FILE}", path.display());
        }
    }
}

#[test]
fn the_core_knows_nothing_of_the_world() {
    let forbidden = [
        "std::time::Instant",
        "std::time::SystemTime",
        "std::fs",
        "std::net",
        "std::env",
        "tokio",
        "rdkafka",
        "HashMap",
    ];
    for (path, text) in sources("dataflows") {
        let exempt = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("lookup.rs");
        // Timely's own timer is made in one place.
        let timer = |word: &str| word == "std::time::Instant" && path.ends_with("worker.rs");
        for word in forbidden.iter().filter(|word| !exempt && !timer(word)) {
            assert!(!text.contains(*word), "{} names {word}: the core is pure", path.display());
        }
    }
}

#[test]
fn nothing_is_left_undone() {
    // Written in two parts, so that this file does not name them.
    let words = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME"), concat!("TO", "DO")];
    for directory in ["schemas", "dataflows", "src", "tests", "benches"] {
        for (path, text) in sources(directory) {
            for word in words {
                assert!(!text.contains(word), "{} has a {word}", path.display());
            }
        }
    }
}

#[test]
fn the_top_level_is_what_it_is() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "dataflows",
        "schemas",
        "tests",
        "benches",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
    ];
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.starts_with('.') || name == "target" || allowed.contains(&name.as_str());
        assert!(known, "{name} is not part of the top level");
    }
}
