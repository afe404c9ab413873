//! Names that no bucket of S3 can have. Pure.
//!
//! Servers answer them with 400, 403 or 404, some as if the key were wrong. Others take them, so that nothing is refused for its name alone.

use std::net::Ipv4Addr;

/// The rule of S3 for names of buckets that this one breaks, if it breaks any; it follows "a bucket's name".
pub fn broken_rule(bucket: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    match () {
        () if !bucket.chars().all(|c| is_plain(c) || ['.', '-'].contains(&c)) => {
            Some("consists of lower case letters, digits, dots and hyphens")
        }
        () if !(3..=63).contains(&bucket.len()) => Some("has 3 to 63 characters"),
        () if !(bucket.starts_with(is_plain) && bucket.ends_with(is_plain)) => Some("begins and ends with a letter or a digit"),
        () if bucket.contains("..") => Some("has no two dots in a row"),
        () if bucket.parse::<Ipv4Addr>().is_ok() => Some("is not an IP address"),
        () => None,
    }
}

/// What is wrong with the bucket that this path of S3 begins with, where its name breaks a rule.
pub fn advice(path: &str) -> Option<String> {
    let bucket = path.split('/').find(|component| !component.is_empty())?;
    let rule = broken_rule(bucket)?;
    Some(format!(
        "{bucket:?}, with which rcloneDestPath begins, cannot be a bucket of S3, whose name {rule}: correct it, unless this server takes such names"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("scribe-test.bucket-1", None)]
    #[case("abc", None)]
    #[case("1.2.3.4.5", None)]
    #[case("Bucket", Some("lower case"))]
    #[case("my_bucket", Some("lower case"))]
    #[case("bücket", Some("lower case"))]
    #[case("my bucket", Some("lower case"))]
    #[case("ab", Some("3 to 63"))]
    #[case("-bucket", Some("begins and ends"))]
    #[case("bucket.", Some("begins and ends"))]
    #[case("a..b", Some("two dots"))]
    #[case("192.168.5.4", Some("IP address"))]
    fn a_name_is_held_against_the_rules(#[case] bucket: &str, #[case] expected: Option<&str>) {
        let broken = broken_rule(bucket);
        assert_eq!(broken.is_some(), expected.is_some(), "{broken:?}");
        assert!(broken.unwrap_or_default().contains(expected.unwrap_or_default()), "{broken:?}");
    }

    #[test]
    fn the_length_is_that_of_the_name() {
        assert_eq!(broken_rule(&"a".repeat(63)), None);
        assert!(broken_rule(&"a".repeat(64)).is_some());
    }

    #[test]
    fn the_bucket_is_what_the_path_begins_with() {
        assert!(advice("//My_Bucket/path").is_some_and(|advice| advice.contains("\"My_Bucket\"")));
        assert_eq!(advice("bucket/My_Path"), None);
    }
}
