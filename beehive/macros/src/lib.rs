//! The derive macro of the `beehive` bus.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{DeriveInput, Type, parse_macro_input, spanned::Spanned};

/// Makes a type a message of the bus.
///
/// The message's name is the type's name. `#[reply(Type)]` says what its server answers; without it
/// the answer is `()`.
#[proc_macro_derive(Message, attributes(reply))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    message(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn message(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let reply = reply(input)?;
    let ident = &input.ident;
    let name = format_ident!("{ident}").to_string();
    let (impls, types, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        impl #impls ::beehive::Message for #ident #types #bounds {
            const NAME: &'static str = #name;
            type Reply = #reply;
        }
    })
}

fn reply(input: &DeriveInput) -> syn::Result<Type> {
    let mut attributes = input.attrs.iter().filter(|attribute| attribute.path().is_ident("reply"));
    let Some(first) = attributes.next() else {
        return syn::parse_str("()");
    };
    if let Some(second) = attributes.next() {
        return Err(syn::Error::new(second.span(), "a message has one reply type"));
    }
    first.parse_args::<Type>()
}
