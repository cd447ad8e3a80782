//! What the debugger shows.

use super::command::{BreakAt, Command, HELP, Place, WatchWhat};
use super::paint::Paint;
use crate::progress::Share;
use crate::report::{plain, say};
use anyhow::bail;
use std::io::Write;
use wrr::Moment;
use wrr::format::Notes;
use wrr_debug::{Arrived, BreakpointId, Change, Debugger, Evaluated, Location, Value, Why};

/// How many lines `list` shows above and below the current one, and how many are shown after a move.
const AROUND: usize = 5;
const AROUND_MOVE: usize = 2;
/// How many frames of a backtrace are shown.
const FRAMES_SHOWN: usize = 100;
/// How much of a value is shown in a list, in characters.
const LISTED_CHARS_MAX: usize = 160;

pub struct Screen<'d, 'a> {
    pub(super) debugger: &'d mut Debugger<'a>,
    pub(super) paint: Paint,
    /// What was kept beside the trace last.
    kept: Notes,
    /// They can be kept.
    keeps: bool,
    /// How far a command has come that takes long.
    share: Option<Share>,
}

impl<'d, 'a> Screen<'d, 'a> {
    pub fn new(debugger: &'d mut Debugger<'a>) -> Screen<'d, 'a> {
        Screen {
            debugger,
            paint: Paint::for_stdout(),
            kept: Notes::default(),
            keeps: true,
            share: None,
        }
    }

    pub(super) fn line(&self, text: &str) -> anyhow::Result<()> {
        self.painted(&plain(text))
    }

    /// Text whose parts are plain.
    pub(super) fn painted(&self, text: &str) -> anyhow::Result<()> {
        writeln!(std::io::stdout(), "{text}")?;
        Ok(())
    }

    pub fn greet(&mut self) -> anyhow::Result<()> {
        let reader = self.debugger.walker().trace().reader();
        match Notes::read(reader) {
            Ok(notes) => {
                self.kept = notes.clone();
                self.debugger.take_notes(notes);
            }
            Err(error) => {
                // What is in there may be of use for somebody else.
                self.keeps = false;
                say(&format!("warning: {error}; names and numbers of this session are not kept"));
            }
        }
        let reader = self.debugger.walker().trace().reader();
        let manifest = reader.manifest();
        let args = manifest.args.get(1..).unwrap_or_default().join(" ");
        let ending = match reader.ending() {
            Some(ending) => ending.to_string(),
            None => "the recording was cut off".to_owned(),
        };
        let space = if args.is_empty() { "" } else { " " };
        let line = format!("{}{space}{args}: {ending}", manifest.name);
        self.line(&line)
    }

    /// Keeps marks and numbers, if there are new ones.
    fn keep_notes(&mut self) {
        let notes = self.debugger.notes();
        if !self.keeps || self.kept == notes {
            return;
        }
        let reader = self.debugger.walker().trace().reader();
        if let Err(error) = notes.write(reader) {
            self.keeps = false;
            say(&format!("warning: names and numbers of this session are not kept: {error}"));
        }
        self.kept = notes;
    }

    pub fn prompt(&mut self) -> String {
        let tick = self.debugger.walker().position().tick.0;
        format!("({tick}) ")
    }

    pub fn echo(&mut self, line: &str) -> anyhow::Result<()> {
        // A comment of a script is for whoever reads what came of it.
        if line.trim_start().starts_with('#') {
            return self.painted(&self.paint.aside(&plain(line)));
        }
        let prompt = self.prompt();
        self.line(&format!("{prompt}{line}"))
    }

    /// Shows where it stands, with some of the text around.
    pub fn place(&mut self) -> anyhow::Result<()> {
        if !self.debugger.has_interpreter() {
            return self.machine_place();
        }
        let Some(frame) = self.debugger.frame() else {
            return self.line("the program has not begun");
        };
        let (code, line) = (frame.code.clone(), frame.line());
        let place = plain(&format!("{}:{line}", code.path));
        let function = plain(&code.qualified_name);
        self.painted(&format!("{} in {}", self.paint.place(&place), self.paint.place(&function)))?;
        self.text(&code.path, line as usize, line as usize, AROUND_MOVE).map(|_| ())
    }

