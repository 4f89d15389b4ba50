//! The signals that stop an instance, and the one on which it reads its files again.

use std::{
    future::pending,
    io::{self, IsTerminal, stdin},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, and SIGHUP if it comes because the terminal of the process was closed.
#[derive(Debug)]
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// None if the process was not started in a terminal.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Replaces the default action of the signals, which ends the process. Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The system refuses a signal handler.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: stdin().is_terminal().then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Waits for the next signal and returns its name. Cancel safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = terminal_closed(self.hangup.as_mut()) => "SIGHUP",
        }
    }
}

/// A closed terminal is no terminal any more.
async fn terminal_closed(hangup: Option<&mut Signal>) {
    let Some(hangup) = hangup else { return pending().await };
    while hangup.recv().await.is_some() {
        if !stdin().is_terminal() {
            return;
        }
    }
}

/// SIGHUP.
#[derive(Debug)]
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// Replaces the default action of the signal, which ends the process. Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The system refuses the signal handler.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}
