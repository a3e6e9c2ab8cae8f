//! What both ends of a link over QUIC have in common.
//!
//! The edge dials and the cloud listens; what they share is here: the settings of a connection, how an
//! edge introduces itself, the frames, and what the failures of a connection mean. A link is one
//! connection with one stream that the edge opens. Its first frame says which node the edge is and which
//! codecs it speaks, the cloud's first one which of them it chose; from then on each frame is one of
//! the codec. Who is refused hears why when the connection is closed.

mod failure;
mod frames;
mod opening;
mod settings;

pub use failure::{Alert, alert, link_error};
pub use opening::{Introduced, Refusal, introduce};
pub use settings::{ALPN, client_config, server_config};
