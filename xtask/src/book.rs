//! `cargo xtask book`: docs/ as a site with a search, by mdBook.
//!
//! In: docs/ and its SUMMARY.md. Out: target/book/html. Pages link to files beside docs/, which a site does not have: those
//! links go to the repository's address where one is given, else they stay.

use std::{fs, process::Command};

use crate::{cargo_tool, links, process};

/// Known to read docs/book.toml.
const MDBOOK: &str = "0.5.4";

/// What `cargo xtask book` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Where the repository's files can be looked at, such as `https://github.com/NAME/pilcrow`
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
}

/// Checks the links and builds.
pub fn run(args: &Args) -> anyhow::Result<()> {
    links::check()?;
    let (docs, work) = (process::workspace_root().join("docs"), process::target_dir().join("book"));
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(work.join("src"))?;
    for entry in fs::read_dir(&docs)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path)?;
            fs::write(work.join("src").join(name), with_links(&text, args.repository.as_deref()))?;
        } else if path.is_file() && name != "book.toml" {
            fs::copy(&path, work.join("src").join(name))?;
        }
    }
    // What pages show and link to; docs/diagrams is what pictures are drawn from.
    for folder in ["pictures", "data"] {
        fs::create_dir(work.join("src").join(folder))?;
        for file in fs::read_dir(docs.join(folder))? {
            let file = file?;
            fs::copy(file.path(), work.join("src").join(folder).join(file.file_name()))?;
        }
    }
    fs::copy(docs.join("book.toml"), work.join("book.toml"))?;
    process::run(Command::new(cargo_tool::ensure("mdbook", MDBOOK)?).args(["build", "--dest-dir", "html"]).arg(&work))?;
    println!("{}", work.join("html/index.html").display());
    Ok(())
}

fn with_links(page: &str, repository: Option<&str>) -> String {
    match repository {
        Some(address) => page.replace("](../", &format!("]({}/blob/main/", address.trim_end_matches('/'))),
        None => page.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_documents_go_to_the_repository() {
        let page = "[values](../deploy/helm/pilcrow/values.yaml) and [a](a.md#b)";
        let address = "https://example.com/pilcrow/";
        let expected =
            "[values](https://example.com/pilcrow/blob/main/deploy/helm/pilcrow/values.yaml) and [a](a.md#b)";
        assert_eq!(with_links(page, Some(address)), expected);
        assert_eq!(with_links(page, None), page);
    }
}
