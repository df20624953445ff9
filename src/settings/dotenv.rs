//! `.env` → names and values, line by line as Docker reads it: no value spans several lines.
//!
//! dotenvy knows the syntax, but it expands `$NAME` and unescapes `\`, which Docker does not:
//! the same file would give two different secrets. So both characters are refused, except in
//! a value that is completely in single quotes; such a value is not passed to dotenvy.
//! Nothing here reads a file or the environment, and no error quotes a line: it may hold the
//! secret.

const AMBIGUOUS: &str = "has a $ or a \\ that is not in single quotes; leave it out, or \
    quote the whole value with '...'";
const UNREADABLE: &str = "is not NAME=value; quote a value with spaces, or remove the line";

/// A line that can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) number: usize,
    /// What is wrong, and what would be right.
    pub(super) why: &'static str,
}

/// The assignments in a file's text, in its order.
///
/// # Errors
/// The first line that can't be used.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, BadLine> {
    // The byte order mark with which Windows saves a text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .enumerate()
        // dotenvy takes white space at the end of its text for an incomplete line.
        .map(|(at, line)| (at, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| assignment(line).map_err(|why| BadLine { number: at + 1, why }))
        .collect()
}

fn assignment(line: &str) -> Result<(String, String), &'static str> {
    let (plain, quoted) = match single_quoted(line) {
        // dotenvy would not accept '\' as a complete value.
        Some((name, value, comment)) => (format!("{name}=''{comment}"), Some(value)),
        None => (line.to_owned(), None),
    };
    // Also after a #: Docker has no comments there.
    if plain.contains(['$', '\\']) {
        return Err(AMBIGUOUS);
    }
    match dotenvy::Iter::new(plain.as_bytes()).next() {
        Some(Ok((name, value))) => Ok((name, quoted.map_or(value, str::to_owned))),
        _ => Err(UNREADABLE),
    }
}

/// Splits a line whose value is completely in single quotes: the part before the `=`, the value,
/// and the rest of the line, which is empty or a comment.
fn single_quoted(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.split_once('=')?;
    let (value, rest) = rest.trim_start().strip_prefix('\'')?.split_once('\'')?;
    let comment = rest.trim_start_matches([' ', '\t']);
    let whole = rest.is_empty() || comment.starts_with('#') && comment != rest;
    whole.then_some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_value(line: &str, value: &str) {
        assert_eq!(parse(line), Ok(vec![("A".to_owned(), value.to_owned())]), "{line}");
    }

    #[track_caller]
    fn assert_refused(line: &str, why: &'static str) {
        let text = format!("# comment\n\n{line}\nB=c\n");
        assert_eq!(parse(&text), Err(BadLine { number: 3, why }), "{line}");
    }

    #[test]
    fn characters_in_single_quotes_are_the_value() {
        assert_value(r"A='$b\c'", r"$b\c");
        assert_value(r"A='\'", r"\");
        assert_value(r"A='\' # it's one", r"\");
        assert_value(r#" export A = '"${B}" # = \n' "#, r#""${B}" # = \n"#);
        assert_value("A=''", "");
    }

    #[test]
    fn value_partly_in_single_quotes_is_not_wholly_in_them() {
        for line in [r"A=a'$b'", "A='$a'b", "A='$a'#", "A='$a''b'", "A='$a' 'b'", r"A='a\'b'"] {
            assert_refused(line, AMBIGUOUS);
        }
    }

    #[test]
    fn dollar_or_backslash_is_refused_anywhere_else() {
        for line in [r"A=\", "A=$", "A=\"$b\"", "$A=b", "A='b' # $c", r"A=it\'s$HOME", "A=='$b'"] {
            assert_refused(line, AMBIGUOUS);
        }
    }

    #[test]
    fn other_values_are_as_dotenvy_reads_them() {
        assert_value("A=b#c", "b#c");
        assert_value("A=b # c", "b");
        assert_value("A='b'\"c\"d", "bcd");
        assert_value("A=\"it's\"", "it's");
        assert_value("A=", "");
        assert_value("A= # b", "");
    }

    #[test]
    fn line_that_is_no_assignment_is_refused() {
        for line in ["A", "A b=c", "=b", "A'='b'", "A=b c", "A='b", "A='b' c", "\u{feff}A=b"] {
            assert_refused(line, UNREADABLE);
        }
    }
}
