//! REST as the router needs it: a listener for clients, and a client of endpoints, over HTTP/1.1.

mod client;
mod server;

use http::{HeaderMap, HeaderName, HeaderValue};
use protocol::rules::Headers;

pub use client::HttpRestClient;
pub use server::{HttpRestListener, RestLimits};

/// Reads headers. Values that are no text are left out.
fn read_headers(headers: &HeaderMap) -> Headers {
    let mut read = Headers::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            read.entry(name.as_str().to_owned()).or_default().push(value.to_owned());
        }
    }
    read
}

/// Writes headers. What HTTP does not allow is left out.
fn write_headers(headers: &Headers) -> HeaderMap {
    let mut written = HeaderMap::new();
    for (name, values) in headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        for value in values.iter().filter_map(|value| HeaderValue::from_str(value).ok()) {
            written.append(&name, value);
        }
    }
    written
}

#[cfg(test)]
mod tests;
