//! The packets of MQTT 3.1.1 that clients send to a broker, read strictly: what the standard forbids ends
//! the connection. MQTT 3.1 differs in the name of the protocol only, as far as a broker reads it.

use std::time::Duration;

use bytes::Bytes;
use eventbus::ports::Qos;

/// The longest fixed header: one byte, and four of the length.
const HEADER_BYTES_MAX: usize = 5;

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The standard forbids it.
    #[error("a malformed packet: {0}")]
    Packet(&'static str),
    /// It is larger than the broker takes.
    #[error("a packet of {bytes} bytes, where at most {max} are taken")]
    TooLarge { bytes: usize, max: usize },
    /// The client speaks another version; 5 is MQTT 5.
    #[error("version {0} of the protocol, where 4 (MQTT 3.1.1) or 3 (MQTT 3.1) is needed")]
    Version(u8),
}

/// The beginning of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The packet's type and its flags.
    pub(super) first: u8,
    /// The bytes of the header itself.
    pub(super) bytes: usize,
    /// The bytes that follow it.
    pub(super) body: usize,
}

impl Header {
    /// Reads a header; nothing as long as bytes are missing.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
        let mut body = 0_usize;
        for (at, byte) in rest.iter().enumerate().take(HEADER_BYTES_MAX - 1) {
            body |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(Some(Self { first: *first, bytes: at + 2, body }));
            }
        }
        if bytes.len() >= HEADER_BYTES_MAX {
            return Err(Malformed::Packet("a length of more than four bytes"));
        }
        Ok(None)
    }

    /// Returns the bytes of the whole packet.
    pub(super) const fn whole(&self) -> usize {
        self.bytes + self.body
    }
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromClient {
    Connect(Connect),
    Publish(Publish),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe { id: u16, filters: Vec<(String, Qos)> },
    Unsubscribe { id: u16, filters: Vec<String> },
    PingReq,
    Disconnect,
}

/// Begins a connection.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) client_id: String,
    pub(super) is_clean: bool,
    /// Zero: the client may be silent for ever.
    pub(super) keep_alive: Duration,
    pub(super) will: Option<Publish>,
    /// The user's name and password.
    pub(super) user: Option<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) is_retained: bool,
    /// Zero with QoS 0.
    pub(super) id: u16,
}

impl FromClient {
    /// Reads the packet that begins with `first`, of which `body` is all that follows its header.
    pub(super) fn read(first: u8, body: &[u8]) -> Result<Self, Malformed> {
        let (kind, flags) = (first >> 4, first & 0x0f);
        let expected = match kind {
            3 => flags,
            6 | 8 | 10 => 0b0010,
            _ => 0,
        };
        if flags != expected {
            return Err(Malformed::Packet("flags that its type does not have"));
        }
        let mut body = Body(body);
        let packet = match kind {
            1 => Self::Connect(connect(&mut body)?),
            3 => Self::Publish(publish(flags, &mut body)?),
            4 => Self::PubAck(body.id()?),
            5 => Self::PubRec(body.id()?),
            6 => Self::PubRel(body.id()?),
            7 => Self::PubComp(body.id()?),
            8 => subscribe(&mut body)?,
            10 => unsubscribe(&mut body)?,
            12 => Self::PingReq,
            14 => Self::Disconnect,
            _ => return Err(Malformed::Packet("of a type that clients do not send")),
        };
        if !body.0.is_empty() {
            return Err(Malformed::Packet("more bytes than its type has"));
        }
        Ok(packet)
    }
}

