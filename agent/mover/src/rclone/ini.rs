//! Reads the lines of an rclone configuration as rclone does. Pure.

use std::collections::BTreeMap;

/// The sections of a configuration, by name, with their options.
pub(crate) type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// Where options are that stand before the first section.
pub(crate) const DEFAULT: &str = "DEFAULT";
/// Between an option and its value.
const DELIMITERS: [char; 2] = ['=', ':'];
const THREE: &str = "\"\"\"";
/// Shorter, three quotes are a part of what begins with them.
const SHORTEST_IN_THREE: usize = 6;

/// The name and the value of an option; nothing where rclone refuses the line.
fn option(line: &str) -> Option<(&str, &str)> {
    let of_three = Some(THREE).filter(|_| line.len() >= SHORTEST_IN_THREE);
    let quoted = |quote: &'static str| Some((quote, line.strip_prefix(quote)?));
    let Some((quote, behind)) = of_three.and_then(quoted).or_else(|| quoted("\"")).or_else(|| quoted("`")) else {
        let (name, text) = line.split_once(DELIMITERS).filter(|(name, _)| !name.is_empty())?;
        return Some((name.trim(), value(text.trim())?));
    };
    let (name, behind) = behind.split_once(quote)?;
    Some((name, value(behind.split_once(DELIMITERS)?.1.trim())?))
}

/// Without its quotes, and what stands behind them. It never goes on in the next line.
fn value(text: &str) -> Option<&str> {
    let quoted = |quote: &'static str, shortest: usize| Some((quote, text.strip_prefix(quote).filter(|_| text.len() >= shortest)?));
    match quoted("`", 2).or_else(|| quoted(THREE, SHORTEST_IN_THREE)) {
        Some((quote, behind)) => behind.rsplit_once(quote).map(|(value, _)| value),
        None => Some(text),
    }
}

/// The options of each section; or the number of the first line that rclone refuses, and quotes.
pub(crate) fn parse_ini(text: &str) -> Result<Sections, usize> {
    let mut sections = Sections::new();
    let mut current = DEFAULT;
    for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = name.trim();
            if !current.is_empty() {
                sections.entry(current.to_owned()).or_default();
            }
            continue;
        }
        let (name, value) = option(line).filter(|_| !current.is_empty()).ok_or(number + 1)?;
        sections.entry(current.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("[s3]\ntype = s3\nkey_pem = -----BEGIN\nMIIEvQ\n", 4)]
    #[case("\u{feff}# c\n\n[s3]\nMIIEvQ\ntype = s3\n", 4)]
    #[case("[a]\nx = `b\nc`\n", 2)]
    #[case("[a]\nx = \"\"\"1\n2\"\"\"\n", 3)]
    #[case("[a]\nx = \"\"\"123\n", 2)]
    #[case("[a]\n\"x = 1\n", 2)]
    #[case("[a]\n= 1\n", 2)]
    #[case("[]\nx = 1\n", 2)]
    #[case("[a\n]\n", 1)]
    fn a_line_that_rclone_refuses_is_found(#[case] text: &str, #[case] line: usize) {
        assert_eq!(parse_ini(text), Err(line));
    }

    #[test]
    fn options_are_read_as_rclone_reads_them() {
        let text = "q = 0\r\n[ a ]\r\ntype: s3\n\"global.dry_run\" = true\nkey = `SECRET` # new\nlist = \"x:,a=b\"\n# no = y\n\
            `y` z = 1\n\"\"\"w w\"\"\" = \"\"\"q\"\"\"r\"\"\"\none = `\nthree = \"\"\"ab\nempty =\nfull = ``\n";
        let sections = parse_ini(text).unwrap();
        let expected = [
            ("empty", ""),
            ("full", ""),
            ("global.dry_run", "true"),
            ("key", "SECRET"),
            ("list", "\"x:,a=b\""),
            ("one", "`"),
            ("three", "\"\"\"ab"),
            ("type", "s3"),
            ("w w", "q\"\"\"r"),
            ("y", "1"),
        ];
        assert!(sections["a"].iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{sections:?}");
        assert_eq!(sections[DEFAULT]["q"], "0");
    }
}
