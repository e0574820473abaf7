# Private layers: a file system in memory.
set(sources
    privfs_blocks.c
    privfs_check.c
    privfs_check_dirs.c
    privfs_check_owner.c
    privfs_data.c
    privfs_free.c
    privfs_inode.c
    privfs_key.c
    privfs_name.c
    privfs_space.c
    privfs_tree.c)
