//! nginx, as a TLS proxy in front of a plain moss, or to serve a folder: the usual alternative to
//! these features of moss.
//!
//! It has a master process and one worker, and the defaults of Debian and nginx; requests are
//! not logged.

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

/// Two for each client of the largest crowd, and a few more. A worker allocates memory for all of
/// them.
const WORKER_CONNECTIONS: u64 = 16_384;
/// How long nginx may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What nginx is to do.
pub(crate) enum Job<'a> {
    /// Proxy TLS to a plain moss.
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
    /// Finds the installed nginx, if any.
    pub(crate) fn find() -> Option<Self> {
        // On Debian it is in /usr/sbin, which is not in every user's PATH.
        ["nginx", "/usr/sbin/nginx"].into_iter().find_map(|program| {
            let output = Command::new(program).arg("-v").output().ok()?;
            let text = String::from_utf8(output.stderr).ok()?;
            let (_, version) = text.split_once("nginx version: ")?;
            Some(Self { program: program.into(), version: version.trim().into() })
        })
    }

    /// Starts nginx, and waits until it serves.
    ///
    /// It inherits its listening socket, as an upgraded nginx does from the old one: so no other
    /// program can take its port before it listens.
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

    /// Waits until the worker answers with 400 to bytes that are neither TLS nor HTTP.
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
            // Workers would keep running without their master process.
            for worker in self.workers.iter().filter_map(|worker| Pid::from_raw(*worker as i32)) {
                let _ = rustix::process::kill_process(worker, Signal::KILL);
            }
        }
        // If this fails, the folder stays among the build's files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn configure(address: SocketAddrV4, job: Job<'_>) -> io::Result<String> {
    let connections = server::raise_descriptor_limit()?.min(WORKER_CONNECTIONS);
    // Only root can switch users; for others nginx would warn of this line.
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

/// The lines that serve `folder`, with `sendfile` as in Debian's defaults or in nginx's own.
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