fn connect(body: &mut Body<'_>) -> Result<Connect, Malformed> {
    let name = body.text()?;
    let level = body.byte()?;
    match (name, level) {
        ("MQTT", 4) | ("MQIsdp", 3) => {}
        ("MQTT" | "MQIsdp", other) => return Err(Malformed::Version(other)),
        _ => return Err(Malformed::Packet("of another protocol")),
    }
    let flags = body.byte()?;
    let has = |flag: u8| flags & flag != 0;
    if has(0x01) {
        return Err(Malformed::Packet("the reserved flag of CONNECT is set"));
    }
    let keep_alive = Duration::from_secs(body.number()?.into());
    let client_id = body.text()?.to_owned();
    let qos = qos((flags >> 3) & 0b11)?;
    let will = if has(0x04) {
        let (topic, payload) = (body.text()?.to_owned(), Bytes::copy_from_slice(body.data()?));
        if !protocol::filter::is_topic(&topic) {
            return Err(Malformed::Packet("a will for what is no topic"));
        }
        Some(Publish { topic, payload, qos, is_retained: has(0x20), id: 0 })
    } else if has(0x38) {
        return Err(Malformed::Packet("flags of a will without one"));
    } else {
        None
    };
    let user = match (has(0x80), has(0x40)) {
        (true, with_password) => {
            let name = body.text()?.to_owned();
            Some((name, if with_password { body.data()?.to_vec() } else { Vec::new() }))
        }
        (false, true) => return Err(Malformed::Packet("a password without a user")),
        (false, false) => None,
    };
    Ok(Connect { client_id, is_clean: has(0x02), keep_alive, will, user })
}

fn publish(flags: u8, body: &mut Body<'_>) -> Result<Publish, Malformed> {
    let qos = qos((flags >> 1) & 0b11)?;
    let is_duplicate = flags & 0b1000 != 0;
    if is_duplicate && qos == Qos::AtMostOnce {
        return Err(Malformed::Packet("a repeated message with QoS 0"));
    }
    let topic = body.text()?;
    if !protocol::filter::is_topic(topic) {
        return Err(Malformed::Packet("a message for what is no topic"));
    }
    let id = if qos == Qos::AtMostOnce { 0 } else { body.id()? };
    // A copy, since the buffer of the connection is larger than the message and lives on.
    let payload = Bytes::copy_from_slice(std::mem::take(&mut body.0));
    Ok(Publish { topic: topic.to_owned(), payload, qos, is_retained: flags & 1 != 0, id })
}

fn subscribe(body: &mut Body<'_>) -> Result<FromClient, Malformed> {
    let id = body.id()?;
    let mut filters = Vec::new();
    while !body.0.is_empty() {
        let filter = body.text()?.to_owned();
        filters.push((filter, qos(body.byte()?)?));
    }
    if filters.is_empty() {
        return Err(Malformed::Packet("a subscription to nothing"));
    }
    Ok(FromClient::Subscribe { id, filters })
}

fn unsubscribe(body: &mut Body<'_>) -> Result<FromClient, Malformed> {
    let id = body.id()?;
    let mut filters = Vec::new();
    while !body.0.is_empty() {
        filters.push(body.text()?.to_owned());
    }
    if filters.is_empty() {
        return Err(Malformed::Packet("the end of a subscription to nothing"));
    }
    Ok(FromClient::Unsubscribe { id, filters })
}

fn qos(number: u8) -> Result<Qos, Malformed> {
    match number {
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        2 => Ok(Qos::ExactlyOnce),
        _ => Err(Malformed::Packet("a QoS beyond 2")),
    }
}

