//! `decolorize`: the line without colours and other ANSI sequences.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    pattern::Pattern,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {}

struct Decolorize {
    sequences: Pattern,
    scratch: Vec<u8>,
}

/// What Loki's `decolorize` removes (pkg/logql/log/fmt.go): an escape or CSI character, then a sequence that ends in a bell,
/// or numbers and a final letter.
const SEQUENCES: &str = r"[\x{1B}\x{9B}][\[\]()#;?]*(?:(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07)|(?:(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~]))";

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let Settings {} = compiler.settings()?;
    let sequences = compiler.pattern("", SEQUENCES)?;
    Ok(vec![Box::new(Decolorize { sequences, scratch: Vec::new() })])
}

impl Stage for Decolorize {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        // The second is the beginning of U+009B, also of other characters.
        if memchr::memchr2(0x1B, 0xC2, &entry.line).is_some() {
            self.scratch.clear();
            self.sequences.remove_all(&entry.line, &mut self.scratch);
            std::mem::swap(&mut entry.line, &mut self.scratch);
        }
        Step::Next
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "the line has no ANSI sequences".into()
    }
}
