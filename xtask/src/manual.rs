//! The man pages and the shell completions, made from the command line's own definition.
//!
//! In: collector/src/cli.rs, included here, so that the program itself does not carry the generators. Out: files by the path
//! that a package installs them to.

#[path = "../../collector/src/cli.rs"]
#[allow(dead_code, reason = "only its shape is of interest here")]
mod cli;

use clap::CommandFactory;
use clap_complete::Shell;

/// A generated file.
pub struct Page {
    /// Absolute, as installed.
    pub path: String,
    pub content: Vec<u8>,
}

const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "/usr/share/bash-completion/completions/pilcrow"),
    (Shell::Zsh, "/usr/share/zsh/vendor-completions/_pilcrow"),
    (Shell::Fish, "/usr/share/fish/vendor_completions.d/pilcrow.fish"),
];

/// Below the options of pilcrow(1); roff.
const MORE: &str = "\
.SH FILES
.TP
.I /etc/pilcrow/pilcrow.yaml
The configuration of the service; every key is in docs/configuration.md.
.TP
.I /var/lib/pilcrow
The saved positions: how far Loki has each log file.
.SH EXIT STATUS
.TP
0
Success.
.TP
1
Something failed while running.
.TP
2
The command line or the configuration is wrong.
";

/// pilcrow(1), a page for each command, and a completion for each shell.
pub fn pages() -> anyhow::Result<Vec<Page>> {
    let mut command = cli::CommandLine::command();
    command.build();
    let mut pages = vec![man_page(&command, MORE)?];
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        pages.push(man_page(subcommand, "")?);
    }
    for (shell, path) in SHELLS {
        let mut content = Vec::new();
        clap_complete::generate(shell, &mut cli::CommandLine::command(), "pilcrow", &mut content);
        pages.push(Page { path: path.to_owned(), content });
    }
    Ok(pages)
}

fn man_page(command: &clap::Command, more: &str) -> anyhow::Result<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut content = Vec::new();
    // Without a date: the same commit gives the same bytes.
    clap_mangen::Man::new(command.clone()).title(&name).date("").manual("Pilcrow").render(&mut content)?;
    content.extend_from_slice(more.as_bytes());
    Ok(Page { path: format!("/usr/share/man/man1/{name}.1"), content })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        let page = pages().unwrap().into_iter().find(|page| page.path == path);
        String::from_utf8(page.unwrap_or_else(|| panic!("no {path}")).content).unwrap()
    }

    #[test]
    fn every_command_has_a_man_page_and_stands_in_the_first_one() {
        let first = text("/usr/share/man/man1/pilcrow.1");
        for command in ["run", "check", "test", "try", "import\\-positions", "doctor"] {
            assert!(first.contains(&format!("pilcrow\\-{command}(1)")), "{command}\n{first}");
            let page = text(&format!("/usr/share/man/man1/pilcrow-{}.1", command.replace('\\', "")));
            assert!(page.contains("\\-\\-config"), "{page}");
        }
        assert!(first.contains("/etc/pilcrow/pilcrow.yaml"));
    }

    #[test]
    fn every_shell_completes_commands_and_options() {
        for (_, path) in SHELLS {
            let script = text(path);
            assert!(script.contains("import-positions") && script.contains("show-relabel"), "{path}\n{script}");
        }
    }
}
