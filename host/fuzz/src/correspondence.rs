//! Inputs that make comparisons come out otherwise: where an operand stands in the input, the other one is put.
//!
//! Input-to-state correspondence (Aschermann et al., "REDQUEEN: Fuzzing with Input-to-State Correspondence", NDSS 2019): much of what a program compares is a piece of
//! its input as it is, or in one of a few encodings. So magic values, lengths and checksums need not be guessed.

use std::collections::HashSet;
use wrr::{Comparison, Operands};

/// So many inputs are made of one.
const CANDIDATES_MAX: usize = 1024;
/// So many different pairs of numbers are looked for.
const PAIRS_MAX: usize = 1024;
/// So many places are tried for one operand in one encoding.
const PLACES_MAX: usize = 4;

/// The inputs that `compares`, made with `input`, suggest. Each once, the most promising first.
pub(crate) fn candidates(input: &[u8], compares: &[Comparison]) -> Vec<Vec<u8>> {
    let mut found = Found { input, seen: HashSet::new(), list: Vec::new() };
    let mut pairs = HashSet::new();
    let mut numbers = Vec::new();
    for Comparison { operands, .. } in compares {
        match operands {
            Operands::Bytes(a, b) => {
                for (from, to) in [(a, b), (b, a)] {
                    found.text(from, to);
                }
            }
            Operands::I32(a, b) => {
                for pair in [(*a, *b), (*b, *a)] {
                    let wide = (sign_extended(pair.0), sign_extended(pair.1));
                    if a != b && numbers.len() < PAIRS_MAX && pairs.insert((4, wide)) {
                        numbers.push((4, wide));
                    }
                }
            }
            Operands::I64(a, b) => {
                for pair in [(*a as i64, *b as i64), (*b as i64, *a as i64)] {
                    if a != b && numbers.len() < PAIRS_MAX && pairs.insert((8, pair)) {
                        numbers.push((8, pair));
                    }
                }
            }
        }
    }
    // Long values first: that they occur by chance is least likely.
    for bytes in [8, 4, 2] {
        for (of, (from, to)) in &numbers {
            if bytes <= *of && fits(*from, bytes) && fits(*to, bytes) {
                found.number(*from, *to, bytes);
            }
        }
    }
    for (_, (from, to)) in &numbers {
        found.decimal(*from, *to);
    }
    for (_, (from, to)) in &numbers {
        if fits(*from, 1) && fits(*to, 1) {
            found.replace(&[*from as u8], [vec![*to as u8]]);
        }
    }
    found.list
}

fn sign_extended(value: u32) -> i64 {
    i64::from(value as i32)
}

/// Whether a number can be written in so many bytes, with a sign or without.
fn fits(value: i64, bytes: u32) -> bool {
    let bits = bytes * 8;
    bits == 64 || (-(1i64 << (bits - 1))..1i64 << bits).contains(&value)
}

struct Found<'a> {
    input: &'a [u8],
    seen: HashSet<Vec<u8>>,
    list: Vec<Vec<u8>>,
}

impl Found<'_> {
    /// Puts each of `to` where `from` stands.
    fn replace<const N: usize>(&mut self, from: &[u8], to: [Vec<u8>; N]) {
        if from.is_empty() || self.list.len() >= CANDIDATES_MAX {
            return;
        }
        let places = self.input.windows(from.len()).enumerate();
        let places = places.filter(|(_, window)| *window == from).map(|(at, _)| at);
        for at in places.take(PLACES_MAX).collect::<Vec<_>>() {
            let rest = &self.input[at + from.len()..];
            for to in to.iter().filter(|to| *to != from) {
                if self.list.len() >= CANDIDATES_MAX {
                    return;
                }
                let changed = [&self.input[..at], to, rest].concat();
                if self.seen.insert(changed.clone()) {
                    self.list.push(changed);
                }
            }
        }
    }

    /// What lies in memory, as it is and up to a zero.
    fn text(&mut self, from: &[u8], to: &[u8]) {
        self.replace(from, [to.to_vec()]);
        let up_to_zero = |bytes: &[u8]| {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            bytes[..end].to_vec()
        };
        self.replace(&up_to_zero(from), [up_to_zero(to)]);
        // Only the beginning may stand there.
        let agree = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if agree > 1 && agree < to.len() {
            self.replace(&from[..agree], [to.to_vec()]);
        }
    }

    /// A number in both orders of its bytes, also as hexadecimal digits; and its neighbours, for comparisons that are not for equality.
    fn number(&mut self, from: i64, to: i64, bytes: u32) {
        let bytes = bytes as usize;
        let little = |value: i64| value.to_le_bytes()[..bytes].to_vec();
        let big = |value: i64| value.to_be_bytes()[8 - bytes..].to_vec();
        for encode in [&little as &dyn Fn(i64) -> Vec<u8>, &big] {
            let near = [to, to.wrapping_add(1), to.wrapping_sub(1)].map(encode);
            let from = encode(from);
            for digits in [lower_hex, upper_hex] {
                self.replace(&digits(&from), [digits(&near[0])]);
            }
            self.replace(&from, near);
        }
    }

    fn decimal(&mut self, from: i64, to: i64) {
        let from = from.to_string();
        // A single digit stands anywhere.
        if from.len() > 1 {
            let near = [to, to.wrapping_add(1), to.wrapping_sub(1)];
            self.replace(from.as_bytes(), near.map(|to| to.to_string().into_bytes()));
        }
    }
}

