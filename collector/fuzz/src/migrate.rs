//! Old configurations of any kind, such as Promtail's YAML and values of charts: no text panics, an error and whatever was found has its
//! place in the text, and what is converted compiles as it is printed.

use collector::{
    admin::migrate::{
        self, Source,
        convert::{self, Options},
        output::{self, Form},
    },
    compiled::Compiled,
};

/// The name of the file that is read.
const FILE: &str = "old.yaml";

/// A file as `pilcrow migrate` reads it.
pub fn check(input: &[u8]) {
    let Ok(Source { text, .. }) = migrate::source(FILE, input.to_vec()) else { return };
    let lines_max = 1 + text.matches('\n').count();
    let sources = [Source { name: FILE.to_owned(), text }];
    match migrate::origin(&sources) {
        Ok(origin) => {
            let draft = match convert::convert(&origin, &Options::default()) {
                Ok(draft) => draft,
                Err(why) => return assert!(!why.contains("please report"), "{why}"),
            };
            for finding in draft.findings.iter().filter(|finding| &*finding.place.file == FILE) {
                assert!((1..=lines_max).contains(&finding.place.line) && finding.place.column > 0, "{finding:?}");
                assert!(!finding.text.contains("please report"), "{finding:?}");
            }
            let names = [FILE.to_owned()];
            let printed = output::text(&draft, Form::Config, &names);
            let compiled = Compiled::parse(&printed, &convert::environment(&draft));
            assert!(compiled.is_ok(), "{:?}\n{printed}", compiled.err());
            // Only that it can be printed, too.
            let _ = output::text(&draft, Form::Values, &names);
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            let of_file = faults.iter().filter(|fault| &*fault.place.file == FILE);
            of_file.for_each(|fault| {
                assert!((1..=lines_max + 1).contains(&fault.place.line) && fault.place.column > 0, "{fault}")
            });
        }
    }
}
