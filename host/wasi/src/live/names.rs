//! Paths on Windows.
//!
//! A guest's path has `/` between its names and nothing else in it that means anything. Windows gives a meaning to
//! more: `\`, `C:`, streams (`a:b`), devices (`NUL`, `aux.txt`), and it drops dots and spaces at a name's end, so that two names
//! would be one file. No file can have such a name, and the guest is told so.
//!
//! Invariant: no path that [`is_fit`] refuses reaches the system.

/// Whether a path names something that Windows can have.
pub fn is_fit(path: &str) -> bool {
    path.split('/').all(is_ordinary)
}

/// Whether a name is an ordinary one. Empty names and `.` and `..` are the resolver's business.
fn is_ordinary(name: &str) -> bool {
    if matches!(name, "" | "." | "..") {
        return true;
    }
    let odd = |c: char| c < ' ' || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    !name.contains(odd) && !name.ends_with(['.', ' ']) && !is_device(name)
}

/// Whether a name leads to a device in any version of Windows: with any extension, and with spaces before it.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let is = |word: &str| stem.eq_ignore_ascii_case(word);
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"].into_iter().any(is) {
        return true;
    }
    let mut letters = stem.chars();
    let port: String = letters.by_ref().take(3).collect();
    let number = letters.next();
    ["COM", "LPT"].into_iter().any(|word| port.eq_ignore_ascii_case(word))
        && letters.next().is_none()
        && matches!(number, Some('0'..='9' | '¹' | '²' | '³'))
}

/// The target of a symbolic link as the system wants it: Windows follows only `\` in it.
pub fn target_for_host(target: &str) -> String {
    target.replace('/', "\\")
}

/// The target of a symbolic link as the guest wants it.
pub fn target_for_guest(target: &str) -> String {
    target.replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_cannot_have_are_refused() {
        let names = [
            "a\\b",
            "C:",
            "C:\\x",
            "c:x",
            "a:stream",
            "a::$DATA",
            "NUL",
            "nul",
            "nul.txt",
            "Aux",
            "aux.tar.gz",
            "con .txt",
            "COM1",
            "com9.log",
            "COM¹",
            "lpt0",
            "LPT³.x",
            "CONIN$",
            "conout$",
            "a.",
            "a..",
            "...",
            "a ",
            " ",
            "a*",
            "a?b",
            "<",
            ">",
            "|",
            "\"",
            "a\nb",
            "\u{1}",
            "clock$",
        ];
        for name in names {
            for path in [
                name.to_owned(),
                format!("sub/{name}"),
                format!("{name}/below"),
                format!("../{name}"),
            ] {
                assert!(!is_fit(&path), "{path:?}");
            }
        }
    }

    #[test]
    fn ordinary_names_are_left_alone() {
        let names = [
            "a",
            "a.txt",
            ".hidden",
            "a b",
            " a",
            "console",
            "nulls",
            "COM",
            "COM10",
            "com1x",
            "LPT",
            "auxiliary.c",
            "größe-日本語-🦀",
            "a..b",
            "$x",
            "a;b",
            "a'b",
            "~",
            "%TEMP%",
            "",
            ".",
            "..",
            "./a",
            "a//b",
            "/",
            "../..",
            "a/",
        ];
        for name in names {
            assert!(is_fit(name), "{name:?}");
        }
    }

    #[test]
    fn targets_of_links_have_the_separator_of_their_reader() {
        assert_eq!(target_for_host("../a/b"), "..\\a\\b");
        assert_eq!(target_for_host("a"), "a");
        assert_eq!(target_for_guest("..\\a\\b"), "../a/b");
    }
}
