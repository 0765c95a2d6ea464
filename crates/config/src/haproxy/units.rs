//! Times, sizes and numbers as haproxy reads them.

use std::time::Duration;

/// Longest time: what fits into a signed number of milliseconds.
const TIME_MAX_MS: u64 = 2_147_483_647;

/// A time and, if it ends in something else than its unit, a word of warning.
pub(super) fn time(text: &str, unit_ms: u64) -> Result<(Duration, Option<String>), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(match text.is_empty() {
            true => "needs a time, such as 10s or 500ms".to_owned(),
            false => format!("`{text}` is no time, expected one such as 10s or 500ms"),
        });
    }
    let units = [("us", 0), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let found = units.iter().find(|(name, _)| rest.starts_with(name));
    let (name, factor) = match (rest, found) {
        ("", _) => ("", unit_ms),
        (_, Some((name, factor))) => (*name, *factor),
        _ => return Err(format!("`{text}` is no time: the units are us, ms, s, m, h and d")),
    };
    let too_long = || format!("`{text}` is too long, the most is about 24.8 days");
    let number: u64 = number.parse().map_err(|_| too_long())?;
    let ms = if name == "us" { number.div_ceil(1000) } else { number.checked_mul(factor).ok_or_else(too_long)? };
    if ms > TIME_MAX_MS {
        return Err(too_long());
    }
    let left = &rest[name.len()..];
    let odd = (!left.is_empty()).then(|| format!("what follows the unit in `{text}` is not read: {left}"));
    Ok((Duration::from_millis(ms), odd))
}

/// A number that may end in k, m or g.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let wrong = || format!("`{text}` is no size, expected a number that may end in k, m or g");
    let factor = match rest {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// A number as C's `atol` takes it: what it begins with, else 0.
pub(super) fn number(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    sign * digits[..end].parse::<i64>().unwrap_or(if end == 0 { 0 } else { i64::MAX })
}

/// A number that has to be one, within bounds.
pub(super) fn whole<T: TryFrom<i64>>(text: &str, least: i64, most: i64) -> Result<T, String> {
    let wrong = || match text {
        "" => format!("needs a number from {least} to {most}"),
        _ => format!("`{text}` is not a number from {least} to {most}"),
    };
    let number: i64 = text.parse().map_err(|_| wrong())?;
    (least..=most).contains(&number).then(|| T::try_from(number).ok()).flatten().ok_or_else(wrong)
}
