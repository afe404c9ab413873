//! Kubernetes' size notation, as far as volumes use it: `10Gi`, `500M`, `1.5Ti`, `1e9`.

/// Reads a size in bytes, rounded up; none where the text is no size.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let factor: f64 = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    if let (Ok(whole), "") = (digits.parse::<u64>(), suffix) {
        return Some(whole);
    }
    let value = (digits.parse::<f64>().ok()? * factor).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    (0.0..1.8e19).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10Gi", Some(10 << 30))]
    #[case("1.5Ki", Some(1536))]
    #[case("500M", Some(500_000_000))]
    #[case("1e3", Some(1000))]
    #[case("2E", Some(2_000_000_000_000_000_000))]
    #[case("1073741824", Some(1 << 30))]
    #[case("100m", Some(1))]
    #[case("", None)]
    #[case("ten", None)]
    #[case("-1Gi", None)]
    #[case("1Zi", None)]
    fn sizes(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(bytes(text), expected);
    }
}
