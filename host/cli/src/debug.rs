//! `wrr debug`: the debugger's face on a terminal.

mod command;
mod facts;
mod input;
mod paint;
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
    let goto = arguments.goto.as_deref().map(|text| Command::parse(&format!("go {text}")));
    let goto = goto.transpose().map_err(anyhow::Error::msg)?;
    let mut input = Input::new(&arguments.scripts)?;
    let interrupt = Arc::new(AtomicBool::new(false));
    on_interrupt(&interrupt);
    let mut debugger = Debugger::new(trace.walk(Arc::clone(&interrupt))?)?;
    let mut screen = Screen::new(&mut debugger);
    screen.greet()?;
    match &goto {
        Some(command) => screen.carry_out(command)?,
        None => screen.place()?,
    }
    let mut last = Command::Nothing;
    let mut code = 0;
    loop {
        let is_echoed = input.is_echoed();
        let next = input.next(&screen.prompt()).context("cannot read commands")?;
        let Some(line) = next else { break };
        interrupt.store(false, Ordering::Relaxed);
        if is_echoed {
            screen.echo(&line)?;
        }
        let command = match Command::parse(&line) {
            Ok(Command::Quit) => break,
            // An empty line on a terminal is the last step once more.
            Ok(Command::Nothing) if !is_echoed && line.trim().is_empty() => last.clone(),
            Ok(command) => command,
            Err(what) => {
                say(&format!("error: {what}"));
                code = crate::report::ERROR;
                continue;
            }
        };
        match screen.carry_out(&command) {
            Ok(()) => code = 0,
            Err(error) if crate::report::is_closed_pipe(&error) => return Err(error),
            Err(error) => {
                say(&format!("error: {error:#}"));
                code = crate::report::ERROR;
            }
        }
        last = if command.is_repeated() { command } else { Command::Nothing };
    }
    // Somebody at a terminal has seen what went wrong; a script ends with the code of its last command.
    Ok(if input.is_interactive() { 0 } else { code })
}

/// Ctrl-C ends what takes long, not the debugger.
#[cfg(unix)]
fn on_interrupt(interrupt: &Arc<AtomicBool>) {
    if let Err(why) =
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(interrupt))
    {
        tracing::debug!("Ctrl-C ends the debugger: {why}");
    }
}

#[cfg(windows)]
fn on_interrupt(interrupt: &Arc<AtomicBool>) {
    let interrupt = Arc::clone(interrupt);
    if let Err(why) = ctrlc::set_handler(move || interrupt.store(true, Ordering::Relaxed)) {
        tracing::debug!("Ctrl-C ends the debugger: {why}");
    }
}
