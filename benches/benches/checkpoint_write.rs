//! Writing a checkpoint: the file's bytes, and the whole save with its two fsyncs and two renames, for a full node and for
//! a very full one.
//!
//! `cargo bench -p benches --bench checkpoint_write`; the save is in the target folder, and its time that of the disk.

use std::hint::black_box;

use collector::{
    checkpoint::{SavedContainer, Snapshot, Store, Unclaimed, encode},
    model::{FileKey, Fingerprint, SavedFile},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Two rotated files and the current one.
const FILES_EACH: u64 = 3;

fn snapshot(containers: u64) -> Snapshot {
    let file = |inode: u64| {
        let fingerprint = Fingerprint::of(format!("2026-11-22T11:09:06.{inode:09}Z stdout F begins").as_bytes());
        let offset = 10_000_019 * (inode % 7);
        SavedFile::new(
            FileKey { device: 2049, inode },
            fingerprint,
            [offset; 2],
            !inode.is_multiple_of(FILES_EACH),
            offset,
        )
    };
    let followed = (0..containers).map(|n| {
        let name = format!("default_nginx-{n}_45fa9e4f-bf13-4a91-81bd-{n:012x}/nginx");
        (name, (0..FILES_EACH).map(|nth| file(n * FILES_EACH + nth)).collect())
    });
    Snapshot { containers: Snapshot::new(followed, &Unclaimed::default(), 1_767_323_045).containers }
}

fn checkpoint(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder in the target folder");
    let store = Store::open(folder.path()).expect("a folder that is there");
    let mut group = c.benchmark_group("checkpoint");
    for containers in [110, 10_000] {
        let snapshot = snapshot(containers);
        assert!(matches!(&snapshot.containers[0], SavedContainer { files, .. } if files.len() == 3));
        group.throughput(Throughput::Bytes(encode(&snapshot).len() as u64));
        group.bench_function(BenchmarkId::new("encode", containers), |b| b.iter(|| encode(black_box(&snapshot))));
        group.bench_function(BenchmarkId::new("save", containers), |b| b.iter(|| store.save(black_box(&snapshot))));
    }
    group.finish();
}

criterion_group!(benches, checkpoint);
criterion_main!(benches);
