//! Kernel structures, read by offsets from the running kernel's BTF. Nothing else in this crate knows a layout.
//!
//! Each type is the address of a kernel structure, with the way in which it is read ([`Access`]). A read that fails gives 0, and
//! each caller says what 0 means to it.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use agent_common::offsets::Offsets;
use agent_common::settings::{CGROUP_V1, REGISTERS_BY_HELPER, REGISTERS_ON_STACK, Settings};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel, bpf_task_pt_regs};
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task_btf};

/// Size of a task's stack on x86-64 (`THREAD_SIZE`, arch/x86/include/asm/page_64_types.h; without KASAN).
const STACK_BYTES: u64 = 16 << 10;
/// Offset of `cs` in `struct pt_regs` on x86-64 (arch/x86/include/asm/ptrace.h).
const REGISTER_CS: u32 = 136;
/// `__USER_CS` (arch/x86/include/asm/segment.h).
const USER_CS: u16 = 0x33;

/// Set by the daemon before load; the verifier then knows every offset as a constant.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = unsafe {
    // SAFETY: `Offsets` is made of `u32` alone, for which zero is a value.
    core::mem::zeroed()
};

/// Set by the daemon before load.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = unsafe {
    // SAFETY: `Settings` is made of integers alone, for which zero is a value.
    core::mem::zeroed()
};

/// One member of [`OFFSETS`], as the loader has set it.
macro_rules! offset {
    ($name:ident) => {
        // SAFETY: the static is valid for reads; volatile, because the loader replaces the section after compilation.
        unsafe { core::ptr::read_volatile(&raw const OFFSETS.$name) }
    };
}

/// One member of [`SETTINGS`], as the loader has set it.
macro_rules! setting {
    ($($name:ident).+) => {
        // SAFETY: as for `offset!`.
        unsafe { core::ptr::read_volatile(&raw const $crate::kernel::SETTINGS.$($name).+) }
    };
}
pub(crate) use setting;

/// How a kernel structure at an address is read.
pub trait Access: Copy + PartialEq + Eq {
    /// The value of type `T` at `base + offset`; all zero if that address is not readable.
    fn read<T: Copy>(base: u64, offset: u32) -> T;
}

/// By a helper, which takes any address. Each read costs some 45 ns (docs/benchmarks.md), whatever its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Probed;

/// Directly: the verifier knows the type of what lies at the address, because it is an argument of the hook or was read from
/// one member by member. It accepts a read of members that it knows, and the kernel gives 0 where the address is bad.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Typed;

impl Access for Probed {
    #[inline(always)]
    fn read<T: Copy>(base: u64, offset: u32) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the destination is valid for `size_of::<T>()` bytes and the helper always fills it; callers use integers
        // and arrays of integers only, for which every bit pattern is a value.
        unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                base.wrapping_add(u64::from(offset)) as *const _,
            );
            value.assume_init()
        }
    }
}

impl Access for Typed {
    #[inline(always)]
    fn read<T: Copy>(base: u64, offset: u32) -> T {
        // SAFETY: the verifier refuses a program in which this could be no member of a kernel structure; callers use integers
        // only. Volatile: the kernel writes it.
        unsafe { core::ptr::read_volatile((base as *const u8).wrapping_add(offset as usize).cast()) }
    }
}

/// Thread group id of the current process in the initial pid namespace.
#[inline(always)]
pub fn current_pid() -> u32 {
    if setting!(has_typed_task) != 0 {
        // Found by less than the helper below, which other kernels need.
        // SAFETY: the helper takes no argument.
        TaskStruct::<Typed>::at(unsafe { bpf_get_current_task_btf() } as u64).pid()
    } else {
        (bpf_get_current_pid_tgid() >> 32) as u32
    }
}

/// The current task.
#[inline(always)]
pub fn current_task() -> TaskStruct {
    // SAFETY: the helper takes no argument.
    TaskStruct::at(unsafe { bpf_get_current_task() })
}

