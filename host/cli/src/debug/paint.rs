//! Colours, where there is a terminal for them.

use nu_ansi_term::{Color, Style};
use std::io::IsTerminal as _;

/// Paints, or does not.
#[derive(Clone, Copy)]
pub struct Paint {
    colours: bool,
}

impl Paint {
    /// Colours on a terminal, unless the user wants none (`NO_COLOR`).
    pub fn for_stdout() -> Paint {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint { colours: std::io::stdout().is_terminal() && !unwanted }
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.colours { style.paint(text).to_string() } else { text.to_owned() }
    }

    /// A place: a file, a function.
    pub fn place(self, text: &str) -> String {
        self.with(Color::Cyan.normal(), text)
    }

    /// The line where it stands.
    pub fn current(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// Why it has stopped.
    pub fn reason(self, text: &str) -> String {
        self.with(Color::Yellow.bold(), text)
    }

    /// What is beside the point.
    pub fn aside(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }
}
