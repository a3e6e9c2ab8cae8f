//! How the resources' structures are written down.

/// Declares structures as the schemas have them: what `must` be there and what `may` be.
///
/// A field that may be absent is an `Option`, and an absent one is not written: a `null` in a patch would
/// delete what is there.
macro_rules! shape {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$of_field:meta])* $presence:ident $field:ident : $kind:ty, )*
        }
    )*) => { $(
        shape!(@each [$(#[$meta])* $name] [] $( { $(#[$of_field])* $presence $field : $kind } )*);
    )* };
    (@each [$($head:tt)*] [$($done:tt)*] { $(#[$of_field:meta])* must $field:ident : $kind:ty } $($rest:tt)*) => {
        shape!(@each [$($head)*] [$($done)* $(#[$of_field])* pub $field: $kind,] $($rest)*);
    };
    (@each [$($head:tt)*] [$($done:tt)*] { $(#[$of_field:meta])* may $field:ident : $kind:ty } $($rest:tt)*) => {
        shape!(@each [$($head)*] [
            $($done)*
            $(#[$of_field])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$kind>,
        ] $($rest)*);
    };
    // What else the object has, as it is.
    (@each [$($head:tt)*] [$($done:tt)*] { $(#[$of_field:meta])* rest $field:ident : $kind:ty } $($rest:tt)*) => {
        shape!(@each [$($head)*] [$($done)* $(#[$of_field])* #[serde(flatten)] pub $field: $kind,] $($rest)*);
    };
    (@each [$(#[$meta:meta])* $name:ident] [$($fields:tt)*]) => {
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $(#[$meta])*
        #[serde(rename_all = "camelCase")]
        pub struct $name { $($fields)* }
    };
}

/// Declares an enumeration of texts; the first is the default.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $first:ident = $first_text:literal, $( $word:ident = $text:literal, )* }
    )*) => { $(
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $(#[$meta])*
        pub enum $name {
            #[doc = concat!("`", $first_text, "`.")]
            #[default]
            #[serde(rename = $first_text)]
            $first,
            $(
                #[doc = concat!("`", $text, "`.")]
                #[serde(rename = $text)]
                $word,
            )*
        }
    )* };
}

pub(crate) use shape;
pub(crate) use words;
