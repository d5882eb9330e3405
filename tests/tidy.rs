//! House rules that no compiler checks.
//!
//! Each rule reads the working tree as it stands. An exception is a line in a table here, with its reason; one that is
//! no longer needed is an error too, so the tables cannot outlive what they excuse.

#![allow(clippy::indexing_slicing, reason = "a test that fails says so by a panic")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Functions over [`FUNCTION_LINES_MAX`] lines that are one thought: file, function, why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "bastion/src/settings/tests.rs",
        "every_key_is_read",
        "a table: every key that there is, and what it becomes",
    ),
    (
        "bastion/src/login/tests/hostile.rs",
        "due",
        "a table: every fault of a provider, and what must come of it",
    ),
];

/// Files over [`FILE_LINES_MAX`] lines that are one thought: file, why.
const LONG_FILES: &[(&str, &str)] =
    &[("bastion/gate/tests/typed.rs", "what somebody types and a screen shows, case by case, on one bench")];

/// Where a [`gate::Grant`] may be made.
const GRANTORS: &[&str] = &["bastion/gate/src/policy.rs", "bastion/gate/src/approval.rs"];

/// Where a compiler's promise is replaced by ours: file, why.
const UNSAFE: &[(&str, &str)] =
    &[("bastion/src/spare_memory.rs", "memory is given back by a call that no kept library offers")];

/// Crates that can do no I/O, because they cannot name it.
const PURE: &[(&str, &str)] = &[("gate", "bastion/gate"), ("recording", "replay/recording")];

/// What each crate of ours may depend on, of ours. Imports run one way.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("bastion", &["gate", "recording", "archive", "keys"]),
    ("bastion/gate", &["recording"]),
    ("replay", &["recording", "archive", "keys"]),
    ("replay/archive", &["recording"]),
    ("replay/recording", &[]),
    ("keys", &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// All files of the project, as paths relative to its root, build products left out.
fn files() -> Vec<String> {
    let (root, mut found, mut todo) = (root(), Vec::new(), vec![root()]);
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if matches!(&*name.to_string_lossy(), "target" | "node_modules" | ".git" | "__pycache__") {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            } else if let Ok(path) = path.strip_prefix(&root) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    assert!(found.len() > 40, "the project lies at {}, found {found:?}", root.display());
    found
}

fn rust_files() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| (read(&path), path)).map(|(text, path)| (path, text)).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// `(name, line, lines)` of every function. rustfmt ends a function with a brace under its `fn`.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        let words =
            words.trim_start_matches("pub ").trim_start_matches("const ").trim_start_matches("async ");
        let Some(name) = words.strip_prefix("fn ") else { continue };
        let header = lines[at..].iter().find(|line| line.ends_with(['{', ';', '}']));
        if header.is_none_or(|line| line.ends_with(';')) {
            continue; // a trait's declaration has no body
        }
        let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
        let closes = |later: &&str| indent(later) == indent(line) && later.trim_start().starts_with('}');
        if let Some(length) = lines[at..].iter().position(closes) {
            found.push((name, at + 1, length + 1));
        }
    }
    found
}

/// The lines that are tests: all of a file under a `tests` folder, or what follows `#[cfg(test)]`.
fn test_lines<'t>(path: &str, text: &'t str) -> impl Iterator<Item = (usize, &'t str)> {
    let all = path.starts_with("tests/") || path.contains("/tests/");
    let begin = if all { Some(0) } else { text.lines().position(|line| line.trim() == "#[cfg(test)]") };
    text.lines().enumerate().skip(begin.unwrap_or(usize::MAX)).map(|(at, line)| (at + 1, line))
}

fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

/// What was found must be what is excused: no more, and no less.
fn compare(what: &str, found: BTreeMap<String, String>, excused: Vec<String>) {
    let new = found.iter().filter(|(place, _)| !excused.contains(place));
    assert_none(what, new.map(|(place, size)| format!("{place}: {size}")).collect());
    let stale: Vec<_> = excused.into_iter().filter(|place| !found.contains_key(place)).collect();
    assert_none(&format!("excused, and no longer true ({what})"), stale);
}

#[test]
fn a_function_that_is_long_says_why() {
    let excused: Vec<_> = LONG_FUNCTIONS.iter().map(|(path, name, _)| format!("{path} {name}")).collect();
    let found = rust_files().into_iter().flat_map(|(path, text)| {
        let long = functions(&text).into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX);
        let told = |(name, at, lines)| (format!("{path} {name}"), format!("line {at}, {lines} lines"));
        long.map(told).collect::<Vec<_>>()
    });

    compare(
        "functions over 70 lines; LONG_FUNCTIONS takes one that is one thought",
        found.collect(),
        excused,
    );
}

#[test]
fn a_file_that_is_long_says_why() {
    let excused: Vec<_> = LONG_FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    let lines = rust_files().into_iter().map(|(path, text)| (path, text.lines().count()));
    let found = lines.filter(|(_, lines)| *lines > FILE_LINES_MAX);
    let found = found.map(|(path, lines)| (path, format!("{lines} lines")));

    compare("files over 500 lines; LONG_FILES takes one that is one thought", found.collect(), excused);
}

