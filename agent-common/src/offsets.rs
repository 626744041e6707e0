//! Offsets of the kernel's structure members in bytes, taken from the running kernel's BTF at load.

use crate::plain_old_data;

macro_rules! offsets {
    ($($(#[$meta:meta])* $name:ident: $($path:literal)|+;)+) => {
        /// Global `OFFSETS` of the kernel object: a member of a kernel structure each.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        #[repr(C)]
        pub struct Offsets {
            $($(#[$meta])* #[doc = concat!("Offset of ", $("`", $path, "` "),+, "(the first that exists).")] pub $name: u32,)+
        }

        /// Where each offset comes from: its name here, and the members that may hold it (`structure.member`), by the
        /// names of different kernel versions.
        #[cfg(feature = "user")]
        pub const SOURCES: &[(&str, &[&str])] = &[$((stringify!($name), &[$($path),+])),+];

        #[cfg(feature = "user")]
        impl Offsets {
            /// Builds the offsets by asking `find` for each entry of [`SOURCES`] in turn.
            ///
            /// # Errors
            /// Whatever `find` returns for the first entry that it cannot give.
            pub fn try_from_sources<E>(mut find: impl FnMut(&str, &[&str]) -> Result<u32, E>) -> Result<Self, E> {
                Ok(Self { $($name: find(stringify!($name), &[$($path),+])?,)+ })
            }
        }
    };
}

offsets! {
    task_tgid: "task_struct.tgid";
    task_real_parent: "task_struct.real_parent";
    task_group_leader: "task_struct.group_leader";
    task_started: "task_struct.start_boottime" | "task_struct.real_start_time";
    task_comm: "task_struct.comm";
    task_cred: "task_struct.cred";
    task_real_cred: "task_struct.real_cred";
    task_fs: "task_struct.fs";
    task_mm: "task_struct.mm";
    task_nsproxy: "task_struct.nsproxy";
    task_cgroups: "task_struct.cgroups";
    task_signal: "task_struct.signal";
    task_thread_pid: "task_struct.thread_pid";
    task_exit_code: "task_struct.exit_code";
    task_files: "task_struct.files";
    task_stack: "task_struct.stack";
    /// Size of the registers that are kept at the end of a task's stack.
    registers_bytes: "sizeof.pt_regs";
    task_seccomp_mode: "task_struct.seccomp.mode";
    /// On x86: whether the system call is a 32-bit one.
    task_thread_status: "task_struct.thread_info.status" | "task_struct.thread_info.flags";
    files_table: "files_struct.fdt";
    file_table_files: "fdtable.fd";
    signal_live: "signal_struct.live";
    cred_uid: "cred.uid";
    cred_gid: "cred.gid";
    cred_effective_id: "cred.euid";
    cred_effective: "cred.cap_effective";
    cred_user_namespace: "cred.user_ns";
    user_namespace_parent: "user_namespace.parent";
    user_namespace_level: "user_namespace.level";
    user_namespace_owner: "user_namespace.owner";
    user_namespace_ns: "user_namespace.ns";
    pid_level: "pid.level";
    pid_numbers: "pid.numbers";
    upid_nr: "upid.nr";
    fs_root: "fs_struct.root";
    fs_pwd: "fs_struct.pwd";
    path_mnt: "path.mnt";
    path_dentry: "path.dentry";
    nsproxy_mnt_ns: "nsproxy.mnt_ns";
    mnt_namespace_ns: "mnt_namespace.ns";
    ns_common_inum: "ns_common.inum";
    mount_vfsmount: "mount.mnt";
    mount_parent: "mount.mnt_parent";
    mount_mountpoint: "mount.mnt_mountpoint";
    mount_ns: "mount.mnt_ns";
    vfsmount_root: "vfsmount.mnt_root";
    vfsmount_sb: "vfsmount.mnt_sb";
    dentry_parent: "dentry.d_parent";
    dentry_name: "dentry.d_name";
    dentry_inode: "dentry.d_inode";
    dentry_superblock: "dentry.d_sb";
    qstr_hash: "qstr.hash";
    qstr_len: "qstr.len";
    qstr_name: "qstr.name";
    inode_number: "inode.i_ino";
    inode_links: "inode.i_nlink" | "inode.__i_nlink";
    inode_size: "inode.i_size";
    inode_changed_s: "inode.i_ctime_sec" | "inode.__i_ctime.tv_sec" | "inode.i_ctime.tv_sec";
    inode_changed_ns: "inode.i_ctime_nsec" | "inode.__i_ctime.tv_nsec" | "inode.i_ctime.tv_nsec";
    inode_sb: "inode.i_sb";
    /// The upper dentry of an overlay inode, counted from the embedded `struct inode`.
    ovl_upper_dentry: "ovl_inode.__upperdentry-vfs_inode" | "sizeof.inode";
    super_block_device: "super_block.s_dev";
    super_block_magic: "super_block.s_magic";
    file_path: "file.f_path" | "file.__f_path";
    file_inode: "file.f_inode";
    file_flags: "file.f_flags";
    file_mode: "file.f_mode";
    /// The path that the user opened, of a file behind an overlay: before Linux 6.7 its ordinary path.
    backing_file_user_path: "backing_file.user_path" | "file.f_path" | "file.__f_path";
    bprm_buf: "linux_binprm.buf";
    mm_end_code: "mm_struct.end_code";
    mm_exe_file: "mm_struct.exe_file";
    area_file: "vm_area_struct.vm_file";
    area_flags: "vm_area_struct.vm_flags";
    bprm_file: "linux_binprm.file";
    bprm_filename: "linux_binprm.filename";
    bprm_interp: "linux_binprm.interp";
    mm_arg_start: "mm_struct.arg_start";
    mm_arg_end: "mm_struct.arg_end";
    css_set_default_cgroup: "css_set.dfl_cgrp";
    css_set_subsystems: "css_set.subsys";
    css_cgroup: "cgroup_subsys_state.cgroup";
    cgroup_root: "cgroup.root";
    cgroup_node: "cgroup.kn";
    cgroup_root_hierarchy: "cgroup_root.hierarchy_id";
    kernfs_node_id: "kernfs_node.id";
    kernfs_node_parent: "kernfs_node.__parent" | "kernfs_node.parent";
    kernfs_node_name: "kernfs_node.name";
}

plain_old_data!(Offsets);