/// Whether a pointer is an error number (`IS_ERR`, include/linux/err.h).
#[inline(always)]
pub const fn is_error(address: u64) -> bool {
    address >= (-4095_i64) as u64
}

macro_rules! structures {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[repr(transparent)]
        pub struct $name<A = Probed>(pub u64, pub PhantomData<A>);

        impl<A: Access> $name<A> {
            /// The structure at an address.
            #[inline(always)]
            pub const fn at(address: u64) -> Self {
                Self(address, PhantomData)
            }

            /// The same structure, read by the helper.
            #[inline(always)]
            #[allow(dead_code, reason = "not asked of every structure")]
            pub const fn probed(self) -> $name<Probed> {
                $name(self.0, PhantomData)
            }
        }
    )+};
}

structures! {
    /// `struct task_struct`.
    TaskStruct,
    /// `struct linux_binprm`.
    BinPrm,
    /// `struct file`.
    File,
    /// `struct inode`.
    Inode,
    /// `struct super_block`.
    SuperBlock,
    /// `struct dentry`.
    Dentry,
    /// `struct vfsmount`, inside its `struct mount`.
    VfsMount,
    /// `struct mm_struct`.
    MmStruct,
    /// `struct vm_area_struct`.
    MemoryArea,
    /// `struct cgroup`.
    Cgroup,
    /// `struct kernfs_node`.
    KernfsNode,
    /// `struct cred`.
    Cred,
    /// `struct user_namespace`.
    UserNamespace,
}

/// `struct path`: where a file or directory is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Path<A = Probed> {
    pub mount: VfsMount<A>,
    pub dentry: Dentry<A>,
}

impl<A: Access> Path<A> {
    #[inline(always)]
    fn at(base: u64, offset: u32) -> Self {
        Self {
            mount: VfsMount::at(A::read(base.wrapping_add(u64::from(offset)), offset!(path_mnt))),
            dentry: Dentry::at(A::read(
                base.wrapping_add(u64::from(offset)),
                offset!(path_dentry),
            )),
        }
    }
}

impl Path<Typed> {
    /// The `struct path` that is an argument of a hook.
    #[inline(always)]
    pub fn of_argument(address: u64) -> Self {
        Self::at(address, 0)
    }
}

impl<A: Access> TaskStruct<A> {
    /// Thread group id in the initial pid namespace.
    #[inline(always)]
    pub fn pid(self) -> u32 {
        A::read(self.0, offset!(task_tgid))
    }

    #[inline(always)]
    pub fn real_parent(self) -> Self {
        Self::at(A::read(self.0, offset!(task_real_parent)))
    }

    /// The first thread of the process.
    #[inline(always)]
    pub fn leader(self) -> Self {
        Self::at(A::read(self.0, offset!(task_group_leader)))
    }

    /// Start of this thread, boot-time clock, ns.
    #[inline(always)]
    pub fn started_ns(self) -> u64 {
        A::read(self.0, offset!(task_started))
    }

    /// Of the current task: the registers with which it entered the kernel, by a 64-bit system call. `None` if they cannot be found.
    #[inline(always)]
    pub fn current_registers(self) -> Option<u64> {
        match setting!(registers) {
            // SAFETY: the helpers take the current task, which the first of them gives.
            REGISTERS_BY_HELPER => Some(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64),
            REGISTERS_ON_STACK => {
                let stack: u64 = A::read(self.0, offset!(task_stack));
                let registers = stack + STACK_BYTES - u64::from(offset!(registers_bytes));
                // Proof that it is they: the code segment of 64-bit programs.
                let segment: u64 = Probed::read(registers, REGISTER_CS);
                (segment as u16 == USER_CS).then_some(registers)
            }
            _ => None,
        }
    }

    /// `SECCOMP_MODE_*`: whether a filter of system calls is on it.
    #[inline(always)]
    pub fn seccomp_mode(self) -> u32 {
        A::read(self.0, offset!(task_seccomp_mode))
    }

