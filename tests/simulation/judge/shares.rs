//! Each client's share of a slow master.

use std::collections::BTreeMap;

use crate::plan::Settings;

/// A new client's connection may first deliver less than its share.
const NEWCOMER_BYTES: u64 = 256 << 10;

/// What each flooding client got of a slow master.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Some of them have stopped flooding.
    pub(super) over: bool,
    skipped: u64,
    passed: Vec<(usize, u64)>,
    clients: BTreeMap<usize, Flooder>,
}

/// A flooding client.
#[derive(Debug, Default)]
struct Flooder {
    /// The length of its largest packet.
    largest: u64,
    /// Its bytes that were passed on, and those before this span.
    passed: u64,
    before: u64,
}

impl Shares {
    /// A slow master is sent this number of a client's bytes.
    pub(super) fn pass(&mut self, client: usize, len: u64, largest: u64, settings: &Settings) {
        // The first bytes only fill empty buffers.
        if self.over || self.skipped < settings.max_backlog as u64 + (1 << 20) {
            self.skipped += len;
            return;
        }
        if !self.clients.contains_key(&client) {
            self.change(settings);
        }
        let flooder = self.clients.entry(client).or_default();
        flooder.largest = largest;
        flooder.passed += len;
        self.passed.push((client, len));
    }

    /// A flooding client has left, so buffers may become empty.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { over: self.over, ..Self::default() };
    }

    /// The set of flooding clients changes. Each must have had at least half of its fair share,
    /// in bytes and less one packet, over any span of the packet limit times the number of
    /// clients.
    pub(super) fn change(&mut self, settings: &Settings) {
        let passed = std::mem::take(&mut self.passed);
        self.check(&passed, settings);
        for flooder in self.clients.values_mut() {
            flooder.before = flooder.passed;
        }
    }

    fn check(&mut self, passed: &[(usize, u64)], settings: &Settings) {
        let count = self.clients.len() as u64;
        // Longer than necessary, so that one packet more or less does not matter.
        let largest = self.clients.values().map(|flooder| flooder.largest).max().unwrap_or(0);
        let span = 8 * count * largest.max(settings.max_packet as u64);
        let mut of: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut end, mut bytes) = (0, 0);
        for &(first, len) in passed {
            while bytes < span {
                let Some(&(client, len)) = passed.get(end) else { return };
                *of.entry(client).or_default() += len;
                bytes += len;
                end += 1;
            }
            // The span may end with a whole packet of one of them.
            let fair = bytes.saturating_sub(settings.max_packet as u64) / count;
            for (client, flooder) in &self.clients {
                let got = of.get(client).copied().unwrap_or(0);
                assert!(
                    2 * (got + flooder.largest) >= fair || flooder.before < NEWCOMER_BYTES,
                    "client {client} got {got} of the {bytes} bytes of {count} clients that flood"
                );
            }
            *of.get_mut(&first).expect("it was counted") -= len;
            self.clients.get_mut(&first).expect("it floods").before += len;
            bytes -= len;
        }
    }
}
