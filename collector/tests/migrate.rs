//! Old configurations in `tests/migrate`: what each is converted to, and what the report says, beside it.
//!
//! `NAME.old.EXT` is converted; `NAME.new.yaml` and `NAME.report.txt` are expected. A first line `# migrate: --values --job NAME` has
//! options. `UPDATE_MIGRATE=1 cargo test -p collector --test migrate` writes what is expected anew: read the difference.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use collector::{
    admin::{
        migrate::{
            self, Source,
            convert::{self, Draft, Options},
            output::{self, Form},
            report,
        },
        terminal::Paint,
    },
    compiled::Compiled,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate")
}

struct Case {
    name: String,
    source: Source,
    options: Options,
    form: Form,
}

fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let file_name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((name, _)) = file_name.split_once(".old.") else { continue };
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or("");
        let words: Vec<&str> = first.split_once("migrate:").map_or("", |(_, words)| words).split_whitespace().collect();
        let job = words.iter().position(|word| *word == "--job").map(|at| words[at + 1].to_owned());
        let form = if words.contains(&"--values") { Form::Values } else { Form::Config };
        let (name, options) = (name.to_owned(), Options { job });
        cases.push(Case { name, source: Source { name: file_name, text }, options, form });
    }
    cases
}

fn convert(case: &Case) -> Result<(String, String, Draft), String> {
    let sources = [case.source.clone()];
    let (_, draft) = migrate::converted(&sources, &case.options).map_err(|error| format!("{error:#}"))?;
    let text = output::text(&draft, case.form, &[case.source.name.clone()]);
    let mut report = Vec::new();
    report::write(&draft, case.form, Paint { colours: false }, &mut report).unwrap();
    Ok((text, String::from_utf8(report).unwrap(), draft))
}

/// The lines in which two texts differ.
fn difference(expected: &str, got: &str) -> String {
    let (expected, got): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let mut text = String::new();
    for line in expected.iter().filter(|line| !got.contains(line)) {
        writeln!(text, "    - {line}").unwrap();
    }
    for line in got.iter().filter(|line| !expected.contains(line)) {
        writeln!(text, "    + {line}").unwrap();
    }
    if text.is_empty() { "    the same lines in another order or number\n".into() } else { text }
}

#[test]
fn every_old_configuration_is_converted_as_the_files_beside_it_say() {
    let update = std::env::var_os("UPDATE_MIGRATE").is_some();
    let mut wrong = String::new();
    let cases = cases();
    assert!(cases.len() >= 20, "{}", cases.len());
    for case in &cases {
        let (text, report) = match convert(case) {
            Ok((text, report, _)) => (text, report),
            Err(error) => (String::new(), format!("{error}\n")),
        };
        for (kind, got) in [("new.yaml", text), ("report.txt", report)] {
            let file = folder().join(format!("{}.{kind}", case.name));
            if update {
                fs::write(&file, got).unwrap();
                continue;
            }
            let expected = fs::read_to_string(&file).unwrap_or_default();
            if expected != got {
                writeln!(wrong, "  {}:\n{}", file.display(), difference(&expected, &got)).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}UPDATE_MIGRATE=1 writes what is expected anew");
}

#[test]
fn every_conversion_is_accepted_by_check_as_it_is_printed() {
    for case in cases() {
        let Ok((_, _, draft)) = convert(&case) else { continue };
        let printed = output::text(&draft, Form::Config, &[case.source.name.clone()]);
        let compiled = Compiled::parse(&printed, &convert::environment(&draft));
        assert!(compiled.is_ok(), "{}: {:?}\n{printed}", case.name, compiled.unwrap_err());
    }
}

#[test]
fn no_secret_of_an_old_configuration_is_printed() {
    for case in cases() {
        let Ok((text, report, _)) = convert(&case) else { continue };
        for printed in [text, report] {
            assert!(!printed.contains("s3cret"), "{}\n{printed}", case.name);
        }
    }
}
