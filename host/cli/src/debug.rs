//! `wrr debug`: the debugger's face on a terminal.

mod command;
mod input;
mod screen;

use crate::args::DebugArgs;
use crate::commands::cache;
use crate::progress::Progress;
use crate::report::say;
use anyhow::Context as _;
use command::Command;
use input::Input;
use screen::Screen;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wrr::Trace;
use wrr_debug::Debugger;

pub fn debug(arguments: &DebugArgs) -> anyhow::Result<i32> {
    let progress = Progress::default();
    let trace = Trace::open(&arguments.file)?.with(cache(), &progress);
    let interrupt = Arc::new(AtomicBool::new(false));
    on_interrupt(&interrupt);
    let mut debugger = Debugger::new(trace.walk(Arc::clone(&interrupt))?)?;
    if let Some(moment) = &arguments.goto {
        let moment = moment.parse().map_err(anyhow::Error::msg)?;
        debugger.go(&moment)?;
    }
    let mut input = Input::new(&arguments.scripts)?;
    let mut screen = Screen::new(&mut debugger, input.is_echoed());
    screen.greet()?;
    screen.place()?;
    while let Some(line) = input.next(&screen.prompt()).context("cannot read commands")? {
        interrupt.store(false, Ordering::Relaxed);
        screen.echo(&line)?;
        match Command::parse(&line) {
            Ok(Command::Quit) => break,
            Ok(command) => {
                if let Err(error) = screen.carry_out(&command) {
                    say(&format!("error: {error:#}"));
                }
            }
            Err(what) => say(&format!("error: {what}")),
        }
    }
    Ok(0)
}

/// Ctrl-C ends what takes long, not the debugger.
#[cfg(unix)]
fn on_interrupt(interrupt: &Arc<AtomicBool>) {
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(interrupt));
}

#[cfg(windows)]
fn on_interrupt(interrupt: &Arc<AtomicBool>) {
    let interrupt = Arc::clone(interrupt);
    let _ = ctrlc::set_handler(move || interrupt.store(true, Ordering::Relaxed));
}
