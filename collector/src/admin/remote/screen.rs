//! A terminal that is drawn on: raw keys, a screen of its own, and everything as before afterwards.
//!
//! In: the process's standard input and output. Out: keys, and the size. Guarantees that the terminal is as it was when the
//! screen is dropped, when the program panics (it then aborts, and drops nothing) and on SIGINT, SIGTERM and SIGHUP.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// How the terminal was before.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// See the module.
pub struct Screen {
    stopped: Arc<AtomicBool>,
}

/// A key, or that there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    /// The time is over.
    None,
    /// Ctrl-C, a signal, or the end of the input.
    Stop,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Standard input is no terminal, or signals cannot be watched.
    pub fn open() -> io::Result<Self> {
        let input = io::stdin();
        let before = tcgetattr(&input)?;
        let stopped = Arc::<AtomicBool>::default();
        stop_on_signals(Arc::clone(&stopped))?;
        let mut raw = before.clone();
        raw.make_raw();
        // A read returns what there is, at once.
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        tcsetattr(&input, OptionalActions::Flush, &raw)?;
        let screen = Self { stopped };
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(screen)
    }

    /// Rows and columns.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
            _ => (24, 80),
        }
    }

    /// Replaces what is shown by these rows.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&self, rows: &[String]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (index, row) in rows.iter().enumerate() {
            text += if index == 0 { "" } else { "\r\n" };
            text += row;
            text += "\x1b[K";
        }
        text += "\x1b[J";
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// The next key, if one comes in time.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn key(&self, within: Duration) -> io::Result<Key> {
        let input = io::stdin();
        let timeout = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
        let ready = poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&timeout));
        if self.stopped.load(Ordering::Acquire) {
            return Ok(Key::Stop);
        }
        match ready {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Key::None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 16];
        // Not by std, which would read further than it gives, past what `poll` then sees.
        Ok(match rustix::io::read(&input, &mut bytes)? {
            // Ready and nothing there: nobody is at the other end.
            0 => Key::Stop,
            _ if matches!(bytes[0], 3 | 4) => Key::Stop,
            // A key such as an arrow is a sequence: nothing is bound to it.
            count if bytes[0] == 0x1b && count > 1 => Key::None,
            _ => Key::Char(char::from(bytes[0])),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was. Twice does no harm.
fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Nothing can be done about a terminal that is gone.
        let mut out = io::stdout();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

fn stop_on_signals(stopped: Arc<AtomicBool>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Watched from here on, whatever the thread does first.
    let (mut interrupt, mut terminate, mut hangup) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        stopped.store(true, Ordering::Release);
    })?;
    Ok(())
}
