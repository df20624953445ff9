//! HTTP answers, each whole, as bytes.
//!
//! When which of them is given is [`head`](crate::http::head)'s and the server's.

/// What `/health` tells.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// Open WebSocket connections: guests, clients and the master.
    pub connections: usize,
    /// Those that are logged in.
    pub clients: usize,
    /// Whether there is a master.
    pub master: bool,
}

/// The answer to `GET /health`.
pub fn health(health: &Health) -> Vec<u8> {
    let body = format!(
        "{{\"status\":\"ok\",\"version\":\"{}\",\"uptime_seconds\":{},\"connections\":{},\"clients\":{},\"master\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        health.uptime_seconds,
        health.connections,
        health.clients,
        health.master
    );
    answer("200 OK", "Cache-Control: no-store\r\n", "application/json", &body)
}

/// The answer to an upgrade when the house is full.
pub fn full_house() -> Vec<u8> {
    plain("503 Service Unavailable", "Retry-After: 5\r\n", "moss is full: no more connections.\n")
}

/// The answer to a request head that was not finished in time.
pub fn too_slow() -> Vec<u8> {
    plain("408 Request Timeout", "", "The request head took too long.\n")
}

/// The answer to HEAD is only the head of the answer (RFC 9110, section 9.3.2).
pub(super) fn drop_body(answer: &mut Vec<u8>) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    answer.truncate(end.map_or(answer.len(), |end| end + 4));
}

pub(super) fn bad(body: &str) -> Vec<u8> {
    plain("400 Bad Request", "", body)
}

pub(super) fn plain(status: &str, headers: &str, body: &str) -> Vec<u8> {
    answer(status, headers, "text/plain; charset=utf-8", body)
}

fn answer(status: &str, headers: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_json() {
        let bytes = health(&Health { uptime_seconds: 3, connections: 2, clients: 1, master: true });
        let text = String::from_utf8(bytes).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(value["status"], "ok");
        assert_eq!(value["clients"], 1);
        assert_eq!(value["master"], true);
    }
}
