//! The types of TLS in a build without it: they have no values.

use std::time::SystemTime;

use crate::tls::{File, Files, Problem};

/// A TLS connection; there is none.
#[derive(Debug)]
pub enum Tls {}

/// A certificate with its key; there is none.
#[derive(Debug)]
pub enum Credentials {}

impl Credentials {
    /// Never succeeds.
    ///
    /// # Errors
    /// This moss has no TLS.
    pub fn load(_: &Files) -> Result<Self, Problem> {
        Err(Problem { file: File::Certificate, why: "this moss was built without TLS".to_owned() })
    }

    /// Loads them again.
    ///
    /// # Errors
    /// Never called.
    pub fn reload(&self, _: &Files) -> Result<Self, Problem> {
        match *self {}
    }

    /// When the certificate expires.
    pub fn expiry(&self) -> SystemTime {
        match *self {}
    }

    /// A connection that was just accepted.
    pub fn accept(&self) -> Option<Tls> {
        match *self {}
    }
}

impl Tls {
    /// Whether nothing has been received yet.
    pub fn is_new(&self) -> bool {
        match *self {}
    }

    /// Whether the handshake is not complete.
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    /// Whether it resumed an earlier session.
    pub fn has_resumed(&self) -> Option<bool> {
        match *self {}
    }

    /// Whether nothing more can be received.
    pub fn has_ended(&self) -> bool {
        match *self {}
    }

    /// Whether it has failed.
    pub fn has_failed(&self) -> bool {
        match *self {}
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<&str> {
        match *self {}
    }

    /// Decrypts received bytes.
    pub fn receive(&mut self, _: &mut [u8], _: &mut Vec<u8>) -> i64 {
        match *self {}
    }

    /// Encrypts.
    pub fn seal(&mut self, _: &[u8]) -> usize {
        match *self {}
    }

    /// Sends close_notify.
    pub fn close(&mut self) {
        match *self {}
    }

    /// The bytes to send next.
    pub fn unsent(&self) -> &[u8] {
        match *self {}
    }

    /// `count` of the unsent bytes were sent.
    pub fn advance(&mut self, _: usize) {
        match *self {}
    }

    /// Drops the unsent bytes.
    pub fn discard_unsent(&mut self) {
        match *self {}
    }

    /// Heap bytes.
    pub fn held(&self) -> usize {
        match *self {}
    }

    /// Heap bytes of what is not sent yet.
    pub fn unsent_held(&self) -> usize {
        match *self {}
    }

    /// Bytes of an incomplete record or handshake message.
    pub fn half(&self) -> usize {
        match *self {}
    }
}
