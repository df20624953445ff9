//! nginx: as a TLS proxy in front of a plain moss, or as the server of a folder, which is what
//! one would use without these features of moss.
//!
//! One worker and a master process, with the defaults of Debian and nginx; requests are not
//! logged.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::site::Serving;
use super::{process, server, tls};

/// Two for each client of the largest crowd, and a few more. A worker allocates memory for each.
const WORKER_CONNECTIONS: u64 = 16_384;
/// For nginx to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What it is there for.
pub(crate) enum Job<'a> {
    /// To speak TLS for a plain moss.
    Proxy {
        upstream: SocketAddrV4,
    },
    Files {
        folder: &'a Path,
        serving: Serving,
    },
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Nginx {
    program: PathBuf,
    /// For instance `nginx/1.22.1`.
    pub(crate) version: String,
}

impl Nginx {
    /// `None` where it is not installed.
    pub(crate) fn find() -> Option<Self> {
        // Debian's path, which is not in everybody's PATH.
        ["nginx", "/usr/sbin/nginx"].into_iter().find_map(|program| {
            let said = Command::new(program).arg("-v").output().ok()?;
            let said = String::from_utf8(said.stderr).ok()?;
            let (_, version) = said.split_once("nginx version: ")?;
            Some(Self { program: program.into(), version: version.trim().into() })
        })
    }

    /// Starts it, and returns when it serves.
    ///
    /// It is given its listening socket as it would give it to a newer nginx, so that
    /// nobody can take a port that was found free.
    pub(crate) fn start(&self, job: Job<'_>) -> io::Result<Front> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port());
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nginx-{}", address.port()));
        fs::create_dir_all(&folder)?;
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, configure(address, job)?)?;
        let child = server::become_proxy(&self.program)?
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&configuration)
            .args(["-e", "start.log"])
            .env("NGINX", "0;")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()?;
        let mut front = Front { child, folder, address, workers: Vec::new() };
        front.wait()?;
        front.workers = process::children(front.child.id())?;
        Ok(front)
    }
}

/// A running nginx.
pub(crate) struct Front {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddrV4,
    workers: Vec<u32>,
}

impl Front {
    pub(crate) fn processes(&self) -> impl Iterator<Item = u32> {
        self.workers.iter().copied().chain([self.child.id()])
    }

    /// Waits until the worker answers; it answers 400 to bytes that are neither TLS nor HTTP.
    fn wait(&self) -> io::Result<()> {
        let mut probe = TcpStream::connect(self.address)?;
        probe.set_read_timeout(Some(PATIENCE))?;
        probe.write_all(b"?\r\n\r\n")?;
        let mut answer = [0; 12];
        probe.read_exact(&mut answer)?;
        if answer != *b"HTTP/1.1 400" {
            return Err(io::Error::other("nginx does not serve"));
        }
        Ok(())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if !server::stop(&mut self.child) {
            // Workers would go on without their master process.
            for worker in self.workers.iter().filter_map(|worker| Pid::from_raw(*worker as i32)) {
                let _ = rustix::process::kill_process(worker, Signal::KILL);
            }
        }
        // At worst it stays among the build's files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn configure(address: SocketAddrV4, job: Job<'_>) -> io::Result<String> {
    let connections = server::raise_descriptor_limit()?.min(WORKER_CONNECTIONS);
    // Other users can't change it, and nginx would warn of that.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (tls, beside, within) = match job {
        Job::Proxy { upstream } => (true, proxied(upstream), PROXY.to_owned()),
        Job::Files { folder, serving } => {
            (serving == Serving::Tls, String::new(), files(folder, serving))
        }
    };
    let listen = if tls { listen_for_tls(address) } else { format!("listen {address};") };
    Ok(format!(
        r#"daemon off;
{user}
pid nginx.pid;
error_log stderr error;
worker_processes 1;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {beside}
    server {{
        {listen}
        {within}
    }}
}}
"#
    ))
}

fn listen_for_tls(address: SocketAddrV4) -> String {
    let (certificate, key) = (tls::certificate(), tls::key());
    let (certificate, key) = (certificate.display(), key.display());
    format!(
        r#"listen {address} ssl;
        ssl_certificate "{certificate}";
        ssl_certificate_key "{key}";
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;"#
    )
}

fn proxied(upstream: SocketAddrV4) -> String {
    format!("upstream moss {{ server {upstream}; keepalive 64; }}")
}

const PROXY: &str = r#"location / {
            proxy_pass http://moss;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
        }"#;

/// `sendfile` as Debian has it or, in one case, as nginx itself has it.
fn files(folder: &Path, serving: Serving) -> String {
    let sendfile = match serving {
        Serving::Plain => "sendfile off;",
        Serving::Sendfile | Serving::Tls => "sendfile on; tcp_nopush on;",
    };
    format!(
        r#"root "{}";
        {sendfile}"#,
        folder.display()
    )
}