fn lower_hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()
}

fn upper_hex(bytes: &[u8]) -> Vec<u8> {
    lower_hex(bytes).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(input: &[u8], operands: Operands) -> Vec<Vec<u8>> {
        candidates(input, &[Comparison { at: 0, operands }])
    }

    #[test]
    fn an_operand_is_put_where_the_other_one_stands() {
        let little = made(b"xx\x44\x33\x22\x11yy", Operands::I32(0x1122_3344, 0xcafe_f00d));
        assert!(little.contains(&b"xx\x0d\xf0\xfe\xcayy".to_vec()));
        let big = made(b"\x11\x22\x33\x44", Operands::I32(0xcafe_f00d, 0x1122_3344));
        assert!(big.contains(&b"\xca\xfe\xf0\x0d".to_vec()));
        assert!(big.contains(&b"\xca\xfe\xf0\x0e".to_vec()), "and what is next to it");
        let short = made(b"ab", Operands::I32(0x6261, 0xffff_fffe));
        assert!(short.contains(&b"\xfe\xff".to_vec()), "{short:?}");
        let hex = made(b"<deadbeef>", Operands::I32(0xefbe_adde, 0x0e57_c9a3));
        assert!(hex.contains(&b"<a3c9570e>".to_vec()));
        let decimal = made(b"n=128;", Operands::I64(128, 65_535));
        assert!(decimal.contains(&b"n=65535;".to_vec()));
    }

    #[test]
    fn texts_are_replaced_as_a_whole() {
        let text =
            made(b"(last_name)", Operands::Bytes(b"last_name".to_vec(), b"$included".to_vec()));
        assert_eq!(text, [b"($included)".to_vec()]);
        let ended = made(b"key=1", Operands::Bytes(b"key\0x".to_vec(), b"name\0".to_vec()));
        assert!(ended.contains(&b"name=1".to_vec()));
        let begun = made(b"pre;", Operands::Bytes(b"pre;\0\0".to_vec(), b"prefix".to_vec()));
        assert!(begun.contains(&b"prefix;".to_vec()));
    }

    #[test]
    fn nothing_is_made_of_what_agrees_or_stands_nowhere() {
        assert!(made(b"abcd", Operands::I32(5, 5)).is_empty());
        assert!(made(b"abcd", Operands::I64(0x1234_5678_9abc, 7)).is_empty());
        assert!(made(b"", Operands::Bytes(b"a".to_vec(), b"b".to_vec())).is_empty());
    }

    #[test]
    fn the_number_of_inputs_is_bounded() {
        let input: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let compares: Vec<Comparison> = (0..60_000u32)
            .map(|n| Comparison { at: n, operands: Operands::I32(n & 0xff, n) })
            .collect();
        assert!((1..=CANDIDATES_MAX).contains(&candidates(&input, &compares).len()));
        let text = |n: u32| Operands::Bytes(vec![1, 2, 3], n.to_le_bytes().to_vec());
        let compares: Vec<Comparison> =
            (0..60_000).map(|n| Comparison { at: n, operands: text(n) }).collect();
        assert_eq!(candidates(&input, &compares).len(), CANDIDATES_MAX);
    }
}
