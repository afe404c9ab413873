//! Which older revisions a push keeps, as its command line says it: `last=2,daily=7,timeZone=Europe/Berlin`.

use std::str::FromStr;

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::packs::limits::RETAINED;
use crate::retention::Retention;

/// `last=2,hourly=24,daily=7,weekly=4,monthly=3,maxAge=2160h,timeZone=Europe/Berlin`: any of them, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainArg(pub Retention);

const PARTS: &str = "last=N, hourly=N, daily=N, weekly=N, monthly=N, maxAge=DURATION and timeZone=NAME, joined by commas";

impl FromStr for RetainArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rules = Retention::last(1);
        let mut seen = Vec::new();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is none of {PARTS}"))?;
            if seen.contains(&name) {
                return Err(format!("{name} is there twice"));
            }
            seen.push(name);
            match name {
                "last" => rules.last = count(name, value, 1)?,
                "hourly" => rules.hourly = count(name, value, 0)?,
                "daily" => rules.daily = count(name, value, 0)?,
                "weekly" => rules.weekly = count(name, value, 0)?,
                "monthly" => rules.monthly = count(name, value, 0)?,
                "maxAge" => rules.max_age = Some(age(value)?),
                "timeZone" => rules.zone = zone(value)?,
                _ => return Err(format!("{name:?} is none of {PARTS}")),
            }
        }
        if rules.most() > RETAINED {
            return Err(format!(
                "these are up to {} revisions, and a path keeps no more than {RETAINED}, the committed one included: lower last, hourly, daily, weekly or monthly",
                rules.most()
            ));
        }
        Ok(Self(rules))
    }
}

fn count(name: &str, value: &str, least: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| (least..=RETAINED).contains(number));
    number.ok_or_else(|| format!("{name}={value}: write a number from {least} to {RETAINED}"))
}

fn age(value: &str) -> Result<SignedDuration, String> {
    let age = value.parse().ok().filter(|age: &SignedDuration| age.is_positive());
    age.ok_or_else(|| format!("maxAge={value}: write a duration above 0 such as 2160h"))
}

fn zone(value: &str) -> Result<TimeZone, String> {
    TimeZone::get(value).map_err(|_| format!("timeZone={value}: there is no such time zone; write an IANA name such as Europe/Berlin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_what_cannot_be_meant_is_refused_in_words() {
        let read = |text: &str| text.parse::<RetainArg>().map(|arg| arg.0);
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let all = Retention {
            last: 2,
            hourly: 24,
            daily: 7,
            weekly: 4,
            monthly: 3,
            max_age: Some(SignedDuration::from_hours(2160)),
            zone: berlin,
        };
        assert_eq!(read("last=2,hourly=24,daily=7,weekly=4,monthly=3,maxAge=2160h,timeZone=Europe/Berlin"), Ok(all));
        assert_eq!(read("daily=7"), Ok(Retention { daily: 7, ..Retention::last(1) }));
        assert_eq!(read("last=4096").map(|rules| rules.most()), Ok(4096));
        for (bad, said) in [
            ("", "none of last=N"),
            ("5", "none of last=N"),
            ("last=1,", "none of last=N"),
            ("yearly=1", "\"yearly\" is none of"),
            ("last=1,last=2", "last is there twice"),
            ("last=0", "from 1 to 4096"),
            ("daily=-1", "from 0 to 4096"),
            ("daily=99999999999999999999", "from 0 to 4096"),
            ("last=4000,daily=97", "up to 4097 revisions"),
            ("maxAge=-1h", "above 0"),
            ("maxAge=9", "such as 2160h"),
            ("timeZone=Europe/Bern", "no such time zone"),
        ] {
            let refused = read(bad).unwrap_err();
            assert!(refused.contains(said), "{bad}: {refused}");
        }
    }
}
