//! Reads the files of the secrets again.
//!
//! If a new secret can't be used, the old one stays. No role changes: a secret is checked only
//! when a peer sends one.

use std::path::Path;

use crate::settings::config::{Config, Secret};
use crate::settings::secrets::read_again;
use crate::settings::variables::{CONNECTION_SECRET_FILE, LOGIN_SECRET_FILE, SHORT_SECRET};

/// The secret in a file, or why it can't be used.
type Found = Result<Secret, String>;

/// Reads the files, and logs the result for each.
#[cold]
pub(super) fn reload(config: &mut Config) {
    let read = |path: &Path| read_again(path).map(|text| Secret::new(&text));
    let mut connection = config.secret_files.connection.as_deref().map(read);
    let mut login = config.secret_files.login.as_deref().map(read);
    let old = (Some(&config.secret), config.login_secret.as_ref());
    if in_force(&connection, old.0) == in_force(&login, old.1) {
        // Refuses only the one that has changed.
        refuse_change(&mut connection, old.0, "the login secret");
        refuse_change(&mut login, old.1, "the connection secret");
    }
    let connection = tell("connection", CONNECTION_SECRET_FILE, connection, old.0);
    let login = tell("login", LOGIN_SECRET_FILE, login, old.1);
    if let Some(secret) = connection {
        if secret.is_short() {
            log::warn!("{SHORT_SECRET}");
        }
        config.secret = secret;
    }
    if login.is_some() {
        config.login_secret = login;
    }
}

/// The secret that would be in force from now on.
fn in_force<'a>(found: &'a Option<Found>, old: Option<&'a Secret>) -> Option<&'a Secret> {
    found.as_ref().and_then(|found| found.as_ref().ok()).or(old)
}

/// Refuses a secret that has changed, since it would equal the other one.
fn refuse_change(found: &mut Option<Found>, old: Option<&Secret>, other: &str) {
    if let Some(Ok(secret)) = found
        && Some(&*secret) != old
    {
        let why =
            format!("its text is {other}, so every client could be master; put another into it");
        *found = Some(Err(why));
    }
}

/// Logs the result for a file, if there is one, and returns the secret if it can be used.
fn tell(kind: &str, variable: &str, found: Option<Found>, old: Option<&Secret>) -> Option<Secret> {
    match found? {
        Ok(secret) => {
            let change = if Some(&secret) == old { "is the same" } else { "has changed" };
            log::info!("the {kind} secret was read again, and {change}");
            Some(secret)
        }
        Err(why) => {
            log::warn!("the old {kind} secret stays: {variable}: {why}");
            None
        }
    }
}
