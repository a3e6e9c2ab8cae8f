//! Messages as KubeEdge's own Go code writes them: `golden/messages.txt`, with every field of each.
//!
//! Each text says the name of its field, and each number is the sum of that name's small letters and
//! digits, so that a field that has another number here is seen.

use prost::Message;

use crate::v1beta1::{
    CreateDeviceModelRequest, CreateDeviceModelResponse, GetDeviceRequest, GetDeviceResponse,
    MapperRegisterRequest, MapperRegisterResponse, RegisterDeviceRequest, RegisterDeviceResponse,
    RemoveDeviceModelRequest, RemoveDeviceModelResponse, RemoveDeviceRequest, RemoveDeviceResponse,
    ReportDeviceStatesRequest, ReportDeviceStatesResponse, ReportDeviceStatusRequest,
    ReportDeviceStatusResponse, UpdateDeviceModelRequest, UpdateDeviceModelResponse, UpdateDeviceRequest,
    UpdateDeviceResponse,
};

/// Reads a message, and returns what it says and its bytes when it is written again.
type Reader = fn(&[u8]) -> (String, Vec<u8>);

fn reader<M: Message + Default + std::fmt::Debug>() -> Reader {
    |bytes| {
        let message = M::decode(bytes).expect("a message");
        (format!("{message:?}"), message.encode_to_vec())
    }
}

fn readers() -> [(&'static str, Reader); 20] {
    [
        ("MapperRegisterRequest", reader::<MapperRegisterRequest>()),
        ("MapperRegisterResponse", reader::<MapperRegisterResponse>()),
        ("ReportDeviceStatusRequest", reader::<ReportDeviceStatusRequest>()),
        ("ReportDeviceStatusResponse", reader::<ReportDeviceStatusResponse>()),
        ("ReportDeviceStatesRequest", reader::<ReportDeviceStatesRequest>()),
        ("ReportDeviceStatesResponse", reader::<ReportDeviceStatesResponse>()),
        ("RegisterDeviceRequest", reader::<RegisterDeviceRequest>()),
        ("RegisterDeviceResponse", reader::<RegisterDeviceResponse>()),
        ("CreateDeviceModelRequest", reader::<CreateDeviceModelRequest>()),
        ("CreateDeviceModelResponse", reader::<CreateDeviceModelResponse>()),
        ("RemoveDeviceRequest", reader::<RemoveDeviceRequest>()),
        ("RemoveDeviceResponse", reader::<RemoveDeviceResponse>()),
        ("RemoveDeviceModelRequest", reader::<RemoveDeviceModelRequest>()),
        ("RemoveDeviceModelResponse", reader::<RemoveDeviceModelResponse>()),
        ("UpdateDeviceRequest", reader::<UpdateDeviceRequest>()),
        ("UpdateDeviceResponse", reader::<UpdateDeviceResponse>()),
        ("UpdateDeviceModelRequest", reader::<UpdateDeviceModelRequest>()),
        ("UpdateDeviceModelResponse", reader::<UpdateDeviceModelResponse>()),
        ("GetDeviceRequest", reader::<GetDeviceRequest>()),
        ("GetDeviceResponse", reader::<GetDeviceResponse>()),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16);
    (0..hex.len()).step_by(2).map(|at| digits(at).expect("two digits")).collect()
}

fn plain(name: &str) -> String {
    name.replace('_', "").to_ascii_lowercase()
}

/// Returns the fields whose values do not say their own names, and how many do.
fn check(said: &str) -> (usize, Vec<String>) {
    let (mut right, mut wrong) = (0, Vec::new());
    for (at, _) in said.match_indices(": ") {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let (before, rest) = said.split_at(at);
        let name = before.rsplit(|letter| !is_letter(letter)).next().unwrap_or_default();
        let rest = rest.trim_start_matches(": ");
        let value = rest.trim_start_matches('[').split([',', ' ', '}', ']']).next().unwrap_or_default();
        let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let is_right = match (text, value.parse::<u32>()) {
            (Some(text), _) => plain(text) == plain(name),
            // A list of numbers is bytes.
            (None, Ok(number)) if !rest.starts_with('[') => {
                number == plain(name).bytes().map(u32::from).sum::<u32>()
            }
            (None, _) => continue,
        };
        // The key and the value of a map have no name.
        if name.is_empty() || text == Some("value") && before.ends_with("\"key\"") {
            continue;
        }
        if is_right { right += 1 } else { wrong.push(format!("{name}: {value}")) }
    }
    (right, wrong)
}

#[test]
fn every_field_of_every_message_is_where_kubeedge_has_it() {
    let (mut checked, recorded) = (0, include_str!("golden/messages.txt"));
    assert_eq!(recorded.lines().count(), readers().len());
    for line in recorded.lines() {
        let (name, hex) = line.split_once(' ').expect("a name and bytes");
        let known = readers().into_iter().find(|(known, _)| *known == name);
        let (_, read) = known.unwrap_or_else(|| panic!("{name} is not known here"));
        let bytes = bytes(hex);
        let (said, written) = read(&bytes);
        assert_eq!(written, bytes, "{name} loses something: {said}");
        let (right, wrong) = check(&said);
        assert_eq!(wrong, [""; 0], "{name}: {said}");
        checked += right;
    }
    assert!(checked > 200, "{checked} fields");
}
