//! The pages: a table of the files that are served, by the paths of requests.
//!
//! Nothing here opens a file or resolves a path. [`folder`](crate::http::folder) has read all
//! files of the table from the folder itself, so a request gets one of these or 404.

use std::collections::HashMap;
use std::rc::Rc;

use httparse::Request;

use super::answer::{After, Answer, Refusal};
use super::page::{Draft, Page};
use super::request::{percent_decoded, percent_encoded, query, split_target};

/// Paths that moss answers itself: files there are not served.
pub(super) const OWN_PATHS: [&str; 2] = ["/health", "/metrics"];

/// The file that is served for a path that ends in a slash.
const INDEX: &[u8] = b"index.html";

/// The files that are served.
#[derive(Debug, Default)]
pub struct Pages {
    /// By decoded path, including the first slash.
    table: HashMap<Vec<u8>, Rc<Page>>,
    /// Bytes of all files.
    bytes: usize,
    /// The number of reloads before these pages.
    pub(crate) generation: u32,
}

impl Pages {
    /// Pages from paths (including the first slash) and bytes.
    pub fn from_files<P: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, Vec<u8>)>) -> Self {
        let mut pages = Self::default();
        for (path, bytes) in files {
            pages.add(path.as_ref().to_vec(), Draft::new(bytes));
        }
        pages
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, path: Vec<u8>, draft: Draft) {
        let page = draft.finish(&path);
        self.bytes += page.len();
        self.table.insert(path, Rc::new(page));
    }

    /// Whether there is a page at `/`.
    pub(super) fn has_index(&self) -> bool {
        self.find(b"/").is_some()
    }

    /// The answer to a request for this decoded path; `target` is the request target as sent.
    pub(super) fn answer(
        &self,
        request: &Request<'_, '_>,
        path: &[u8],
        target: &str,
        after: After,
    ) -> Answer {
        let is_head = request.method == Some("HEAD");
        if let Some(page) = self.find(path) {
            return match request.method {
                Some("GET" | "HEAD") => page.answer(request, self.generation, after),
                _ => Answer::refusing(Refusal::Method, "", false, after),
            };
        }
        let folder = [path, b"/"].concat();
        match request.method {
            Some("GET" | "HEAD") if self.find(&folder).is_some() => {
                // A relative redirect: a proxy may serve moss below another path.
                let (_, spelled) = split_target(target);
                let name = spelled.rsplit('/').next().and_then(percent_decoded);
                let name = percent_encoded(&name.unwrap_or_default());
                let location = format!("{name}/{}", query(target));
                Answer::moved(&location, is_head, after)
            }
            _ => Answer::refusing(Refusal::NotFound, "", is_head, after),
        }
    }

    fn find(&self, path: &[u8]) -> Option<&Rc<Page>> {
        if path.ends_with(b"/") {
            self.table.get([path, INDEX].concat().as_slice())
        } else {
            self.table.get(path)
        }
    }
}
