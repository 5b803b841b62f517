//! As much of PromQL as tells which metrics and labels an expression names.

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Its metrics, each with the labels that it is selected by.
    pub(crate) metrics: Vec<(String, Vec<String>)>,
    /// Labels that series are grouped by: all that is left of them behind it.
    pub(crate) by: Vec<String>,
    /// Labels that series are matched by, or that are left out or taken over.
    pub(crate) matched: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name, a keyword or a number.
    Word(String),
    /// What stands in quotes.
    Text,
    Symbol(char),
}

const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];
const MATCHINGS: [&str; 5] = ["without", "on", "ignoring", "group_left", "group_right"];

/// What the expression names.
///
/// # Errors
/// If it is none that can be read here.
pub(crate) fn names(expr: &str) -> Result<Names, String> {
    let tokens = tokens(expr)?;
    let mut names = Names::default();
    let mut rest = tokens.as_slice();
    while let [token, behind @ ..] = rest {
        rest = behind;
        let word = match token {
            Token::Word(word) => word.as_str(),
            Token::Symbol('{') => return Err("a selector names no metric".to_owned()),
            Token::Text | Token::Symbol(_) => continue,
        };
        if word == "by" || MATCHINGS.contains(&word) {
            let labels = if word == "by" { &mut names.by } else { &mut names.matched };
            labels.extend(taken_in(&mut rest, '(', ')'));
        } else if is_metric(word, rest) {
            names.metrics.push((word.to_owned(), taken_in(&mut rest, '{', '}')));
        }
    }
    Ok(names)
}

/// A word that is no number, no operator, and neither a function nor an aggregation.
fn is_metric(word: &str, behind: &[Token]) -> bool {
    let calls = match behind.first() {
        Some(Token::Symbol('(')) => true,
        Some(Token::Word(next)) => next == "by" || next == "without",
        _ => false,
    };
    !calls && !OPERATORS.contains(&word) && !word.starts_with(|c: char| c.is_ascii_digit())
}

/// The words between two brackets, if the first is next.
fn taken_in(rest: &mut &[Token], open: char, close: char) -> Vec<String> {
    let [Token::Symbol(symbol), inside @ ..] = *rest else { return Vec::new() };
    if *symbol != open {
        return Vec::new();
    }
    let end = inside.iter().position(|token| *token == Token::Symbol(close)).unwrap_or(inside.len());
    *rest = &inside[end..];
    inside[..end]
        .iter()
        .filter_map(|token| match token {
            Token::Word(word) => Some(word.clone()),
            Token::Text | Token::Symbol(_) => None,
        })
        .collect()
}

fn tokens(expr: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = expr.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => {
                tokens.push(Token::Text);
                quoted(rest, first).ok_or("a quote does not end")?
            }
            // How far a range goes names nothing.
            '[' => rest.find(']').ok_or("a range does not end")? + 1,
            _ if is_in_word(first) => {
                let length = rest.find(|c| !is_in_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => {
                tokens.push(Token::Symbol(first));
                first.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')
}

/// The length of what is quoted, quotes included.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[test]
fn metrics_and_labels_are_told_from_all_else() {
    let found = names(
        r#"histogram_quantile(0.99, sum by (rpc_method, le) (rate(a_bucket{job=~"x{\"}y", c != 'd'}[5m] offset 1h)))
           / on (instance) group_left (version) (max without (pod) (b:c:rate5m) > bool 1e3) and absent(d) or time()"#,
    )
    .unwrap();
    let metric = |name: &str, labels: &[&str]| {
        (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        found.metrics,
        [metric("a_bucket", &["job", "c"]), metric("b:c:rate5m", &[]), metric("d", &[])]
    );
    assert_eq!(found.by, ["rpc_method", "le"]);
    assert_eq!(found.matched, ["instance", "version", "pod"]);
    assert!(names(r#"rate({job="x"}[5m])"#).is_err());
    assert!(names("a[5m").is_err());
    assert!(names(r#"a{b="c}"#).is_err());
}
