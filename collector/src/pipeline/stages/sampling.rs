//! `sampling`: a part of the entries goes on.
//!
//! Which ones is decided by a hash of labels, time and text, so that a line that is sent again is decided the same way.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    entry::Entry,
    stage::{Context, Failed, Stage, Step},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    rate: f64,
    drop_counter_reason: Option<String>,
}

struct Sampling {
    /// Of 2^63.
    kept: u64,
    reason: usize,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    if !(0.0..=1.0).contains(&settings.rate) {
        return Err(compiler.error("rate", format!("expected a number from 0 to 1, found {}", settings.rate)));
    }
    let reason = compiler.reason(settings.drop_counter_reason.as_deref(), "sampling_stage");
    Ok(vec![Box::new(Sampling { kept: parts(settings.rate), reason })])
}

impl Stage for Sampling {
    fn run(&mut self, entry: &mut Entry, _: &mut Context<'_>) -> Step {
        if chance(entry) < self.kept { Step::Next } else { Step::Drop(self.reason) }
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "it is in the sample".into()
    }
}

/// Whether an entry is among this share of all; a larger share has all entries of a smaller one.
pub(in crate::pipeline) fn is_kept(entry: &Entry, share: f64) -> bool {
    chance(entry) < parts(share)
}

/// A number below 2^63 that each entry has for good.
fn chance(entry: &Entry) -> u64 {
    finish(mix(mix(entry.labels.hash(), &entry.timestamp_ns.to_le_bytes()), &entry.line)) >> 1
}

/// A share from 0 to 1 in parts of 2^63; less than 0 is none.
fn parts(share: f64) -> u64 {
    // Rounding does not matter here; 1 keeps all.
    (share * (1_u64 << 63) as f64) as u64
}

/// Where a hash begins.
pub(in crate::pipeline) const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hash with these bytes added. The same in every run and on every machine: what was decided by it stays decided.
pub(in crate::pipeline) fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = step(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(step(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

fn step(hash: u64, word: u64) -> u64 {
    let mixed = u128::from(hash ^ word) * u128::from(0xA076_1D64_78BD_642F_u64);
    // Both halves: the product's low bits alone depend on the factors' low bits alone.
    (mixed as u64) ^ ((mixed >> 64) as u64) ^ SEED.rotate_left(17)
}

/// A hash whose every bit depends on all of its input.
fn finish(hash: u64) -> u64 {
    let mut mixed = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