    /// Of the current task: whether the system call that it is in is a 32-bit one (`TS_COMPAT`, arch/x86/include/asm/thread_info.h).
    #[inline(always)]
    pub fn is_in_32_bit_call(self) -> bool {
        let status: u32 = A::read(self.0, offset!(task_thread_status));
        status & 2 != 0
    }

    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        Probed::read(self.0, offset!(task_comm))
    }

    /// Real user and group id in the initial user namespace.
    #[inline(always)]
    pub fn uid_gid(self) -> (u32, u32) {
        let cred: u64 = Probed::read(self.0, offset!(task_cred));
        (
            Probed::read(cred, offset!(cred_uid)),
            Probed::read(cred, offset!(cred_gid)),
        )
    }

    /// Address of the credentials that are its own, whatever it borrows for a moment.
    #[inline(always)]
    pub fn own_credentials(self) -> u64 {
        Probed::read(self.0, offset!(task_real_cred))
    }

    /// Thread id in the innermost pid namespace.
    #[inline(always)]
    pub fn pid_in_namespace(self) -> u32 {
        let pid: u64 = Probed::read(self.0, offset!(task_thread_pid));
        let level: u32 = Probed::read(pid, offset!(pid_level));
        // `struct upid` is a number and a pointer: 16 bytes since it exists. Namespaces nest 32 deep at most.
        Probed::read(pid, offset!(pid_numbers) + (level & 31) * 16 + offset!(upid_nr))
    }

    /// The root directory.
    #[inline(always)]
    pub fn root(self) -> Path {
        Path::at(Probed::read(self.0, offset!(task_fs)), offset!(fs_root))
    }

    /// The dentry of the root directory.
    #[inline(always)]
    pub fn root_dentry(self) -> Dentry<A> {
        let fs: u64 = A::read(self.0, offset!(task_fs));
        Dentry::at(A::read(fs, offset!(fs_root) + offset!(path_dentry)))
    }

    /// The working directory.
    #[inline(always)]
    pub fn working_directory(self) -> Path {
        Path::at(Probed::read(self.0, offset!(task_fs)), offset!(fs_pwd))
    }

    /// Inode number of the mount namespace.
    #[inline(always)]
    pub fn mount_namespace(self) -> u32 {
        let proxy: u64 = Probed::read(self.0, offset!(task_nsproxy));
        mount_namespace_number(Probed::read(proxy, offset!(nsproxy_mnt_ns)))
    }

    #[inline(always)]
    pub fn memory(self) -> MmStruct {
        MmStruct::at(Probed::read(self.0, offset!(task_mm)))
    }

    /// Address of the array of open files; the entry of a descriptor is the address of its `struct file`.
    #[inline(always)]
    pub fn open_files(self) -> u64 {
        let files: u64 = A::read(self.0, offset!(task_files));
        let table: u64 = A::read(files, offset!(files_table));
        A::read(table, offset!(file_table_files))
    }

    /// As `wait(2)` gives it.
    #[inline(always)]
    pub fn exit_code(self) -> u32 {
        Probed::read(self.0, offset!(task_exit_code))
    }

    /// Whether no thread of the process is left. `do_exit` counts down before it reaches the tracepoint.
    #[inline(always)]
    pub fn is_process_dead(self) -> bool {
        let signal: u64 = A::read(self.0, offset!(task_signal));
        let live: u32 = A::read(signal, offset!(signal_live));
        live == 0
    }

    /// Id of the cgroup in the hierarchy that ids come from.
    #[inline(always)]
    pub fn cgroup_id(self) -> u64 {
        let set: u64 = Probed::read(self.0, offset!(task_cgroups));
        let cgroup = if setting!(cgroup_source) == CGROUP_V1 {
            let css: u64 = Probed::read(set, offset!(css_set_subsystems) + setting!(cgroup_subsystem) * 8);
            Probed::read(css, offset!(css_cgroup))
        } else {
            Probed::read(set, offset!(css_set_default_cgroup))
        };
        Cgroup::<Probed>::at(cgroup).node().id()
    }

    /// [`Self::cgroup_id`] of the current task, which a helper gives for v2.
    #[inline(always)]
    pub fn current_cgroup_id(self) -> u64 {
        if setting!(cgroup_source) == CGROUP_V1 {
            self.cgroup_id()
        } else {
            // SAFETY: the helper takes no argument.
            unsafe { bpf_get_current_cgroup_id() }
        }
    }
}

