//! The edge's way to device mappers over Unix sockets, against a mapper over Unix sockets.

mod mapper;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use dmi::conformance::{Promise, check};
use dmi::ports::Mappers as _;
use edgecore::dmi::DmiSockets;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use mapper::SocketEnd;

#[tokio::test]
async fn every_promise_is_kept_over_sockets() {
    for promise in Promise::ALL {
        let folder = tempfile::tempdir().expect("a directory");
        let edge = DmiSockets::new(folder.path().join("dmi.sock"));
        check(promise, &edge, &SocketEnd::new(folder.path())).await;
    }
}

#[tokio::test]
async fn only_its_own_user_may_use_the_socket() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("new/dmi.sock");
    let _calls = DmiSockets::new(path.clone()).listen().await.expect("it listens");
    let mode = std::fs::symlink_metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = DmiSockets::new(path.clone()).listen().await.err().expect("it is in use").to_string();
    assert_eq!(error, format!("another process listens on {}", path.display()));
}

#[tokio::test]
async fn an_address_that_is_no_socket_is_refused() {
    let edge = DmiSockets::new("/none/dmi.sock".into());
    for address in [&b"127.0.0.1:8000"[..], b"m.sock", b""] {
        let error = edge.check_address(address).expect_err("no path");
        assert!(error.contains("is not the absolute path of a Unix socket"), "{error}");
    }
    assert_eq!(edge.check_address(b"/etc/kubeedge/modbus.sock"), Ok(()));
    assert_eq!(edge.check_address(b"unix:///etc/kubeedge/modbus.sock"), Ok(()));
}

/// What grpc-go sends first when it dials `/d/dmi.sock`: the preface, empty settings, and the headers of a
/// `MapperRegister`, with the path as the authority.
fn as_grpc_go(authority: &str) -> Vec<u8> {
    let field = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len()).expect("it is short");
        [&[0x40, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    let authority_field = {
        let length = u8::try_from(authority.len()).expect("it is short");
        [&[0x41, length], authority.as_bytes()].concat()
    };
    let block = [
        b"\x83\x86".to_vec(),
        field(":path", "/v1beta1.DeviceManagerService/ReportDeviceStates"),
        authority_field,
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ]
    .concat();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let message = b"\0\0\0\0\x07\x0a\x02t1\x1a\x01x";
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, b""),
        frame(1, 4, 1, &block),
        frame(0, 1, 1, message),
    ]
    .concat()
}

#[tokio::test]
async fn a_mapper_made_with_grpc_go_is_heard() {
    for authority in ["/d/dmi.sock", "%2Fd%2Fdmi.sock", "localhost"] {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("dmi.sock");
        let mut calls = DmiSockets::new(path.clone()).listen().await.expect("it listens");
        let mut stream = UnixStream::connect(&path).await.expect("it is there");
        stream.write_all(&as_grpc_go(authority)).await.expect("it reads");
        let reading = async {
            let mut bytes = [0; 4096];
            while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
            panic!("the edge ended the connection: {authority}");
        };
        let call = tokio::select! {
            biased;
            call = calls.next() => call.expect("it listens"),
            () = reading => return,
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no call arrived: {authority}"),
        };
        assert!(
            matches!(&call, dmi::ports::Call::ReportState(report, _) if report.device_name == "t1"),
            "{call:?}"
        );
    }
}
