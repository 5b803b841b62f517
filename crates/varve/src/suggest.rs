//! "Did you mean ...?"

/// The known name most like `wrong`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = (wrong.chars().count() / 3).clamp(1, 4);
    let wrong_lower = wrong.to_ascii_lowercase();
    let scored = known.into_iter().map(|name| {
        let lower = name.to_ascii_lowercase();
        let distance = strsim::damerau_levenshtein(&wrong_lower, &lower);
        // "event" for "events-2026": one begins the other, and there is enough of it to be no accident.
        let begins = wrong.len() >= 3
            && name.len() >= 3
            && (lower.starts_with(&wrong_lower) || wrong_lower.starts_with(&lower));
        (if begins { distance.min(near_enough) } else { distance }, name)
    });
    scored
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let known = ["data-dir", "rpc-port", "log-level", "node-name"];
        assert_eq!(nearest("datadir", known), Some("data-dir"));
        assert_eq!(nearest("data_dir", known), Some("data-dir"));
        assert_eq!(nearest("prc-port", known), Some("rpc-port"));
        assert_eq!(nearest("LOG-LEVL", known), Some("log-level"));
        assert_eq!(nearest("log", known), Some("log-level"));
        assert_eq!(nearest("quux", known), None);
        assert_eq!(nearest("", known), None);
    }
}