    fn machine_place(&mut self) -> anyhow::Result<()> {
        let selected = self.debugger.selected();
        let Some(frame) = self.debugger.machine_frames().get(selected) else {
            return self.line("the program has not begun");
        };
        let at = format!("{:#x}", frame.offset);
        let function = plain(&frame.function);
        self.painted(&format!("{} in {}", self.paint.place(&at), self.paint.place(&function)))
    }

    /// Shows lines around one. `false` if the recording does not have the text.
    fn text(
        &self,
        path: &str,
        middle: usize,
        current: usize,
        around: usize,
    ) -> anyhow::Result<bool> {
        let Some(text) = self.debugger.sources().lines(path) else { return Ok(false) };
        for number in middle.saturating_sub(around).max(1)..=(middle + around).min(text.len()) {
            let line = plain(&text[number - 1].replace('\t', "    "));
            let line = match number == current {
                true => self.paint.current(&format!("{number:>5} > {line}")),
                false => self.paint.aside(&format!("{number:>5}   {line}")),
            };
            self.painted(line.trim_end())?;
        }
        Ok(true)
    }

    /// Nothing of what comes takes long.
    fn hide_progress(&mut self) {
        if let Some(share) = self.share.take() {
            share.stop();
        }
    }

    fn arrived(&mut self, arrived: &Arrived) -> anyhow::Result<()> {
        self.hide_progress();
        if let Some(note) = &arrived.note {
            say(&format!("warning: {note}"));
        }
        let reason = match &arrived.why {
            Why::Asked => None,
            Why::Breakpoint(id) => Some(format!("breakpoint {}", id.0)),
            Why::Watchpoint(id, change) => {
                let watched = self.debugger.watchpoints().iter().find(|w| w.id == *id);
                let text = watched.map_or("", |watched| watched.text.as_str());
                let change = match change {
                    Change::Value { old, new } => format!("{} -> {}", short(old), short(new)),
                    Change::Begins => "does not exist before this statement".to_owned(),
                    Change::Ends => "does not exist after this statement".to_owned(),
                };
                Some(format!("watchpoint {}: {text}: {change}", id.0))
            }
            Why::Raise => Some("an exception is raised here".to_owned()),
            Why::End => Some("the end of the run".to_owned()),
            Why::Start => Some("the start of the run".to_owned()),
            Why::Interrupted => Some("interrupted; nothing has changed".to_owned()),
            Why::Nowhere => Some("nothing found; position unchanged".to_owned()),
        };
        if let Some(reason) = reason {
            self.painted(&self.paint.reason(&plain(&reason)))?;
        }
        self.place()
    }

    pub fn carry_out(&mut self, command: &Command) -> anyhow::Result<()> {
        let share = Share::start(self.debugger.walker().progress());
        self.share = share;
        let done = self.do_command(command);
        self.hide_progress();
        self.keep_notes();
        done
    }

