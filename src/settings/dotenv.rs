//! The text of a `.env` file → its variables.
//!
//! Line by line, as Docker reads it: no value goes over several. dotenvy reads each line;
//! what it would expand or unescape, which Docker would not, is refused, as a secret would
//! silently be another one there.

/// A line that can't be used. It is not quoted, since it may hold a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Counted from 1.
    pub(super) line: usize,
    /// What is wrong, and what would be right.
    pub(super) why: &'static str,
}

/// Every variable with its value, in order.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, Wrong> {
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |why| Wrong { line: at + 1, why };
        match dotenvy::Iter::new(line.as_bytes()).next() {
            None => {}
            Some(Ok(_)) if !is_literal(line) => {
                return Err(wrong(
                    "has a $ or a \\, which could mean something else; \
                     leave it out, or put the whole value into '...'",
                ));
            }
            Some(Ok(variable)) => variables.push(variable),
            Some(Err(_)) => {
                return Err(wrong(
                    "is not NAME=value; quote a value with spaces, or remove the line",
                ));
            }
        }
    }
    Ok(variables)
}

/// Whether a line has no `$` and no `\` but inside a value that is wholly in single quotes,
/// where both are what they are.
fn is_literal(line: &str) -> bool {
    let (_, value) = line.split_once('=').unwrap_or_default();
    let quoted = value.trim_start().strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let exposed = match quoted {
        Some((_, rest)) if rest.is_empty() || rest.starts_with([' ', '\t']) => rest,
        _ => value,
    };
    !exposed.contains(['$', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> Option<String> {
        read(line).ok().map(|variables| variables.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn dollar_and_backslash_are_themselves_in_single_quotes() {
        for inner in ["$HOME", "a\\b", "${A}$", "\\$\\\"", "# $1"] {
            for line in [
                format!("A='{inner}'"),
                format!(" export A = '{inner}'"),
                format!("A='{inner}' # why"),
                format!("A='{inner}'\t#why"),
            ] {
                assert_eq!(value(&line).as_deref(), Some(inner), "{line}");
            }
        }
    }

    #[test]
    fn dollar_and_backslash_are_refused_elsewhere() {
        for line in [
            "A=$HOME",
            "A=a$",
            "A=a\\$HOME",
            "A=it\\'s$HOME",
            "A=\"a\\\"'$HOME'\"",
            "A=\"'$HOME'\"",
            "A='a'$HOME",
            "A='a'$HOME'b'",
            "A=a'$HOME'",
            "A=\"$HOME\"",
            "A=\"a\\nb\"",
            "A=a\\ b",
            "A='a' 'b$HOME'",
            "A='a' # $HOME",
            "A='a$HOME",
        ] {
            assert_eq!(value(line), None, "{line}");
        }
    }

    #[test]
    fn comments_may_hold_anything() {
        assert_eq!(value("# it\\'s $HOME\n  # $\n\nA=1").as_deref(), Some("1"));
    }

    #[test]
    fn byte_order_mark_is_skipped() {
        assert_eq!(value("\u{feff}A=1\r\nB=2\r\n").as_deref(), Some("12"));
        assert_eq!(value("\u{feff}# a comment\nA=1").as_deref(), Some("1"));
        assert_eq!(value("A=1\n\u{feff}B=2"), None);
    }

    #[test]
    fn line_that_is_wrong_is_named() {
        let wrong = read("A=1\n\nB=$A\n").unwrap_err();
        assert_eq!(wrong.line, 3);
        assert!(!wrong.why.contains("$A"));
    }
}
