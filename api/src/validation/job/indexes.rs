//! Sets of indexes as jobs write them: `1,3-5,7`.

/// The intervals of a set, in their order.
///
/// # Errors
/// When it is none, or has an index that is not below `completions`; the text says why.
pub(super) fn parse(text: &str, completions: i32) -> Result<Vec<(i32, i32)>, String> {
    let mut intervals: Vec<(i32, i32)> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some((_, previous)) = intervals.last().filter(|(_, previous)| *previous >= first) {
            return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

fn interval(text: &str, completions: i32) -> Result<(i32, i32), String> {
    let index = |text: &str| match text.parse::<i32>() {
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        [one] => index(one).map(|index| (index, index)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            if first >= last {
                return Err(format!("non-increasing order, previous: {first}, current: {last}"));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

/// How many indexes a set has.
pub(super) fn count(intervals: &[(i32, i32)]) -> i64 {
    intervals.iter().map(|(first, last)| i64::from(*last) - i64::from(*first) + 1).sum()
}

/// The first index that both sets have.
pub(super) fn common(one: &[(i32, i32)], other: &[(i32, i32)]) -> Option<i32> {
    let overlap = |a: &(i32, i32), b: &(i32, i32)| (a.0 <= b.1 && b.0 <= a.1).then(|| a.0.max(b.0));
    one.iter().flat_map(|a| other.iter().filter_map(move |b| overlap(a, b))).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_indexes_are_read() {
        assert_eq!(parse("1,3-5,7", 8), Ok(vec![(1, 1), (3, 5), (7, 7)]));
        assert_eq!(parse("", 8), Ok(vec![]));
        for wrong in ["a", "8", "1-2-3", "3-3", "5,4", "1,", "2-8"] {
            assert!(parse(wrong, 8).is_err(), "{wrong}");
        }
        let sets = [parse("1,3-5", 8), parse("0,5-6", 8), parse("2,6", 8)].map(|set| set.expect("a set"));
        assert_eq!((count(&sets[0]), common(&sets[0], &sets[1]), common(&sets[0], &sets[2])), (4, Some(5), None));
    }
}
