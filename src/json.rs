//! The members of a JSON object, in their order and without a tree: each key with the text of its value.
//!
//! Python's `json` writes `NaN`, `Infinity` and `-Infinity`, which JSON doesn't have: they are read.

use core::fmt;
use heapless::Vec;

/// Most keys that an object can have.
pub const MAX_KEYS: usize = 64;

/// The text is no JSON from byte `at` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    pub at: usize,
    pub reason: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.reason)
    }
}

impl core::error::Error for JsonError {}

/// A key and the text of its value, without the spaces around it. Keys are not unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    pub key: &'a str,
    pub value: &'a str,
}

/// The members of the object that `text` is. Of lists and objects among the values only the brackets are counted.
///
/// # Errors
/// [`JsonError`]: where it is no object, or one with more than [`MAX_KEYS`] keys.
pub fn members(text: &[u8]) -> Result<Vec<Member<'_>, MAX_KEYS>, JsonError> {
    let text =
        core::str::from_utf8(text).map_err(|error| JsonError { at: error.valid_up_to(), reason: "is not UTF-8" })?;
    let mut cursor = Cursor { text, at: 0 };
    let mut members = Vec::new();
    cursor.expect(b'{', "a JSON object should begin here")?;
    if !cursor.take(b'}') {
        loop {
            cursor.space();
            let key = cursor.string()?;
            cursor.expect(b':', "a colon should follow the key")?;
            cursor.space();
            let value = cursor.value()?;
            members.push(Member { key, value }).map_err(|_| cursor.error("more than 64 keys"))?;
            if cursor.take(b'}') {
                break;
            }
            cursor.expect(b',', "a comma or the object's end should follow the value")?;
        }
    }
    cursor.space();
    match cursor.peek() {
        None => Ok(members),
        Some(_) => Err(cursor.error("something follows the JSON object")),
    }
}

/// The texts of the values in the list that `text` is, `N` of them at most. Of lists and objects among them only the brackets are counted.
///
/// # Errors
/// [`JsonError`]: where it is no list, or a longer one.
pub fn items<const N: usize>(text: &str) -> Result<Vec<&str, N>, JsonError> {
    let mut cursor = Cursor { text, at: 0 };
    let mut items = Vec::new();
    cursor.expect(b'[', "a list should begin here")?;
    if cursor.take(b']') {
        return Ok(items);
    }
    loop {
        cursor.space();
        let value = cursor.value()?;
        items.push(value).map_err(|_| cursor.error("the list is too long"))?;
        if cursor.take(b']') {
            return Ok(items);
        }
        cursor.expect(b',', "a comma or the list's end should follow the value")?;
    }
}

/// The numbers of the list that `text` is, or `None`.
pub fn list(text: &str) -> Option<impl Iterator<Item = Option<f64>> + '_> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.split(',').map(|item| number(item.trim())))
}

/// A JSON number, `NaN`, `Infinity` or `-Infinity`.
pub fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Which serde-json-core reads as NaN.
        "null" => None,
        _ => scalar(text),
    }
}

/// A value that is `text` whole.
pub fn scalar<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Option<T> {
    let (value, used) = serde_json_core::from_str(text).ok()?;
    (used == text.len()).then_some(value)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn error(&self, reason: &'static str) -> JsonError {
        JsonError { at: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Passes spaces, and `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(reason)) }
    }

    /// A string's inside.
    fn string(&mut self) -> Result<&'a str, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a string should begin here"));
        }
        self.at += 1;
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        Err(self.error("the text ends inside a string"))
    }

    fn value(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{' | b'[') => self.nested()?,
            _ => {
                while self.peek().is_some_and(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
                {
                    self.at += 1;
                }
                let word = &self.text[start..self.at];
                if !matches!(word, "true" | "false" | "null") && number(word).is_none() {
                    return Err(JsonError { at: start, reason: "a JSON value should begin here" });
                }
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn nested(&mut self) -> Result<(), JsonError> {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        Err(self.error("the text ends inside a list or an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_the_text_of_their_values() {
        let text = br#" {"a": 1e-3 , "b":-Infinity,"c": "x\"},{", "d": {"e": ["]", [2]]}, "f": null} "#;
        let read = members(text).unwrap();
        let read: std::vec::Vec<_> = read.iter().map(|member| (member.key, member.value)).collect();
        assert_eq!(
            read,
            [("a", "1e-3"), ("b", "-Infinity"), ("c", r#""x\"},{""#), ("d", r#"{"e": ["]", [2]]}"#), ("f", "null")]
        );
        assert_eq!(items::<3>(r#"[1, {"a": [2, 3]},"]"]"#).unwrap()[..], ["1", r#"{"a": [2, 3]}"#, r#""]""#]);
        assert!(items::<1>("[]").unwrap().is_empty() && items::<1>("[1, 2]").is_err() && items::<1>("[1").is_err());
        assert_eq!(number("1e-3"), Some(1e-3));
        assert_eq!(list("[1, 2.5,x]").unwrap().collect::<std::vec::Vec<_>>(), [Some(1.0), Some(2.5), None]);
        assert!(members(b"{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused_where_it_goes_wrong() {
        for (text, at) in [
            ("", 0),
            ("[1]", 0),
            ("{\"a\": 1", 7),
            ("{\"a\" 1}", 5),
            ("{\"a\": }", 6),
            ("{\"a\": infinity}", 6),
            ("{\"a\": 1,}", 8),
            ("{a: 1}", 1),
            ("{\"a\": [1}", 9),
            ("{\"a", 3),
            ("{\"a\\", 5),
            ("{} x", 3),
        ] {
            let error = members(text.as_bytes()).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
        assert_eq!(members(b"{\xff").unwrap_err(), JsonError { at: 1, reason: "is not UTF-8" });
    }
}
