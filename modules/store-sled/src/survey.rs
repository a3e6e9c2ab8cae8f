//! Reading sled, and what is not in it yet, as one.

use std::cmp::Ordering;

use ::store::Survey;
use bytes::Bytes;

use crate::pending::Pending;
use crate::record::decode_value;

/// Reads at most `limit` records from `start` on, of keys that begin with `prefix`. The first `name_length`
/// bytes of a key are its tree's name.
pub(crate) fn survey(
    database: &sled::Db,
    pending: &Pending,
    (start, prefix): (&[u8], &[u8]),
    name_length: usize,
    limit: usize,
) -> sled::Result<Survey> {
    let mut survey = Survey::default();
    let mut written = database.range(start..).peekable();
    let mut changed = pending.range(start).take_while(|(key, _)| key.starts_with(prefix)).peekable();
    while survey.entries.len() + survey.corrupt.len() < limit {
        let order = match (written.peek(), changed.peek()) {
            (None, None) => break,
            (Some(Ok((written, _))), Some((changed, _))) => written[..].cmp(&changed[..]),
            (Some(_), _) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        let record = if order == Ordering::Greater { None } else { written.next().transpose()? };
        let change = if order == Ordering::Less { None } else { changed.next() };
        match (record, change) {
            (_, Some((key, Some(value)))) => survey.entries.push((key.slice(name_length..), value.clone())),
            (_, Some((_, None))) => {}
            (Some((encoded_key, encoded)), None) if encoded_key.starts_with(prefix) => {
                let key = Bytes::copy_from_slice(encoded_key.get(name_length..).unwrap_or_default());
                match decode_value(&encoded_key, &encoded) {
                    Some(value) => survey.entries.push((key, value)),
                    None => survey.corrupt.push(key),
                }
            }
            (_, None) => break,
        }
    }
    Ok(survey)
}
