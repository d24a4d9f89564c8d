//! The pages name options that the scripts have.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::cluster::*;

const PAGES: [&str; 6] =
    ["README.md", "CHANGELOG.md", "docs/install.md", "docs/tutorial.md", "docs/migration.md", "docs/operations.md"];

fn page(name: &str) -> String {
    let root: PathBuf = deploy().parent().unwrap().into();
    fs::read_to_string(root.join(name)).unwrap().replace("\\\n", " ")
}

fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    text.split("--")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| is_part(*c)).collect::<String>())
        .filter(|name| name.len() > 1 && name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

/// The options that a script explains.
fn explained(script: &str) -> BTreeSet<String> {
    let outcome = Cluster::new(&[]).run(script, &["--help"]);
    assert!(outcome.good, "{}", outcome.said);
    outcome
        .said
        .lines()
        .filter_map(|line| line.strip_prefix("  --"))
        .flat_map(|line| options(&format!("--{}", line.split("  ").next().unwrap())))
        .collect()
}

#[test]
fn the_help_lists_every_option_that_is_understood_and_no_other() {
    for script in ["install.sh", "uninstall.sh"] {
        let source = fs::read_to_string(deploy().join(script)).unwrap();
        let understood: BTreeSet<String> = source
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("--")?.split_once(") "))
            .map(|(name, _)| name.to_owned())
            .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
            .collect();
        assert_eq!(explained(script), understood, "{script}");
    }
}

#[test]
fn the_pages_name_only_options_that_the_scripts_have() {
    for script in ["install.sh", "uninstall.sh"] {
        let known = explained(script);
        let mut found = 0;
        for name in PAGES {
            let text = page(name);
            for (at, _) in
                text.match_indices(script).filter(|(at, _)| script != "install.sh" || !text[..*at].ends_with("un"))
            {
                let command = text[at..].split(['\n', '`', '|']).next().unwrap();
                found += 1;
                for option in options(command) {
                    assert!(known.contains(&option), "{name}: {script} has no option --{option}: {command}");
                }
            }
        }
        assert!(found > 1, "{script}");
    }
}

#[test]
fn the_migration_page_explains_each_option_of_moving_in() {
    let text = page("docs/migration.md");
    let section = text.split("### install.sh --from").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: BTreeSet<String> = section
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .flat_map(|row| options(row.split(" | ").next().unwrap()))
        .collect();
    let of_moving: BTreeSet<String> = explained("install.sh")
        .into_iter()
        .filter(|name| name.starts_with("from-") || name == "collector-label")
        .collect();
    assert_eq!(rows, of_moving);
}