/// What is left to read of a packet.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    const SHORT: Malformed = Malformed::Packet("it ends too early");

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Self::SHORT)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        let (number, rest) = self.0.split_first_chunk::<2>().ok_or(Self::SHORT)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*number))
    }

    fn id(&mut self) -> Result<u16, Malformed> {
        match self.number()? {
            0 => Err(Malformed::Packet("the number zero")),
            id => Ok(id),
        }
    }

    fn data(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = usize::from(self.number()?);
        let (data, rest) = self.0.split_at_checked(bytes).ok_or(Self::SHORT)?;
        self.0 = rest;
        Ok(data)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        match std::str::from_utf8(self.data()?) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => Err(Malformed::Packet("a text that is not UTF-8, or has a NUL")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<FromClient, Malformed> {
        let header = Header::read(bytes)?.expect("a whole header");
        assert_eq!(header.whole(), bytes.len());
        FromClient::read(header.first, &bytes[header.bytes..])
    }

    #[test]
    fn a_header_is_read_once_it_is_whole() {
        for (bytes, expect) in [
            (&[][..], Ok(None)),
            (&[0x30], Ok(None)),
            (&[0x30, 0x80], Ok(None)),
            (&[0xc0, 0], Ok(Some(Header { first: 0xc0, bytes: 2, body: 0 }))),
            (&[0x30, 0xff, 0xff, 0xff, 0x7f], Ok(Some(Header { first: 0x30, bytes: 5, body: 268_435_455 }))),
            (&[0x30, 0xff, 0xff, 0xff, 0xff], Err(Malformed::Packet("a length of more than four bytes"))),
        ] {
            assert_eq!(Header::read(bytes), expect, "{bytes:x?}");
        }
    }

    #[test]
    fn a_client_introduces_itself_with_a_will_and_a_password() {
        let mut bytes = vec![0x10, 36, 0, 4, b'M', b'Q', b'T', b'T', 4, 0b1110_1110, 0, 10];
        for text in ["id", "w", "gone", "user", "pass"] {
            bytes.extend([0, u8::try_from(text.len()).expect("short")]);
            bytes.extend(text.as_bytes());
        }
        bytes[1] = u8::try_from(bytes.len() - 2).expect("short");
        let will = Publish {
            topic: "w".to_owned(),
            payload: Bytes::from_static(b"gone"),
            qos: Qos::AtLeastOnce,
            is_retained: true,
            id: 0,
        };
        let expect = Connect {
            client_id: "id".to_owned(),
            is_clean: true,
            keep_alive: Duration::from_secs(10),
            will: Some(will),
            user: Some(("user".to_owned(), b"pass".to_vec())),
        };
        assert_eq!(read(&bytes), Ok(FromClient::Connect(expect.clone())));
        assert!(!format!("{expect:?}").contains("pass"));
    }

    #[test]
    fn versions_are_told_apart() {
        let connect = |name: &str, level: u8| {
            let mut bytes = vec![0x10, 0, 0, u8::try_from(name.len()).expect("short")];
            bytes.extend(name.as_bytes());
            bytes.extend([level, 2, 0, 0, 0, 1, b'a']);
            bytes[1] = u8::try_from(bytes.len() - 2).expect("short");
            read(&bytes)
        };
        assert!(connect("MQTT", 4).is_ok());
        assert!(connect("MQIsdp", 3).is_ok());
        assert_eq!(connect("MQTT", 5), Err(Malformed::Version(5)));
        assert_eq!(connect("MQTT", 3), Err(Malformed::Version(3)));
        assert_eq!(connect("HTTP", 4), Err(Malformed::Packet("of another protocol")));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for bytes in [
            // Flags: PUBACK with one, SUBSCRIBE and PUBREL without theirs.
            &[0x41, 2, 0, 1][..],
            &[0x80, 6, 0, 1, 0, 1, b'a', 0],
            &[0x60, 2, 0, 1],
            // QoS 3, a repeated QoS 0, a wildcard in a topic, no topic.
            &[0x36, 5, 0, 1, b'a', 0, 1],
            &[0x38, 3, 0, 1, b'a'],
            &[0x30, 3, 0, 1, b'#'],
            &[0x30, 2, 0, 0],
            // The number zero.
            &[0x32, 5, 0, 1, b'a', 0, 0],
            &[0x40, 2, 0, 0],
            // Too short, too long.
            &[0x40, 1, 0],
            &[0x40, 3, 0, 1, 0],
            &[0xc0, 1, 0],
            &[0x30, 4, 0, 9, b'a', b'b'],
            // Nothing to subscribe to, reserved bits of a QoS, nothing to unsubscribe from.
            &[0x82, 2, 0, 1],
            &[0x82, 6, 0, 1, 0, 1, b'a', 4],
            &[0xa2, 2, 0, 1],
            // No UTF-8, and a NUL.
            &[0x30, 3, 0, 1, 0xff],
            &[0x30, 3, 0, 1, 0],
            // Types that servers send, and none.
            &[0x20, 2, 0, 0],
            &[0x90, 3, 0, 1, 0],
            &[0x00, 0],
            &[0xf0, 0],
            // A reserved flag, a password without a user, flags of no will.
            &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 3, 0, 0, 0, 1, b'a'],
            &[0x10, 16, 0, 4, b'M', b'Q', b'T', b'T', 4, 0x42, 0, 0, 0, 1, b'a', 0, 1, b'p'],
            &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 0x0a, 0, 0, 0, 1, b'a'],
        ] {
            assert!(matches!(read(bytes), Err(Malformed::Packet(_))), "{bytes:x?}");
        }
    }
}
