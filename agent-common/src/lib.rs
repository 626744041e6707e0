//! The ABI between Driftlock's kernel programs and its daemon.
//!
//! Purpose: every type that crosses the boundary (map keys, map values, records, load-time settings) and every
//! algorithm that both sides must compute alike (the keyed path hash) is defined here once.
//! Input and output: plain data. All types are `repr(C)`, made of fixed-width integers and byte arrays, without
//! implicit padding; their sizes are asserted at compile time.
//! Failure: bytes from the kernel are tags of unknown value until one of the `from_raw` functions accepted them.
#![no_std]

#[cfg(feature = "user")]
extern crate alloc;

pub mod cap;
pub mod container;
pub mod domain;
pub mod file;
pub mod hash;
pub mod instance;
pub mod normal_form;
pub mod offsets;
pub mod path;
pub mod record;
pub mod rule;
pub mod settings;
pub mod syscall;
pub mod task;

/// Version of everything in this crate. The daemon refuses kernel objects of another version.
pub const ABI_VERSION: u32 = 6;

/// Marks types as plain old data for the daemon: byte-wise decoding (`bytemuck`) and map access (`aya`).
macro_rules! plain_old_data {
    ($($name:ty),+ $(,)?) => {$(
        // SAFETY: `bytemuck::Pod` is derived on the type, which proves at compile time that it is `repr(C)`,
        // has no padding, and allows every bit pattern; `aya::Pod` asks for no more than that.
        #[cfg(feature = "user")]
        #[allow(unsafe_code, reason = "the marker trait is unsafe to implement; its condition is proved by the derive")]
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use plain_old_data;

/// A `u8` tag with named values, convertible from untrusted bytes only through `from_raw`.
macro_rules! tag {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $value:literal => $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_meta])* $variant = $value),+
        }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Reads a tag from the other side; `None` for a number that has no meaning.
            #[must_use]
            pub const fn from_raw(raw: u8) -> Option<Self> {
                match raw {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The word for this value in every document, table and alert.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// The value named `text`; `None` if there is none.
            #[must_use]
            pub fn from_name(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.pad(self.as_str())
            }
        }
    };
}
pub(crate) use tag;
