//! A settings file in JSON, of which a few keys are looked at once it has been read.
//!
//! Numbers are whole, and `\u` escapes stand for one UTF-16 unit, which has to be a character.
//!
//! Bugs 2 (a key that nobody documented), 8 (a header inside a string of hex digits) and 10
//! (brackets within brackets).

use std::hint::black_box;
use wrr_fuzz_targets::{Reader, fuzz_target};

const STRING_BYTES_MAX: usize = 4096;
/// The first four bytes of an icon.
const ICON: u32 = 0xc9a3_0e57;

enum Value {
    Null,
    Bool(bool),
    Number(i64),
    String(Vec<u8>),
    Array(Vec<Value>),
    Object(Vec<(Vec<u8>, Value)>),
}

fuzz_target!(|data: &[u8]| {
    black_box(load(data));
});

/// The sum of what the settings are worth.
fn load(data: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(data);
    let value = bug_10_value(&mut reader)?;
    skip_space(&mut reader);
    if !reader.is_empty() {
        return None;
    }
    let Value::Object(settings) = value else {
        return None;
    };
    settings
        .iter()
        .try_fold(0_usize, |sum, (key, value)| Some(sum.wrapping_add(apply(key, value)?)))
}

fn apply(key: &[u8], value: &Value) -> Option<usize> {
    if is_key(key, b"$include_once") {
        return Some(bug_02_include(value));
    }
    Some(match value {
        Value::Null => 0,
        Value::Bool(on) => usize::from(*on),
        Value::Number(number) => *number as usize,
        Value::String(digits) if is_key(key, b"icon") => icon_bytes(digits)?,
        Value::String(text) => text.len(),
        Value::Array(values) => values.len(),
        Value::Object(settings) => settings.len(),
    })
}

/// A function of its own, or else the compiler, which knows the names, compares them as numbers
/// instead of with memcmp.
#[inline(never)]
fn is_key(key: &[u8], name: &[u8]) -> bool {
    key == name
}

/// Bug: one name may stand there without a list around it, but none at all may not.
#[inline(never)]
fn bug_02_include(value: &Value) -> usize {
    let names = match value {
        Value::Array(names) => &names[..],
        Value::String(_) => std::slice::from_ref(value),
        _ => &[],
    };
    match &names[0] {
        Value::String(name) => name.len(),
        _ => 0,
    }
}

fn icon_bytes(digits: &[u8]) -> Option<usize> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?)).collect();
    let bytes = bytes?;
    let mut reader = Reader::new(&bytes);
    if reader.u32()? == ICON {
        return Some(bug_08_icon(reader.rest()));
    }
    Some(bytes.len())
}

/// Bug: the offset of the pixels is not checked.
#[inline(never)]
fn bug_08_icon(icon: &[u8]) -> usize {
    match icon.first() {
        Some(&offset) => icon[usize::from(offset)..].len(),
        None => 0,
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

/// Bug: nothing bounds the depth, and each level holds the longest string on the stack.
#[inline(never)]
fn bug_10_value(reader: &mut Reader) -> Option<Value> {
    let mut text = [0; STRING_BYTES_MAX];
    skip_space(reader);
    Some(match peek(reader)? {
        b'"' => Value::String(string(reader, &mut text)?.to_vec()),
        b'[' => {
            let mut values = Vec::new();
            reader.u8();
            while !is_end(reader, b']', values.is_empty())? {
                values.push(bug_10_value(reader)?);
            }
            Value::Array(values)
        }
        b'{' => {
            let mut settings = Vec::new();
            reader.u8();
            while !is_end(reader, b'}', settings.is_empty())? {
                skip_space(reader);
                let key = string(reader, &mut text)?.to_vec();
                skip_space(reader);
                expect(reader, b":")?;
                settings.push((key, bug_10_value(reader)?));
            }
            Value::Object(settings)
        }
        b't' => expect(reader, b"true").map(|()| Value::Bool(true))?,
        b'f' => expect(reader, b"false").map(|()| Value::Bool(false))?,
        b'n' => expect(reader, b"null").map(|()| Value::Null)?,
        _ => Value::Number(number(reader)?),
    })
}

/// Reads the end of a list, or else the comma in front of all values but the first.
fn is_end(reader: &mut Reader, end: u8, is_first: bool) -> Option<bool> {
    skip_space(reader);
    if peek(reader)? == end {
        reader.u8();
        return Some(true);
    }
    if !is_first {
        expect(reader, b",")?;
    }
    Some(false)
}

fn string<'a>(reader: &mut Reader, text: &'a mut [u8; STRING_BYTES_MAX]) -> Option<&'a [u8]> {
    expect(reader, b"\"")?;
    let mut length = 0;
    loop {
        let byte = reader.u8()?;
        let character = match byte {
            b'"' => return Some(&text[..length]),
            b'\\' => match reader.u8()? {
                b'n' => '\n',
                b't' => '\t',
                b'u' => {
                    let mut digits = reader.bytes(4)?.iter();
                    let unit =
                        digits.try_fold(0, |unit, &digit| Some(unit << 4 | u32::from(hex(digit)?)));
                    char::from_u32(unit?)?
                }
                escaped @ (b'"' | b'\\' | b'/') => escaped.into(),
                _ => return None,
            },
            0..0x20 => return None,
            _ => {
                *text.get_mut(length)? = byte;
                length += 1;
                continue;
            }
        };
        let room = text.get_mut(length..length + character.len_utf8())?;
        length += character.encode_utf8(room).len();
    }
}

fn number(reader: &mut Reader) -> Option<i64> {
    let is_negative = expect(reader, b"-").is_some();
    let mut number = 0_i64;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = peek(reader) {
        reader.u8();
        number = number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        digits += 1;
    }
    (digits > 0).then_some(if is_negative { -number } else { number })
}

fn skip_space(reader: &mut Reader) {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = peek(reader) {
        reader.u8();
    }
}

fn peek(reader: &Reader) -> Option<u8> {
    reader.rest().first().copied()
}

/// Reads `token`, or nothing if something else is there.
fn expect(reader: &mut Reader, token: &[u8]) -> Option<()> {
    reader.rest().starts_with(token).then(|| reader.bytes(token.len())).map(|_| ())
}
