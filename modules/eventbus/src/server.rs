//! The address of a broker.

use std::fmt;

/// How bytes reach a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// The address of a broker, such as `tcp://127.0.0.1:1883`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// How bytes get there.
    pub scheme: Scheme,
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ServerUrl {
    /// Reads an address. Without a port it is that of the scheme: 1883 or 8883.
    ///
    /// # Errors
    ///
    /// When it is none, or of a kind that is not supported; the text says which.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "must be like tcp://127.0.0.1:1883 or ssl://broker.example:8883";
        let (scheme, rest) = text.split_once("://").ok_or(SHAPE)?;
        let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
            "tcp" | "mqtt" => (Scheme::Tcp, 1883),
            "ssl" | "tls" | "mqtts" | "tcps" => (Scheme::Tls, 8883),
            "ws" | "wss" => {
                return Err("must begin with tcp:// or ssl://: MQTT over WebSocket is not supported");
            }
            _ => return Err(SHAPE),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, port),
            Some((host, after)) => (host, after.strip_prefix(':').and_then(number).ok_or(SHAPE)?),
            None => match rest.split_once(':') {
                Some((host, after)) => (host, number(after).ok_or(SHAPE)?),
                None => (rest, port),
            },
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(SHAPE);
        }
        Ok(Self { scheme, host: host.to_owned(), port })
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Tcp => "tcp",
            Scheme::Tls => "ssl",
        };
        if self.host.contains(':') {
            return write!(f, "{scheme}://[{}]:{}", self.host, self.port);
        }
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_upstream_s_client_reads_them() {
        for (text, expect) in [
            ("tcp://127.0.0.1:1883", "tcp://127.0.0.1:1883"),
            ("mqtt://broker.example", "tcp://broker.example:1883"),
            ("ssl://broker.example:8884/", "ssl://broker.example:8884"),
            ("tls://b", "ssl://b:8883"),
            ("MQTTS://b:1", "ssl://b:1"),
            ("tcp://[::1]:1884", "tcp://[::1]:1884"),
            ("tcp://[::1]", "tcp://[::1]:1883"),
        ] {
            let url = ServerUrl::parse(text).expect("an address");
            assert_eq!(url.to_string(), expect);
            assert_eq!(ServerUrl::parse(expect), Ok(url));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "127.0.0.1:1883",
            "http://a:1",
            "tcp://",
            "tcp://:1883",
            "tcp://a:0",
            "tcp://a:x",
            "tcp://a:70000",
            "tcp://a b:1",
            "tcp://u:p@a:1",
            "tcp://a:1/path",
            "tcp://::1:1883",
            "tcp://[::1]x",
            "ws://a:1",
            "wss://a:1",
            "tcp://é:1",
        ] {
            assert!(ServerUrl::parse(text).is_err(), "{text:?}");
        }
        let why = ServerUrl::parse("ws://a:1").expect_err("it is not supported");
        assert!(why.contains("WebSocket"), "{why}");
    }
}
