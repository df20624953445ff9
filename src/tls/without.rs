//! What is left of TLS in a moss that was built without it: types that have no value.

use std::time::SystemTime;

use crate::tls::{File, Files, Problem};

/// No connection can be one of these.
#[derive(Debug)]
pub enum Tls {}

/// Nobody has any.
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
    /// Nothing came of it yet.
    pub fn is_new(&self) -> bool {
        match *self {}
    }

    /// Whether the handshake is not over.
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    /// Whether it resumed an earlier session.
    pub fn has_resumed(&self) -> Option<bool> {
        match *self {}
    }

    /// Whether the peer will say no more.
    pub fn has_ended(&self) -> bool {
        match *self {}
    }

    /// Whether it can't go on.
    pub fn has_failed(&self) -> bool {
        match *self {}
    }

    /// Why it can't go on.
    pub fn failure(&self) -> Option<&str> {
        match *self {}
    }

    /// Takes received bytes.
    pub fn receive(&mut self, _: &mut [u8], _: &mut Vec<u8>) -> i64 {
        match *self {}
    }

    /// Encrypts.
    pub fn seal(&mut self, _: &[u8]) -> usize {
        match *self {}
    }

    /// Says that nothing more comes.
    pub fn close(&mut self) {
        match *self {}
    }

    /// What is to be sent next.
    pub fn unsent(&self) -> &[u8] {
        match *self {}
    }

    /// So much was sent.
    pub fn advance(&mut self, _: usize) {
        match *self {}
    }

    /// Gives up what is not sent.
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

    /// Bytes of what is not whole.
    pub fn half(&self) -> usize {
        match *self {}
    }
}
