//! Rules that no lint can check, over every Rust file of the workspace.
//!
//! A finding names the file, the line and what to do. The list of seams below is the list of places that may touch
//! the real world; a file that does not need to be there should not be.
#![cfg(not(madsim))]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads the sources")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A longer file holds more than one idea.
const LINES_MAX: usize = 700;

/// Files and folders that may name `std::fs`: the two ends of the disk seam, what runs before and around the server,
/// the simulator's command line and what it plays with real servers, and what is run by cargo alone.
const TOUCH_FILES: &[&str] = &[
    "proto/build.rs",
    "server/src/log.rs",
    "server/src/process.rs",
    "server/storage/src/real.rs",
    "server/storage/src/real/",
    "sim/src/cli/",
    "sim/src/fork.rs",
    "sim/src/real/",
    "sim/src/report/",
];

/// Unfinished work, by what it looks like. Spelt in halves, for this file is checked as well.
const LEFTOVERS: &[&str] =
    &[concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!("), concat!("FIX", "ME")];

/// A source file: its path from the workspace's root, and its text.
struct Source {
    path: String,
    text: String,
    /// A test or an example: run by cargo alone, so it may do what it needs.
    is_test: bool,
}

impl Source {
    /// Where its modules are.
    fn modules_folder(&self) -> String {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match file.strip_suffix(".rs").unwrap() {
            _ if self.is_found_by_cargo() => folder.to_owned(),
            "mod" => folder.to_owned(),
            stem => format!("{folder}/{stem}"),
        }
    }

    /// Roots of crates.
    fn is_found_by_cargo(&self) -> bool {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let runs_alone = ["/tests", "/examples", "/benches"].iter().any(|end| folder.ends_with(end));
        runs_alone || matches!(file, "lib.rs" | "main.rs" | "build.rs")
    }

    /// Its modules in files of their own: name, the path they were given if any, and whether only tests have them.
    fn modules(&self) -> Vec<(&str, Option<&str>, bool)> {
        let mut modules = Vec::new();
        let (mut only_tests, mut path) = (false, None);
        for (_, line) in self.code().filter(|(_, line)| !line.trim().is_empty()) {
            if line.trim_start().starts_with("#[") {
                only_tests |= line.contains("cfg(test)") || line.contains("cfg(all(test,");
                path = line.split_once("#[path = \"").and_then(|(_, path)| path.split('"').next()).or(path);
                continue;
            }
            let name = line.trim().strip_suffix(';').and_then(|item| {
                item.split_once("mod ").filter(|(visibility, _)| !visibility.contains('=')).map(|(_, name)| name)
            });
            modules.extend(name.map(|name| (name, path, only_tests)));
            (only_tests, path) = (false, None);
        }
        modules
    }

    /// Where the file of one of its modules may be.
    fn files_of(&self, name: &str, path: Option<&str>) -> [String; 2] {
        let folder = self.modules_folder();
        match path {
            Some(path) => [format!("{}/{path}", self.path.rsplit_once('/').unwrap().0), String::new()],
            None => [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")],
        }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// Lines that are not comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the server is in a workspace").to_owned()
}

/// Every `.rs` file below `folder`, in order.
fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            collect(root, &path, sources);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let is_test = path.split('/').any(|part| matches!(part, "tests" | "examples" | "benches"));
            sources.push(Source { path, text, is_test });
        }
    }
}

fn sources() -> Vec<Source> {
    let (root, mut sources) = (root(), Vec::new());
    collect(&root, &root, &mut sources);
    assert!(100 < sources.len(), "the sources are not where they were: {} found", sources.len());
    let only_tests: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| source.modules().into_iter().map(move |module| (source, module)))
        .filter(|(_, (_, _, only_tests))| *only_tests)
        .flat_map(|(source, (name, path, _))| source.files_of(name, path))
        .collect();
    for source in &mut sources {
        source.is_test |= only_tests.contains(&source.path);
    }
    sources
}

/// Runs `rule` over every source; it reports (line, what to do).
fn check(rule: impl Fn(&Source, &mut dyn FnMut(usize, &str))) {
    let mut findings = String::new();
    for source in sources() {
        rule(&source, &mut |line, advice| writeln!(findings, "{}:{line}: {advice}", source.path).unwrap());
    }
    assert!(findings.is_empty(), "\n{findings}");
}

#[test]
fn every_select_is_biased() {
    let select = concat!("select", "!");
    check(|source, report| {
        for (offset, _) in source.text.match_indices(select) {
            let line = source.line_of(offset);
            let is_code = source.code().any(|(number, text)| number == line && !text.contains(&format!("`{select}")));
            let body = source.text[offset + select.len()..].trim_start();
            let body = body.strip_prefix(['{', '(']).map(str::trim_start);
            if is_code && body.is_some_and(|body| !body.starts_with("biased;")) {
                report(line, "an unbiased choice cannot be replayed: begin with `biased;`");
            }
        }
    });
}

#[test]
fn nothing_is_left_over() {
    check(|source, report| {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
                report(number + 1, &format!("{word} is unfinished work"));
            }
        }
    });
}

#[test]
fn files_are_reached_through_the_seam() {
    let banned = concat!("std::", "fs");
    check(|source, report| {
        let allowed = source.is_test || TOUCH_FILES.iter().any(|seam| source.path.starts_with(seam));
        // Unit tests at the end of a file may use real files.
        let production = source.text.find("#[cfg(test)]\nmod").map_or(usize::MAX, |offset| source.line_of(offset));
        for (number, line) in source.code() {
            if !allowed && number < production && line.contains(banned) {
                report(number, "reach files through the Disk seam (server/storage/src/disk.rs)");
            }
        }
    });
}

#[test]
fn every_module_opens_with_its_contract() {
    check(|source, report| {
        // A module's unit tests have the module's contract.
        let is_exempt = source.is_test && source.path.ends_with("tests.rs");
        if !is_exempt && !source.text.starts_with("//!") {
            report(1, "begin with //! and what this module promises");
        }
    });
}

#[test]
fn files_are_short() {
    check(|source, report| {
        let lines = source.text.lines().count();
        if LINES_MAX < lines {
            report(lines, &format!("more than {LINES_MAX} lines: split it by idea"));
        }
    });
}

#[test]
fn every_file_belongs_to_a_crate() {
    let sources = sources();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    for source in &sources {
        if source.is_found_by_cargo() {
            reached.insert(source.path.clone());
        }
        for (name, path, _) in source.modules() {
            reached.extend(source.files_of(name, path));
        }
    }
    let orphans: Vec<&String> =
        sources.iter().map(|source| &source.path).filter(|path| !reached.contains(*path)).collect();
    assert!(orphans.is_empty(), "in no module tree: {orphans:#?}");
}
