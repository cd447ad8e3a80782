//! What differs between runs is taken out of what the debugger shows.

/// How a number is shown where it is another one in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Address,
    Event,
    Percentage,
    Seconds,
    Tick,
}

impl Kind {
    fn shown(self) -> &'static str {
        match self {
            Kind::Address => "0x…",
            Kind::Event => "E",
            Kind::Percentage => "P",
            Kind::Seconds => "S",
            Kind::Tick => "T",
        }
    }
}

/// Ticks of a Python program have at least so many digits, and nothing else in the examples has.
const TICK_DIGITS_MIN: usize = 6;

/// What a number, which stands between these texts, is.
fn kind_of(before: &str, number: &str, behind: &str) -> Option<Kind> {
    let decimal = number.contains('.');
    match () {
        () if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') => None,
        () if number.starts_with("0x") => Some(Kind::Address),
        () if behind.starts_with('%') && decimal => Some(Kind::Percentage),
        () if decimal && behind.starts_with(" s") => Some(Kind::Seconds),
        () if decimal => None,
        () if before.ends_with("event #") || before == "> #" || before == "  #" => {
            Some(Kind::Event)
        }
        () if number.len() >= TICK_DIGITS_MIN || before.ends_with("tick ") => Some(Kind::Tick),
        () => None,
    }
}

/// The length of the number that a text begins with, in bytes; 0 if it begins with none.
fn number_at(text: &str) -> usize {
    if let Some(hex) = text.strip_prefix("0x") {
        return 2 + hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
    }
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(text);
    match text[whole..].strip_prefix('.').map(digits) {
        Some(fraction @ 1..) if whole > 0 => whole + 1 + fraction,
        _ => whole,
    }
}

/// A line without what differs between runs.
pub fn scrubbed(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let number = number_at(rest);
        let before = &line[..line.len() - rest.len()];
        let (text, behind) = rest.split_at(number.max(first.len_utf8()));
        match kind_of(before, text, behind).filter(|_| number > 0) {
            Some(kind) => out.push_str(kind.shown()),
            None => out.push_str(text),
        }
        rest = behind;
    }
    out
}

pub fn the_scrubber_takes_only_what_differs() {
    for (line, expected) in [
        ("(4817795) print wrong[0]", "(T) print wrong[0]"),
        ("$1 = <__main__.Box object at 0x1155d50>", "$1 = <__main__.Box object at 0x…>"),
        ("   26 >         last.value += 1", "   26 >         last.value += 1"),
        (
            "> #89 clock_time_get precision=1 -> 1795668285.334852210 s",
            "> #E clock_time_get precision=1 -> S s",
        ),
        (
            "tick 12 of 5422318 (89.12%), before event #87, 0.064 s after",
            "tick T of T (P%), before event #E, S s after",
        ),
        ("average: 15.875 or 1_000_000", "average: 15.875 or 1_000_000"),
        ("$1.value: 84 -> 85", "$1.value: 84 -> 85"),
        ("values = [20.5, 21.0]", "values = [20.5, 21.0]"),
    ] {
        assert_eq!(scrubbed(line), expected);
    }
}