impl<A: Access> Cred<A> {
    #[inline(always)]
    pub fn user_namespace(self) -> UserNamespace<A> {
        UserNamespace::at(A::read(self.0, offset!(cred_user_namespace)))
    }

    /// The capabilities that are in effect: a bit each.
    #[inline(always)]
    pub fn effective(self) -> u64 {
        A::read(self.0, offset!(cred_effective))
    }

    /// Effective user id in the initial user namespace.
    #[inline(always)]
    pub fn effective_uid(self) -> u32 {
        A::read(self.0, offset!(cred_effective_id))
    }
}

impl<A: Access> UserNamespace<A> {
    /// 0 for the initial one.
    #[inline(always)]
    pub fn level(self) -> u32 {
        A::read(self.0, offset!(user_namespace_level))
    }

    /// Inode number.
    #[inline(always)]
    pub fn number(self) -> u32 {
        A::read(self.0, offset!(user_namespace_ns) + offset!(ns_common_inum))
    }
}

impl UserNamespace<Probed> {
    #[inline(always)]
    pub fn parent(self) -> Self {
        Self::at(Probed::read(self.0, offset!(user_namespace_parent)))
    }

    /// User id of its owner in the initial user namespace.
    #[inline(always)]
    pub fn owner(self) -> u32 {
        Probed::read(self.0, offset!(user_namespace_owner))
    }
}

impl<A: Access> BinPrm<A> {
    #[inline(always)]
    pub fn file(self) -> File<A> {
        File::at(A::read(self.0, offset!(bprm_file)))
    }

    /// The first bytes of the file.
    #[inline(always)]
    pub fn first_bytes(self) -> [u8; 4] {
        Probed::read(self.0, offset!(bprm_buf))
    }

    /// Address of the name given to `execve`.
    #[inline(always)]
    pub fn filename(self) -> u64 {
        Probed::read(self.0, offset!(bprm_filename))
    }

    /// Address of the name of the binary that is really executed: the same as `filename` unless it is a script.
    #[inline(always)]
    pub fn interpreter(self) -> u64 {
        Probed::read(self.0, offset!(bprm_interp))
    }
}

impl<A: Access> File<A> {
    #[inline(always)]
    pub fn path(self) -> Path<A> {
        Path::at(self.0, offset!(file_path))
    }

    #[inline(always)]
    pub fn inode(self) -> Inode<A> {
        Inode::at(A::read(self.0, offset!(file_inode)))
    }
}

/// What is asked of each file that is opened.
pub struct Opened<A> {
    pub path: Path<A>,
    pub inode: Inode<A>,
    /// `FMODE_*` bits.
    pub mode: u32,
    /// `O_*` bits.
    pub flags: u32,
}

impl File<Probed> {
    /// The file at an address that stands at `base + offset`.
    #[inline(always)]
    pub fn pointed_to(base: u64, offset: u64) -> Self {
        Self::at(Probed::read(base.wrapping_add(offset), 0))
    }

    /// All that is asked of an opened file, by one read where it lies together, as it does in all kernels so far.
    #[inline(always)]
    pub fn opened(self, block: &mut Block) -> Opened<Probed> {
        block.fill(self.0);
        let path = offset!(file_path);
        Opened {
            path: Path {
                mount: VfsMount::at(block.get(path + offset!(path_mnt))),
                dentry: Dentry::at(block.get(path + offset!(path_dentry))),
            },
            inode: Inode::at(block.get(offset!(file_inode))),
            mode: block.get(offset!(file_mode)),
            flags: block.get(offset!(file_flags)),
        }
    }

