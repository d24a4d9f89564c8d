//! Signals: which of them end the program, and that the others do not.
//!
//! In: what the system sends. Out: the name of a signal that asks to end, or a line in the log. Guarantees that none of them but those
//! that cannot be caught ends the program without sending what was read. Does not know how to drain.

use std::{convert::Infallible, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGQUIT, noted from its beginning on.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

/// SIGHUP, SIGUSR1 and SIGUSR2, which end a process that does not ask for them: other collectors read their configuration again, or
/// reopen their log, and scripts send them to all.
pub struct IgnoredSignals {
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl StopSignals {
    /// To be called on a runtime.
    ///
    /// # Errors
    /// Where the signals cannot be watched.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Resolves with the name of the signal that asks to end.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

impl IgnoredSignals {
    /// To be called on a runtime. From here on they end nothing.
    ///
    /// # Errors
    /// Where the signals cannot be watched.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Logs each of them, for ever.
    pub async fn report(&mut self) -> Infallible {
        loop {
            let name = tokio::select! {
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
            };
            tracing::info!(
                "{name} is ignored: the configuration is read at the start only, so restart Pilcrow to apply a change (nothing is \
                 lost); secrets and certificates are read again by themselves, and SIGTERM ends it"
            );
        }
    }
}
