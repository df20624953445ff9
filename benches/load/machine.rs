//! When and where a bench ran: what its figures depend on, besides moss.

use std::fs;
use std::process::Command;
use std::thread;

/// Shares of CPU time since the machine started, as `/proc/stat` has them.
pub(crate) struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    /// Where the kernel does not tell, nothing counts as stolen.
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        // The two that follow, of guests, are in the first two already.
        let ticks: Vec<u64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// Percent of the CPU time since then that the hypervisor gave to others.
    pub(crate) fn stolen_since(&self) -> f64 {
        let now = Self::now();
        100.0 * (now.stolen - self.stolen) as f64 / (now.all - self.all).max(1) as f64
    }
}

/// The day, in UTC, and the machine: names and values.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        ("day", first_line("date", &["-u", "+%F"])),
        ("cpu", cpu()),
        ("cores", thread::available_parallelism().map_or(1, usize::from).to_string()),
        ("kernel", format!("Linux {}", kernel.trim())),
    ]
}

/// What the first line of a program's output is, or nothing.
pub(crate) fn first_line(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// ARM boards have no name for the CPU, but one for the board.
fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().filter_map(|line| line.split_once(':'));
    let model = named.filter(|(key, _)| key.trim() == "model name").map(|(_, value)| value.trim());
    // So Linux has it on x86-64; elsewhere it does not say.
    let kind = if info.contains(" hypervisor") { " (virtual)" } else { "" };
    let model = model.map(|name| format!("{name}{kind}")).next();
    let board = || fs::read_to_string("/sys/firmware/devicetree/base/model").ok();
    let name = model.or_else(board).unwrap_or_else(|| "unknown".into());
    name.trim_end_matches('\0').trim().to_owned()
}