    /// The path that the user opened. For a file behind an overlay, which mappings hold in place of the overlay's own, that
    /// is not where the file is.
    #[inline(always)]
    pub fn user_path(self) -> Path {
        let mode: u32 = Probed::read(self.0, offset!(file_mode));
        if mode & MODE_NO_ACCOUNT == 0 {
            self.path()
        } else {
            Path::at(self.0, offset!(backing_file_user_path))
        }
    }
}

impl File<Typed> {
    /// `f_mode` and `f_flags`.
    #[inline(always)]
    pub fn mode_and_flags(self) -> (u32, u32) {
        (
            Typed::read(self.0, offset!(file_mode)),
            Typed::read(self.0, offset!(file_flags)),
        )
    }

    /// The dentry by which it was opened.
    #[inline(always)]
    pub fn dentry(self) -> Dentry<Typed> {
        let path = self.0.wrapping_add(u64::from(offset!(file_path)));
        Dentry::at(Typed::read(path, offset!(path_dentry)))
    }

    /// The mount on which it was opened.
    #[inline(always)]
    pub fn mount(self) -> VfsMount<Typed> {
        let path = self.0.wrapping_add(u64::from(offset!(file_path)));
        VfsMount::at(Typed::read(path, offset!(path_mnt)))
    }
}

/// The first bytes of a structure, read at once into work space.
#[repr(C)]
pub struct Block {
    base: u64,
    words: [u64; BLOCK_WORDS],
}

const BLOCK_WORDS: usize = 16;

impl Block {
    #[inline(always)]
    fn fill(&mut self, base: u64) {
        self.base = base;
        // SAFETY: the length is that of the words; the helper checks the address.
        unsafe {
            bpf_probe_read_kernel(
                self.words.as_mut_ptr().cast(),
                (BLOCK_WORDS * 8) as u32,
                base as *const _,
            );
        }
    }

    /// The member at `offset`, which the verifier knows as a constant: so it is one of the two reads.
    #[inline(always)]
    fn get<T: Copy>(&self, offset: u32) -> T {
        if offset as usize + size_of::<T>() > BLOCK_WORDS * 8 {
            return Probed::read(self.base, offset);
        }
        let start = core::ptr::from_ref(&self.words).cast::<u8>();
        // SAFETY: it ends inside of the words, and is made of integers.
        unsafe { core::ptr::read_volatile(start.wrapping_add(offset as usize).cast()) }
    }
}

/// include/linux/fs.h, in `f_mode`: opened for writing; only a name for a file (`O_PATH`); created by being opened.
pub const MODE_WRITE: u32 = 1 << 1;
pub const MODE_PATH: u32 = 1 << 14;
pub const MODE_CREATED: u32 = 1 << 20;
/// `FMODE_NOACCOUNT` (include/linux/fs.h): files that filesystems open for themselves.
pub const MODE_NO_ACCOUNT: u32 = 1 << 29;
/// `__FMODE_EXEC` (include/linux/fs.h) in `f_flags`: opened in order to be executed.
pub const FLAG_EXEC: u32 = 1 << 5;

impl MemoryArea<Probed> {
    /// The mapped file; address 0 for anonymous memory.
    #[inline(always)]
    pub fn file(self) -> File {
        File::at(Probed::read(self.0, offset!(area_file)))
    }

    /// `VM_*` bits.
    #[inline(always)]
    pub fn flags(self) -> u64 {
        Probed::read(self.0, offset!(area_flags))
    }
}

impl<A: Access> Inode<A> {
    #[inline(always)]
    pub fn number(self) -> u64 {
        A::read(self.0, offset!(inode_number))
    }

    #[inline(always)]
    pub fn links(self) -> u32 {
        A::read(self.0, offset!(inode_links))
    }

    #[inline(always)]
    pub fn size_bytes(self) -> u64 {
        A::read(self.0, offset!(inode_size))
    }

