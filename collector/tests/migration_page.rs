//! docs/migration.md: its first example is what the program makes of it, and every command of Pilcrow in it exists.

use std::{fs, path::Path, process::Command};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migration.md")).unwrap()
}

fn pilcrow() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pilcrow"))
}

#[test]
fn the_example_of_alloy_is_converted_to_what_the_page_shows_and_nothing_of_it_is_lost() {
    let page = page();
    let mut blocks = page.split("```yml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let (old, new) = (blocks.next().unwrap(), blocks.next().unwrap());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("alloy-values.yaml"), old).unwrap();
    let output = pilcrow()
        .args(["migrate", "--strict", "--values", "alloy-values.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{report}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), new);
    assert!(report.contains("14 taken over, 1 changed, 0 not possible"), "{report}");
}

#[test]
fn every_command_of_pilcrow_on_the_page_has_the_options_that_it_is_called_with() {
    let page = page().replace("\\\n", " ");
    let mut seen = 0;
    for code in page.split(['`', '\n']).filter(|code| code.contains("pilcrow ")) {
        // `/pilcrow status` in a pod, `pilcrow status` elsewhere; not the name of a release.
        let words: Vec<&str> = code.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| *word == "/pilcrow" || *word == "pilcrow") else { continue };
        let before = at.checked_sub(1).map(|before| words[before]);
        if words[at] == "pilcrow" && !matches!(before, None | Some("|")) {
            continue;
        }
        let Some(command) = words.get(at + 1) else { continue };
        let options = words[at + 2..].iter().take_while(|word| !["|", "&&", "#", "||"].contains(word));
        let help = pilcrow().args([command, "--help"]).output().unwrap();
        assert!(help.status.success(), "{code}");
        let help = String::from_utf8(help.stdout).unwrap();
        for option in options.filter(|option| option.starts_with("--") && option.len() > 2) {
            let name = option.split('=').next().unwrap().trim_end_matches([',', ';']);
            assert!(help.contains(name), "{code}: {name}\n{help}");
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}