    fn do_command(&mut self, command: &Command) -> anyhow::Result<()> {
        match command {
            Command::Nothing | Command::Quit => Ok(()),
            Command::Go(place) => self.go(place),
            Command::Step(direction, times) => {
                self.repeat(*times, |debugger| debugger.step(*direction))
            }
            Command::Next(direction, times) => {
                self.repeat(*times, |debugger| debugger.next(*direction))
            }
            Command::Tick(direction, times) => {
                self.repeat(*times, |debugger| debugger.step_tick(*direction))
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
                self.set_breakpoint(at.as_ref(), condition.clone(), *is_temporary)
            }
            Command::Ignore { id, times } => {
                let found = self.debugger.breakpoints().iter_mut().find(|b| b.id.0 == *id);
                let Some(found) = found else { bail!("there is no breakpoint {id}") };
                found.ignore = *times;
                Ok(())
            }
            Command::Watch(what) => {
                let (id, now) = match what {
                    WatchWhat::Expression(text) => self.debugger.watch(text)?,
                    WatchWhat::Memory { at, len } => self.debugger.watch_memory(*at, *len)?,
                };
                let watched = self.debugger.watchpoints().last().map(|w| w.text.clone());
                let watched = watched.unwrap_or_default();
                self.line(&format!("watchpoint {}: {watched}: {}", id.0, short(&now)))
            }
            Command::Delete(ids) => self.delete(ids),
            Command::Info(what) => self.info(what),
            Command::Backtrace => self.backtrace(),
            Command::Up(by) => self.select(self.debugger.selected().checked_add(*by)),
            Command::Down(by) => self.select(self.debugger.selected().checked_sub(*by)),
            Command::Frame(number) => self.select(Some(*number)),
            Command::List(line) => self.list(*line),
            Command::Locals => self.locals(),
            Command::Print(source) | Command::Run(source) => self.print(source),
            Command::Whatis(source) => {
                let Value { came, printed, .. } = self.debugger.evaluate(source)?;
                self.printed(&printed)?;
                match came {
                    Evaluated::Value { type_name, .. } => self.line(&type_name),
                    other => self.show(&other, None),
                }
            }
            Command::Memory { format, at } => self.memory(*format, at),
            Command::Mark(name) => {
                if name.contains(char::is_whitespace) {
                    bail!("a name has no spaces in it");
                }
                self.debugger.mark(name.trim_start_matches('@'));
                Ok(())
            }
            Command::When => self.when(),
            Command::Output(count) => self.output(*count),
            Command::Events(around) => self.events(*around),
            Command::Help(of) => self.help(of),
        }
    }

    fn go(&mut self, place: &Place) -> anyhow::Result<()> {
        let arrived = match place {
            Place::Moment(moment) => self.debugger.go(moment)?,
            Place::Crash => match self.debugger.go_to_crash()? {
                Some(arrived) => arrived,
                None => {
                    self.line("the program ended well; this is its end")?;
                    self.debugger.go(&Moment::End)?
                }
            },
        };
        self.arrived(&arrived)
    }

    fn set_breakpoint(
        &mut self,
        at: Option<&BreakAt>,
        condition: Option<String>,
        is_temporary: bool,
    ) -> anyhow::Result<()> {
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
        if let Location::Line { file, line } = &location
            && let Some(text) = self.debugger.sources().lines(file)
            && *line as usize > text.len()
        {
            bail!("{file} has {} lines", text.len());
        }
        if let Location::Line { file, line } = &location
            && let Some(text) = self.debugger.sources().lines(file)
            && let Some(text) = text.get(*line as usize - 1).map(|text| text.trim())
            && (text.is_empty() || text.starts_with('#'))
        {
            bail!("there is no statement on line {line} of {file}");
        }
        let text = location.to_string();
        let id = self.debugger.add_breakpoint(location, condition, is_temporary)?;
        self.line(&format!("breakpoint {} at {text}", id.0))
    }

    fn delete(&mut self, ids: &[u32]) -> anyhow::Result<()> {
        let all = self.stoppers();
        let ids: Vec<BreakpointId> = match ids {
            [] => all,
            ids => ids.iter().copied().map(BreakpointId).collect(),
        };
        if let Some(missing) = ids.iter().find(|id| self.debugger.stopper(**id).is_none()) {
            bail!("there is no breakpoint {}", missing.0);
        }
        ids.into_iter().for_each(|id| self.debugger.delete(id));
        Ok(())
    }