    /// Change time: seconds and nanoseconds. Since Linux 6.13 the topmost bit of the latter marks that it was queried
    /// (`I_CTIME_QUERIED`, include/linux/fs.h).
    #[inline(always)]
    pub fn changed(self) -> (i64, u32) {
        let nanoseconds: u32 = A::read(self.0, offset!(inode_changed_ns));
        (
            A::read(self.0, offset!(inode_changed_s)),
            nanoseconds & 0x7fff_ffff,
        )
    }

    #[inline(always)]
    pub fn superblock(self) -> SuperBlock<A> {
        SuperBlock::at(A::read(self.0, offset!(inode_sb)))
    }

    /// For an inode of an overlay: the dentry in the upper layer, 0 if there is none.
    #[inline(always)]
    pub fn overlay_upper(self) -> Dentry {
        Dentry::at(Probed::read(self.0, offset!(ovl_upper_dentry)))
    }
}

impl<A: Access> SuperBlock<A> {
    /// `s_dev`, which is unique among the superblocks that live.
    #[inline(always)]
    pub fn device(self) -> u32 {
        A::read(self.0, offset!(super_block_device))
    }

    /// Whether its files are huge pages (`HUGETLBFS_MAGIC`, include/uapi/linux/magic.h).
    #[inline(always)]
    pub fn is_huge_pages(self) -> bool {
        let magic: u64 = A::read(self.0, offset!(super_block_magic));
        magic == 0x9584_58f6
    }

    /// Whether it is an overlay (`OVERLAYFS_SUPER_MAGIC`, include/uapi/linux/magic.h).
    #[inline(always)]
    pub fn is_overlay(self) -> bool {
        let magic: u64 = A::read(self.0, offset!(super_block_magic));
        magic == 0x794c_7630
    }
}

/// A step of a walk: a dentry's name and where it hangs.
pub struct Link<A> {
    pub parent: Dentry<A>,
    /// Address of the name.
    pub name: u64,
    /// Length of the name in bytes.
    pub length: u32,
}

impl<A: Access> Dentry<A> {
    /// `d_parent` and `d_name`, each by itself.
    #[inline(always)]
    pub fn link(self) -> Link<A> {
        let name = offset!(dentry_name);
        Link {
            parent: Self::at(A::read(self.0, offset!(dentry_parent))),
            name: A::read(self.0, name + offset!(qstr_name)),
            length: A::read(self.0, name + offset!(qstr_len)),
        }
    }

    #[inline(always)]
    pub fn inode(self) -> Inode {
        Inode::at(Probed::read(self.0, offset!(dentry_inode)))
    }

    #[inline(always)]
    pub fn superblock(self) -> SuperBlock<A> {
        SuperBlock::at(A::read(self.0, offset!(dentry_superblock)))
    }

    /// What tells this name from another one that this dentry may have later: its parent, and hash and length of the name.
    #[inline(always)]
    pub fn name_identity(self) -> (u64, u64) {
        let parent: u64 = A::read(self.0, offset!(dentry_parent));
        let name = self.0.wrapping_add(u64::from(offset!(dentry_name)));
        let hash: u32 = A::read(name, offset!(qstr_hash));
        let length: u32 = A::read(name, offset!(qstr_len));
        (parent, u64::from(length) << 32 | u64::from(hash))
    }
}

impl Dentry<Probed> {
    /// [`Self::name_identity`] by one read where the members are neighbours.
    #[inline(always)]
    pub fn name_identity_at_once(self) -> (u64, u64) {
        let first = offset!(dentry_parent);
        if offset!(dentry_name).wrapping_sub(first) != 8 || offset!(qstr_hash) != 0 || offset!(qstr_len) != 4
        {
            return self.name_identity();
        }
        let words: [u64; 2] = Probed::read(self.0, first);
        (words[0], words[1])
    }

