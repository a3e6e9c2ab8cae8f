//! The packets of MQTT 3.1.1 that a broker sends, and how they are written.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use eventbus::ports::Qos;

/// A message as it is handed on. All that get it share it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

impl Message {
    /// Returns what it weighs in a queue.
    pub(super) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// Why a client is not let in: the return codes of CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It speaks another version.
    #[error("it speaks another version of MQTT")]
    Version,
    /// Its id is not allowed.
    #[error("its client id is empty for a session that is to be kept, too long, or has control characters")]
    ClientId,
    /// There is no room.
    #[error("there is no room for another session")]
    Unavailable,
    /// The user or the password is wrong.
    #[error("the user name or the password is wrong")]
    Password,
    /// It gave none.
    #[error("it gave no user name and password")]
    NotAuthorized,
}

impl Refusal {
    const fn code(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::ClientId => 2,
            Self::Unavailable => 3,
            Self::Password => 4,
            Self::NotAuthorized => 5,
        }
    }
}

/// What a broker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ToClient {
    /// Lets it in; `true` if its session was kept.
    Welcome(bool),
    Refused(Refusal),
    Publish(Delivery),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    /// What came of each filter of a subscription.
    SubAck(u16, Vec<Option<Qos>>),
    UnsubAck(u16),
    PingResp,
}

/// A message on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) qos: Qos,
    /// Zero with QoS 0.
    pub(super) id: u16,
    pub(super) is_duplicate: bool,
    pub(super) is_retained: bool,
}

impl ToClient {
    /// Appends the packet.
    pub(super) fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Welcome(is_resumed) => out.put_slice(&[0x20, 2, u8::from(*is_resumed), 0]),
            Self::Refused(refusal) => out.put_slice(&[0x20, 2, 0, refusal.code()]),
            Self::Publish(delivery) => publish(delivery, out),
            Self::PubAck(id) => numbered(0x40, *id, out),
            Self::PubRec(id) => numbered(0x50, *id, out),
            Self::PubRel(id) => numbered(0x62, *id, out),
            Self::PubComp(id) => numbered(0x70, *id, out),
            Self::SubAck(id, codes) => {
                out.put_u8(0x90);
                length(2 + codes.len(), out);
                out.put_u16(*id);
                out.extend(codes.iter().map(|code| code.map_or(0x80, number)));
            }
            Self::UnsubAck(id) => numbered(0xb0, *id, out),
            Self::PingResp => out.put_slice(&[0xd0, 0]),
        }
    }
}

fn numbered(first: u8, id: u16, out: &mut BytesMut) {
    out.put_slice(&[first, 2]);
    out.put_u16(id);
}

fn publish(delivery: &Delivery, out: &mut BytesMut) {
    let Delivery { message, qos, id, is_duplicate, is_retained } = delivery;
    let flags = u8::from(*is_duplicate) << 3 | number(*qos) << 1 | u8::from(*is_retained);
    out.put_u8(0x30 | flags);
    let id_bytes = if *qos == Qos::AtMostOnce { 0 } else { 2 };
    length(2 + message.topic.len() + id_bytes + message.payload.len(), out);
    // Topics were checked when they came in: no longer one passes.
    out.put_u16(u16::try_from(message.topic.len()).unwrap_or(u16::MAX));
    out.put_slice(message.topic.as_bytes());
    if id_bytes > 0 {
        out.put_u16(*id);
    }
    out.put_slice(&message.payload);
}

/// Writes how much follows, in up to four bytes of seven bits. Packets are smaller than that allows, since
/// larger ones are not taken.
fn length(mut bytes: usize, out: &mut BytesMut) {
    loop {
        let low = u8::try_from(bytes & 0x7f).unwrap_or_default();
        bytes >>= 7;
        out.put_u8(if bytes > 0 { low | 0x80 } else { low });
        if bytes == 0 {
            return;
        }
    }
}

pub(super) const fn number(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::v4::{ConnAck, Packet, PubAck, PubComp, PubRec, PubRel, SubAck, UnsubAck};
    use rumqttc::{ConnectReturnCode, QoS, SubscribeReasonCode};

    use super::*;

    /// What a client's library reads of a packet.
    fn read(packet: &ToClient) -> Packet {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes);
        let read = Packet::read(&mut bytes, 1 << 20).expect("a packet");
        assert!(bytes.is_empty());
        read
    }

    #[test]
    fn a_client_s_library_reads_every_packet() {
        let ack = |code, session_present| Packet::ConnAck(ConnAck { code, session_present });
        let codes = vec![SubscribeReasonCode::Success(QoS::ExactlyOnce), SubscribeReasonCode::Failure];
        for (packet, expect) in [
            (ToClient::Welcome(true), ack(ConnectReturnCode::Success, true)),
            (ToClient::Refused(Refusal::Version), ack(ConnectReturnCode::RefusedProtocolVersion, false)),
            (ToClient::Refused(Refusal::ClientId), ack(ConnectReturnCode::BadClientId, false)),
            (ToClient::Refused(Refusal::Unavailable), ack(ConnectReturnCode::ServiceUnavailable, false)),
            (ToClient::Refused(Refusal::Password), ack(ConnectReturnCode::BadUserNamePassword, false)),
            (ToClient::Refused(Refusal::NotAuthorized), ack(ConnectReturnCode::NotAuthorized, false)),
            (ToClient::PubAck(7), Packet::PubAck(PubAck::new(7))),
            (ToClient::PubRec(7), Packet::PubRec(PubRec::new(7))),
            (ToClient::PubRel(7), Packet::PubRel(PubRel::new(7))),
            (ToClient::PubComp(7), Packet::PubComp(PubComp::new(7))),
            (ToClient::SubAck(9, vec![Some(Qos::ExactlyOnce), None]), Packet::SubAck(SubAck::new(9, codes))),
            (ToClient::UnsubAck(0xffff), Packet::UnsubAck(UnsubAck::new(0xffff))),
            (ToClient::PingResp, Packet::PingResp),
        ] {
            assert_eq!(read(&packet), expect);
        }
    }

    #[test]
    fn messages_of_every_size_are_read_as_they_were() {
        for bytes in [0, 1, 120, 127, 128, 16_383, 16_384, 300_000] {
            for (qos, id, expect) in [
                (Qos::AtMostOnce, 0, QoS::AtMostOnce),
                (Qos::AtLeastOnce, 1, QoS::AtLeastOnce),
                (Qos::ExactlyOnce, 65_535, QoS::ExactlyOnce),
            ] {
                let message = Message { topic: "$hw/a".to_owned(), payload: vec![7; bytes].into() };
                let (is_duplicate, is_retained) = (id > 1, id == 1);
                let delivery = Delivery { message: Arc::new(message), qos, id, is_duplicate, is_retained };
                let Packet::Publish(read) = read(&ToClient::Publish(delivery)) else { panic!("a message") };
                assert_eq!((read.topic.as_str(), read.payload.len()), ("$hw/a", bytes));
                assert_eq!((read.qos, read.pkid), (expect, id));
                assert_eq!((read.dup, read.retain), (is_duplicate, is_retained));
            }
        }
    }
}
