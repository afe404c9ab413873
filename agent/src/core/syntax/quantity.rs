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

/// Reads an amount of a resource of a container, such as `10m` of cpu; none where the text is none, or less than zero.
pub fn amount(text: &str) -> Option<f64> {
    let fraction = |suffix: char, factor: f64| {
        let digits = text.strip_suffix(suffix).filter(|digits| digits.chars().all(|c| c.is_ascii_digit() || c == '.'))?;
        digits.parse::<f64>().ok().map(|amount| amount * factor)
    };
    // Volumes have no use for these, and count whole bytes.
    let small = fraction('n', 1e-9).or_else(|| fraction('u', 1e-6)).or_else(|| fraction('m', 1e-3)).or_else(|| text.parse().ok());
    #[allow(clippy::cast_precision_loss, reason = "amounts are compared, not counted")]
    let amount = small.or_else(|| bytes(text).map(|bytes| bytes as f64));
    amount.filter(|amount: &f64| amount.is_finite() && *amount >= 0.0 && !text.starts_with('-'))
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

    #[rstest]
    #[case("10m", Some(0.01))]
    #[case("1", Some(1.0))]
    #[case("1.5", Some(1.5))]
    #[case("64Mi", Some(67_108_864.0))]
    #[case("5u", Some(5e-6))]
    #[case("lots", None)]
    #[case("64MB", None)]
    #[case("-1", None)]
    #[case("", None)]
    fn amounts(#[case] text: &str, #[case] expected: Option<f64>) {
        assert_eq!(amount(text).map(|amount| (amount * 1e9).round()), expected.map(|amount| (amount * 1e9).round()));
    }
}
