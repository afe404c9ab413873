//! Reads the lines of an rclone configuration as rclone does. Pure.

use std::collections::BTreeMap;

/// Between an option and its value.
const DELIMITERS: [char; 2] = ['=', ':'];
/// What a value over several lines stands between. Other quotes are part of a value.
const QUOTES: [&str; 2] = ["\"\"\"", "`"];

/// The quote that this value begins with and does not end with: it goes on in the next line.
fn open_quote(value: &str) -> Option<&'static str> {
    QUOTES.into_iter().find(|quote| value.strip_prefix(quote).is_some_and(|rest| !rest.contains(quote)))
}

fn unquoted<'a>(text: &'a str, quotes: &[&str]) -> &'a str {
    quotes.iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with(['#', ';'])
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// The number of the first line that rclone would refuse, and quote.
pub(crate) fn impossible_line(text: &str) -> Option<usize> {
    let mut quote: Option<&str> = None;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate() {
        if let Some(end) = quote {
            // In the middle of a value.
            quote = quote.filter(|_| !line.contains(end));
        } else if let Some((_, value)) = line.split_once(DELIMITERS).filter(|_| !is_comment(line) && section_name(line).is_none()) {
            quote = open_quote(value.trim());
        } else if !is_comment(line) && section_name(line).is_none() {
            return Some(number + 1);
        }
    }
    None
}

/// The options of each section.
pub(crate) fn parse_ini(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current = None;
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    while let Some(line) = lines.next() {
        if is_comment(line) {
            continue;
        }
        if let Some(name) = section_name(line) {
            sections.entry(name.to_owned()).or_default();
            current = Some(name.to_owned());
        } else if let (Some(section), Some((key, value))) = (&current, line.split_once(DELIMITERS)) {
            let mut value = value.trim().to_owned();
            if let Some(quote) = open_quote(&value) {
                for more in lines.by_ref() {
                    value.push('\n');
                    value.push_str(more);
                    if more.contains(quote) {
                        break;
                    }
                }
            }
            let key = unquoted(key.trim(), &["\"", "`"]);
            sections.entry(section.clone()).or_default().insert(key.to_owned(), unquoted(&value, &QUOTES).to_owned());
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

    #[test]
    fn options_are_read_as_rclone_reads_them() {
        let text = "[a]\ntype: s3\n\"global.dry_run\" = true\nkey = `SECRET`\npem = \"\"\"1\n2\"\"\"\nlist = \"x:,a=b\"\n# no = y\n";
        let options = parse_ini(text).remove("a").unwrap();
        let expected = [("global.dry_run", "true"), ("key", "SECRET"), ("list", "\"x:,a=b\""), ("pem", "1\n2"), ("type", "s3")];
        assert!(options.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected), "{options:?}");
    }
}
