//! Text and numbers as a page shows them.

/// Text with the characters that HTML gives a meaning escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A count with a decimal prefix and three digits: `0`, `950`, `38.2 M`, `1.20 G`.
pub fn scaled(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 999.5e6 => (v / 1e9, " G"),
        v if v >= 999.5e3 => (v / 1e6, " M"),
        v if v >= 999.5 => (v / 1e3, " k"),
        v => (v, ""),
    };
    match value {
        v if unit.is_empty() || v >= 99.95 => format!("{v:.0}{unit}"),
        v if v >= 9.995 => format!("{v:.1}{unit}"),
        v => format!("{v:.2}{unit}"),
    }
}

/// A share in 0..=1 as per cent with one decimal.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The mean of some values, `None` of none.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0.0, "0"),
            (950.0, "950"),
            (1_200.0, "1.20 k"),
            (38.24e6, "38.2 M"),
            (999.6e6, "1.00 G"),
            (742e6, "742 M"),
        ];
        for (value, text) in cases {
            assert_eq!(scaled(value), text);
        }
        assert_eq!(percent(0.4567), "45.7 %");
        assert_eq!(mean([].into_iter()), None);
        assert_eq!(mean([1.0, 3.0].into_iter()), Some(2.0));
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("<b a='1' c=\"2\">&"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
    }
}
