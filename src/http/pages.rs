//! The pages: a table of the files that are served, by the paths of requests.
//!
//! Nothing here opens a file or walks a path. What is in the table was found by
//! [`folder`](crate::http::folder) in the folder itself, so whatever a request asks for, it
//! gets that or 404.

use std::collections::HashMap;
use std::rc::Rc;

use httparse::Request;

use super::answer::{After, Answer, Refusal};
use super::page::{Draft, Page};
use super::request::{percent_decoded, percent_encoded, query, split_target};

/// What moss answers itself: a file in its place is not served.
pub(super) const OWN_PATHS: [&str; 2] = ["/health", "/metrics"];

/// What a path that ends in a slash stands for.
const INDEX: &[u8] = b"index.html";

/// The files that are served.
#[derive(Debug, Default)]
pub struct Pages {
    /// By path, decoded, from the slash on.
    table: HashMap<Vec<u8>, Rc<Page>>,
    /// Bytes of all files.
    bytes: usize,
    /// How often pages were read before these.
    pub(crate) generation: u32,
}

impl Pages {
    /// Pages that are given, as paths from the slash on with their bytes.
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

    /// The answer to a request for this decoded path; `target` is the same as it was spelled.
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
                // Relative: a proxy may serve moss below a path of its own.
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
