//! What the debugger shows.

use super::command::{BreakAt, Command, HELP, Place};
use crate::report::plain;
use anyhow::bail;
use std::io::Write;
use wrr_debug::{Arrived, Debugger, Direction, Evaluated, Location, Why};

/// How many lines are shown above and below the current one.
const AROUND: usize = 4;
/// How many frames of a backtrace are shown.
const FRAMES_SHOWN: usize = 100;

pub struct Screen<'d, 'a> {
    debugger: &'d mut Debugger<'a>,
    echoes: bool,
}

impl<'d, 'a> Screen<'d, 'a> {
    pub fn new(debugger: &'d mut Debugger<'a>, echoes: bool) -> Screen<'d, 'a> {
        Screen { debugger, echoes }
    }

    fn line(&self, text: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout(), "{}", plain(text))?;
        Ok(())
    }

    pub fn greet(&mut self) -> anyhow::Result<()> {
        let reader = self.debugger.walker().trace().reader();
        let manifest = reader.manifest();
        let args = manifest.args.get(1..).unwrap_or_default().join(" ");
        let ending = match reader.ending() {
            Some(ending) => ending.to_string(),
            None => "cut off".to_owned(),
        };
        self.line(&format!("{} {args}: {ending}", manifest.name))
    }

    pub fn prompt(&mut self) -> String {
        let tick = self.debugger.walker().position().tick.0;
        format!("({tick}) ")
    }

    pub fn echo(&mut self, line: &str) -> anyhow::Result<()> {
        if self.echoes {
            let prompt = self.prompt();
            self.line(&format!("{prompt}{line}"))?;
        }
        Ok(())
    }

    /// Shows where it stands.
    pub fn place(&mut self) -> anyhow::Result<()> {
        let Some(frame) = self.debugger.frame() else {
            return self.line("the program has not begun");
        };
        let (code, line) = (frame.code.clone(), frame.line());
        self.line(&format!("{}:{line} in {}", code.path, code.qualified_name))?;
        let text = self.debugger.sources().lines(&code.path);
        if let Some(text) = text.as_ref().and_then(|lines| lines.get((line as usize).checked_sub(1)?)) {
            self.line(&format!("{line:>5} > {text}"))?;
        }
        Ok(())
    }

    fn arrived(&mut self, arrived: &Arrived) -> anyhow::Result<()> {
        match &arrived.why {
            Why::Asked => {}
            Why::Breakpoint(id) => self.line(&format!("breakpoint {}", id.0))?,
            Why::End => self.line("the end of the run")?,
            Why::Start => self.line("the start of the run")?,
            Why::Interrupted => self.line("interrupted; it is where it was")?,
            Why::Nowhere => self.line("there is no such place; it is where it was")?,
        }
        self.place()
    }

    pub fn carry_out(&mut self, command: &Command) -> anyhow::Result<()> {
        match command {
            Command::Nothing | Command::Quit => Ok(()),
            Command::Go(Place::Moment(moment)) => {
                let arrived = self.debugger.go(moment)?;
                self.arrived(&arrived)
            }
            Command::Go(Place::Crash) => bail!("not yet"),
            Command::Step(direction, times) => {
                self.repeat(*times, |debugger| debugger.step(*direction))
            }
            Command::Next(direction, times) => {
                self.repeat(*times, |debugger| debugger.next(*direction))
            }
            Command::Finish(direction) => {
                let arrived = self.debugger.finish(*direction)?;
                self.arrived(&arrived)
            }
            Command::Continue(direction) => {
                let arrived = self.debugger.resume(*direction)?;
                self.arrived(&arrived)
            }
            Command::Break { at, condition, is_temporary } => {
                let frame = self.debugger.frame();
                let here = |line: u32| match frame {
                    Some(frame) => Ok(Location::Line { file: frame.code.path.clone(), line }),
                    None => Err(anyhow::anyhow!("in which file? break FILE:LINE")),
                };
                let location = match at {
                    Some(BreakAt::Location(location)) => location.clone(),
                    Some(BreakAt::Line(line)) => here(*line)?,
                    None => here(frame.map_or(0, |frame| frame.line()))?,
                };
                let text = location.to_string();
                let id = self.debugger.add_breakpoint(location, condition.clone(), *is_temporary);
                self.line(&format!("breakpoint {} at {text}", id.0))
            }
            Command::Ignore { id, times } => {
                let found = self.debugger.breakpoints().iter_mut().find(|b| b.id.0 == *id);
                let Some(found) = found else { bail!("there is no breakpoint {id}") };
                found.ignore = *times;
                Ok(())
            }
            Command::Delete(ids) => {
                let all = self.debugger.breakpoints();
                if let Some(missing) = ids.iter().find(|id| all.iter().all(|b| b.id.0 != **id)) {
                    bail!("there is no breakpoint {missing}");
                }
                all.retain(|b| !ids.is_empty() && !ids.contains(&b.id.0));
                Ok(())
            }
            Command::Info(what) => self.info(what),
            Command::Backtrace => self.backtrace(),
            Command::Up(by) => self.select(self.debugger.selected().checked_add(*by)),
            Command::Down(by) => self.select(self.debugger.selected().checked_sub(*by)),
            Command::Frame(number) => self.select(Some(*number)),
            Command::List(line) => self.list(*line),
            Command::Locals => self.locals(),
            Command::Print(source) | Command::Run(source) => self.print(source),
            Command::Whatis(source) => match self.debugger.evaluate(source)?.0 {
                Evaluated::Value { type_name, .. } => self.line(&type_name),
                other => self.show(&other),
            },
            Command::When => self.when(),
            Command::Help(of) => self.help(of),
        }
    }

    fn repeat(
        &mut self,
        times: u32,
        mut action: impl FnMut(&mut Debugger<'a>) -> Result<Arrived, wrr::Error>,
    ) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..times {
            let arrived = action(self.debugger)?;
            let ends = arrived.why != Why::Asked;
            last = Some(arrived);
            if ends {
                break;
            }
        }
        match last {
            Some(arrived) => self.arrived(&arrived),
            None => Ok(()),
        }
    }

    fn select(&mut self, number: Option<usize>) -> anyhow::Result<()> {
        if !number.is_some_and(|number| self.debugger.select(number)) {
            bail!("there is no such frame; backtrace lists them");
        }
        self.place()
    }

    fn info(&mut self, what: &str) -> anyhow::Result<()> {
        match what {
            "breakpoints" | "b" => {
                let all: Vec<String> = self
                    .debugger
                    .breakpoints()
                    .iter()
                    .map(|b| {
                        let condition = b.condition.as_ref().map(|c| format!(" if {c}"));
                        let hits = b.hits;
                        format!("{:>3} {}{} ({hits} hits)", b.id.0, b.location, condition.unwrap_or_default())
                    })
                    .collect();
                all.iter().try_for_each(|line| self.line(line))
            }
            "checkpoints" => {
                let reader = self.debugger.walker().trace().reader();
                for checkpoint in reader.checkpoints() {
                    let name = checkpoint.name.as_deref().unwrap_or_default();
                    self.line(&format!("{:>14} #{} {name}", checkpoint.tick.0, checkpoint.event.0))?;
                }
                Ok(())
            }
            _ => bail!("info about what? breakpoints or checkpoints"),
        }
    }

    fn backtrace(&mut self) -> anyhow::Result<()> {
        let frames = self.debugger.frames();
        let selected = self.debugger.selected();
        for (number, frame) in frames.iter().enumerate().take(FRAMES_SHOWN) {
            let mark = if number == selected { '>' } else { ' ' };
            let code = &frame.code;
            self.line(&format!(
                "{mark}{number:>3} {} at {}:{}",
                code.qualified_name,
                code.path,
                frame.line()
            ))?;
        }
        if frames.len() > FRAMES_SHOWN {
            self.line(&format!("    and {} more", frames.len() - FRAMES_SHOWN))?;
        }
        Ok(())
    }

    fn list(&mut self, line: Option<u32>) -> anyhow::Result<()> {
        let Some(frame) = self.debugger.frame() else { bail!("the program has not begun") };
        let Some(text) = self.debugger.sources().lines(&frame.code.path) else {
            bail!("the recording does not have the text of {}", frame.code.path);
        };
        let current = frame.line() as usize;
        let middle = line.map_or(current, |line| line as usize);
        let first = middle.saturating_sub(AROUND).max(1);
        for number in first..=(middle + AROUND).min(text.len()) {
            let mark = if number == current { '>' } else { ' ' };
            self.line(&format!("{number:>5} {mark} {}", text[number - 1]))?;
        }
        Ok(())
    }

    fn locals(&mut self) -> anyhow::Result<()> {
        for (name, value) in self.debugger.locals()? {
            match value {
                Evaluated::Value { text, .. } => self.line(&format!("{name} = {text}"))?,
                Evaluated::Raised { text, .. } | Evaluated::Failed(text) => {
                    self.line(&format!("{name}: {text}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn print(&mut self, source: &str) -> anyhow::Result<()> {
        let (evaluated, printed) = self.debugger.evaluate(source)?;
        if !printed.is_empty() {
            let text = String::from_utf8_lossy(&printed);
            text.lines().try_for_each(|line| self.line(line))?;
        }
        self.show(&evaluated)
    }

    fn show(&mut self, evaluated: &Evaluated) -> anyhow::Result<()> {
        match evaluated {
            Evaluated::Nothing => Ok(()),
            Evaluated::Value { text, .. } => self.line(text),
            Evaluated::Raised { text, .. } => self.line(text),
            Evaluated::SyntaxError(what) => bail!("{what}"),
            Evaluated::Failed(what) => bail!("it cannot be evaluated: {what}"),
        }
    }

    fn when(&mut self) -> anyhow::Result<()> {
        let last = self.debugger.walker().last_tick().0;
        let position = self.debugger.walker().position();
        let share = 100.0 * position.tick.0 as f64 / last.max(1) as f64;
        self.line(&format!("tick {} of {last} ({share:.2}%), event #{}", position.tick.0, position.event.0))
    }

    fn help(&mut self, of: &str) -> anyhow::Result<()> {
        let fits = |names: &str| of.is_empty() || names.split(", ").any(|name| name == of);
        let mut found = false;
        for (names, arguments, what) in HELP {
            if fits(names) {
                found = true;
                self.line(&format!("{:<32} {what}", format!("{names} {arguments}")))?;
            }
        }
        if !found {
            bail!("there is no command {of:?}; help lists them");
        }
        Ok(())
    }
}

#[allow(unused_imports, reason = "for the documentation")]
use Direction as _;
