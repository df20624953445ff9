//! The `.env` file: where it is looked for, how it is read, and what the template contains.

mod support;

use std::path::Path;

use support::{SECRET, Setup};

/// The least `.env` with which moss starts.
const ENOUGH: &str = "\
MOSS_CONNECTION_SECRET=only-the-tests-know-it
MOSS_CONNECTION_OFFER_TYPE=connection-offer
MOSS_HOSTNAME=127.0.0.1
MOSS_PORT=0
";

/// Moss must not start with this `.env`; its one line on stderr is returned.
#[track_caller]
fn refusal(text: impl AsRef<[u8]>) -> String {
    Setup::empty().file(".env", text).refusal(2)
}

#[test]
fn dotenv_fills_in_what_the_environment_lacks() {
    let moss = Setup::empty().file(".env", ENOUGH).start();
    moss.master("1").expect_nothing();
}

#[test]
fn environment_wins_over_dotenv() {
    let moss = Setup::new()
        .file(".env", "MOSS_CONNECTION_SECRET=the-other-secret\nMOSS_HOSTNAME=nowhere.invalid\n")
        .start();
    moss.master("1").expect_nothing();
}

#[test]
fn empty_variable_does_not_hide_the_one_in_dotenv() {
    let moss = Setup::new().set("MOSS_CONNECTION_SECRET", "").file(".env", ENOUGH).start();
    moss.master("1").expect_nothing();
}

#[test]
fn dotenv_of_a_parent_folder_is_not_read() {
    let setup = Setup::empty().file(".env", ENOUGH);
    let inner = setup.folder().join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    let output = setup.command(&[]).current_dir(inner).output().expect("moss can be run");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("MOSS_CONNECTION_SECRET"), "{stderr}");
}

#[test]
fn dotenv_may_have_comments_blank_lines_and_quotes() {
    let text = "# a comment\n\n  # another\nMOSS_CONNECTION_SECRET='only-the-tests-know-it'\n\
        MOSS_CONNECTION_OFFER_TYPE=\"connection-offer\"\nexport MOSS_HOSTNAME=127.0.0.1\n\
        MOSS_PORT=0 # any\nOTHER=x\nPATH=\n";
    let moss = Setup::empty().file(".env", text).start();
    moss.master("1").expect_nothing();
}

#[test]
fn dotenv_may_end_its_lines_as_windows_does() {
    let moss = Setup::empty().file(".env", ENOUGH.replace('\n', "\r\n")).start();
    moss.master("1").expect_nothing();
}

#[test]
fn dotenv_may_lack_its_last_newline() {
    let moss = Setup::empty().file(".env", ENOUGH.trim_end()).start();
    moss.master("1").expect_nothing();
}

#[test]
fn invalid_line_stops_moss() {
    for line in ["MOSS_PORT", "two words", "=x", "MOSS PORT=1", "MOSS_KICK_TYPE=\"open", "}{"] {
        let stderr = refusal(format!("{ENOUGH}# comment\n{line}\nMOSS_LOG=info\n"));
        assert!(stderr.contains(".env, line 6"), "{line}: {stderr}");
    }
}

#[test]
fn number_of_an_invalid_line_is_right_among_similar_ones() {
    let text = "# MOSS_PORT\nMOSS_PORT=0\nMOSS_PORT\n";
    assert!(refusal(text).contains(".env, line 3:"), "{}", refusal(text));
    let text = "# MOSS_LOG=two words\n\nMOSS_LOG=two words\n";
    assert!(refusal(text).contains(".env, line 3:"), "{}", refusal(text));
}

#[test]
fn invalid_line_is_not_quoted() {
    for line in [
        "MOSS_CONNECTION_SECRET=two words",
        "MOSS_CONNECTION_SECRET words",
        "MOSS_CONNECTION_SECRET='words",
        "words",
    ] {
        assert!(!refusal(line).contains("words"), "{}", refusal(line));
    }
}

