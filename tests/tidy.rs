//! The rules of the code base that no compiler checks.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The workspace's own packages: name, and names of what they depend on outside of tests.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success());
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|d| d["kind"].is_null()).map(|d| of(&d["name"]));
            (of(&package["name"]), normal.collect())
        })
        .collect()
}

/// All Rust sources that git would keep, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .expect("git runs");
    let names = String::from_utf8(output.stdout).unwrap();
    let found: Vec<_> = names
        .lines()
        .filter(|name| root().join(name).exists())
        .map(|name| (PathBuf::from(name), std::fs::read_to_string(root().join(name)).unwrap()))
        .collect();
    assert!(found.len() > 20, "{} sources", found.len());
    found
}

/// From the lowest layer up.
const LAYERS: &[&[&str]] = &[
    &["wrr-test-generator"],
    &["wrr-trace", "wrr-pages", "wrr-transform", "wrr-python"],
    &["wrr-wasi", "wrr-timeline"],
    &["wrr-engine"],
    &["wrr"],
    &["wrr-debug", "wrr-fuzz"],
    &["wrr-cli"],
];

fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&package))
}

#[test]
fn imports_go_downwards_only() {
    for (package, dependencies) in packages() {
        let own = layer(&package).unwrap_or_else(|| panic!("{package} has no layer"));
        for dependency in dependencies {
            if let Some(theirs) = layer(&dependency) {
                assert!(theirs < own, "{package} must not depend on {dependency}");
            }
        }
    }
}

#[test]
fn only_the_engine_names_wasmtime_and_only_wasi_names_wasi_common() {
    for (package, dependencies) in packages() {
        for (theirs, owner) in
            [("wasmtime", "wrr-engine"), ("wasi-common", "wrr-wasi"), ("cap-std", "wrr-wasi")]
        {
            if dependencies.contains(theirs) {
                assert_eq!(package, owner, "only {owner} may depend on {theirs}");
            }
        }
    }
    for (path, text) in sources() {
        if text.contains("wasi_common") && path != Path::new("tests/tidy.rs") {
            let allowed = ["host/wasi/src/live", "bench/plain"];
            assert!(
                allowed.iter().any(|a| path.to_str().unwrap().starts_with(a)),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_is_only_where_it_may_be() {
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        // Guests and what they are linked with are not part of the host.
        let allowed = [
            "host/engine/",
            "host/pages/",
            "tests/programs/",
            "examples/clients/",
            "examples/fuzz/",
            "bench/",
            "guest-interp/",
        ];
        if allowed.iter().any(|a| name.starts_with(a)) || name == "tests/tidy.rs" {
            continue;
        }
        let used = text.lines().find(|line| {
            let code = line.split("//").next().unwrap_or_default();
            // LibAFL links to a symbol that has to have its name.
            let is_symbol = name == "host/fuzz/src/clock.rs" && code == "#[unsafe(no_mangle)]";
            !is_symbol && ["unsafe ", "unsafe{", "unsafe("].iter().any(|word| code.contains(word))
        });
        assert_eq!(used, None, "{name}");
    }
}

#[test]
fn only_the_trace_crate_serialises() {
    for (package, dependencies) in packages() {
        for format in ["serde", "postcard"] {
            assert!(
                !dependencies.contains(format) || package == "wrr-trace",
                "{package} uses {format}"
            );
        }
    }
}

#[test]
fn only_wasi_and_front_ends_read_clocks_and_environment() {
    for (path, text) in sources() {
        let name = path.to_str().unwrap();
        // How many cases a random test takes is nothing that a guest could see.
        if name.contains("/tests/") {
            continue;
        }
        let words: &[&str] = if name.starts_with("host/session/src") {
            // When a checkpoint is due, and how long a seek took.
            &["env::var", "SystemTime::now"]
        } else if ["host/engine/src", "host/transform/src", "host/timeline/src"]
            .iter()
            .any(|inner| name.starts_with(inner))
        {
            &["Instant::now", "env::var", "SystemTime::now"]
        } else {
            continue;
        };
        // The cache is the exception: times order its eviction, and tell when to write to it again.
        let of_cache = ["engine/src/cache.rs", "engine/src/program/stored.rs"];
        for word in words.iter().filter(|_| !of_cache.iter().any(|file| name.ends_with(file))) {
            assert!(!text.contains(word), "{name} uses {word}");
        }
    }
}

#[test]
fn names_say_what_is_inside_and_files_are_not_too_long() {
    for (path, text) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            !["common", "utils", "util", "helpers", "misc"].contains(&stem),
            "{}",
            path.display()
        );
        let lines = text.lines().count();
        assert!(
            lines <= 800 || text.contains("This file is long because"),
            "{} has {lines} lines and no reason for it",
            path.display()
        );
    }
    for package in packages().keys() {
        assert!(!package.contains("common") && !package.contains("util"), "{package}");
    }
}

#[test]
fn tests_are_not_ignored_and_nothing_is_left_to_be_done() {
    let words = ["#[ignore", "todo!(", "unimplemented!(", "FIXME", "XXX"];
    for (path, text) in sources() {
        if path == Path::new("tests/tidy.rs") {
            continue;
        }
        for word in words {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
}

#[test]
fn every_source_begins_with_what_it_is() {
    for (path, text) in sources() {
        let first = text.lines().find(|line| !line.starts_with("//#"));
        assert!(first.is_some_and(|l| l.starts_with("//!")), "{}", path.display());
    }
}

#[test]
fn the_architecture_page_names_files_that_exist() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut found = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let looks_like_a_path = word.contains('/') && !word.contains(' ') && !word.contains('*');
        if looks_like_a_path && !word.starts_with("DIR/") && !word.contains("::") {
            assert!(root().join(word).exists(), "{word}");
            found += 1;
        }
    }
    assert!(found > 10, "{found} paths");
}

/// The licenses that `deny.toml` allows.
fn allowed_licenses() -> BTreeSet<String> {
    let policy = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = policy.split("allow = [").nth(1).and_then(|rest| rest.split(']').next());
    list.expect("deny.toml has the list").split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be satisfied with allowed licenses.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" OR ").any(|choice| choice.split(" AND ").all(|part| allowed.contains(part.trim())))
}

