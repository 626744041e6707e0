//! Offsets and numbers from the running kernel's type information (BTF).
//!
//! Input: `/sys/kernel/btf/vmlinux`. Output: [`Offsets`] for the kernel programs. Failure: a member that no known kernel
//! version's name finds is an error that names it; nothing is guessed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use agent_common::offsets::Offsets;
use btfparse::{Integer32Value, Offset, TypeInformation, TypeVariant};

/// Where kernels publish their types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel's types.
pub struct KernelTypes {
    types: TypeInformation,
    /// Structures by name. (The parser's own index also holds functions, of which some have a structure's name.)
    structures: HashMap<String, u32>,
}

/// Type information could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read the kernel's type information from {path} (the kernel needs CONFIG_DEBUG_INFO_BTF)")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not BTF.
    #[error("cannot parse the kernel's type information in {path}: {reason}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A member does not exist under any known name.
    #[error("this kernel's types have none of the members {candidates:?} (needed for `{name}`)")]
    Member {
        /// The offset's name in [`Offsets`].
        name: String,
        /// The members that were looked for.
        candidates: Vec<String>,
    },
    /// A controller has no number.
    #[error("this kernel has no cgroup controller `{name}`")]
    Subsystem {
        /// The controller's name.
        name: String,
    },
}

/// A file in memory, as the parser wants to read it.
struct Bytes(Vec<u8>);

impl btfparse::Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.0.get(start..)?.get(..buffer.len()))
            .ok_or_else(|| btfparse::Error::new(btfparse::ErrorKind::IOError, "the file ends early"))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl KernelTypes {
    /// Reads the types at `path`, usually [`VMLINUX`]. Takes about half a second.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path).map_err(|source| BtfError::Read {
            path: path.to_owned(),
            source,
        })?;
        let types = TypeInformation::new(&Bytes(bytes)).map_err(|error| BtfError::Parse {
            path: path.to_owned(),
            reason: error.message().to_owned(),
        })?;
        let structures = types
            .get()
            .iter()
            .filter_map(|(id, variant)| match variant {
                TypeVariant::Struct(structure) => Some((structure.name().clone()?, *id)),
                _ => None,
            })
            .collect();
        Ok(Self { types, structures })
    }

    /// All offsets that the kernel programs need.
    pub fn offsets(&self) -> Result<Offsets, BtfError> {
        Offsets::try_from_sources(|name, candidates| {
            candidates
                .iter()
                .find_map(|candidate| self.offset(candidate))
                .ok_or_else(|| BtfError::Member {
                    name: name.to_owned(),
                    candidates: candidates.iter().map(|&candidate| candidate.to_owned()).collect(),
                })
        })
    }

    /// Index of a cgroup controller in `css_set.subsys`.
    pub fn subsystem(&self, controller: &str) -> Result<u32, BtfError> {
        let constant = format!("{controller}_cgrp_id");
        self.types
            .get()
            .values()
            .filter_map(|variant| match variant {
                TypeVariant::Enum(list) => Some(list.named_value_list()),
                _ => None,
            })
            .flatten()
            .find(|value| value.name == constant)
            .and_then(|value| match value.value {
                Integer32Value::Signed(number) => u32::try_from(number).ok(),
                Integer32Value::Unsigned(number) => Some(number),
            })
            .ok_or_else(|| BtfError::Subsystem {
                name: controller.to_owned(),
            })
    }

    /// Whether the kernel has a function of this name, as it has one for each helper that programs may call.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.types
            .get()
            .values()
            .any(|variant| matches!(variant, TypeVariant::Func(function) if function.name().as_deref() == Some(name)))
    }

    /// `structure.member[.member]` in bytes; `structure.a-b` is the distance from `b` to `a`; `sizeof.structure`.
    fn offset(&self, candidate: &str) -> Option<u32> {
        let (structure, member) = candidate.split_once('.')?;
        if structure == "sizeof" {
            let size = self.types.size_of(*self.structures.get(member)?).ok()?;
            return u32::try_from(size).ok();
        }
        let id = *self.structures.get(structure)?;
        let in_bytes = |path: &str| match self.types.offset_of(id, path).ok()?.1 {
            Offset::ByteOffset(bytes) => Some(bytes),
            Offset::BitOffsetAndSize(bits, _) => (bits % 8 == 0).then_some(bits / 8),
        };
        match member.split_once('-') {
            Some((member, base)) => in_bytes(member)?.checked_sub(in_bytes(base)?),
            None => in_bytes(member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_member_in_the_running_kernel() {
        let types = KernelTypes::read(Path::new(VMLINUX)).expect("this kernel publishes its types");
        let offsets = types.offsets().expect("every member has a known name");
        assert_ne!(offsets.task_tgid, 0);
        assert_eq!(
            types
                .subsystem("cpuset")
                .expect("the first controller of every kernel"),
            0
        );
        assert!(types.subsystem("none_of_that_name").is_err());
        assert!(types.has_function("bpf_probe_read_kernel"));
        assert!(!types.has_function("bpf_none_of_that_name"));
        assert_eq!(types.offset("task_struct.none_of_that_name"), None);
    }
}