#[test]
fn only_policy_and_approval_can_make_a_grant() {
    let mut found = Vec::new();
    for (path, text) in rust_files().into_iter().filter(|(path, _)| !GRANTORS.contains(&path.as_str())) {
        for (at, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let names = ["struct Grant {", "impl Grant {", "-> Grant {", "for Grant {"];
            let made = code.contains("Grant {") && !names.iter().any(|name| code.contains(name));
            if !code.starts_with("//") && made && path.starts_with("bastion/") {
                found.push(format!("{path}:{}: {code}", at + 1));
            }
        }
    }
    let policy = read(GRANTORS[0]);
    let body = policy.split_once("pub struct Grant {").expect("policy.rs has the Grant").1;
    let fields = body.split_once('}').expect("it ends").0;
    let shape = policy.split_once("pub struct Grant {").expect("policy.rs has the Grant").0;
    let derives = shape.lines().rev().find(|line| line.starts_with("#[derive")).unwrap_or_default();

    assert_none("a Grant is made outside policy.rs and approval.rs", found);
    assert!(!fields.lines().any(|line| line.trim_start().starts_with("pub ")), "a field of Grant is public");
    for open_door in ["Default", "Deserialize"] {
        assert!(!derives.contains(open_door), "a Grant that derives {open_door} can be made by anyone");
    }
}

#[test]
fn nothing_is_unsafe_but_what_is_listed() {
    let word = concat!("unsafe", "_code");
    let with: Vec<String> =
        rust_files().into_iter().filter(|(_, text)| text.contains(word)).map(|(path, _)| path).collect();
    let listed: Vec<&str> = UNSAFE.iter().map(|(path, _)| *path).collect();
    assert_eq!(with, listed);
}

#[test]
fn a_pure_crate_cannot_name_io() {
    for (package, folder) in PURE {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"]);
        let told = cargo.current_dir(root()).output().expect("cargo runs");
        assert!(told.status.success(), "cargo tree: {}", String::from_utf8_lossy(&told.stderr));
        let tree = String::from_utf8(told.stdout).expect("cargo tree tells text");
        let crates = tree.lines().filter_map(|line| line.split(' ').next());
        let io = ["tokio", "russh", "mio", "rustix", "socket2", "sled", "reqwest", "hyper", "crossterm"];
        let named: Vec<String> = crates.filter(|name| io.contains(name)).map(str::to_owned).collect();
        assert_none(&format!("{package} is pure, and depends on"), named);

        let mut used = Vec::new();
        for (path, text) in
            rust_files().into_iter().filter(|(path, _)| path.starts_with(&format!("{folder}/src/")))
        {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (at, line) in
                code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                let io =
                    ["std::fs", "std::net", "std::thread", "Instant::now", "SystemTime::now", "std::env::"];
                io.iter().filter(|name| line.contains(**name)).for_each(|name| {
                    used.push(format!("{path}:{}: {name}", at + 1));
                });
            }
        }
        assert_none(&format!("{package} is pure, and uses"), used);
    }
}

#[test]
fn imports_run_one_way() {
    let ours: Vec<&str> = vec!["bastion", "gate", "replay", "recording", "archive", "keys", "tests"];
    for (folder, allowed) in MAY_IMPORT {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        let from = manifest.split_once("[dependencies]").map_or("", |(_, rest)| rest);
        let table = from.split("\n[").next().unwrap_or_default();
        let named = table.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let wrong: Vec<String> = named
            .filter(|name| ours.contains(name) && !allowed.contains(name))
            .map(|name| format!("{folder}/Cargo.toml: {name}"))
            .collect();
        assert_none("a crate depends on one that it must not know", wrong);
    }
}

#[test]
fn the_map_shows_what_is_there() {
    let map = read("docs/ARCHITECTURE.md");
    let mut missing = Vec::new();
    for word in map.split('`').skip(1).step_by(2) {
        let path = word.trim_end_matches('/').split("::").next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let is_path = !path.starts_with('/') && !path.starts_with('.') && path.chars().all(plain);
        let names_file = [".rs", ".md", ".toml", ".sh", ".py"].iter().any(|end| path.ends_with(end));
        let first = path.split('/').next().unwrap_or_default();
        let in_tree = path.contains('/') && root().join(first).is_dir();
        if is_path && (in_tree || names_file && path.contains('/')) && !root().join(path).exists() {
            missing.push(path.to_owned());
        }
    }

    assert_none("docs/ARCHITECTURE.md names paths that do not exist", missing);
}

#[test]
fn the_project_speaks_of_itself_alone() {
    // Put together here, so that this file does not name them.
    let foreign = [
        ["..", "/shared"].concat(),
        ["/wo", "rk/"].concat(),
        ["/tmp", "/wt"].concat(),
        ["/ro", "ot/"].concat(),
    ];
    let mut found = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (at, line) in text.lines().enumerate() {
            // `alice/root/web1` names a login, and no folder of a machine.
            let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric());
            let names = |name: &String| line.match_indices(name.as_str()).any(|(at, _)| begins(at));
            if foreign.iter().any(names) {
                found.push(format!(
                    "{path}:{}: {}",
                    at + 1,
                    line.trim().chars().take(120).collect::<String>()
                ));
            }
        }
    }

    assert_none("paths of one machine, or of a folder that a clone does not have", found);
}

#[test]
fn nothing_is_left_for_later() {
    let later = [
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["FIX", "ME"].concat(),
        ["#[ign", "ore"].concat(),
    ];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        for (at, line) in text.lines().enumerate() {
            if later.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }

    assert_none("unfinished, or a test that is skipped in silence", found);
}

#[test]
fn no_test_sleeps() {
    let sleeps = [["thread::", "sleep("].concat(), ["time::", "sleep("].concat()];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        for (at, line) in test_lines(&path, &text) {
            if sleeps.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{at}: {}", line.trim()));
            }
        }
    }

    assert_none("a test that sleeps instead of waiting for the event", found);
}

#[test]
fn a_test_is_called_what_it_shows() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (at, pair) in lines.windows(2).enumerate() {
            let is_test = pair[0].starts_with("#[test]") || pair[0].starts_with("#[tokio::test");
            if is_test && pair[1].contains("fn test_") {
                found.push(format!("{path}:{}: {}", at + 2, pair[1]));
            }
        }
    }

    assert_none("a test's name is the law, in a sentence", found);
}