#[test]
fn every_dependency_is_licensed_and_sourced_as_the_policy_says() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success());
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = allowed_licenses();
    assert!(allowed.len() > 5);
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    for package in packages {
        let name = &package["name"];
        let license = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(license, &allowed), "{name} is licensed {license}");
        if let Some(source) = package["source"].as_str() {
            assert!(source.starts_with("registry+"), "{name} comes from {source}");
        }
    }
    assert!(!is_allowed("GPL-3.0", &allowed) && !is_allowed("MIT AND GPL-3.0", &allowed));
}

#[test]
fn every_direct_dependency_has_its_purpose_written_down() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = page.split("## Dependencies").nth(1).expect("the page has the section");
    for (package, dependencies) in packages() {
        for dependency in dependencies {
            let ours = layer(&dependency).is_some();
            assert!(ours || table.contains(&dependency), "{dependency}, used by {package}");
        }
    }
}

/// The packages that the program is made from, with their features: without or with those of tests.
fn features(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "wrr-cli", "--no-dedupe", "--prefix", "none"])
        .args(["--format", "{p} with the features {f}", "--edges", edges])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A feature that only tests enable compiles everything above it once more for them: the engine, as a rule.
#[test]
fn tests_enable_no_features_of_what_the_program_is_made_from() {
    let (program, tests) = (features("normal,build"), features("normal,build,dev"));
    assert!(program.len() > 100, "{} packages", program.len());
    let twice: Vec<_> = program.difference(&tests).collect();
    assert!(twice.is_empty(), "compiled once more for tests: {twice:#?}");
}
