//! The day and the machine of a run, which its figures depend on.

use std::fs;
use std::process::Command;
use std::thread;

/// CPU time since the machine started, from `/proc/stat`.
pub(crate) struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    /// Reads the counters now. Without `/proc/stat`, none is stolen.
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
        // The two fields that follow count guests, which the first two fields include.
        let ticks: Vec<u64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// Percent of the CPU time since then that the hypervisor gave to other machines.
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

/// The first line of a program's output, or an empty string.
pub(crate) fn first_line(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// The CPU's name; on ARM boards, which have none, the board's.
fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().filter_map(|line| line.split_once(':'));
    let model = named.filter(|(key, _)| key.trim() == "model name").map(|(_, value)| value.trim());
    // Linux tells of a hypervisor only on x86-64.
    let kind = if info.contains(" hypervisor") { " (virtual)" } else { "" };
    let model = model.map(|name| format!("{name}{kind}")).next();
    let board = || fs::read_to_string("/sys/firmware/devicetree/base/model").ok();
    let name = model.or_else(board).unwrap_or_else(|| "unknown".into());
    name.trim_end_matches('\0').trim().to_owned()
}
