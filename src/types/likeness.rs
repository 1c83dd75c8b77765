//! "Did you mean": how much a misspelt word is like the ones that would have been taken.

/// How much two texts are alike, from 0 to 1. Costs time and memory by the product of the lengths.
pub(crate) fn likeness(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(one, other)
}

/// The candidate that is most like `word`, if it is at least so much like it, from 0 to 1.
pub(crate) fn closest<'a>(
    word: &str,
    alike_min: f64,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let scored = candidates
        .into_iter()
        .map(|candidate| (candidate, likeness(word, candidate)));
    let best = scored.max_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, score)| *score >= alike_min)
        .map(|(candidate, _)| candidate)
}

/// The candidate that `word` was most likely meant to be, if any is close.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    closest(word, 0.6, candidates)
}

/// "did you mean x? " where a candidate is close, else nothing: the beginning of a cure.
pub(crate) fn guess<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates)
        .map(|near| format!("did you mean {near}? "))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(
            nearest("boostrap_servers", ["cluster_id", "bootstrap_servers"]),
            Some("bootstrap_servers")
        );
        assert_eq!(nearest("colour", ["cluster_id", "bootstrap_servers"]), None);
    }
}
