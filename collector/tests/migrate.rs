//! Old configurations in `tests/migrate`: what each is converted to, and what the report says, beside it.
//!
//! `NAME.old.EXT` is converted; `NAME.new.yaml` and `NAME.report.txt` are expected. A first line `# migrate: --values --job NAME` has
//! options. `UPDATE_MIGRATE=1 cargo test -p collector --test migrate` writes what is expected anew: read the difference.

use std::{
    fmt::Write,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use collector::{
    admin::{
        migrate::{
            self, Source,
            convert::{self, Draft, Options},
            output::{self, Form},
            promtail::keys,
            report,
        },
        terminal::Paint,
    },
    compiled::Compiled,
    config::StageConfig,
    pipeline,
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
    let text = output::text(&draft, case.form, std::slice::from_ref(&case.source.name));
    let mut report = Vec::new();
    let next = report::Next { job: case.options.job.as_deref(), ..report::Next::default() };
    report::write(&draft, case.form, &next, Paint { colours: false }, &mut report).unwrap();
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
        let printed = output::text(&draft, Form::Config, std::slice::from_ref(&case.source.name));
        let compiled = Compiled::parse(&printed, &convert::environment(&draft));
        assert!(compiled.is_ok(), "{}: {:?}\n{printed}", case.name, compiled.unwrap_err());
    }
}

