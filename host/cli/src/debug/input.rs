//! Where commands come from: scripts, a pipe, or somebody at a terminal.

use super::command;
use reedline::{
    ColumnarMenu, DefaultCompleter, Emacs, FileBackedHistory, KeyCode, KeyModifiers,
    MenuBuilder as _, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent,
    ReedlineMenu, Signal, default_emacs_keybindings,
};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// How many commands are remembered.
const HISTORY_LINES: usize = 1000;

pub struct Input {
    scripted: VecDeque<String>,
    source: Source,
}

enum Source {
    /// There is nobody.
    None,
    Pipe(std::io::Lines<std::io::StdinLock<'static>>),
    Terminal(Box<Reedline>),
}

/// Shows what time it is.
struct TimePrompt<'a>(&'a str);

impl Prompt for TimePrompt<'_> {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(history: {}) ", search.term))
    }
}

/// Where the commands of earlier sessions are remembered.
fn history_file() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let strategy = etcetera::choose_base_strategy().ok()?;
    let folder = strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("wrr");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("debug_history"))
}

fn editor() -> Reedline {
    const MENU: &str = "completions";
    let mut completer = DefaultCompleter::with_inclusions(&['_']).set_min_word_len(1);
    completer.insert(command::names().map(str::to_owned).collect());
    let mut keys = default_emacs_keybindings();
    let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    let editor = Reedline::create()
        .with_completer(Box::new(completer))
        .with_menu(menu)
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)));
    let history = history_file()
        .and_then(|file| FileBackedHistory::with_file(HISTORY_LINES, file).ok())
        .or_else(|| FileBackedHistory::new(HISTORY_LINES).ok());
    match history {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
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
            () if stdin.is_terminal() && std::io::stdout().is_terminal() => {
                Source::Terminal(Box::new(editor()))
            }
            () if stdin.is_terminal() || scripts.is_empty() => Source::Pipe(stdin.lock().lines()),
            () => Source::None,
        };
        Ok(Input { scripted, source })
    }

    /// Whether the next command is shown before what it does: nobody has seen it being typed.
    pub fn is_echoed(&self) -> bool {
        !self.scripted.is_empty() || !matches!(self.source, Source::Terminal(_))
    }

    /// Whether somebody types.
    pub fn is_interactive(&self) -> bool {
        matches!(self.source, Source::Terminal(_))
    }

    /// The next command; `None` if there are no more.
    pub fn next(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        if let Some(line) = self.scripted.pop_front() {
            return Ok(Some(line));
        }
        match &mut self.source {
            Source::None => Ok(None),
            Source::Pipe(lines) => Ok(lines.next().transpose()?),
            Source::Terminal(editor) => loop {
                match editor.read_line(&TimePrompt(prompt))? {
                    Signal::Success(line) => return Ok(Some(line)),
                    Signal::CtrlC => {}
                    _ => return Ok(None),
                }
            },
        }
    }
}
