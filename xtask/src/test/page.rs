//! The step `page`: the status page in Chromium, by the scripts of e2e/page.
//!
//! In: Chromium and Python; npm for axe-core. Out: the scripts' own tests, counted; what is missing is a skip with its reason.
//! Pictures of the states are left in target/page.

use super::{Report, libtest};
use crate::{apt, build, process};

/// What a Chromium is called, as e2e/page/browser.py looks for it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// First the page alone, then with the program behind it.
pub fn run() -> anyhow::Result<Report> {
    let mut needed = vec![apt::Package { name: "python3", program: "python3" }];
    if BROWSERS.iter().all(|name| process::find(name).is_none()) {
        needed.push(apt::Package { name: "chromium", program: "chromium" });
    }
    if let Err(error) = apt::ensure(&needed) {
        return Ok(Report::one_skipped("page", format!("{error:#}")));
    }
    let program = build::build(None, true)?;
    let script = |name: &str| {
        let mut python = process::in_workspace("python3");
        python.arg("-B").arg(format!("e2e/page/{name}"));
        python
    };
    let mut report = libtest::follow("page", script("test_page.py"))?;
    let mut with_program = script("test_program.py");
    with_program.arg(program);
    report.add(libtest::follow("page", with_program)?);
    Ok(report)
}
