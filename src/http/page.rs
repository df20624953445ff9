//! One page: a file's bytes, and how a request for it is answered.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::rc::Rc;

use httparse::Request;

use super::answer::{After, Answer, Refusal};
use super::range::{self, Part};

/// A file as it was when the folder was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Box<[u8]>,
    /// The ETag: strong, quoted, and a hash of the bytes.
    tag: String,
    content_type: &'static str,
}

/// Reads a page piece by piece.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) bytes: Vec<u8>,
    hasher: DefaultHasher,
    /// How many of the bytes are hashed.
    hashed: usize,
}

/// Bytes of a page that are to be sent. They keep the page in memory, even after a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    page: Rc<Page>,
    rest: Range<usize>,
    /// The number of reloads before the page was read.
    pub(crate) generation: u32,
}

impl Draft {
    /// Starts with these bytes; more may be appended.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, hasher: DefaultHasher::new(), hashed: 0 }
    }

    /// Hashes what was appended. To be called for each piece: hashing a large file at once would
    /// take too long.
    pub(super) fn hash(&mut self) {
        self.hasher.write(&self.bytes[self.hashed..]);
        self.hashed = self.bytes.len();
    }

    /// The page at this path.
    pub(super) fn finish(mut self, path: &[u8]) -> Page {
        self.hash();
        let tag = format!("\"{:x}-{:016x}\"", self.bytes.len(), self.hasher.finish());
        Page { bytes: self.bytes.into(), tag, content_type: content_type(path) }
    }
}

impl Page {
    /// Bytes of the file.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The answer to GET or HEAD.
    pub(super) fn answer(
        self: &Rc<Self>,
        request: &Request<'_, '_>,
        generation: u32,
        after: After,
    ) -> Answer {
        let tag = &self.tag;
        // A proxy or browser may cache it, but has to ask each time whether it has changed.
        let known = format!("ETag: {tag}\r\nCache-Control: no-cache\r\n");
        if range::is_known(request, tag) {
            return Answer::empty("304 Not Modified", &known, after);
        }
        let len = self.len();
        let is_head = request.method == Some("HEAD");
        let part = if is_head { Part::Whole } else { range::part(request, tag, len) };
        let (status, bytes, range) = match part {
            Part::Whole => ("200 OK", 0..len, String::new()),
            Part::Bytes(bytes) => {
                let range = content_range(&format!("{}-{}", bytes.start, bytes.end - 1), len);
                ("206 Partial Content", bytes, range)
            }
            Part::Unsatisfiable => {
                return Answer::refusing(Refusal::Range, &content_range("*", len), false, after);
            }
        };
        let headers = format!(
            "{known}{range}Content-Type: {}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n",
            self.content_type,
            bytes.len()
        );
        let mut answer = Answer::empty(status, &headers, after);
        if !is_head && !bytes.is_empty() {
            answer.body = Some(Body { page: Rc::clone(self), rest: bytes, generation });
        }
        answer
    }
}

impl Body {
    /// The bytes that are left.
    pub fn rest(&self) -> &[u8] {
        &self.page.bytes[self.rest.clone()]
    }

    /// `count` of them were sent.
    pub fn advance(&mut self, count: usize) {
        self.rest.start += count;
    }
}

fn content_range(bytes: &str, len: usize) -> String {
    format!("Content-Range: bytes {bytes}/{len}\r\n")
}

/// The media type for the usual file name extensions. Text is assumed to be UTF-8.
fn content_type(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let ending = name.rsplit(|&byte| byte == b'.').next().filter(|&ending| ending != name);
    match ending.unwrap_or_default().to_ascii_lowercase().as_slice() {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" => "text/javascript; charset=utf-8",
        b"txt" | b"log" => "text/plain; charset=utf-8",
        b"md" => "text/markdown; charset=utf-8",
        b"csv" => "text/csv; charset=utf-8",
        b"vtt" => "text/vtt; charset=utf-8",
        b"xml" => "text/xml; charset=utf-8",
        b"svg" => "image/svg+xml; charset=utf-8",
        // JSON is always UTF-8 (RFC 8259, section 8.1).
        b"json" | b"map" => "application/json",
        b"webmanifest" => "application/manifest+json",
        b"wasm" => "application/wasm",
        b"png" => "image/png",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"ico" => "image/x-icon",
        b"bmp" => "image/bmp",
        b"woff" => "font/woff",
        b"woff2" => "font/woff2",
        b"ttf" => "font/ttf",
        b"otf" => "font/otf",
        b"mp3" => "audio/mpeg",
        b"m4a" => "audio/mp4",
        b"aac" => "audio/aac",
        b"ogg" | b"oga" | b"opus" => "audio/ogg",
        b"wav" => "audio/wav",
        b"flac" => "audio/flac",
        b"mp4" | b"m4v" => "video/mp4",
        b"mov" => "video/quicktime",
        b"webm" => "video/webm",
        b"ogv" => "video/ogg",
        b"glb" => "model/gltf-binary",
        b"gltf" => "model/gltf+json",
        b"pdf" => "application/pdf",
        b"zip" => "application/zip",
        // Phones have to install these before they trust a private certificate.
        b"crt" | b"cer" | b"der" => "application/x-x509-ca-cert",
        b"mobileconfig" => "application/x-apple-aspen-config",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: &[u8]) -> Page {
        Draft::new(bytes.to_vec()).finish(b"/page.html")
    }

    #[test]
    fn type_is_that_of_the_ending() {
        for (path, content_type) in [
            ("/index.html", "text/html; charset=utf-8"),
            ("/A.HTML", "text/html; charset=utf-8"),
            ("/a.b.js", "text/javascript; charset=utf-8"),
            ("/a.js/b", "application/octet-stream"),
            ("/js", "application/octet-stream"),
            ("/a.", "application/octet-stream"),
        ] {
            assert_eq!(super::content_type(path.as_bytes()), content_type, "{path}");
        }
    }

    #[test]
    fn tag_is_that_of_the_bytes_however_they_came() {
        let mut draft = Draft::new(Vec::new());
        for piece in [b"ab".as_slice(), b"", b"c", b"defghijklmnop"] {
            draft.bytes.extend_from_slice(piece);
            draft.hash();
        }
        assert_eq!(draft.finish(b"/page.html"), page(b"abcdefghijklmnop"));
        assert_ne!(page(b"a").tag, page(b"b").tag);
        assert_ne!(page(b"").tag, page(b"\0").tag);
    }
}