/// With the secret in `.env` in this form, moss must accept a master with it.
#[track_caller]
fn assert_secret(written: &str, secret: &str) {
    let text = ENOUGH.replace("MOSS_CONNECTION_SECRET=only-the-tests-know-it", written);
    let moss = Setup::empty().file(".env", text).start();
    let mut master = moss.guest();
    let payload = serde_json::json!({ "secret": secret, "sdp": 1 });
    master.send(&format!(r#"{{"type":"set-master","payload":{payload}}}"#));
    master.expect(r#"{"type":"master-confirmation","payload":""}"#);
}

/// dotenvy expands `$NAME` and drops a `\`: a secret must not silently become another one.
#[test]
fn dollar_and_backslash_are_refused() {
    for value in [
        "a$HOME-and-more",
        "a${HOME}b",
        "a$",
        "\"a $HOME and more\"",
        "a\\b",
        "a\\ b",
        "\"a\\nb\"",
        "it\\'s$HOME",
        "\"a\\\"'$HOME'\"",
    ] {
        for name in ["MOSS_CONNECTION_SECRET=", "MOSS_CONNECTION_SECRET = ", "export OTHER="] {
            let stderr = refusal(format!("{ENOUGH}\n{name}{value}\n"));
            assert!(stderr.contains(".env, line 6: has a $ or a \\"), "{name}{value}: {stderr}");
            assert!(stderr.contains("quote the whole value with '...'"), "{stderr}");
            assert!(!stderr.contains("HOME"), "{name}{value}: {stderr}");
        }
    }
}

#[test]
fn dollar_and_backslash_need_single_quotes_around_the_whole_value() {
    for value in [
        "a'$b'",
        "'a'$b",
        "'a'\\''$b'",
        "'a' '$b'",
        "'a''$b'",
        "'$a'#b",
        "\"'$a'\"",
        "'$a",
        "'a' # $b",
        "a # $b",
    ] {
        let stderr = refusal(format!("{ENOUGH}OTHER={value}\n"));
        assert!(stderr.contains(".env, line 5: has a $ or a \\"), "{value}: {stderr}");
    }
}

#[test]
fn value_in_single_quotes_is_taken_as_it_is() {
    let secret = r#"$HOME \$ \n ${x} \\ "quoted" # = \"#;
    for written in [
        format!("MOSS_CONNECTION_SECRET='{secret}'"),
        format!("MOSS_CONNECTION_SECRET = '{secret}'"),
        format!("  export MOSS_CONNECTION_SECRET='{secret}' # it's quoted"),
        format!("MOSS_CONNECTION_SECRET='{secret}' \t"),
        format!("MOSS_CONNECTION_SECRET='{secret}'\r"),
    ] {
        assert_secret(&written, secret);
    }
}

#[test]
fn comment_line_may_have_dollars_and_backslashes() {
    let text = "# A=$HOME\n  # it\\'s$HOME\n#'$a\\\n";
    Setup::empty()
        .file(".env", format!("{text}{ENOUGH}{text}"))
        .start()
        .master("1")
        .expect_nothing();
}

#[test]
fn space_at_the_end_of_a_line_is_ignored() {
    let text = ENOUGH.replace('\n', " \n \n\t\n");
    Setup::empty().file(".env", text).start().master("1").expect_nothing();
}

#[test]
fn byte_order_mark_at_the_start_is_skipped() {
    Setup::empty().file(".env", format!("\u{feff}{ENOUGH}")).start().master("1").expect_nothing();
    // But only at the start of the file; and the first line is still read.
    assert!(refusal(format!("{ENOUGH}\u{feff}A=b\n")).contains(".env, line 5:"));
    assert!(refusal(format!("\u{feff}A=$b\n{ENOUGH}")).contains(".env, line 1:"));
}

#[test]
fn dotenv_that_is_not_utf8_stops_moss() {
    assert!(refusal(b"MOSS_PORT=0\n\xff\xfe\n").contains(".env"));
}

#[test]
fn dotenv_that_is_no_file_stops_moss() {
    let setup = Setup::new();
    std::fs::create_dir(setup.folder().join(".env")).expect("a folder");
    let output = setup.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(".env"));
}

#[test]
fn unknown_variable_in_dotenv_is_warned_of() {
    let moss = Setup::empty().file(".env", format!("{ENOUGH}MOSS_PROT=80\n")).start();
    assert!(moss.wait_for_log("MOSS_PROT").contains("WARN"));
}

fn repository_file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of moss's variables, from its source.
fn variables() -> Vec<String> {
    let source = repository_file("src/settings/variables.rs");
    let quoted = source.split('"').skip(1).step_by(2);
    let names: Vec<_> = quoted
        .filter(|text| text.len() > 5 && text.starts_with("MOSS_"))
        .map(str::to_owned)
        .collect();
    assert!(names.len() >= 17, "{names:?}");
    names
}

/// The template's assignments, each with the comment lines right above it. Some assignments are
/// commented out, because even an empty variable would override the one that is set elsewhere.
fn template() -> Vec<(String, String, String)> {
    let text = repository_file("template.env");
    let mut above = String::new();
    let mut assignments = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').filter(|rest| rest.starts_with("MOSS_")).unwrap_or(line);
        match line.split_once('=').filter(|_| !line.starts_with('#')) {
            Some((name, value)) => {
                assignments.push((name.to_owned(), value.to_owned(), std::mem::take(&mut above)));
            }
            None if line.is_empty() => above.clear(),
            None => {
                assert!(line.starts_with('#'), "{line:?}");
                above.push_str(line);
            }
        }
    }
    assignments
}

#[test]
fn template_lists_every_variable_once() {
    let mut listed: Vec<_> = template().into_iter().map(|(name, ..)| name).collect();
    let mut known = variables();
    listed.sort();
    known.sort();
    assert_eq!(listed, known);
}

#[test]
fn template_explains_every_variable() {
    for (name, _, above) in template() {
        assert!(above.len() > 20, "{name}: {above:?}");
    }
}

#[test]
fn template_starts_with_what_everybody_sets() {
    let mut first: Vec<_> = template().into_iter().take(4).map(|(name, ..)| name).collect();
    first.sort();
    let four =
        ["MOSS_CONNECTION_OFFER_TYPE", "MOSS_CONNECTION_SECRET", "MOSS_HOSTNAME", "MOSS_PORT"];
    assert_eq!(first, four);
}

/// `docker run --env-file` supports neither quotes nor `$` nor comments after a value.
#[test]
fn template_means_the_same_to_docker() {
    for (name, value, _) in template() {
        assert!(!value.contains(['"', '\'', '$', '#', '\\', ' ']), "{name}={value}");
    }
}

#[test]
fn template_with_the_secret_filled_in_starts_moss() {
    let text = repository_file("template.env");
    let filled = text.replacen(
        "\nMOSS_CONNECTION_SECRET=",
        &format!("\nMOSS_CONNECTION_SECRET={SECRET}"),
        1,
    );
    assert_ne!(text, filled);
    // Only the port differs from the template's, which may be in use here.
    let moss = Setup::empty().set("MOSS_PORT", "0").file(".env", filled).start();
    assert!(!moss.log().contains("not a variable"), "{}", moss.log());
    moss.master("1").expect_nothing();
}

#[test]
fn template_with_nothing_filled_in_asks_for_the_secret() {
    let output = Setup::empty().file(".env", repository_file("template.env")).run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MOSS_CONNECTION_SECRET"));
}
