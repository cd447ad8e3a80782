//! Dictionaries, as AFL and libFuzzer read them: one token a line, quoted, with an optional name before it.
//!
//! <https://llvm.org/docs/LibFuzzer.html#dictionaries>

/// A line that is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: {what}; a token is written as name=\"text\" or \"text\", with \\xNN, \\\\ and \\\" for other bytes"
)]
pub struct DictionaryError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// The tokens of a dictionary, in its order.
///
/// # Errors
/// The first line that is none.
pub fn parse_dictionary(text: &[u8]) -> Result<Vec<Vec<u8>>, DictionaryError> {
    let mut tokens = Vec::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let wrong = |what| DictionaryError { line: number + 1, what };
        let start = line.iter().position(|&byte| byte == b'"').ok_or(wrong("no quote"))?;
        let name = line[..start].trim_ascii();
        if !(name.is_empty() || name.ends_with(b"=")) {
            return Err(wrong("no = behind the name"));
        }
        let quoted = line[start + 1..].strip_suffix(b"\"").ok_or(wrong("no quote at its end"))?;
        let token = unescaped(quoted).ok_or(wrong("an escape that there is not"))?;
        if !token.is_empty() {
            tokens.push(token);
        }
    }
    Ok(tokens)
}

fn unescaped(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = quoted.iter().copied();
    let mut token = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => match bytes.next()? {
                b'x' => {
                    let mut digit = || char::from(bytes.next()?).to_digit(16);
                    token.push((digit()? * 16 + digit()?) as u8);
                }
                b'n' => token.push(b'\n'),
                b'r' => token.push(b'\r'),
                b't' => token.push(b'\t'),
                plain @ (b'\\' | b'"') => token.push(plain),
                _ => return None,
            },
            other => token.push(other),
        }
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_with_and_without_names() {
        let text = b"# a comment\n\nkw1=\"blah\"\n\"\\xF7\\\\\\\"\\x00\"\r\n  kw = \"a b\"  \n";
        let expected = [b"blah".to_vec(), b"\xf7\\\"\0".to_vec(), b"a b".to_vec()];
        assert_eq!(parse_dictionary(text).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_token_is_named() {
        for (text, line) in
            [("a=\"b\"\nc", 2), ("a \"b\"", 1), ("\"a", 1), ("\n\n\"\\xg0\"", 3), ("\"a\"b\"", 1)]
        {
            assert_eq!(parse_dictionary(text.as_bytes()).unwrap_err().line, line, "{text}");
        }
    }
}
