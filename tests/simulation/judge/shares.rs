//! Who gets how much of a slow master.

use std::collections::BTreeMap;

use crate::plan::Settings;

/// A newcomer's line may bring less than its share at first.
const NEWCOMER_BYTES: u64 = 256 << 10;

/// What floods before a slow master got of it.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Not all of them flood any more.
    pub(super) over: bool,
    skipped: u64,
    passed: Vec<(usize, u64)>,
    clients: BTreeMap<usize, Flooder>,
}

/// Who floods.
#[derive(Debug, Default)]
struct Flooder {
    /// The length of its largest packet.
    largest: u64,
    /// All that has passed of it, and how much of that before this span.
    passed: u64,
    before: u64,
}

impl Shares {
    /// A slow master is sent so many bytes of a client.
    pub(super) fn pass(&mut self, client: usize, len: u64, largest: u64, settings: &Settings) {
        // The first that a slow master takes fills buffers that are empty.
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

    /// One of those who flood has gone, so buffers may become empty.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { over: self.over, ..Self::default() };
    }

    /// Those who flood are others from now on. Each had half of its fair share at least, in
    /// bytes and less one packet, over any span of so many times the packet limit as there
    /// were clients.
    pub(super) fn change(&mut self, settings: &Settings) {
        let passed = std::mem::take(&mut self.passed);
        self.check(&passed, settings);
        for flooder in self.clients.values_mut() {
            flooder.before = flooder.passed;
        }
    }

    fn check(&mut self, passed: &[(usize, u64)], settings: &Settings) {
        let count = self.clients.len() as u64;
        // Longer than it must be, as one packet more or less counts for nothing then.
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
            // What ends the span may be a whole packet of one of them.
            let fair = bytes.saturating_sub(settings.max_packet as u64) / count;
            for (client, flooder) in &self.clients {
                let got = of.get(client).copied().unwrap_or(0);
                assert!(
                    2 * (got + flooder.largest) >= fair || flooder.before < NEWCOMER_BYTES,
                    "client {client} got {got} of {bytes} bytes that {count} flood a master with"
                );
            }
            *of.get_mut(&first).expect("it was counted") -= len;
            self.clients.get_mut(&first).expect("it floods").before += len;
            bytes -= len;
        }
    }
}
