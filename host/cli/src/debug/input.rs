//! Where commands come from: scripts, a pipe, or somebody at a terminal.

use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

pub struct Input {
    scripted: VecDeque<String>,
    source: Source,
}

enum Source {
    /// There is nobody.
    None,
    Pipe(std::io::Lines<std::io::StdinLock<'static>>),
}

impl Input {
    pub fn new(scripts: &[PathBuf]) -> anyhow::Result<Input> {
        let mut scripted = VecDeque::new();
        let mut stdin_is_read = false;
        for script in scripts {
            let text = if script == Path::new("-") {
                stdin_is_read = true;
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text
            } else {
                std::fs::read_to_string(script)
                    .map_err(|e| anyhow::anyhow!("cannot read {}: {e}", script.display()))?
            };
            scripted.extend(text.lines().map(str::to_owned));
        }
        let stdin = std::io::stdin();
        let source = match () {
            () if stdin_is_read => Source::None,
            () if stdin.is_terminal() || scripts.is_empty() => Source::Pipe(stdin.lock().lines()),
            () => Source::None,
        };
        Ok(Input { scripted, source })
    }

    /// Whether commands are shown before what they do: nobody has seen them being typed.
    pub fn is_echoed(&self) -> bool {
        !std::io::stdin().is_terminal() || !self.scripted.is_empty()
    }

    /// The next command; `None` if there are no more.
    pub fn next(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        if let Some(line) = self.scripted.pop_front() {
            return Ok(Some(line));
        }
        let _ = prompt;
        match &mut self.source {
            Source::None => Ok(None),
            Source::Pipe(lines) => Ok(lines.next().transpose()?),
        }
    }
}
