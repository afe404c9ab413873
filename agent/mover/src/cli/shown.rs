//! Text that others chose, made fit for a terminal: nothing in it can move the cursor, or turn the direction of writing.

use std::fmt::Write;

/// A name as a quoted string; what is no text in it is shown as bytes.
pub(super) fn quoted(name: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in name.utf8_chunks() {
        let valid = format!("{:?}", chunk.valid());
        text.push_str(valid.get(1..valid.len() - 1).unwrap_or_default());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

/// The same without quotes, for messages.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\') { plain.push(c) } else { plain.extend(c.escape_debug()) }
    }
    plain
}

/// JSON in ASCII alone: the escapes of serde leave out some of the characters that a terminal obeys.
pub(super) fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // As above.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        let name = b"a\x1b[2J\"\\\n\xff\xe2\x80\xae\xc2\x9b\xc3\xa9";
        let text = quoted(name);
        assert_eq!(text, "\"a\\u{1b}[2J\\\"\\\\\\n\\xff\\u{202e}\\u{9b}\u{e9}\"");
        assert_eq!(plain("a \"b\" \x1b\u{202e}"), "a \"b\" \\u{1b}\\u{202e}");
        let value = String::from_utf8_lossy(name).into_owned() + "\u{7f}\u{1f600}";
        let json = ascii(&serde_json::to_string(&value).unwrap());
        assert!(json.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
    }
}
