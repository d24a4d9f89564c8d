//! The kept inputs of the fuzz targets (`collector/fuzz/corpus`), without a fuzzer: what the fuzzer once found stays fixed.

use std::{fs, panic, path::Path};

#[path = "../fuzz/src/alloy.rs"]
mod alloy;
#[path = "../fuzz/src/checkpoint.rs"]
mod checkpoint;
#[path = "../fuzz/src/config.rs"]
mod config;
#[path = "../fuzz/src/cri.rs"]
mod cri;
#[path = "../fuzz/src/docker.rs"]
mod docker;
#[path = "../fuzz/src/lines.rs"]
mod lines;
#[path = "../fuzz/src/migrate.rs"]
mod migrate;
#[path = "../fuzz/src/parser.rs"]
mod parser;
#[path = "../fuzz/src/positions.rs"]
mod positions;
#[path = "../fuzz/src/snappy.rs"]
mod snappy;
#[path = "../fuzz/src/timestamps.rs"]
mod timestamps;

/// Checks every input of a target's corpus; the first that fails is named.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{} has only {} inputs", folder.display(), inputs.len());
    for path in inputs {
        let input = fs::read(&path).unwrap();
        assert!(panic::catch_unwind(|| check(&input)).is_ok(), "{} fails", path.display());
    }
}

macro_rules! replays {
    ($($test:ident: $target:ident;)*) => {$(
        #[test]
        fn $test() {
            replay(stringify!($target), $target::check);
        }
    )*};
}

replays! {
    every_kept_cri_record_is_read_as_the_kubelet_reads_it: cri;
    every_kept_docker_record_is_read_as_serde_json_reads_it: docker;
    every_kept_timestamp_is_read_as_a_slow_parser_reads_it: timestamps;
    every_kept_log_gives_the_same_lines_in_any_chunks_and_after_a_restart: lines;
    every_kept_checkpoint_is_refused_or_written_as_it_was_read: checkpoint;
    every_kept_positions_file_is_refused_with_a_line_or_read_as_it_was_written: positions;
    every_kept_content_is_compressed_to_what_two_decoders_read: snappy;
    every_kept_alloy_configuration_is_refused_with_a_place_or_read_with_places: alloy;
    every_kept_old_configuration_is_refused_with_a_place_or_converted_to_one_that_compiles: migrate;
    every_kept_configuration_is_refused_with_a_place_or_printed_with_the_same_meaning: config;
}