/// Reads JSON, a list of names and texts of YAML 1.1, and prints what is wrong with them.
const PYTHON: &str = r#"
import json, sys, yaml
def check(name, node):
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            check(name, key)
            check(name, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            check(name, value)
    elif not node.style:
        value = yaml.safe_load("- " + node.value) if node.value else [None]
        same = [node.value] == value or value == [None] or node.value in ("true", "false") or [node.value] == [str(v) for v in value]
        if not same or node.tag.endswith((":timestamp", ":float")):
            print(f"{name}: {node.value!r} is {node.tag}")
for name, text in json.load(sys.stdin):
    try:
        for node in yaml.compose_all(text):
            check(name, node)
    except yaml.YAMLError as error:
        print(f"{name}: {error}")
"#;

#[test]
fn every_conversion_is_valid_to_another_reader_of_yaml_which_reads_the_same_texts() {
    let mut texts = Vec::new();
    for case in cases() {
        let Ok((_, _, draft)) = convert(&case) else { continue };
        for form in [Form::Config, Form::Values] {
            texts.push((case.name.clone(), output::text(&draft, form, std::slice::from_ref(&case.source.name))));
        }
    }
    // Debian's python3-yaml is for Debian's Python, before which another one may stand in PATH.
    let has_yaml = |python: &&str| {
        let imported = Command::new(python).args(["-c", "import yaml"]).stderr(Stdio::null()).status();
        imported.is_ok_and(|status| status.success())
    };
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(has_yaml) else {
        return println!("SKIPPED: python3 with PyYAML is not available (Debian: python3-yaml)");
    };
    let mut python = Command::new(python);
    let mut python = python.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(&texts).unwrap()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{} texts", texts.len());
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

fn read(name: &str, text: &str) -> Source {
    migrate::source(name, text.into()).unwrap()
}

#[test]
fn of_several_files_each_has_its_own_clients_settings_and_positions() {
    let promtail = |url: &str, position: &str, size: &str| {
        format!(
            "clients: [{{url: 'http://{url}/loki/api/v1/push'}}]\npositions: {{filename: /run/{position}.yaml}}\n\
             limits_config: {{max_line_size: {size}}}\n\
             scrape_configs:\n- job_name: pods\n  kubernetes_sd_configs: [{{role: pod}}]\n  pipeline_stages: [{{cri: {{}}}}]\n"
        )
    };
    let sources = [read("a.yaml", &promtail("one", "a", "64KB")), read("b.yaml", &promtail("two", "b", "32KB"))];
    for (job, url, position, size) in [("pods", "one", "a", "64KiB"), ("pods#2", "two", "b", "32KiB")] {
        let (_, draft) = migrate::converted(&sources, &Options { job: Some(job.into()) }).unwrap();
        let value = |key: &str| draft.get(key).unwrap().value.as_text().unwrap().to_owned();
        assert_eq!(value("loki.url"), format!("http://{url}/loki/api/v1/push"));
        assert_eq!(value("lines.max_bytes"), size);
        assert_eq!(draft.positions.as_ref().unwrap().value.as_text(), Some(&*format!("/run/{position}.yaml")));
    }
}

#[test]
fn a_file_without_clients_has_those_of_the_other_files() {
    let jobs =
        "scrape_configs: [{job_name: pods, kubernetes_sd_configs: [{role: pod}], pipeline_stages: [{cri: {}}]}]\n";
    let sources = [read("clients.yaml", "clients: [{url: 'http://one'}]\n"), read("jobs.yaml", jobs)];
    let (_, draft) = migrate::converted(&sources, &Options::default()).unwrap();
    assert_eq!(draft.get("loki.url").unwrap().value.as_text(), Some("http://one"));
}

#[test]
fn what_is_no_text_in_utf_8_is_named_with_its_place() {
    let utf_16: Vec<u8> = "clients: []\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, expected) in [
        (b"clients:\n- url: \xff\n".to_vec(), "f.yaml:2:8: byte 0xff (at offset 16) is not UTF-8"),
        (
            [&[0xff, 0xfe], &utf_16[..]].concat(),
            "f.yaml:1:1: is UTF-16; make UTF-8 of it: iconv -f UTF-16 -t UTF-8 f.yaml",
        ),
        (utf_16, "f.yaml:1:2: byte 0x00 (at offset 1): this is no text, or UTF-16"),
    ] {
        assert_eq!(migrate::source("f.yaml", bytes).unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_next_steps_name_the_files_that_were_given() {
    let case = cases().into_iter().find(|case| case.name == "stage-match").unwrap();
    let (_, draft) = migrate::converted(&[case.source], &case.options).unwrap();
    let files = [PathBuf::from("old files/promtail.yaml")];
    let next = report::Next { files: &files, output: Some(Path::new("/etc/new.yaml")), job: Some("pods") };
    let mut out = Vec::new();
    report::write(&draft, Form::Config, &next, Paint { colours: false }, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for expected in [
        "pilcrow check --config /etc/new.yaml\n",
        "pilcrow migrate --prove --job pods 'old files/promtail.yaml'\n",
        "pilcrow import-positions --config /etc/new.yaml ",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn the_report_ends_with_the_steps_of_the_page_about_migration() {
    let case = cases().into_iter().find(|case| case.name == "chart-defaults").unwrap();
    let (_, report, _) = convert(&case).unwrap();
    let page = fs::read_to_string(page()).unwrap();
    let (_, page) = page.split_once("\n## Steps\n").unwrap();
    let (page, _) = page.split_once("\n### ").unwrap();
    let page = page.replace("\n   ", " ");
    let (_, steps) = report.split_once("\nNext:\n").unwrap();
    for text in [steps, &page] {
        let mut rest = text;
        for words in [
            "helm template pilcrow deploy/helm/pilcrow --values",
            "Prove it on a node, with its own pods and lines: ",
            "old collector's ",
            "Both may run side by side: Loki stores a line only once where labels, time and text are the same",
            "every line is stored twice, so stop the old collector first",
            "on every node, and that dashboards and alerts find their labels; then remove the old collector",
        ] {
            let at = rest.find(words).unwrap_or_else(|| panic!("{words}\n{text}"));
            rest = &rest[at..];
        }
    }
}

#[test]
fn standard_input_is_named_in_words() {
    let text = "clients:\n- url: http://l\n\ttenant_id: a\n";
    let error = migrate::converted(&[read(migrate::STANDARD_INPUT, text)], &Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("standard input:3:1: not valid YAML"), "{error:#}");
}

#[test]
fn a_job_whose_name_has_blanks_is_quoted_in_commands() {
    let job = "kubernetes_sd_configs: [{role: pod}], pipeline_stages: [{cri: {}}]";
    let text = format!(
        "clients: [{{url: 'http://l'}}]\nscrape_configs:\n- {{job_name: one, {job}}}\n- {{job_name: the other, {job}}}\n"
    );
    let (_, draft) = migrate::converted(&[read("p.yaml", &text)], &Options::default()).unwrap();
    let told = draft.findings.iter().find(|finding| finding.what == "job the other").unwrap();
    assert!(told.text.contains("--job 'the other' for a second release"), "{}", told.text);
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migration.md")
}

#[test]
fn the_page_about_migration_lists_every_key_of_promtail_with_what_becomes_of_it() {
    let mut table = String::from("| Promtail | taken over | how |\n| --- | --- | --- |\n");
    for (prefix, keys) in keys::TABLES {
        for (key, way) in *keys {
            writeln!(table, "| `{prefix}{key}` | {} | {} |", way.word(), keys::note(key, *way)).unwrap();
        }
    }
    let text = fs::read_to_string(page()).unwrap();
    let start = text.find("| Promtail | taken over | how |").expect("the table's head");
    let end = start + text[start..].find("\n\n").unwrap() + 1;
    if std::env::var_os("UPDATE_MIGRATE").is_some() {
        fs::write(page(), format!("{}{table}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    let difference = difference(&text[start..end], &table);
    assert!(text[start..end] == table, "docs/migration.md, UPDATE_MIGRATE=1 writes it anew:\n{difference}");
}

/// The rows of the table of stages: the stage, its field if it is one, and the word.
fn stage_rows() -> Vec<(String, Option<String>, String)> {
    let text = fs::read_to_string(page()).unwrap();
    let (_, table) = text.split_once("| stage or field |").expect("the table of stages");
    let rows = table.split("\n\n").next().unwrap().lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        let (stage, field) =
            name.split_once('.').map_or((name, None), |(stage, field)| (stage, Some(field.to_owned())));
        Some((stage.to_owned(), field, cells.next()?.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_page_about_migration_lists_every_stage_and_only_fields_that_are_known() {
    let rows = stage_rows();
    for name in pipeline::stages::names() {
        assert!(rows.iter().any(|(stage, field, _)| stage == name && field.is_none()), "{name} is missing");
    }
    for (stage, field, word) in rows {
        let is_known = pipeline::stages::names().any(|name| name == stage);
        assert_eq!(word == "no", !is_known, "{stage}");
        let Some(field) = field.filter(|_| is_known) else { continue };
        let settings = field.rsplit('.').fold("x".to_owned(), |inner, key| format!("{{{key}: {inner}}}"));
        let settings = if stage == "metrics" { format!("{{name: {settings}}}") } else { settings };
        let stages = StageConfig::list(&format!("- {stage}: {settings}\n")).unwrap();
        let unknown = pipeline::Pipeline::compile(&stages)
            .err()
            .into_iter()
            .flatten()
            .find(|error| error.message.starts_with("unknown key"));
        assert!(unknown.is_none(), "{stage}.{field}: {}", unknown.unwrap());
    }
}
