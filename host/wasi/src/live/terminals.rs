//! Terminals that are closed while a guest uses them.
//!
//! A read from a closed terminal says that the input is over. The guest would believe it, end, and what it was doing would
//! be lost: what really ended is the user's side. Only who notices that can stop the guest before it is told.

use super::config::{LiveConfig, Output, Stdin};
use crate::descriptors::Stream;
use std::io::IsTerminal as _;

/// The standard streams that were terminals when the guest got them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Terminals {
    /// Those that a guest with this configuration has.
    pub fn of(config: &LiveConfig) -> Terminals {
        let inherited = |output: &Output| matches!(output, Output::Inherit);
        Terminals {
            stdin: matches!(config.stdin, Stdin::Inherit) && std::io::stdin().is_terminal(),
            stdout: inherited(&config.stdout) && std::io::stdout().is_terminal(),
            stderr: inherited(&config.stderr) && std::io::stderr().is_terminal(),
        }
    }

    /// Whether a stream was a terminal and is none any more: nothing but its end does that.
    pub fn is_closed(self, stream: Stream) -> bool {
        match stream {
            Stream::In => self.stdin && !std::io::stdin().is_terminal(),
            Stream::Out => self.stdout && !std::io::stdout().is_terminal(),
            Stream::Err => self.stderr && !std::io::stderr().is_terminal(),
        }
    }
}
