//! A row of numbers as a row of bars. The important numbers are shown in words beside it.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A column for each value; the highest value gets the highest bar, and zero the lowest one.
pub(super) fn sparkline(values: &[u64]) -> String {
    let most = values.iter().max().copied().unwrap_or(0);
    values.iter().map(|value| bar(*value, most)).collect()
}

fn bar(value: u64, most: u64) -> char {
    // Every value above zero is higher than the lowest bar.
    let step = if value == 0 { 0 } else { (u128::from(value) * 7).div_ceil(u128::from(most)) };
    BARS[usize::try_from(step).unwrap_or(7).min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_fills_its_column_and_one_is_more_than_none() {
        assert_eq!(sparkline(&[1, 0, 1, 50, 100]), "▂▁▂▅█");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[u64::MAX, u64::MAX / 2]), "█▅");
    }
}
