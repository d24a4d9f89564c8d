//! `pilcrow run` with an allocator that counts: `counting run --config FILE` does what the program does, and keeps the number
//! of allocations, eight bytes, in the file `allocations` beside FILE, a moment old at most.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use collector::{compiled::Compiled, config::Config, logging};

/// How old the number in the file may be.
const WRITE_EVERY: Duration = Duration::from_millis(20);

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: hands every call to the system's allocator unchanged; the counter needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [_, _, config] = &arguments[..] else { return Err("usage: counting run --config FILE".into()) };
    let config = Path::new(config);
    let counter = File::create(config.with_file_name("allocations"))?;
    thread::Builder::new().name("counter".into()).spawn(move || write(&counter))?;
    let compiled = Compiled::load(Some(config), &Config::process_environment)?;
    logging::start(&compiled.config.log);
    Ok(collector::run::run(compiled)?)
}

/// Allocates nothing itself.
fn write(counter: &File) -> io::Result<()> {
    loop {
        counter.write_all_at(&ALLOCATIONS.load(Relaxed).to_le_bytes(), 0)?;
        thread::sleep(WRITE_EVERY);
    }
}