    /// [`Self::link`] by one read where the members are neighbours, as they are in all kernels so far.
    #[inline(always)]
    pub fn link_at_once(self) -> Link<Probed> {
        let first = offset!(dentry_parent);
        let name = offset!(dentry_name).wrapping_sub(first) + offset!(qstr_name);
        let length = offset!(dentry_name).wrapping_sub(first) + offset!(qstr_len);
        if name != 16 || length != 12 {
            return self.link();
        }
        // The parent; a hash and the length; the address of the name.
        let words: [u64; 3] = Probed::read(self.0, first);
        Link {
            parent: Self::at(words[0]),
            length: (words[1] >> 32) as u32,
            name: words[2],
        }
    }
}

impl<A: Access> VfsMount<A> {
    #[inline(always)]
    fn mount(self) -> u64 {
        self.0.wrapping_sub(u64::from(offset!(mount_vfsmount)))
    }

    /// The dentry that the mount shows as its root.
    #[inline(always)]
    pub fn root(self) -> Dentry<A> {
        Dentry::at(A::read(self.0, offset!(vfsmount_root)))
    }

    #[inline(always)]
    pub fn superblock(self) -> SuperBlock<A> {
        SuperBlock::at(A::read(self.0, offset!(vfsmount_sb)))
    }

    /// The mount that this one is mounted on; itself where there is none.
    #[inline(always)]
    pub fn parent(self) -> VfsMount {
        let parent: u64 = Probed::read(self.mount(), offset!(mount_parent));
        VfsMount::at(parent.wrapping_add(u64::from(offset!(mount_vfsmount))))
    }

    /// Where in [`Self::parent`] it is mounted.
    #[inline(always)]
    pub fn mountpoint(self) -> Dentry {
        Dentry::at(Probed::read(self.mount(), offset!(mount_mountpoint)))
    }

    /// Address of the mount namespace: 0 for a detached mount, an error number for the kernel's internal ones.
    #[inline(always)]
    pub fn namespace(self) -> u64 {
        Probed::read(self.mount(), offset!(mount_ns))
    }
}

/// Inode number of the mount namespace at `address`; 0 if there is none.
#[inline(always)]
pub fn mount_namespace_number(address: u64) -> u32 {
    Probed::read(address, offset!(mnt_namespace_ns) + offset!(ns_common_inum))
}

impl MmStruct<Probed> {
    /// Whether an execution is still building this address space: loaders of binaries tell where code ends as the last thing,
    /// and `prctl(PR_SET_MM)` accepts no address so low.
    #[inline(always)]
    pub fn is_being_built(self) -> bool {
        let end_code: u64 = Probed::read(self.0, offset!(mm_end_code));
        end_code == 0
    }

    /// The program's file.
    #[inline(always)]
    pub fn program(self) -> File {
        File::at(Probed::read(self.0, offset!(mm_exe_file)))
    }

    /// User addresses of the first byte of the arguments and of the first byte behind them.
    #[inline(always)]
    pub fn arguments(self) -> (u64, u64) {
        (
            Probed::read(self.0, offset!(mm_arg_start)),
            Probed::read(self.0, offset!(mm_arg_end)),
        )
    }
}

impl Cgroup<Probed> {
    #[inline(always)]
    pub fn node(self) -> KernfsNode {
        KernfsNode::at(Probed::read(self.0, offset!(cgroup_node)))
    }

    /// Whether it belongs to the hierarchy that ids come from.
    #[inline(always)]
    pub fn is_of_our_hierarchy(self) -> bool {
        let root: u64 = Probed::read(self.0, offset!(cgroup_root));
        let hierarchy: u32 = Probed::read(root, offset!(cgroup_root_hierarchy));
        hierarchy == setting!(cgroup_hierarchy)
    }
}

impl KernfsNode<Probed> {
    #[inline(always)]
    pub fn id(self) -> u64 {
        Probed::read(self.0, offset!(kernfs_node_id))
    }

    #[inline(always)]
    pub fn parent(self) -> Self {
        Self::at(Probed::read(self.0, offset!(kernfs_node_parent)))
    }

    /// Address of the NUL-terminated name.
    #[inline(always)]
    pub fn name(self) -> u64 {
        Probed::read(self.0, offset!(kernfs_node_name))
    }
}
