//! How much memory the kernel allows this process: the smallest limit of its control groups.
//!
//! In version 2, each group has its own limits, and those of all parent groups count, too, as
//! far as they are visible: a container sees only its own. In version 1, the kernel reports
//! the smallest of all, visible or not. Where both are mounted, one of them counts memory.
//!
//! Paths are text here. If a mount has a path that is not UTF-8, no limit is found; supporting
//! that would cost 2 kB for something that nobody has.

use std::fs::read_to_string;

/// The files of a group of version 2 with its memory limits, in bytes. Above the first, processes
/// are killed; above the second, they are slowed down to a standstill.
const LIMITS: [&str; 2] = ["/memory.max", "/memory.high"];

/// The line of version 1 with the smallest limit of a group and its parents.
const LIMIT: &str = "hierarchical_memory_limit ";

/// The smallest memory limit of this process's control groups, in bytes, if it is below the
/// machine's memory.
#[cold]
pub fn memory_limit() -> Option<u64> {
    limit_below("").filter(|&limit| machine_memory().is_none_or(|memory| limit < memory))
}

/// The machine's memory, in bytes. By a system call: `/proc/meminfo` may be hidden.
#[cfg(target_os = "linux")]
pub fn machine_memory() -> Option<u64> {
    let system = rustix::system::sysinfo();
    Some((system.totalram as u64).saturating_mul(u64::from(system.mem_unit)))
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub fn machine_memory() -> Option<u64> {
    None
}

/// The same with all paths below `root`, for tests.
fn limit_below(root: &str) -> Option<u64> {
    let groups = read_to_string([root, "/proc/self/cgroup"].concat()).ok()?;
    let mounts = read_to_string([root, "/proc/self/mountinfo"].concat()).ok()?;
    let mut least = None;
    for line in mounts.lines() {
        least = smaller(least, limit_at(line, root, &groups));
    }
    least
}

/// The smallest limit of the process's group and its parents, as far as they are visible at a
/// mount. `mount` is a line such as `35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup
/// rw,memory` (proc_pid_mountinfo(5)): the fourth field is the group at the root of the mount,
/// the fifth the mount point; the last has the controllers, the third from the end the type of
/// the file system.
fn limit_at(mount: &str, root: &str, groups: &str) -> Option<u64> {
    let mut fields = mount.split(' ');
    let controllers = fields.next_back()?;
    let is_version_2 = match fields.nth_back(1)? {
        "cgroup2" => true,
        "cgroup" if has_memory(controllers) => false,
        _ => return None,
    };
    let (seen, point) = (unescaped(fields.nth(3)?), unescaped(fields.next()?));
    let own = own_group(groups, is_version_2)?;
    let below = own.strip_prefix(seen.trim_end_matches('/'))?;
    // A group outside of the mount begins with "/..", or its name only starts like that of a
    // group within.
    if below.starts_with("/..") || !(below.is_empty() || below.starts_with('/')) {
        return None;
    }
    let outermost = root.len() + point.len();
    let mut group = [root, &point, below].concat();
    if !is_version_2 {
        let statistics = read_to_string(group + "/memory.stat").ok()?;
        return statistics.lines().find_map(|line| line.strip_prefix(LIMIT)?.parse().ok());
    }
    let mut least = None;
    loop {
        for name in LIMITS {
            // "max" is no limit, and the root group has no such file.
            let limit = read_to_string([&group, name].concat()).ok();
            least = smaller(least, limit.and_then(|text| text.trim_ascii_end().parse().ok()));
        }
        if group.len() <= outermost {
            return least;
        }
        group.truncate(group.rfind('/').unwrap_or(0));
    }
}

/// The process's group, from lines such as `4:memory:/group` or, in version 2, `0::/group`
/// (cgroups(7)).
fn own_group(groups: &str, is_version_2: bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let is_it = if is_version_2 { controllers.is_empty() } else { has_memory(controllers) };
        is_it.then_some(group)
    })
}

fn has_memory(controllers: &str) -> bool {
    controllers.split(',').any(|name| name == "memory")
}

fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Unescapes a path of mountinfo: spaces, tabs, newlines and backslashes are three octal digits.
fn unescaped(field: &str) -> String {
    let mut pieces = field.split('\\');
    let mut path = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte.into());
                path.push_str(&piece[3..]);
            }
            None => path.push_str(piece),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// What version 1 reports if there is no limit.
    const NONE: &str = "9223372036854771712";

    /// A root of this test's own, with these files in it.
    struct Root(PathBuf);

    impl Root {
        fn with(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("moss-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let root = Self(std::env::temp_dir().join(name));
            root.add("proc/self/cgroup", groups);
            root.add("proc/self/mountinfo", mounts);
            files.iter().for_each(|(path, text)| root.add(path, text));
            root
        }

        fn add(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }

        fn limit(&self) -> Option<u64> {
            limit_below(self.0.to_str().expect("UTF-8"))
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The line of a mount of version 2, with an optional field as shared mounts have it.
    fn version_2(group: &str, point: &str) -> String {
        format!("28 25 0:26 {group} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n")
    }

    fn version_1(group: &str, point: &str) -> String {
        format!("35 31 0:32 {group} {point} rw,relatime - cgroup cgroup rw,memory\n")
    }

    #[test]
    fn least_limit_of_all_groups_around_counts() {
        let mounts = version_2("/", "/sys/fs/cgroup");
        let files = |unit, slice, high| {
            let unit = ("sys/fs/cgroup/system.slice/moss.service/memory.max", unit);
            let slice = ("sys/fs/cgroup/system.slice/memory.max", slice);
            let high = ("sys/fs/cgroup/system.slice/moss.service/memory.high", high);
            Root::with("0::/system.slice/moss.service\n", &mounts, &[unit, slice, high]).limit()
        };
        assert_eq!(files("67108864\n", "max\n", "max\n"), Some(67_108_864));
        assert_eq!(files("67108864\n", "33554432\n", "max\n"), Some(33_554_432));
        assert_eq!(files("67108864\n", "33554432\n", "16777216\n"), Some(16_777_216));
        assert_eq!(files("max\n", "33554432\n", "max\n"), Some(33_554_432));
        assert_eq!(files("0\n", "max\n", "max\n"), Some(0));
        assert_eq!(files("max\n", "max\n", "max\n"), None);
        assert_eq!(files("x", "", "-1"), None);
    }

    #[test]
    fn container_sees_its_own_group_as_the_outermost() {
        // With a namespace of groups, and without one, where only a part of the tree is seen.
        let file = ("sys/fs/cgroup/memory.max", "50331648\n");
        for (own, seen) in [("/", "/"), ("/docker/c0ffee", "/docker/c0ffee")] {
            let root =
                Root::with(&format!("0::{own}\n"), &version_2(seen, "/sys/fs/cgroup"), &[file]);
            assert_eq!(root.limit(), Some(50_331_648), "{own}");
        }
    }

    #[test]
    fn group_that_is_not_seen_limits_nothing() {
        let file = ("sys/fs/cgroup/memory.max", "50331648\n");
        for (own, seen) in [
            ("/../other", "/"),
            ("/other", "/docker/c0ffee"),
            ("/docker/c0ffee2", "/docker/c0ffee"),
        ] {
            let root =
                Root::with(&format!("0::{own}\n"), &version_2(seen, "/sys/fs/cgroup"), &[file]);
            assert_eq!(root.limit(), None, "{own}");
        }
    }

    #[test]
    fn version_1_tells_the_least_itself() {
        let groups = "9:name=systemd:/\n5:cpu,memory:/a/b\n1:cpuset:/c\n0::/\n";
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
        let mounts =
            [mounts, &version_1("/", "/sys/fs/cgroup/memory"), &version_2("/", "/sys/fs/cgroup/u")];
        let mounts = mounts.concat();
        let limit = |bytes: &str| {
            let text =
                format!("cache 1\nhierarchical_memory_limit {bytes}\nhierarchical_memsw_limit 2\n");
            let file = ("sys/fs/cgroup/memory/a/b/memory.stat", text.as_str());
            Root::with(groups, &mounts, &[file]).limit()
        };
        assert_eq!(limit("67108864"), Some(67_108_864));
        assert_eq!(limit(NONE), NONE.parse().ok());
    }

    #[test]
    fn mounted_elsewhere_is_as_good() {
        let mounts = version_2("/", r"/mnt/a\040b\134\011");
        let file = ("mnt/a b\\\t/g/memory.max", "4096\n");
        assert_eq!(Root::with("0::/g\n", &mounts, &[file]).limit(), Some(4096));
    }

    #[test]
    fn what_can_not_be_read_limits_nothing() {
        let mounts = version_2("/", "/sys/fs/cgroup");
        assert_eq!(limit_below("/nowhere"), None);
        assert_eq!(Root::with("", "", &[]).limit(), None);
        assert_eq!(Root::with("0::/gone (deleted)\n", &mounts, &[]).limit(), None);
        assert_eq!(
            Root::with("0\n::\n:\n", "- \n - \n - cgroup\n1 2 - cgroup2\n1 2 - cgroup2 a b\n", &[])
                .limit(),
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn limit_is_below_the_memory_of_the_machine() {
        let machine = machine_memory().expect("Linux tells");
        assert!((1 << 20..1 << 50).contains(&machine), "{machine} bytes");
        assert!(memory_limit().is_none_or(|limit| limit < machine));
    }
}
