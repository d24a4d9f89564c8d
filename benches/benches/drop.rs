//! What a `drop` stage takes for lines that it keeps: `cargo bench --package benches --bench drop`.
//!
//! Out: for logs of several kinds how many GB of lines a second pass a `drop` with a literal and with a regular expression that begins
//! with one, beside memchr's own search for the literal. Of many runs in turn the fastest counts.

use std::hint::black_box;

use benches::{corpora, fastest};
use collector::{
    config::StageConfig,
    pipeline::{Entry, Origin, Pairs, Pipeline},
};

/// Of each kind of logs.
const CORPUS_BYTES: usize = 4 << 20;
const RUNS: usize = 20;
/// In none of the lines.
const LITERAL: &str = "/health-check";
const STAGES: [&str; 2] =
    ["[{drop: {expression: '/health-check'}}]", r"[{drop: {expression: '/health-check\?\w+=\d+'}}]"];

fn main() {
    println!("| logs | bytes a line | memchr, GB/s | literal, GB/s | regular expression, GB/s |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for corpus in corpora::generated(CORPUS_BYTES).into_iter().filter(|corpus| corpus.name != "binary") {
        let bytes: usize = corpus.lines.iter().map(Vec::len).sum();
        let finder = memchr::memmem::Finder::new(LITERAL);
        let search = fastest(RUNS, || {
            for line in &corpus.lines {
                assert_eq!(finder.find(black_box(line)), None);
            }
        });
        let [literal, regex] = STAGES.map(|stages| {
            let mut pipeline = Pipeline::compile(&StageConfig::list(stages).expect("a list")).expect("stages");
            let mut state = pipeline.new_state(Origin::default());
            let labels: Pairs = [("app", "web"), ("namespace", "default"), ("pod", "web-1")].into_iter().collect();
            let mut entry = Entry { labels, ..Entry::default() };
            let mut kept = 0;
            let took = fastest(RUNS, || {
                for line in &corpus.lines {
                    entry.line.clear();
                    entry.line.extend_from_slice(black_box(line));
                    pipeline.process(&mut state, &mut entry, 0, &mut |_| kept += 1);
                }
            });
            assert_eq!(kept, RUNS * corpus.lines.len());
            took
        });
        let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} |",
            corpus.name,
            bytes / corpus.lines.len().max(1),
            speed(search),
            speed(literal),
            speed(regex)
        );
    }
}
