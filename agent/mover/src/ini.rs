//! Reads the lines of an rclone configuration as rclone does. Pure.

use std::collections::BTreeMap;

/// The number of the first line that rclone would refuse, and quote.
pub(crate) fn impossible_line(text: &str) -> Option<usize> {
    let mut quote: Option<&str> = None;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate() {
        if let Some(end) = quote {
            // In the middle of a value that rclone reads over several lines.
            quote = quote.filter(|_| !line.contains(end));
        } else if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with('[') && line.ends_with(']') {
        } else if let Some((_, value)) = line.split_once(DELIMITERS) {
            let value = value.trim();
            quote = ["\"\"\"", "`"].into_iter().find(|quote| value.strip_prefix(*quote).is_some_and(|rest| !rest.contains(*quote)));
        } else {
            return Some(number + 1);
        }
    }
    None
}

/// Between an option and its value.
const DELIMITERS: [char; 2] = ['=', ':'];

/// The options of each section.
pub(crate) fn parse_ini(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current = None;
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.entry(name.to_owned()).or_default();
            current = Some(name.to_owned());
        } else if let (Some(section), Some((key, value))) = (&current, line.split_once(DELIMITERS)) {
            sections.entry(section.clone()).or_default().insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_nothing_is_found() {
        for (text, line) in [
            ("[s3]\ntype = s3\nkey_pem = -----BEGIN\nMIIEvQ\n", Some(4)),
            ("\u{feff}# c\n\n[s3]\nMIIEvQ\ntype = s3\n", Some(4)),
            ("[s3]\ntype: s3\n; c\nx = `a\nb\nc`\ny =\nz = \"\"\"1\n2\"\"\"\n", None),
            ("", None),
        ] {
            assert_eq!(impossible_line(text), line, "{text}");
        }
    }
}
