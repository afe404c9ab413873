//! From a pattern of gitignore to a glob of the crate that matches it, which knows more than gitignore does (`{a,b}`), and a set of
//! characters in another way. What git itself reads in a way that nobody would guess is refused.

use std::iter::Peekable;
use std::str::Chars;

/// What a set may be.
const SET: &str = "write a set as [abc], [a-z] or [!abc], of ASCII characters without a backslash, and - as its first or last one";

/// The glob that matches what git has this pattern match.
pub(super) fn of(pattern: &str) -> Result<String, String> {
    let (mut glob, mut rest) = (String::new(), pattern.chars().peekable());
    if pattern.contains("//") {
        return Err("has two slashes in a row, and no name is empty: write one".to_owned());
    }
    let (taken_back, name) = pattern.strip_prefix('!').map_or(("", pattern), |name| ("!", name));
    if name.split('/').any(|part| part.contains("**") && part != "**") {
        return Err("has ** beside other characters: write * for any part of a name, and ** for any number of folders".to_owned());
    }
    let (mut slashes_in_sets, mut blank) = (false, false);
    while let Some(c) = rest.next() {
        blank = c == ' ';
        match c {
            '\\' => match rest.next() {
                Some('/') | None => return Err("has a backslash with nothing to escape: write \\\\ for a backslash".to_owned()),
                Some(next) => glob.extend([c, next]),
            },
            '{' | '}' => glob.extend(['\\', c]),
            '[' => {
                let set = set(&mut rest, &mut glob);
                slashes_in_sets |= set.ok_or_else(|| format!("has a [ that begins no set: {SET}, or \\[ for the character"))?;
            }
            _ => glob.push(c),
        }
    }
    if blank {
        return Err("ends in a space, which git ignores: remove it, or write \\ and a space for a name that ends in one".to_owned());
    }
    let anywhere = !name.strip_suffix('/').unwrap_or(name).contains('/');
    // Else they would tie the pattern to the root.
    Ok(if anywhere && slashes_in_sets { format!("{taken_back}**/{}", glob.strip_prefix(taken_back).unwrap_or(&glob)) } else { glob })
}

/// A set of characters, from behind its bracket; whether it names the slash. No set matches one, whatever its range or the rest that it leaves.
fn set(pattern: &mut Peekable<Chars>, glob: &mut String) -> Option<bool> {
    let negated = pattern.next_if(|c| matches!(c, '!' | '^')).is_some();
    glob.push_str(if negated { "[!" } else { "[" });
    let (mut any, mut dash_last, mut first) = (false, false, true);
    loop {
        let c = pattern.next().filter(char::is_ascii)?;
        if c == ']' && !first {
            break;
        }
        let plain = |c: char| c.is_ascii() && !matches!(c, '\\' | '/' | ']' | '-' | '[');
        if c == '-' && !first {
            dash_last = true;
            (pattern.peek() == Some(&']')).then_some(())?;
        } else if matches!(c, '\\' | '/') || c == '[' && matches!(pattern.peek(), Some(':' | '.' | '=')) {
            return None;
        } else if plain(c) && range_follows(pattern) {
            pattern.next();
            let end = pattern.next().filter(|end| plain(*end) && *end >= c)?;
            for (from, to) in without_slash(c, end) {
                any = true;
                glob.extend([from, '-', to]);
            }
        } else {
            any = true;
            glob.push(c);
        }
        first = false;
    }
    if negated {
        glob.push('/');
    }
    if dash_last {
        glob.push('-');
    }
    glob.push(']');
    (any || negated || dash_last).then_some(negated)
}

/// Whether the next characters are `-` and an end, which `]` is none.
fn range_follows(pattern: &Peekable<Chars>) -> bool {
    let mut ahead = pattern.clone();
    ahead.next() == Some('-') && ahead.next().is_some_and(|end| end != ']')
}

/// The parts of a range before and behind the slash.
fn without_slash(from: char, to: char) -> Vec<(char, char)> {
    if !(from..=to).contains(&'/') {
        return vec![(from, to)];
    }
    let parts = [(from, '.'), ('0', to)];
    parts.into_iter().filter(|(from, to)| from <= to).collect()
}
