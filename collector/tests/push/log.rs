//! What the sender says, collected.
//!
//! One subscriber serves all tests and writes to the memory of the thread that logs: a test runs on one thread. With a
//! subscriber for each, a place in the program that was first passed by a test without one could stay silent in others.

use std::{cell::RefCell, io, sync::Once};

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log of this thread.
pub struct Log(());

impl Log {
    /// Begins to collect, every level.
    pub fn collect() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(|| ThisThread)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        TEXT.take();
        Self(())
    }

    pub fn text(&self) -> String {
        TEXT.with_borrow(|text| String::from_utf8(text.clone()).unwrap())
    }

    /// How many lines of the sender's own hold `words`.
    pub fn count(&self, words: &str) -> usize {
        let text = self.text();
        text.lines().filter(|line| line.contains("collector::output::loki") && line.contains(words)).count()
    }

    /// Whether `words` stand anywhere, in the lines of the libraries too.
    pub fn mentions(&self, words: &str) -> bool {
        self.text().contains(words)
    }
}

struct ThisThread;

impl io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.with_borrow_mut(|text| text.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
