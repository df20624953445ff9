//! The secrets in use, when their files are read again.
//!
//! What can't be used changes nothing: the old secret stays. Who is master or client by an old
//! secret stays that, too: a secret is looked at when somebody says it.

use std::path::Path;

use crate::settings::config::{Config, Secret};
use crate::settings::secrets::read_again;
use crate::settings::variables::{CONNECTION_SECRET_FILE, LOGIN_SECRET_FILE, SHORT_SECRET};

/// What is in a file, or why it can't be used.
type Found = Result<Secret, String>;

/// Reads the files that there are, and says in the log what came of each.
#[cold]
pub(super) fn reload(config: &mut Config) {
    let read = |path: &Path| read_again(path).map(|text| Secret::new(&text));
    let mut connection = config.secret_files.connection.as_deref().map(read);
    let mut login = config.secret_files.login.as_deref().map(read);
    let old = (Some(&config.secret), config.login_secret.as_ref());
    if in_force(&connection, old.0) == in_force(&login, old.1) {
        // Whichever has not changed is not to blame.
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

/// What would count from now on.
fn in_force<'a>(found: &'a Option<Found>, old: Option<&'a Secret>) -> Option<&'a Secret> {
    found.as_ref().and_then(|found| found.as_ref().ok()).or(old)
}

/// Has what differs from the old one be of no use, as it is the other secret as well.
fn refuse_change(found: &mut Option<Found>, old: Option<&Secret>, other: &str) {
    if let Some(Ok(secret)) = found
        && Some(&*secret) != old
    {
        let why =
            format!("its text is {other}, so every client could be master; put another into it");
        *found = Some(Err(why));
    }
}

/// Says what came of a file, if there is one; what is in it, if that is of use.
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