    /// The numbers of all breakpoints and watchpoints.
    fn stoppers(&mut self) -> Vec<BreakpointId> {
        let watchpoints: Vec<_> = self.debugger.watchpoints().iter().map(|w| w.id).collect();
        self.debugger.breakpoints().iter().map(|b| b.id).chain(watchpoints).collect()
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

    fn backtrace(&mut self) -> anyhow::Result<()> {
        let selected = self.debugger.selected();
        let frames: Vec<String> = match self.debugger.has_interpreter() {
            true => self
                .debugger
                .frames()
                .iter()
                .map(|frame| {
                    let code = &frame.code;
                    format!("{} at {}:{}", code.qualified_name, code.path, frame.line())
                })
                .collect(),
            false => self
                .debugger
                .machine_frames()
                .iter()
                .map(|frame| format!("{} at {:#x}", frame.function, frame.offset))
                .collect(),
        };
        for (number, frame) in frames.iter().enumerate().take(FRAMES_SHOWN) {
            let mark = if number == selected { '>' } else { ' ' };
            self.line(&format!("{mark}{number:>3} {frame}"))?;
        }
        if frames.len() > FRAMES_SHOWN {
            self.line(&format!("     and {} more", frames.len() - FRAMES_SHOWN))?;
        }
        Ok(())
    }

    fn list(&mut self, line: Option<u32>) -> anyhow::Result<()> {
        let Some(frame) = self.debugger.frame() else {
            bail!("there is no text of the program here");
        };
        let (path, current) = (frame.code.path.clone(), frame.line() as usize);
        let middle = line.map_or(current, |line| line as usize);
        if !self.text(&path, middle, current, AROUND)? {
            bail!("the recording does not have the text of {path}");
        }
        Ok(())
    }

    fn locals(&mut self) -> anyhow::Result<()> {
        if !self.debugger.has_interpreter() {
            let selected = self.debugger.selected();
            let frame = self.debugger.machine_frames().get(selected).cloned();
            return frame
                .into_iter()
                .flat_map(|frame| frame.values)
                .try_for_each(|(name, value)| self.line(&format!("{name} = {value}")));
        }
        for (name, value) in self.debugger.locals()? {
            match value {
                Evaluated::Value { text, .. } => {
                    self.line(&format!("{name} = {}", short(&text)))?;
                }
                Evaluated::Raised { text, .. } | Evaluated::Failed(text) => {
                    self.line(&format!("{name}: {text}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn print(&mut self, source: &str) -> anyhow::Result<()> {
        let Value { came, number, printed } = self.debugger.evaluate(source)?;
        self.printed(&printed)?;
        self.show(&came, number)
    }

    pub(super) fn printed(&self, printed: &[u8]) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(printed);
        text.lines().try_for_each(|line| self.line(line))
    }

    fn show(&mut self, evaluated: &Evaluated, number: Option<usize>) -> anyhow::Result<()> {
        match evaluated {
            Evaluated::Nothing => Ok(()),
            Evaluated::Value { type_name, .. } if type_name == "NoneType" => Ok(()),
            Evaluated::Value { text, .. } => match number {
                Some(number) => self.line(&format!("${number} = {text}")),
                None => self.line(text),
            },
            Evaluated::Raised { text, .. } => self.line(text),
            Evaluated::SyntaxError(what) => bail!("{what}"),
            Evaluated::Failed(what) => bail!("it cannot be evaluated: {what}"),
        }
    }

    fn help(&mut self, of: &str) -> anyhow::Result<()> {
        let fits = |names: &str| of.is_empty() || names.split(", ").any(|name| name == of);
        let mut found = false;
        for (names, arguments, what) in HELP {
            if fits(names) {
                found = true;
                let form = format!("{names} {arguments}");
                match form.len() > 32 {
                    true => {
                        self.line(&form)?;
                        self.line(&format!("{:<34}{what}", ""))?;
                    }
                    false => self.line(&format!("{form:<34}{what}"))?,
                }
            }
        }
        if !found {
            bail!("there is no command {of:?}; help lists them");
        }
        Ok(())
    }
}

/// A value in a list.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(LISTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
